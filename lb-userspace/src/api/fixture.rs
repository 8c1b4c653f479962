//! A small site for tests: two pools with a backend in each state, counters, and a daemon that does what it is told. `super::lb` is this
//! crate's library; tests outside it include this file too.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use futures_util::FutureExt;
use tokio::sync::watch;

use super::lb::{
    api::{
        control::{Answer, Control, ControlError},
        sources::{About, CheckBoard, Sources},
        types::{Candidate, CheckRun, ReloadReport},
        writes::SocketState,
    },
    coordinator::{
        command::{Change, Command, Outcome, Refusal, Selector},
        snapshot::{BackendView, Override, PoolView, Snapshot},
    },
    datapath::{
        self, Attachment, BackendStatus, Count, Counters, PoolStatus, Probe, Reader, ReasonCount, Route,
        Status,
    },
    health::{CheckStatus, Pass, Passed, ProbeError, Verdict},
    model::{
        BackendId, CheckKind, CheckSpec, CheckTarget, Combine, Disposition, Mac, Method, Net, NextHop,
        Pooled, Ports, Protocol, Rules, Service, Threshold, UdpClass, Via, Weight,
    },
};

/// 2024-01-01.
const DAY: u64 = 1_704_067_200;

const NOT_SERVICE: &str = "No service has this destination, port and protocol.";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(DAY + seconds)
}

fn spec(name: &str, port: u16) -> Arc<CheckSpec> {
    Arc::new(CheckSpec {
        name: name.into(),
        kind: if name == "idle" { CheckKind::Idle } else { CheckKind::Tcp },
        port,
        via: Via::Backend,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        jitter_per_mille: 100,
        rise: NonZeroU32::MIN,
        fall: NonZeroU32::MIN,
    })
}

fn hop(last: u8) -> NextHop {
    NextHop {
        dst_mac: Mac([2, 0, 0, 0, 0, last]),
        src_mac: Mac([2, 0, 0, 0, 0, 1]),
        ifindex: 2,
        vlan: 0,
        mtu: 1500,
        gateway: None,
        source: None,
    }
}

fn backend(last: u8, disposition: Disposition, why: &str, port: u16) -> BackendView {
    let address: IpAddr = [10, 64, 0, last].into();
    BackendView {
        address,
        method: Method::Dr,
        weight: Weight::try_from(100).unwrap(),
        configured_weight: Weight::try_from(100).unwrap(),
        pooled: Pooled::Yes,
        configured_pooled: Pooled::Yes,
        overridden: None,
        up: Some(disposition == Disposition::Serving || disposition == Disposition::Draining),
        partially_up: false,
        disposition,
        why: why.into(),
        since: at(u64::from(last)),
        checks: vec![
            CheckTarget { address, spec: spec("tcp", port), production: None },
            CheckTarget { address, spec: spec("idle", port), production: None },
        ],
        next_hop: Ok(hop(last)),
    }
}

/// The site's state.
pub(crate) fn snapshot() -> Snapshot {
    let mut drained = backend(2, Disposition::Draining, "pooled=no by alice: kernel upgrade", 80);
    drained.pooled = Pooled::No;
    drained.overridden = Some(Override {
        pooled: Some(Pooled::No),
        weight: None,
        by: "alice".into(),
        reason: Some("kernel upgrade".into()),
        since: at(100),
        until: Some(at(1900)),
    });
    let mut failed = backend(3, Disposition::Down, "tcp: connection refused", 80);
    failed.partially_up = true;
    let mut inactive = backend(4, Disposition::Out, "pooled=inactive", 80);
    inactive.pooled = Pooled::Inactive;
    inactive.configured_pooled = Pooled::Inactive;
    inactive.up = None;
    inactive.next_hop = Err("no route to 10.64.0.4".into());
    inactive.checks.clear();
    let text = PoolView {
        name: "text_80".parse().unwrap(),
        services: vec!["text".parse().unwrap()],
        threshold: Threshold::default(),
        combine: Combine::All,
        checked: true,
        backends: BTreeMap::from([
            ("cp1001".parse().unwrap(), backend(1, Disposition::Serving, "", 80)),
            ("cp1002".parse().unwrap(), drained),
            ("cp1003".parse().unwrap(), failed),
            ("cp1004".parse().unwrap(), inactive),
            ("cp1005".parse().unwrap(), backend(5, Disposition::Serving, "", 80)),
        ]),
        up_and_enabled: 2,
        total: 4,
        can_depool: true,
        could_not_depool: 0,
    };
    let dns = PoolView {
        name: "dns_53_udp".parse().unwrap(),
        services: vec!["dns".parse().unwrap()],
        threshold: Threshold::default(),
        combine: Combine::All,
        checked: true,
        backends: BTreeMap::from([
            ("d1".parse().unwrap(), backend(11, Disposition::Serving, "", 53)),
            (
                "d2".parse().unwrap(),
                backend(12, Disposition::Held, "tcp: timed out; held by the depool threshold", 53),
            ),
        ]),
        up_and_enabled: 1,
        total: 2,
        can_depool: false,
        could_not_depool: 3,
    };
    let service = |name: &str, vips: &[&str], port, protocol, pool: &str| {
        let service = Service {
            name: name.parse().unwrap(),
            vips: vips.iter().map(|vip| vip.parse::<Net>().unwrap().0).collect(),
            ports: Ports::One(port),
            protocols: vec![protocol],
            pool: pool.parse().unwrap(),
            udp_class: UdpClass::Dns,
            rules: Rules::default(),
        };
        (service.name.clone(), Arc::new(service))
    };
    Snapshot {
        published: Instant::now(),
        sequence: 7,
        revision: 12,
        ready: true,
        config_loaded: at(0),
        reload_problem: None,
        reloads: (3, 1),
        services: BTreeMap::from([
            service("dns", &["203.0.113.53"], 53, Protocol::Udp, "dns_53_udp"),
            service("text", &["203.0.113.10", "2001:db8::10"], 80, Protocol::Tcp, "text_80"),
        ]),
        pools: [text, dns].into_iter().map(|pool| (pool.name.clone(), Arc::new(pool))).collect(),
    }
}

fn share(slots: u32, draining_slots: u32, pins: u32, quiet_for: Option<u64>) -> BackendStatus {
    BackendStatus { slots, draining_slots, pins, quiet_for, ..BackendStatus::default() }
}

/// What the kernel has.
pub(crate) fn kernel() -> Status {
    Status {
        revision: 12,
        pools: BTreeMap::from([
            (
                "text_80".parse().unwrap(),
                PoolStatus {
                    digest: "7f3a91c25d0e4411".into(),
                    slots: 65_537,
                    in_transition: 1_200,
                    backends: BTreeMap::from([
                        ("cp1001".parse().unwrap(), share(32_800, 0, 40, Some(0))),
                        ("cp1002".parse().unwrap(), share(0, 1_200, 0, Some(3))),
                        ("cp1003".parse().unwrap(), share(0, 0, 0, Some(31))),
                        ("cp1005".parse().unwrap(), share(32_737, 0, 25, Some(0))),
                        ("old1".parse().unwrap(), share(0, 4, 0, None)),
                    ]),
                },
            ),
            (
                "dns_53_udp".parse().unwrap(),
                PoolStatus {
                    digest: "00000000000000aa".into(),
                    slots: 1_021,
                    in_transition: 0,
                    backends: BTreeMap::from([
                        ("d1".parse().unwrap(), share(511, 0, 0, Some(1))),
                        ("d2".parse().unwrap(), share(510, 0, 0, None)),
                    ]),
                },
            ),
        ]),
        attachments: vec![Attachment { interface: "eth0".into(), mode: "native", driver: "ixgbe".into() }],
        drift_repaired: 0,
        problem: None,
        check_path_problem: None,
    }
}

fn counters() -> Counters {
    let id = |pool: &str, backend: &str| BackendId {
        pool: pool.parse().unwrap(),
        backend: backend.parse().unwrap(),
    };
    let count = |packets| Count {
        packets,
        bytes: packets * 100,
        syns: packets / 10,
        closes: packets / 20,
        ..Count::default()
    };
    Counters {
        services: BTreeMap::from([
            ("text".parse().unwrap(), count(1_000)),
            ("dns".parse().unwrap(), count(50)),
        ]),
        backends: vec![
            (id("text_80", "cp1001"), count(600)),
            (id("text_80", "cp1002"), count(100)),
            (id("text_80", "cp1005"), count(300)),
            (id("text_80", "old1"), count(7)),
            (id("dns_53_udp", "d1"), count(50)),
        ],
        reasons: vec![
            ReasonCount { reason: "not_service", verdict: "pass", describe: NOT_SERVICE, packets: 4_321 },
            ReasonCount {
                reason: "no_backend",
                verdict: "drop",
                describe: "The service's pool has no backend that may serve.",
                packets: 0,
            },
            ReasonCount {
                reason: "ttl_expired",
                verdict: "drop",
                describe: "TTL or hop limit would reach zero.",
                packets: 17,
            },
        ],
        probes: vec![("sent", 5), ("answered", 4)],
        pins: vec![("pinned", 65), ("promoted", 60), ("hit", 900), ("base", 1_100), ("evicted", 0)],
    }
}

/// Checks' results by address: what the site's state says.
#[derive(Debug)]
struct FakeBoard {
    born: Instant,
}

impl CheckBoard for FakeBoard {
    fn get(&self, target: &CheckTarget) -> Option<CheckStatus> {
        let failing: [IpAddr; 2] = [[10, 64, 0, 3].into(), [10, 64, 0, 12].into()];
        let up = !failing.contains(&target.address) || &*target.spec.name == "idle";
        let passed = Passed { pass: Pass::Connected, latency: Duration::from_millis(4) };
        Some(CheckStatus {
            verdict: Some(if up { Verdict::Up } else { Verdict::Down }),
            last: Some(if up { Ok(passed) } else { Err(ProbeError::Refused) }),
            at_instant: Some(self.born),
            streak: 9,
            passes: 90,
            failures: if up { 1 } else { 9 },
            ups: 1,
            downs: u64::from(!up),
            ..CheckStatus::default()
        })
    }
}

/// The data plane. Each look at the status while `cp1001` drains makes it carry less.
#[derive(Debug)]
pub(crate) struct FakeDatapath {
    pub(crate) status: Mutex<Status>,
}

impl Reader for FakeDatapath {
    fn counters(&self) -> Result<Counters, datapath::Error> {
        Ok(counters())
    }

    fn route(&self, probe: &Probe) -> Result<Route, datapath::Error> {
        if probe.dst.port() != 80 {
            return Ok(Route {
                verdict: "pass".into(),
                reason: Some(("not_service".into(), NOT_SERVICE.into())),
                ..Route::default()
            });
        }
        let (backend, last) = if probe.first { ("cp1001", 1) } else { ("cp1002", 2) };
        Ok(Route {
            verdict: "forward".into(),
            reason: None,
            service: Some("text".into()),
            pool: Some("text_80".into()),
            slot: Some((411, 65_537)),
            cur: Some("cp1001".into()),
            base: Some("cp1002".into()),
            decided_by: Some(if probe.first { "cur" } else { "base" }.into()),
            backend: Some(backend.into()),
            address: Some([10, 64, 0, last].into()),
            via: Some(format!("02:00:00:00:00:0{last} on eth0")),
        })
    }

    fn status(&self) -> Arc<Status> {
        let mut status = self.status.lock().unwrap();
        let share = status.pools.get_mut("text_80").and_then(|pool| pool.backends.get_mut("cp1001"));
        if let Some(share) = share.filter(|share| share.slots == 0) {
            share.draining_slots = share.draining_slots.saturating_sub(15_000);
            if share.draining_slots == 0 {
                share.quiet_for = Some(9);
            }
        }
        Arc::new(status.clone())
    }
}

/// A daemon that carries commands out at once: `d1` may not be depooled, names that begin with `no` do not exist.
#[derive(Debug)]
pub(crate) struct FakeDaemon {
    snapshot: watch::Sender<Arc<Snapshot>>,
    datapath: Arc<FakeDatapath>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl FakeDaemon {
    fn decide(&self, command: &Command, by: &str) -> Result<Vec<Outcome>, ControlError> {
        self.asked.lock().unwrap().push(format!("{by}: {command:?}"));
        let name = &command.selector.backend;
        if name.as_str().starts_with("no") {
            return Err(
                Refusal::NotFound { message: format!("there is no backend {name} in any pool") }.into()
            );
        }
        if name.as_str() == "d1"
            && !command.force
            && command.change == (Change::Pooled { pooled: Pooled::No })
        {
            return Err(Refusal::Policy {
                message: "pool dns_53_udp: 0 of 2 would be up and enabled, the threshold wants 1".into(),
            }
            .into());
        }
        let mut snapshot = Snapshot::clone(&self.snapshot.borrow());
        let mut outcomes = Vec::new();
        for (pool_name, pool) in &mut snapshot.pools {
            if command.selector.pool.as_ref().is_some_and(|only| only != pool_name) {
                continue;
            }
            let Some(view) = Arc::make_mut(pool).backends.get_mut(name) else {
                continue;
            };
            let before = view.clone();
            match command.change {
                Change::Pooled { pooled } => {
                    view.pooled = pooled;
                    view.disposition =
                        if pooled == Pooled::Yes { Disposition::Serving } else { Disposition::Draining };
                }
                Change::Weight { weight } => view.weight = weight.unwrap_or(view.configured_weight),
            }
            let changed = before.pooled != view.pooled || before.weight != view.weight;
            let summary = if before.pooled == view.pooled {
                format!("weight {} -> {}", before.weight, view.weight)
            } else {
                format!("pooled={} -> pooled={}", before.pooled, view.pooled)
            };
            if let Some(share) = self
                .datapath
                .status
                .lock()
                .unwrap()
                .pools
                .get_mut(pool_name)
                .and_then(|pool| pool.backends.get_mut(name))
                .filter(|_| changed && !command.dry_run)
            {
                *share = match view.disposition {
                    Disposition::Serving => BackendStatus { slots: 32_800, ..BackendStatus::default() },
                    _ => BackendStatus {
                        draining_slots: 32_800,
                        quiet_for: Some(0),
                        ..BackendStatus::default()
                    },
                };
            }
            outcomes.push(Outcome {
                backend: BackendId { pool: pool_name.clone(), backend: name.clone() },
                changed,
                summary: if changed { summary } else { "nothing to do".into() },
            });
        }
        if !command.dry_run {
            self.snapshot.send_replace(Arc::new(snapshot));
        }
        Ok(outcomes)
    }

    fn report(candidate: &Candidate) -> Result<ReloadReport, ControlError> {
        match &candidate.file {
            Some(file) if file.text.contains("bad") => {
                Err(ControlError::Problems(format!("{}:1:1: `bad` is not a key", file.name)))
            }
            file => Ok(ReloadReport {
                source: file.as_ref().map_or("/etc/lbd/lbd.toml", |file| &file.name).to_owned(),
                changes: Vec::new(),
                warnings: vec!["pool text_80 has no https check".into()],
            }),
        }
    }
}

impl Control for FakeDaemon {
    fn command(&self, command: Command, by: String) -> Answer<'_, Vec<Outcome>> {
        std::future::ready(self.decide(&command, &by)).boxed()
    }

    fn reload(&self, by: String) -> Answer<'_, ReloadReport> {
        self.asked.lock().unwrap().push(format!("{by}: reload"));
        std::future::ready(Ok(ReloadReport {
            source: "/etc/lbd/lbd.toml".into(),
            changes: vec!["pool text_80: backend cp1006 added".into()],
            warnings: Vec::new(),
        }))
        .boxed()
    }

    fn config_test(&self, candidate: Candidate) -> Answer<'_, ReloadReport> {
        std::future::ready(Self::report(&candidate)).boxed()
    }

    fn config_diff(&self, candidate: Candidate) -> Answer<'_, ReloadReport> {
        let report = Self::report(&candidate).map(|mut report| {
            report.changes.push("service text: port 80 -> 8080".into());
            report
        });
        std::future::ready(report).boxed()
    }

    fn check_now(&self, selector: Selector) -> Answer<'_, Vec<CheckRun>> {
        let ok = selector.backend.as_str() != "cp1003";
        std::future::ready(Ok(vec![CheckRun {
            pool: "text_80".into(),
            backend: selector.backend.to_string(),
            check: "tcp".into(),
            ok,
            detail: if ok { "connected" } else { "connection refused" }.into(),
            latency: ok.then_some(0.004),
        }]))
        .boxed()
    }

    fn shutdown(&self, detach: bool, by: String) -> Answer<'_, ()> {
        self.asked.lock().unwrap().push(format!("{by}: shutdown detach={detach}"));
        std::future::ready(Ok(())).boxed()
    }
}

/// The site with its parts at hand.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(crate) datapath: Arc<FakeDatapath>,
    pub(crate) daemon: Arc<FakeDaemon>,
    pub(crate) sources: Sources,
}

impl Site {
    /// Fresh.
    pub(crate) fn new() -> Self {
        let (snapshot, receiver) = watch::channel(Arc::new(snapshot()));
        let datapath = Arc::new(FakeDatapath { status: Mutex::new(kernel()) });
        let now = Instant::now();
        let sources = Sources {
            snapshot: receiver,
            checks: Arc::new(FakeBoard { born: now }),
            datapath: Arc::clone(&datapath) as Arc<dyn Reader>,
            about: About { version: "0.1.0", abi: 1, started: at(0), started_at: now },
        };
        let daemon = Arc::new(FakeDaemon {
            snapshot: snapshot.clone(),
            datapath: Arc::clone(&datapath),
            asked: Mutex::default(),
        });
        Self { snapshot, datapath, daemon, sources }
    }

    /// What the socket needs.
    pub(crate) fn socket_state(&self) -> SocketState {
        SocketState { sources: self.sources.clone(), control: Arc::clone(&self.daemon) as Arc<dyn Control> }
    }
}
