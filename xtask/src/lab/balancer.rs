//! The real `lbd` in the balancer's namespace, and `lbctl` to talk to it.

use std::{
    fmt::Write as _, fs, os::unix::process::ExitStatusExt as _, path::PathBuf, process::Stdio, time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Deserialize;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::{
    cleanup::Ground,
    site::{BALANCER, FALL, Family, HOSTS, HTTP, HTTPS, INTERVAL, METRICS, PINS, POOL, SERVER_NAME, TIMEOUT},
};
use crate::build::Built;

/// Until the daemon does what it was asked for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at the daemon's state.
const LOOK: Duration = Duration::from_millis(50);

/// `lbd`, its configuration, and its command line.
#[derive(Debug)]
pub(super) struct Balancer {
    built: Built,
    dir: PathBuf,
    bpf: PathBuf,
    daemon: Option<Child>,
}

/// A backend as `lbctl list -o json` shows it; the rest of its keys is not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Member {
    pub(super) name: String,
    /// `serving`, `draining`, `down` …
    pub(super) state: String,
    pub(super) weight: u32,
    /// Why it is in that state.
    #[serde(default)]
    pub(super) why: String,
    pub(super) table: Option<Share>,
}

/// Its part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Share {
    pub(super) slots: u32,
}

#[derive(Deserialize)]
struct List {
    pools: Vec<Pool>,
}

#[derive(Deserialize)]
struct Pool {
    name: String,
    members: Vec<Member>,
}

impl Balancer {
    /// Writes the configuration; nothing runs yet.
    pub(super) fn new(built: Built, ground: &Ground) -> Result<Self> {
        let balancer = Self { built, dir: ground.dir().to_owned(), bpf: ground.bpf(), daemon: None };
        balancer.configure(None)?;
        Ok(balancer)
    }

    /// Starts the daemon, and waits until all hosts serve.
    pub(super) async fn start(&mut self) -> Result<()> {
        let path = self.dir.join("lbd.log");
        let log = fs::File::options().create(true).append(true).open(&path).context("lbd.log")?;
        let child = Command::new("ip")
            .args(["netns", "exec", BALANCER])
            .arg(&self.built.lbd)
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting lbd")?;
        self.daemon = Some(child);
        self.until("all hosts serve", |members| {
            members.len() == HOSTS.len() && members.iter().all(|member| member.state == "serving")
        })
        .await
        .map(drop)
    }

    /// SIGKILL, as nobody should.
    pub(super) async fn kill(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("lbd does not run")?;
        daemon.kill().await.context("killing lbd")
    }

    /// SIGTERM; it has to end by itself.
    pub(super) async fn terminate(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("lbd does not run")?;
        let pid = daemon.id().context("lbd has ended by itself")?;
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).context("sending SIGTERM to lbd")?;
        let Ok(status) = timeout(PATIENCE, daemon.wait()).await else {
            bail!("lbd does not end within {} s of SIGTERM", PATIENCE.as_secs());
        };
        let status = status?;
        if !status.success() && status.signal().is_none() {
            bail!("lbd ended with {status} after SIGTERM\n{}", self.last_words());
        }
        Ok(())
    }

    /// Reads the configuration again with another weight for one host; `None`: as at the start.
    pub(super) async fn reload(&mut self, weight: Option<(&str, u32)>) -> Result<()> {
        self.configure(weight)?;
        self.ctl(&["config", "reload"]).await?;
        self.until("the reloaded weights are in force", |members| {
            members.iter().all(|member| Some(member.weight) == weight_of(&member.name, weight))
        })
        .await
        .map(drop)
    }

    /// A sample of its metrics; 0 if there is none.
    pub(super) async fn metric(&self, sample: &str) -> Result<f64> {
        let address: std::net::SocketAddr = METRICS.parse()?;
        let all = super::get(BALANCER, address.ip(), address.port(), "/metrics").await.context("metrics")?;
        let value = all.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
        Ok(value.unwrap_or_default())
    }

    /// Runs `lbctl`; what it prints.
    pub(super) async fn ctl(&self, words: &[&str]) -> Result<String> {
        let command = words.join(" ");
        let output = Command::new(&self.built.lbctl)
            .arg("--socket")
            .arg(self.socket())
            .args(words)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("lbctl {command}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{}: lbctl {command}\n{}", output.status, said.trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The command for an operator to type.
    pub(super) fn ctl_as_typed(&self) -> String {
        format!("{} --socket {}", self.built.lbctl.display(), self.socket().display())
    }

    /// The pool's backends, as the daemon sees them.
    async fn members(&self) -> Result<Vec<Member>> {
        let list: List =
            serde_json::from_str(&self.ctl(&["list", "-o", "json"]).await?).context("lbctl list -o json")?;
        let pool = list.pools.into_iter().find(|pool| pool.name == POOL);
        Ok(pool.with_context(|| format!("lbctl list shows no pool `{POOL}`"))?.members)
    }

    /// Asks until the answer satisfies; the error has the last answer and what the daemon said.
    pub(super) async fn until(
        &mut self,
        what: &str,
        satisfied: impl Fn(&[Member]) -> bool,
    ) -> Result<Vec<Member>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.members().await;
            if let Ok(members) = &answer
                && satisfied(members)
            {
                return answer;
            }
            if let Some(daemon) = &mut self.daemon
                && let Some(status) = daemon.try_wait()?
            {
                bail!("lbd has ended: {status}\n{}", self.last_words());
            }
            if Instant::now() > deadline {
                let last = answer.map_or_else(|e| format!("{e:#}"), |members| format!("{members:?}"));
                bail!("not within {} s: {what}. {last}\n{}", PATIENCE.as_secs(), self.last_words());
            }
            sleep(LOOK).await;
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.dir.join("lbd.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("lbd said last:\n  {}", lines[lines.len().saturating_sub(20)..].join("\n  "))
    }

    fn config(&self) -> PathBuf {
        self.dir.join("lbd.toml")
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("lbd.sock")
    }

    fn configure(&self, weight: Option<(&str, u32)>) -> Result<()> {
        let (dir, bpf, socket) = (self.dir.display(), self.bpf.display(), self.socket());
        let vips = Family::BOTH.map(|family| format!("\"{}\"", family.vip())).join(", ");
        let socket = socket.display();
        let mut text = format!(
            "[lbd]\ninterfaces = [\"e0\"]\nhttp = [\"{METRICS}\"]\nsocket = \"{socket}\"\nstate_dir = \"{dir}/state\"\n\
             bpf_dir = \"{bpf}/lbd\"\n\n\
             [lbd.limits]\npins = {PINS}\n\n\
             [services.web]\nvips = [{vips}]\nport = {HTTP}\npool = \"{POOL}\"\nidle = \"5s\"\ndrain_timeout = \"1m\"\n\n\
             [services.websecure]\nvips = [{vips}]\nport = {HTTPS}\npool = \"{POOL}\"\nidle = \"5s\"\ndrain_timeout = \"1m\"\n\n\
             [pools.{POOL}]\n\n\
             [[pools.{POOL}.checks]]\nkind = \"http\"\nport = {HTTP}\nurl = \"http://{SERVER_NAME}/healthz\"\n\
             interval = \"{INTERVAL}ms\"\ntimeout = \"{TIMEOUT}ms\"\nfall = {FALL}\nrise = 1\njitter = 0.0\n\n\
             [pools.{POOL}.backends]\n"
        );
        for host in &HOSTS {
            let weight = weight_of(host.name, weight).unwrap_or(host.weight);
            let address = host.address(Family::V4);
            let method = if host.far { "ipip" } else { "dr" };
            _ = writeln!(
                text,
                "{} = {{ address = \"{address}\", weight = {weight}, method = \"{method}\" }}",
                host.name
            );
        }
        // Renamed into place: the daemon never reads half a file.
        let new = self.dir.join("lbd.toml.new");
        fs::create_dir_all(self.dir.join("state"))?;
        fs::write(&new, text).and_then(|()| fs::rename(&new, self.config())).context("lbd.toml")
    }
}

/// A host's weight in the configuration.
fn weight_of(name: &str, changed: Option<(&str, u32)>) -> Option<u32> {
    match changed {
        Some((other, weight)) if other == name => Some(weight),
        _ => HOSTS.iter().find(|host| host.name == name).map(|host| host.weight),
    }
}
