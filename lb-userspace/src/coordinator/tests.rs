//! A small world around the state: named backends, a clock that stands still, and what came out.

mod commands;
mod methods;
mod outliers;
mod production;
mod pybal_defects;
mod random;
mod reload;
mod rules;
mod running;

use std::{
    collections::{BTreeSet, HashSet},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use super::{
    Adopted, AdoptedBackend, Effect, Event, Now, Overrides, State,
    command::{Change, Command, Outcome, Refusal, Selector},
    overrides::Document,
    snapshot::{BackendView, PoolView, Snapshot},
};
use crate::{
    datapath::{Desired, DesiredBackend},
    health::{HealthEvent, Verdict},
    model::{
        Backend, BackendId, CheckKind, CheckSpec, CheckTarget, Combine, Config, Disposition, GUE_PORT,
        Global, Limits, Mac, Method, NextHop, Outliers, Pool, Pooled, Ports, Protocol, Rules, Service,
        Threshold, Tunnel, UdpClass, Via, Weight, XdpMode, global::ICMP_RATE,
    },
    neighbour::NeighbourEvent,
};

/// `b1`, `b2`, … or any other name: the number at its end is the last byte of its address.
fn address(name: &str) -> IpAddr {
    let number = name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn backend(name: &str) -> Backend {
    Backend::new(name.parse().unwrap(), address(name))
}

fn check(name: &str) -> Arc<CheckSpec> {
    Arc::new(CheckSpec {
        name: name.into(),
        kind: CheckKind::Tcp,
        port: 80,
        via: Via::Backend,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        jitter_per_mille: 0,
        rise: NonZeroU32::MIN,
        fall: NonZeroU32::MIN,
    })
}

/// A pool with one check, threshold a half.
fn pool(name: &str, backends: &[&str]) -> Pool {
    Pool {
        name: name.parse().unwrap(),
        backends: backends.iter().map(|b| (b.parse().unwrap(), Arc::new(backend(b)))).collect(),
        checks: vec![check("tcp")],
        combine: Combine::All,
        threshold: Threshold::default(),
        outliers: Outliers::default(),
        optimistic: false,
        allow_empty: false,
        slots: 251,
    }
}

fn edit(pool: &mut Pool, name: &str, change: impl FnOnce(&mut Backend)) {
    let backend = pool.backends.get_mut(name).unwrap();
    change(Arc::make_mut(backend));
}

fn service(name: &str, pool: &str) -> Service {
    Service {
        name: name.parse().unwrap(),
        vips: vec![IpAddr::from([198, 51, 100, 1]).into()],
        ports: Ports::One(80),
        protocols: vec![Protocol::Tcp],
        pool: pool.parse().unwrap(),
        udp_class: UdpClass::default(),
        rules: Rules::default(),
    }
}

/// Each pool has a service of its name.
fn config(pools: Vec<Pool>) -> Config {
    let global = Global {
        interfaces: vec!["eth0".into()],
        xdp_mode: XdpMode::Native,
        secret_file: None,
        http: Vec::new(),
        socket: PathBuf::from("lbd.sock"),
        socket_group: "lbd".into(),
        state_dir: PathBuf::from("state"),
        bpf_dir: PathBuf::from("bpf"),
        pybal_metrics: false,
        icmp_rate: ICMP_RATE,
        tunnel: Tunnel::default(),
        limits: Limits::default(),
    };
    let services = pools.iter().map(|p| service(p.name.as_str(), p.name.as_str()));
    Config {
        global,
        services: services.map(|s| (s.name.clone(), Arc::new(s))).collect(),
        pools: pools.into_iter().map(|p| (p.name.clone(), Arc::new(p))).collect(),
    }
}

fn hop(address: IpAddr) -> NextHop {
    let IpAddr::V4(v4) = address else { panic!("only IPv4 here") };
    NextHop {
        dst_mac: Mac([2, 0, 0, 0, 0, v4.octets()[3]]),
        src_mac: Mac([2, 0, 0, 0, 1, 0]),
        ifindex: 7,
        vlan: 0,
        mtu: 1500,
        gateway: None,
        source: Some([10, 0, 0, 254].into()),
    }
}

struct World {
    state: State,
    now: Now,
    targets: HashSet<CheckTarget>,
    addresses: BTreeSet<IpAddr>,
    saved: Option<Document>,
    log: Vec<String>,
    /// Effects of the latest event, except log lines.
    effects: Vec<Effect>,
}

impl World {
    fn empty(overrides: Overrides, adopted: Adopted) -> Self {
        let now = Now { instant: Instant::now(), wall: UNIX_EPOCH + Duration::from_secs(1_000_000) };
        Self {
            state: State::new(overrides, adopted, now),
            now,
            targets: HashSet::new(),
            addresses: BTreeSet::new(),
            saved: None,
            log: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Nothing heard yet.
    fn cold(pools: Vec<Pool>) -> Self {
        let mut world = Self::empty(Overrides::default(), Adopted::new());
        world.reload(config(pools)).unwrap();
        world
    }

    /// After a restart, with these found serving in the kernel.
    fn restarted(pools: Vec<Pool>, serving: &[&str]) -> Self {
        let found = |id: &&str| {
            let (pool, backend) = id.split_once('/').unwrap();
            let adopted = AdoptedBackend {
                method: Method::Dr,
                gue_port: GUE_PORT,
                server_id: None,
                address: address(backend),
                weight: Weight::default(),
                disposition: Disposition::Serving,
            };
            let id = BackendId { pool: pool.parse().unwrap(), backend: backend.parse().unwrap() };
            (id, adopted)
        };
        let mut world = Self::empty(Overrides::default(), serving.iter().map(found).collect());
        world.reload(config(pools)).unwrap();
        world
    }

    /// One pool `text`, all up and serving.
    fn healthy(pool: Pool) -> Self {
        let mut world = Self::cold(vec![pool]);
        world.all_up();
        world
    }

    fn all_up(&mut self) {
        for address in self.addresses.clone() {
            self.resolve(address, Ok(hop(address)));
        }
        for target in self.targets.clone() {
            self.verdict(target, Verdict::Up);
        }
    }

    fn take(&mut self, effects: Vec<Effect>) {
        self.effects.clear();
        for effect in effects {
            match &effect {
                Effect::Log(line) => {
                    self.log.push(line.message.clone());
                    continue;
                }
                Effect::Targets(targets) => self.targets.clone_from(targets),
                Effect::Addresses(addresses) => self.addresses.clone_from(addresses),
                Effect::Save(document) => self.saved = Some(document.clone()),
                Effect::Program { .. } => {}
            }
            self.effects.push(effect);
        }
    }

    fn apply(&mut self, event: Event) {
        let effects = self.state.apply(event, self.now);
        self.take(effects);
    }

    fn reload(&mut self, config: Config) -> Result<Vec<String>, String> {
        let (result, effects) = self.state.reload(&Arc::new(config), self.now);
        self.take(effects);
        result
    }

    fn verdict(&mut self, target: CheckTarget, verdict: Verdict) {
        let detail = if verdict == Verdict::Up { "connected" } else { "connection refused" };
        self.apply(Event::Health(HealthEvent { target, verdict, detail: detail.into() }));
    }

    /// All checks of an address.
    fn checks(&mut self, backend: &str, verdict: Verdict) {
        let of = address(backend);
        for target in self.targets.clone().into_iter().filter(|t| t.address == of) {
            self.verdict(target, verdict);
        }
    }

    fn up(&mut self, backend: &str) {
        self.checks(backend, Verdict::Up);
    }

    fn down(&mut self, backend: &str) {
        self.checks(backend, Verdict::Down);
    }

    fn resolve(&mut self, address: IpAddr, next_hop: Result<NextHop, String>) {
        self.apply(Event::Neighbour(NeighbourEvent { address, next_hop }));
    }

    fn lose_way(&mut self, backend: &str) {
        let address = address(backend);
        self.resolve(address, Err(format!("{address} does not answer ARP on eth0")));
    }

    fn find_way(&mut self, backend: &str) {
        let address = address(backend);
        self.resolve(address, Ok(hop(address)));
    }

    fn pass(&mut self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        self.now.instant += time;
        self.now.wall += time;
        self.apply(Event::Tick);
    }

    fn run(&mut self, command: &Command) -> Result<Vec<Outcome>, Refusal> {
        let (result, effects) = self.state.command(command, "alice", self.now);
        self.take(effects);
        result
    }

    fn depool(&mut self, backend: &str) -> Result<Vec<Outcome>, Refusal> {
        self.run(&pooled(backend, Pooled::No))
    }

    fn snapshot(&mut self) -> Snapshot {
        self.state.snapshot(self.now)
    }

    fn pool(&mut self) -> Arc<PoolView> {
        Arc::clone(&self.snapshot().pools["text"])
    }

    fn view(&mut self, backend: &str) -> BackendView {
        self.pool().backends[backend].clone()
    }

    fn is(&mut self, backend: &str) -> Disposition {
        self.view(backend).disposition
    }

    /// `b1=serving b2=down`.
    fn line(&mut self) -> String {
        let pool = self.pool();
        let words: Vec<_> = pool.backends.iter().map(|(n, b)| format!("{n}={}", b.disposition)).collect();
        words.join(" ")
    }

    fn desired(&mut self) -> Arc<Desired> {
        self.state.desired()
    }

    fn wanted(&mut self, backend: &str) -> DesiredBackend {
        self.desired().pools["text"].backends[backend]
    }

    fn logged(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

fn command(backend: &str, change: Change) -> Command {
    Command {
        selector: Selector { backend: backend.parse().unwrap(), pool: None },
        change,
        reason: None,
        lasts: None,
        force: false,
        dry_run: false,
    }
}

fn pooled(backend: &str, pooled: Pooled) -> Command {
    command(backend, Change::Pooled { pooled })
}

fn weight(backend: &str, weight: u32) -> Command {
    command(backend, Change::Weight { weight: Some(weight.try_into().unwrap()) })
}

fn forced(command: Command) -> Command {
    Command { force: true, ..command }
}
