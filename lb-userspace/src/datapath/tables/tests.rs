use std::{collections::BTreeSet, rc::Rc};

use super::{
    rule::{Bank, Kernel},
    *,
};
use crate::{
    datapath::{DesiredBackend, DesiredPool, DesiredService, digest, digest::mix},
    model::{BackendName, Disposition, GUE_PORT, Mac, Method, NextHop, Protocol, Rules, UdpClass, Vip},
};

mod adoption;
mod crash;
mod flows;
mod limits;
mod shapes;

const IDLE: u16 = 20;
const DRAIN: u64 = 200;

fn settings() -> Settings {
    Settings { seed: 7, tick: Duration::from_secs(1), pin_idle: IDLE, ingress_mtu: 1500 }
}

fn small() -> Limits {
    Limits { services: 16, backends: 30, pools: 4, slots: 4096, pins: 65_536, ..Limits::default() }
}

fn bank() -> Rc<Bank> {
    Bank::new(4096, 4, 32)
}

fn pool_name(name: &str) -> PoolName {
    name.parse().unwrap()
}

fn backend_name(n: u8) -> BackendName {
    format!("cp{n:03}").parse().unwrap()
}

fn backend(n: u8) -> DesiredBackend {
    DesiredBackend {
        address: [10, 0, 0, n].into(),
        weight: 10.try_into().unwrap(),
        disposition: Disposition::Serving,
        next_hop: Some(NextHop {
            dst_mac: Mac([2, 0, 0, 0, 0, n]),
            src_mac: Mac([2, 0, 0, 0, 1, 0]),
            ifindex: 3,
            vlan: 0,
            mtu: 1500,
            gateway: None,
            source: None,
        }),
        method: Method::Dr,
        gue_port: GUE_PORT,
        server_id: None,
    }
}

fn id(pool: &str, n: u8) -> u64 {
    digest::backend_id(&pool_name(pool), &backend_name(n), [10, 0, 0, n].into())
}

fn pool(slots: u32, backends: std::ops::Range<u8>) -> DesiredPool {
    DesiredPool {
        slots,
        idle: Duration::from_secs(IDLE.into()),
        drain_timeout: Duration::from_secs(DRAIN),
        backends: backends.map(|n| (backend_name(n), backend(n))).collect(),
    }
}

fn service(pool: &str, port: u16) -> DesiredService {
    let vip = |addr: &str| Vip { addr: addr.parse().unwrap(), port, protocol: Protocol::Tcp }.into();
    DesiredService {
        endpoints: vec![vip("203.0.113.10"), vip("2001:db8::10")],
        pool: pool_name(pool),
        udp_class: UdpClass::Dns,
        rules: Rules::default(),
    }
}

/// One pool `text` with `backends` and a service on port 443.
fn desired(slots: u32, backends: std::ops::Range<u8>) -> Desired {
    let mut desired = Desired::default();
    desired.pools.insert(pool_name("text"), pool(slots, backends));
    desired.services.insert("text-https".parse().unwrap(), service("text", 443));
    desired
}

fn text(desired: &mut Desired) -> &mut DesiredPool {
    desired.pools.get_mut("text").unwrap()
}

fn set(desired: &mut Desired, n: u8, disposition: Disposition) {
    text(desired).backends.get_mut(&backend_name(n)).unwrap().disposition = disposition;
}

/// An established flow and who has its connection.
#[derive(Clone, Copy, Debug)]
struct Flow {
    hash: u64,
    owner: u64,
}

/// A balancer with its clients.
#[derive(Debug)]
struct Site {
    kernel: Kernel,
    tables: Tables<Rc<Bank>>,
    desired: Desired,
    flows: Vec<Flow>,
    opened: u64,
    probed: u64,
}

impl Site {
    fn new(desired: Desired) -> Self {
        let bank = bank();
        let (tables, _) = Tables::adopt(Rc::clone(&bank), &small(), settings(), 65_500).unwrap();
        let mut site = Self {
            kernel: Kernel { bank, tick: 65_500, pin_idle: IDLE },
            tables,
            desired,
            flows: Vec::new(),
            opened: 0,
            probed: 0,
        };
        site.apply();
        site
    }

    fn apply(&mut self) -> Applied {
        let applied = self.tables.apply(&self.desired, self.kernel.tick);
        assert!(applied.problem.is_none(), "{:?}", applied.problem);
        applied
    }

    fn change(&mut self, change: impl FnOnce(&mut Desired)) -> Applied {
        change(&mut self.desired);
        self.apply()
    }

    /// Opens connections: a first packet, then the answer's acknowledgement.
    fn open(&mut self, flows: u64) {
        for _ in 0..flows {
            self.opened += 1;
            let hash = mix(self.opened);
            let owner = self.kernel.packet(0, hash, true);
            assert_ne!(owner, 0, "a new connection finds a backend");
            self.flows.push(Flow { hash, owner });
            assert_eq!(self.kernel.packet(0, hash, false), owner);
        }
    }

    /// Every flow sends a packet; the owners' ids of those that came to somebody else.
    fn talk(&self) -> BTreeSet<u64> {
        self.flows
            .iter()
            .filter(|flow| self.kernel.packet(0, flow.hash, false) != flow.owner)
            .map(|flow| flow.owner)
            .collect()
    }

    fn assert_nothing_moved(&self, when: &str) {
        assert_eq!(self.talk(), BTreeSet::new(), "{when}");
    }

    /// Lets time pass while all flows talk, and new ones come and old ones go.
    fn run(&mut self, ticks: u16, when: &str) {
        for t in 0..ticks {
            self.kernel.tick = self.kernel.tick.wrapping_add(1);
            if t % 3 == 0 {
                self.assert_nothing_moved(when);
                self.open(20);
                self.flows.drain(..10);
            }
            self.tables.sweep(self.kernel.tick);
        }
    }

    /// Lets time pass in silence.
    fn rest(&mut self, ticks: u16) -> Vec<Swept> {
        (0..ticks)
            .map(|_| {
                self.kernel.tick = self.kernel.tick.wrapping_add(1);
                self.tables.sweep(self.kernel.tick)
            })
            .collect()
    }

    fn status(&self) -> PoolStatus {
        self.tables.status()[&pool_name("text")].clone()
    }

    /// Who gets new connections.
    fn owners(&mut self) -> BTreeSet<u64> {
        // Flows of their own each time: those of the last time may be pinned.
        self.probed += 1000;
        (self.probed - 1000..self.probed).map(|n| self.kernel.packet(0, mix(!n), true)).collect()
    }
}
