//! What `lab --once` does to the site, under load, for one address family. Every wait is for something that must happen.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::{
    backend::Backend,
    balancer::Balancer,
    client::event::{Kind, Request, now},
    load::{Load, Log},
    report::{Outage, Report, Step},
    site::{DETECTION, Family, HOSTS, Host, MTU, NARROW},
    topology,
};

/// Requests on new connections from which the balance is judged. The rarest host's share then varies by 1.4 points.
const SAMPLE: usize = 800;
/// A share may be so far from its weight's part: four times that, rounded up.
const TOLERANCE: f64 = 0.06;
/// Requests on new connections that have to be seen after each event.
const SOME: usize = 200;
/// From a command's return until no new connection may go to the host it depooled. The command returns when the change is decided;
/// changes are written within 100 ms.
const GRACE: Duration = Duration::from_millis(250);
/// A transfer lasts 12 s. One that is younger than this at a depool has most of its life before it.
const YOUNG: Duration = Duration::from_secs(5);
const TRANSFER_PATIENCE: Duration = Duration::from_secs(45);
/// One upload in five goes to a given host, and they begin two seconds apart: in this time one does, but once in a million.
const UPLOAD_PATIENCE: Duration = Duration::from_mins(3);
const REASON: &str = "the lab's story";

/// The host that is depooled by hand: the one with most connections.
const DEPOOLED: Host = HOSTS[2];
/// SYNs a second: of the slots that are in transition then, more than a table of [`super::site::PINS`] holds for a second.
const FLOOD_RATE: u16 = 5_000;
const FLOOD_SECONDS: u16 = 60;
/// The host behind the router.
const FAR: usize = 3;
/// The host that dies.
const KILLED: usize = 0;
/// The host whose weight a reload changes.
const REWEIGHTED: Host = HOSTS[3];

/// What the story is about.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) backends: Vec<Backend>,
    pub(super) balancer: Balancer,
    pub(super) certificate: PathBuf,
}

/// Tells the story once.
pub(super) async fn tell(site: &mut Site, family: Family, report: &mut Report) -> Result<()> {
    let mut story =
        Story { load: Load::start(family, &site.certificate)?, site, steps: Vec::new(), outage: None };
    story.balance().await?;
    story.depool().await?;
    story.flood().await?;
    story.narrow_path().await?;
    story.kill_host().await?;
    story.restart_daemon().await?;
    story.reload().await?;
    let Story { load, mut steps, outage, .. } = story;
    steps.push(Step::begin("the last transfers end"));
    let log = load.finish().await?;
    report.add(family, &steps, outage, &log);
    Ok(())
}

struct Story<'a> {
    site: &'a mut Site,
    load: Load,
    steps: Vec<Step>,
    outage: Option<Outage>,
}

impl Story<'_> {
    /// New connections by weight.
    async fn balance(&mut self) -> Result<()> {
        let from = self.begin("balance");
        self.load.until_new(SAMPLE, from).await?;
        let shares = self.load.look(|log| shares(log, from));
        for host in &HOSTS {
            let seen = shares.get(host.name).copied().unwrap_or_default();
            self.saw(format!(
                "{} {:.1} % (weight {}: {:.0} %)",
                host.name,
                seen * 100.0,
                host.weight,
                host.share() * 100.0
            ));
            if (seen - host.share()).abs() > TOLERANCE {
                self.problem(format!("{} got {:.1} % of new connections", host.name, seen * 100.0));
            }
        }
        Ok(())
    }

    /// A host is taken out by hand, its transfers finish, nothing new reaches it; then it comes back.
    async fn depool(&mut self) -> Result<()> {
        let host = DEPOOLED.name;
        // Both kinds, mostly before them: that they end well afterwards is the point.
        self.load
            .until(&format!("young transfers on {host}"), TRANSFER_PATIENCE, |log| {
                log.transfers_on(host, YOUNG).len() >= 2
            })
            .await?;
        let asked = self.begin("depool under load");
        let transfers = self.load.look(|log| log.transfers_on(host, Duration::MAX));
        self.site.balancer.ctl(&["depool", host, "--reason", REASON]).await?;
        let out = now() + GRACE.as_micros() as u64;
        self.load.until_new(SOME, out).await?;
        self.load
            .until(&format!("transfers on {host} end"), TRANSFER_PATIENCE, |log| {
                transfers.iter().all(|id| !log.under_way.contains_key(id))
            })
            .await?;
        let (last, late, broken) = self.load.look(|log| {
            let opened = |from: u64| {
                log.requests
                    .iter()
                    .filter(move |r| r.opened && r.start >= from && r.host.as_deref() == Some(host))
            };
            let last = opened(asked).map(|r| r.start).max();
            let broken =
                log.requests.iter().filter(|r| transfers.contains(&r.id) && r.error.is_some()).count();
            (last, opened(out).count(), broken)
        });
        self.saw(format!(
            "{} transfers were on {host}, {} ended whole",
            transfers.len(),
            transfers.len() - broken
        ));
        self.saw(match last {
            Some(last) => {
                format!("last new connection to it {} ms after the command was typed", (last - asked) / 1000)
            }
            None => "no new connection to it after the command was typed".to_owned(),
        });
        if late > 0 {
            self.problem(format!("{late} new connections to {host} after it was depooled"));
        }
        if broken > 0 {
            self.problem(format!("{broken} transfers on {host} broke"));
        }

        // The same command again, and it returns when the host carries no more connections.
        let waited = now();
        self.site.balancer.ctl(&["depool", host, "--reason", REASON, "--wait=45s"]).await?;
        let still = self.load.look(|log| log.transfers_on(host, Duration::MAX).len());
        self.saw(format!(
            "`lbctl depool {host} --wait` returned {} ms after the last of them",
            (now() - waited) / 1000
        ));
        if still > 0 {
            self.problem(format!("`lbctl depool {host} --wait` returned while {still} transfers went on"));
        }

        let back = self.begin("pool it again");
        self.site.balancer.ctl(&["pool", host]).await?;
        self.load
            .until(&format!("new connections to {host}"), TRANSFER_PATIENCE, |log| served(log, host, back))
            .await?;
        self.load.until_new(SOME, back).await
    }

    /// A host is taken out by hand while somebody floods the service: what the flood fills must not be what keeps connections right.
    async fn flood(&mut self) -> Result<()> {
        let host = DEPOOLED.name;
        self.load
            .until(&format!("young transfers on {host}"), TRANSFER_PATIENCE, |log| {
                log.transfers_on(host, YOUNG).len() >= 2
            })
            .await?;
        let from = self.begin("drain under a SYN flood");
        let before = [self.pins("pinned").await?, self.pins("frozen").await?];
        let mut flood = self.load.flood(FLOOD_RATE, FLOOD_SECONDS)?;
        let transfers = self.load.look(|log| log.transfers_on(host, Duration::MAX));
        self.site.balancer.ctl(&["depool", host, "--reason", REASON]).await?;
        self.load.until_new(SOME, from).await?;
        self.load
            .until(&format!("transfers on {host} end"), TRANSFER_PATIENCE, |log| {
                transfers.iter().all(|id| !log.under_way.contains_key(id))
            })
            .await?;
        flood.kill().await.context("ending the flood")?;
        let broken = self.load.look(|log| {
            log.requests.iter().filter(|r| transfers.contains(&r.id) && r.error.is_some()).count()
        });
        let [pinned, frozen] =
            [self.pins("pinned").await? - before[0], self.pins("frozen").await? - before[1]];
        self.saw(format!(
            "{} transfers were on {host}, {} ended whole; {pinned} first packets pinned, {frozen} stayed with the old owner as the \
             table was full",
            transfers.len(),
            transfers.len() - broken
        ));
        if broken > 0 {
            self.problem(format!("{broken} transfers on {host} broke"));
        }
        if frozen < 1.0 {
            self.problem("the flood did not fill the table: nothing was proved".to_owned());
        }
        let back = self.begin("pool it again");
        self.site.balancer.ctl(&["pool", host]).await?;
        self.load
            .until(&format!("new connections to {host}"), TRANSFER_PATIENCE, |log| served(log, host, back))
            .await
    }

    async fn pins(&self, event: &str) -> Result<f64> {
        self.site.balancer.metric(&format!("lb_pins_total{{event=\"{event}\"}}")).await
    }

    /// The way to the host behind the router takes smaller packets from one moment to the next; clients are told, and go on.
    async fn narrow_path(&mut self) -> Result<()> {
        let host = HOSTS[FAR];
        self.load
            .until(&format!("young transfers on {}", host.name), TRANSFER_PATIENCE, |log| {
                log.transfers_on(host.name, YOUNG).len() >= 2
            })
            .await?;
        let from = self.begin("the path to the far host narrows");
        let told = "lb_packets_stopped_total{reason=\"too_big\",verdict=\"answer\"}";
        let before = self.site.balancer.metric(told).await?;
        let transfers = self.load.look(|log| log.transfers_on(host.name, Duration::MAX));
        topology::set_path_mtu(&host, NARROW)?;
        let uploaded = |log: &Log| {
            let to = |r: &&Request| r.host.as_deref() == Some(host.name) && r.kind == Kind::Upload;
            log.requests.iter().filter(to).any(|r| r.start >= from && r.error.is_none())
        };
        self.load
            .until(&format!("an upload to {} begins and ends", host.name), UPLOAD_PATIENCE, uploaded)
            .await?;
        let broken = self.load.look(|log| {
            log.requests.iter().filter(|r| transfers.contains(&r.id) && r.error.is_some()).count()
        });
        let told = self.site.balancer.metric(told).await? - before;
        self.saw(format!(
            "{} transfers were on {}, {} ended badly; clients were told {told} times of the smaller packets",
            transfers.len(),
            host.name,
            broken
        ));
        if told < 1.0 {
            self.problem("no client was told: nothing was proved".to_owned());
        }
        topology::set_path_mtu(&host, MTU)
    }

    /// A host's servers die; its connections are lost, and new ones fail until the checks say so, not longer.
    async fn kill_host(&mut self) -> Result<()> {
        let host = HOSTS[KILLED];
        let killed = self.begin("kill a host");
        self.site.backends[KILLED].kill().await?;
        self.outage = Some(Outage { host: host.name, from: killed, until: killed + DETECTION * 1000 });
        self.site
            .balancer
            .until(&format!("{} is down", host.name), |m| {
                m.iter().any(|m| m.name == host.name && m.state == "down")
            })
            .await?;
        self.load.until_new(SOME, killed + DETECTION * 1000).await?;
        let last = self.load.look(|log| {
            let failed = log.requests.iter().filter(|r| r.start >= killed && r.error.is_some());
            failed.map(|r| r.start).max().map_or(0, |start| (start - killed) / 1000)
        });
        self.saw(format!("last request sent to it {last} ms after its death (bound {DETECTION} ms)"));
        if last > DETECTION {
            self.problem(format!("a request was sent to {} {last} ms after its death", host.name));
        }

        let back = self.begin("it comes back");
        self.site.backends[KILLED].start_terminator()?;
        self.site
            .balancer
            .until(&format!("{} serves", host.name), |m| {
                m.iter().any(|m| m.name == host.name && m.state == "serving")
            })
            .await?;
        self.saw(format!("serving after {} ms", (now() - back) / 1000));
        self.load
            .until(&format!("new connections to {}", host.name), TRANSFER_PATIENCE, |log| {
                served(log, host.name, back)
            })
            .await?;
        self.load.until_new(SOME, back).await
    }

    /// The daemon dies, and is stopped; forwarding does not notice.
    async fn restart_daemon(&mut self) -> Result<()> {
        let from = self.begin("kill -9 lbd, restart");
        self.site.balancer.kill().await?;
        self.without_daemon(from).await?;
        let from = self.begin("SIGTERM lbd, restart");
        self.site.balancer.terminate().await?;
        self.without_daemon(from).await
    }

    async fn without_daemon(&mut self, from: u64) -> Result<()> {
        self.load.until_new(SOME, from).await?;
        let restarted = now();
        self.site.balancer.start().await?;
        self.saw(format!(
            "{} ms without it, ready {} ms after its start",
            (restarted - from) / 1000,
            (now() - restarted) / 1000
        ));
        self.load.until_new(SOME, now()).await
    }

    /// A weight changes in the file, and back.
    async fn reload(&mut self) -> Result<()> {
        let name = REWEIGHTED.name;
        let weight = REWEIGHTED.weight * 2;
        for change in [Some((name, weight)), None] {
            let from =
                self.begin(if change.is_some() { "reload: a weight doubles" } else { "reload: and back" });
            self.site.balancer.reload(change).await?;
            self.load.until_new(SOME, now()).await?;
            let shares = self.load.look(|log| shares(log, from));
            self.saw(format!("{name} got {:.1} %", shares.get(name).copied().unwrap_or_default() * 100.0));
        }
        Ok(())
    }

    /// Begins a step, which ends the one before it; when that was.
    fn begin(&mut self, name: &'static str) -> u64 {
        println!("  {name} …");
        let step = Step::begin(name);
        let from = step.from;
        self.steps.push(step);
        from
    }

    fn saw(&mut self, text: String) {
        if let Some(step) = self.steps.last_mut() {
            step.seen.push(text);
        }
    }

    fn problem(&mut self, text: String) {
        if let Some(step) = self.steps.last_mut() {
            step.problems.push(text);
        }
    }
}

/// Each host's part of the connections that began at `from` or later.
fn shares(log: &Log, from: u64) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::<String, u32>::new();
    for host in log.short_since(from).filter_map(|r| r.host.clone()) {
        *counts.entry(host).or_default() += 1;
    }
    let all: u32 = counts.values().sum();
    counts.into_iter().map(|(host, count)| (host, f64::from(count) / f64::from(all.max(1)))).collect()
}

/// Whether a host has answered on a connection that began at `from` or later.
fn served(log: &Log, host: &str, from: u64) -> bool {
    log.short_since(from).any(|r| r.host.as_deref() == Some(host) && r.error.is_none())
}

/// Waits until every host answers on its own addresses, all three tiers of it.
pub(super) async fn until_hosts_answer(backends: &[Backend]) -> Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    for backend in backends {
        for family in Family::BOTH {
            let address = backend.host.address(family);
            while let Err(error) =
                super::get(super::site::CLIENT, address, super::site::HTTP, "/healthz").await
            {
                if tokio::time::Instant::now() > deadline {
                    bail!(
                        "{} does not answer on {address}: {error:#}\n{}",
                        backend.host.name,
                        backend.last_words()
                    );
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    Ok(())
}

/// What the operator's tools show at the end.
pub(super) async fn show(site: &Site) -> Result<()> {
    let flow = |family: Family, port: u16| {
        [std::net::SocketAddr::new(family.client(), 40_000), std::net::SocketAddr::new(family.vip(), port)]
            .map(|a| a.to_string())
    };
    let mut commands = vec![vec!["list".to_owned()]];
    for family in Family::BOTH {
        let [src, dst] = flow(family, super::site::HTTPS);
        commands.push(vec!["where".to_owned(), src, dst, "tcp".to_owned()]);
    }
    for words in commands {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        println!("\n$ lbctl {}\n{}", words.join(" "), site.balancer.ctl(&words).await?.trim_end());
    }
    let address: std::net::SocketAddr = super::site::METRICS.parse()?;
    let metrics = super::get(super::site::BALANCER, address.ip(), address.port(), "/metrics")
        .await
        .context("metrics")?;
    let samples: Vec<&str> = metrics.lines().filter(|line| !line.starts_with('#')).collect();
    if samples.is_empty() {
        bail!("http://{address}/metrics is empty");
    }
    println!("\n$ curl http://{address}/metrics        ({} samples, those of backends)", samples.len());
    for sample in samples.iter().filter(|line| line.contains("backend=")).take(16) {
        println!("{sample}");
    }
    Ok(())
}
