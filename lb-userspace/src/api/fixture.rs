//! A small site for tests: two pools with a backend in each state, counters, and a daemon that does what it is told. `super::lb` is this
//! crate's library; tests outside it include this file too.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

#[path = "fixture/daemon.rs"]
mod daemon;
#[path = "fixture/inspect.rs"]
mod inspect;
#[path = "fixture/kernel.rs"]
mod kernel;

pub(crate) use self::{
    daemon::FakeDaemon,
    kernel::{FakeDatapath, kernel},
};
use super::lb::{
    api::{
        control::Control,
        sources::{About, CheckBoard, Sources},
        writes::SocketState,
    },
    coordinator::snapshot::{BackendView, Override, PoolView, Snapshot},
    datapath::Reader,
    health::{CheckStatus, Pass, Passed, ProbeError, Verdict},
    model::{
        CheckKind, CheckSpec, CheckTarget, Combine, Disposition, Mac, Method, Net, NextHop, Pooled, Ports,
        Protocol, Rules, Service, Threshold, UdpClass, Via, Weight,
    },
    outliers::{BackendReport, Finding, Measure, Rates, Report},
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
    let [dst_mac, src_mac] = [last, 1].map(|n| Mac([2, 0, 0, 0, 0, n]));
    NextHop { dst_mac, src_mac, ifindex: 2, vlan: 0, mtu: 1500, gateway: None, source: None }
}

fn backend(last: u8, disposition: Disposition, why: &str, port: u16) -> BackendView {
    let address: IpAddr = [10, 64, 0, last].into();
    BackendView {
        address,
        method: Method::Dr,
        weight: Weight::try_from(100).unwrap(),
        lowered: None,
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
        weights_lowered: 1,
        weights_raised: 0,
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
        weights_lowered: 0,
        weights_raised: 0,
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
        reports: BTreeMap::from([("text_80".parse().unwrap(), Arc::new(report()))]),
        pools: [text, dns].into_iter().map(|pool| (pool.name.clone(), Arc::new(pool))).collect(),
    }
}

/// `cp1005` refuses most of what it gets.
fn report() -> Report {
    let rates = Rates {
        window: 60.0,
        new: 12.0,
        syns: 12.5,
        fins: 11.0,
        resets: 0.25,
        retransmits: 0.5,
        estimated: true,
    };
    let finding = Finding { measure: Measure::Refused, value: 0.98, median: 0.01, since: Instant::now() };
    let of = |refused, findings| BackendReport {
        rates: Some(rates),
        values: [Some(1.0), None, Some(0.02), None, Some(refused)],
        findings,
    };
    Report {
        backends: BTreeMap::from([
            ("cp1001".parse().unwrap(), of(0.01, Vec::new())),
            ("cp1005".parse().unwrap(), of(0.98, vec![finding])),
        ]),
        medians: [Some(1.0), None, Some(0.02), None, Some(0.01)],
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
        let daemon = Arc::new(FakeDaemon::new(snapshot.clone(), Arc::clone(&datapath)));
        Self { snapshot, datapath, daemon, sources }
    }

    /// What the socket needs.
    pub(crate) fn socket_state(&self) -> SocketState {
        SocketState { sources: self.sources.clone(), control: Arc::clone(&self.daemon) as Arc<dyn Control> }
    }
}
