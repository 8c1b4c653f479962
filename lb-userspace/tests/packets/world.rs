//! A loaded object with its tables, and one packet through it, watched from all sides.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use aya::maps::{Map, MapData, PerCpuArray};
use lb_common::{
    counter::PinEvent,
    explain::{self, Explain},
    hash::HashKey,
    names,
    net::{ipv6::halves, l4},
    pin::Pin,
    reason::{Reason, Verdict},
    slot::{self, Slot},
};
use lb_userspace::{
    datapath::{
        Desired, DesiredBackend, DesiredPool, DesiredService,
        mapped::Mapped,
        object::Object,
        region::Region,
        tables::{Applied, Memory as _, Swept, Tables, U16Map, U64Map},
    },
    model::{
        BackendName, Disposition, GUE_PORT, Limits, Mac, Method, NextHop, PoolName, Protocol, Rules,
        UdpClass, Vip,
    },
};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{
    frame::{Flow, Kind, OURS, frame},
    model::{self, Hop, Seen},
};

const DROP: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;
const REDIRECT: u32 = 4;
/// The interface test frames come in by: loopback.
pub(crate) const INGRESS: u32 = 1;
const SECRET: [u8; 32] = [7; 32];
/// After so many ticks without use a slot is stable again.
pub(crate) const IDLE_SECONDS: u64 = 60;

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not forwarded.
    Stopped(Reason),
    /// Forwarded for a service to a backend (`pool/name`).
    Sent { service: String, backend: String, redirected: bool, frame: Vec<u8> },
}

impl Outcome {
    fn action(&self) -> u32 {
        match self {
            Self::Stopped(why) => match why.verdict() {
                Verdict::Pass => PASS,
                Verdict::Drop => DROP,
                Verdict::Answer => TX,
            },
            Self::Sent { redirected, .. } => {
                if *redirected {
                    REDIRECT
                } else {
                    TX
                }
            }
        }
    }

    /// The backend's name without its pool, or the reason's label.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Stopped(why) => why.as_str().to_owned(),
            Self::Sent { backend, .. } => backend.split('/').nth(1).unwrap().to_owned(),
        }
    }
}

/// Events of slots; those behind them are of tracked flows.
const SLOT_EVENTS: usize = PinEvent::Tracked as usize;

/// All counters, summed over CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// By number.
    pub(crate) reasons: Vec<u64>,
    /// By number.
    pub(crate) pins: Vec<u64>,
    /// Packets, bytes, SYNs, closes.
    pub(crate) services: BTreeMap<String, [u64; 4]>,
    /// By `pool/name`.
    pub(crate) backends: BTreeMap<String, [u64; 4]>,
}

impl Counts {
    /// What must have been counted for a frame with this outcome, the pins' events aside.
    pub(crate) fn add(&mut self, frame: &[u8], outcome: &Outcome) {
        match outcome {
            Outcome::Stopped(why) => self.reasons[*why as usize] += 1,
            Outcome::Sent { service, backend, .. } => {
                let flags = model::read(frame).unwrap().flags;
                let [syn, close] = [flags & 0x12 == 0x02, flags & 0x05 != 0].map(u64::from);
                let one = [1, frame.len() as u64, syn, close];
                for (map, name) in [(&mut self.services, service), (&mut self.backends, backend)] {
                    let sum = map.entry(name.clone()).or_default();
                    *sum = std::array::from_fn(|i| sum[i] + one[i]);
                }
            }
        }
    }

    pub(crate) fn pin(&self, event: PinEvent) -> u64 {
        self.pins[event as usize]
    }
}

/// See the module.
pub(crate) struct World {
    object: Object,
    pub(crate) tables: Tables<Mapped>,
    pub(crate) desired: Desired,
    report: Region,
    counters: [PerCpuArray<MapData, [u64; 2]>; 2],
    events: [PerCpuArray<MapData, [u64; 4]>; 2],
    words: [PerCpuArray<MapData, u64>; 2],
    /// The counters after the last watched packet, unless something unwatched happened since.
    counted: RefCell<Option<Counts>>,
}

impl World {
    /// Loads the program and writes the tables; `None`, loudly, without the privilege to.
    pub(crate) fn new(pins: u32, desired: Desired) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!(
                "SKIPPED: loading the program needs root. Type: sudo -E env \"PATH=$PATH\" cargo xtask test"
            );
            return None;
        }
        let limits = Limits { services: 64, backends: 64, pools: 16, slots: 2048, pins, ..Limits::default() };
        let object = Object::load(&limits, key(), None).unwrap();
        let settings = object.settings(&SECRET);
        let mapped = Mapped::new(&object).unwrap();
        let (tables, _) = Tables::adopt(mapped, &object.limits(), settings, object.now().unwrap()).unwrap();
        let data = |name| {
            Map::from_map_data(
                MapData::from_fd(object.map_fd(name).unwrap().try_clone_to_owned().unwrap()).unwrap(),
            )
            .unwrap()
        };
        let mut world = Self {
            report: object.region(names::EXPLAIN).unwrap(),
            counters: [names::SERVICE_COUNTERS, names::BACKEND_COUNTERS].map(|n| data(n).try_into().unwrap()),
            events: [names::SERVICE_EVENTS, names::BACKEND_EVENTS].map(|n| data(n).try_into().unwrap()),
            words: [names::REASON_COUNTERS, names::PIN_COUNTERS].map(|n| data(n).try_into().unwrap()),
            object,
            tables,
            desired,
            counted: RefCell::default(),
        };
        world.apply();
        Some(world)
    }

    fn now(&self) -> u16 {
        self.object.now().unwrap()
    }

    fn apply(&mut self) -> Applied {
        self.counted.take();
        let applied = self.tables.apply(&self.desired, self.now());
        assert!(applied.problem.is_none(), "{:?}", applied.problem);
        applied
    }

    /// Changes what is wanted and makes it so.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Desired)) -> Applied {
        change(&mut self.desired);
        self.desired.revision += 1;
        self.apply()
    }

    /// What the daemon does once a second.
    pub(crate) fn sweep(&mut self) -> Swept {
        self.sweep_later(0)
    }

    /// The same as if it were so many ticks later.
    pub(crate) fn sweep_later(&mut self, ticks: u16) -> Swept {
        self.counted.take();
        let now = self.now();
        self.tables.sweep(now.wrapping_add(ticks))
    }

    /// Lets `ticks` pass as far as slots and pins are concerned: everything in the tables was used so much longer ago.
    pub(crate) fn pass(&mut self, ticks: u16) {
        let memory = self.tables.memory();
        for map in [U16Map::Stamps, U16Map::Begins] {
            for i in 0..memory.len16(map) {
                memory.store16(map, i, memory.load16(map, i).wrapping_sub(ticks));
            }
        }
        for tier in [U64Map::Probation, U64Map::Protected] {
            for i in 0..memory.len64(tier) {
                let pin = Pin(memory.load64(tier, i));
                if pin.0 != 0 {
                    let older = pin.touched(pin.time().wrapping_sub(ticks), pin.closing());
                    memory.store64(tier, i, older.0);
                }
            }
        }
    }

    /// Live words of a tier of pins.
    pub(crate) fn pins(&self, tier: U64Map) -> Vec<Pin> {
        let memory = self.tables.memory();
        (0..memory.len64(tier)).map(|i| Pin(memory.load64(tier, i))).filter(|p| p.0 != 0).collect()
    }

    /// Buckets of a tier.
    pub(crate) fn buckets(&self, tier: U64Map) -> u32 {
        (self.tables.memory().len64(tier) / lb_common::pin::WAYS) as u32
    }

    /// All counters now.
    pub(crate) fn counts(&self) -> Counts {
        let four = |of: usize, index: u16| {
            let index = u32::from(index);
            let counters = self.counters[of].get(&index, 0).unwrap();
            let events = self.events[of].get(&index, 0).unwrap();
            let [packets, bytes] = counters.iter().fold([0; 2], |[p, b], cpu| [p + cpu[0], b + cpu[1]]);
            let [syns, fins, resets, _] =
                events.iter().fold([0; 4], |sum, cpu| std::array::from_fn(|i| sum[i] + cpu[i]));
            [packets, bytes, syns, fins + resets]
        };
        let [reasons, pins] = &self.words;
        let one = |map: &PerCpuArray<MapData, u64>| {
            (0..map.len()).map(|i| map.get(&i, 0).unwrap().iter().sum()).collect::<Vec<u64>>()
        };
        Counts {
            reasons: one(reasons),
            pins: one(pins)[..SLOT_EVENTS].to_vec(),
            services: self.tables.services().iter().map(|(n, i)| (n.to_string(), four(0, *i))).collect(),
            backends: self.tables.backends().map(|(i, id)| (id.to_string(), four(1, i))).collect(),
        }
    }

    /// Everything the program may write.
    fn written(&self) -> (Vec<u16>, Vec<u64>) {
        let memory = self.tables.memory();
        let stamps = (0..memory.len16(U16Map::Stamps)).map(|i| memory.load16(U16Map::Stamps, i));
        let pins = [U64Map::Probation, U64Map::Protected]
            .into_iter()
            .flat_map(|tier| (0..memory.len64(tier)).map(move |i| memory.load64(tier, i)));
        (stamps.collect(), pins.collect())
    }

    /// What the dry run says, after making sure that it agrees with itself.
    pub(crate) fn ask(&self, bytes: &[u8]) -> (Outcome, Explain) {
        let (action, out) = self.object.run_on(names::PROG_WHERE, bytes, None).unwrap();
        let words: [u64; size_of::<Explain>() / 8] =
            std::array::from_fn(|i| self.report.word(i).load(std::sync::atomic::Ordering::Acquire));
        let told = Explain::read_from_bytes(words.as_bytes()).unwrap();
        let outcome = if told.flags & explain::FORWARDED == 0 {
            Outcome::Stopped(Reason::ALL[told.reason as usize])
        } else {
            let name = |index: u16| {
                let of = |(i, name): (u16, String)| (i == index).then_some(name);
                (
                    self.tables.backends().find_map(|(i, id)| of((i, id.to_string()))),
                    self.tables.services().iter().find_map(|(n, i)| of((*i, n.to_string()))),
                )
            };
            Outcome::Sent {
                service: name(told.service).1.expect("a service with a name"),
                backend: name(told.backend).0.expect("a backend with a name"),
                redirected: action == REDIRECT,
                frame: out.clone(),
            }
        };
        assert_eq!(action, outcome.action(), "the dry run's action and its report differ: {told:?}");
        if action == PASS {
            assert_eq!(out, bytes, "a passed frame changed");
        }
        (outcome, told)
    }

    /// Asks the dry run, then sends the frame through the live program: same action, same bytes.
    pub(crate) fn send(&self, bytes: &[u8]) -> (Outcome, Explain) {
        let (outcome, told) = self.ask(bytes);
        self.counted.take();
        let (action, out) = self.object.run_on(names::PROG_LB, bytes, None).unwrap();
        assert_eq!(action, outcome.action(), "live program and dry run differ: {outcome:?} {told:?}");
        match &outcome {
            Outcome::Sent { frame, .. } => {
                assert_eq!(&out, frame, "live program and dry run write differently");
            }
            Outcome::Stopped(why) if why.verdict() == Verdict::Pass => {
                assert_eq!(out, bytes, "a passed frame changed");
            }
            Outcome::Stopped(_) => {}
        }
        (outcome, told)
    }

    /// [`Self::send`] with everything watched: the dry run writes nothing, the live program counts exactly this frame.
    pub(crate) fn watched(&self, bytes: &[u8]) -> (Outcome, Explain) {
        let written = self.written();
        let mut counts = self.counted.take().unwrap_or_else(|| self.counts());
        self.ask(bytes);
        assert_eq!(self.written(), written, "the dry run wrote pins or stamps");
        let (outcome, told) = self.send(bytes);
        counts.add(bytes, &outcome);
        let after = self.counts();
        if matches!(outcome, Outcome::Stopped(_)) || told.flags & explain::IN_TRANSITION == 0 {
            assert_eq!(after.pins, counts.pins, "no slot in transition, no event of one");
        }
        counts.pins.clone_from(&after.pins);
        assert_eq!(after, counts, "counters after {outcome:?}: the dry run or the live program miscounted");
        self.counted.replace(Some(after));
        (outcome, told)
    }

    /// Sends one packet of a flow, watched; where it went, in a word.
    pub(crate) fn packet(&self, flow: Flow, kind: Kind) -> String {
        self.watched(&frame(flow, kind)).0.short()
    }

    /// Where a packet of a flow would go, in a word.
    pub(crate) fn whereto(&self, flow: Flow, kind: Kind) -> String {
        self.ask(&frame(flow, kind)).0.short()
    }

    /// Slot and base of a pool's slot, and the hash, for what was read of a frame.
    pub(crate) fn slot(&self, pool: &PoolName, seen: &Seen) -> Option<(Slot, u16, u64)> {
        let memory = self.tables.memory();
        let index = self.tables.pools().find(|(_, name)| *name == pool)?.0;
        let range = memory.load64(U64Map::Pools, usize::from(index) * 2).to_ne_bytes();
        let [start, len] =
            [0, 4].map(|at| u32::from_ne_bytes([range[at], range[at + 1], range[at + 2], range[at + 3]]));
        let hash = hash(&seen.flow, seen.proto);
        let at = (start + slot::index(hash, len)) as usize;
        Some((Slot(memory.load16(U16Map::Slots, at)), memory.load16(U16Map::Bases, at), hash))
    }

    /// The specification's answer for a frame. `decide` is asked who owns a flow: slot, base, and what was read of the frame.
    pub(crate) fn expected(
        &self,
        bytes: &[u8],
        decide: impl FnOnce(Slot, u16, &Seen, UdpClass) -> u16,
    ) -> Outcome {
        self.judge(bytes, decide).unwrap_or_else(Outcome::Stopped)
    }

    fn judge(
        &self,
        bytes: &[u8],
        decide: impl FnOnce(Slot, u16, &Seen, UdpClass) -> u16,
    ) -> Result<Outcome, Reason> {
        let seen = model::read(bytes)?;
        let (name, service) = self.service(seen.flow.dst, seen.proto).ok_or(Reason::NotService)?;
        let pool = &self.desired.pools[&service.pool];
        let (slot, base, _) = self.slot(&service.pool, &seen).expect("every pool is in the tables");
        let owner = decide(slot, base, &seen, service.udp_class);
        if owner == 0 {
            return Err(Reason::NoBackend);
        }
        let (_, id) = self.tables.backends().find(|(i, _)| *i == owner).expect("an owner with a name");
        if seen.ttl < 2 {
            return Err(Reason::TtlExpired);
        }
        let next = pool.backends[&id.backend].next_hop.ok_or(Reason::Unresolved)?;
        if !model::can_retag(seen.tags, next.vlan) {
            return Err(Reason::VlanRewrite);
        }
        let hop =
            Hop { dst_mac: next.dst_mac.0, src_mac: next.src_mac.0, vlan: next.vlan, ifindex: next.ifindex };
        Ok(Outcome::Sent {
            service: name,
            backend: id.to_string(),
            redirected: hop.ifindex != INGRESS,
            frame: model::rewritten(bytes, &hop),
        })
    }

    fn service(&self, dst: SocketAddr, proto: u8) -> Option<(String, &DesiredService)> {
        let protocol = if proto == 6 { Protocol::Tcp } else { Protocol::Udp };
        let vip = Vip { addr: dst.ip(), port: dst.port(), protocol };
        let found = self.desired.services.iter().find(|(_, s)| s.endpoints.contains(&vip.into()))?;
        Some((found.0.to_string(), found.1))
    }
}

fn key() -> HashKey {
    HashKey::from_secret(&SECRET)
}

/// The hash of a flow, by its definition.
pub(crate) fn hash(flow: &Flow, proto: u8) -> u64 {
    let ports = u32::from_le_bytes(l4::ports(flow.src.port(), flow.dst.port()));
    match (flow.src.ip(), flow.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let [src, dst] = [src, dst].map(|a| u32::from_le_bytes(a.octets()));
            key().v4(src, dst, ports, proto)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            key().v6(halves(&src.octets()), halves(&dst.octets()), ports, proto)
        }
        families => panic!("{families:?}"),
    }
}

/// A stable slot's decision.
pub(crate) fn settled(slot: Slot, _: u16, _: &Seen, _: UdpClass) -> u16 {
    assert!(!slot.in_transition());
    slot.cur()
}

/// A backend named `bN` that serves, on the test's own interface.
pub(crate) fn backend(pool: u8, n: u8) -> (BackendName, DesiredBackend) {
    let backend = DesiredBackend {
        address: [10, 0, pool, n].into(),
        weight: 10.try_into().unwrap(),
        disposition: Disposition::Serving,
        next_hop: Some(NextHop {
            dst_mac: Mac([2, 0, 1, pool, 0, n]),
            src_mac: Mac(OURS),
            ifindex: INGRESS,
            vlan: 0,
            mtu: 1500,
            gateway: None,
            source: None,
        }),
        method: Method::Dr,
        gue_port: GUE_PORT,
        server_id: None,
    };
    (format!("b{n}").parse().unwrap(), backend)
}

/// A pool of `backends` backends.
pub(crate) fn pool(number: u8, slots: u32, backends: u8) -> DesiredPool {
    DesiredPool {
        slots,
        idle: Duration::from_secs(IDLE_SECONDS),
        drain_timeout: Duration::from_secs(10_000),
        backends: (1..=backends).map(|n| backend(number, n)).collect(),
    }
}

/// Adds a pool, and its services on `203.0.113.N` and `2001:db8::N`: `NAME-tcp` on port 80, `NAME-udp` on port 53 (class `dns`), and
/// `NAME-flow` on UDP port 4433 (class `flow`).
pub(crate) fn site(desired: &mut Desired, name: &str, number: u8, pool: DesiredPool) {
    let pool_name: PoolName = name.parse().unwrap();
    desired.pools.insert(pool_name.clone(), pool);
    let services = [
        ("tcp", 80, Protocol::Tcp, UdpClass::Dns),
        ("udp", 53, Protocol::Udp, UdpClass::Dns),
        ("flow", 4433, Protocol::Udp, UdpClass::Flow),
    ];
    for (suffix, port, protocol, udp_class) in services {
        let four = IpAddr::from([203, 0, 113, number]);
        let six = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)]);
        let service = DesiredService {
            endpoints: [four, six].map(|addr| Vip { addr, port, protocol }.into()).to_vec(),
            pool: pool_name.clone(),
            udp_class,
            rules: Rules::default(),
        };
        desired.services.insert(format!("{name}-{suffix}").parse().unwrap(), service);
    }
}

/// Counts named flows; a shorthand for tests.
pub(crate) fn tally<'a>(owners: impl Iterator<Item = &'a String>) -> HashMap<String, usize> {
    owners.fold(HashMap::new(), |mut sum, owner| {
        *sum.entry(owner.clone()).or_default() += 1;
        sum
    })
}
