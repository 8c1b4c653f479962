//! A loaded program with tables.

use std::{net::Ipv4Addr, time::Duration};

use lb_common::{counter::PinEvent, hash::HashKey, names, net::csum, pin::Pin};
use lb_userspace::{
    datapath::{
        Desired, DesiredBackend, DesiredPool, DesiredService,
        mapped::Mapped,
        object::Object,
        tables::{Memory as _, Swept, Tables, U16Map, U64Map},
    },
    model::{BackendName, Disposition, Limits, Mac, Method, NextHop, Protocol, Rules, UdpClass, Vip},
};

const SECRET: [u8; 32] = [9; 32];
const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const LOOPBACK: u32 = 1;
const TX: u32 = 3;
/// A slot in transition is stable again after so long a silence of everybody but its owner.
pub(crate) const IDLE: u64 = 300;
/// The service.
const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flags {
    Syn = 0x02,
    Ack = 0x10,
    Fin = 0x11,
}

/// See the module.
pub(crate) struct Balancer {
    object: Object,
    tables: Tables<Mapped>,
    pub(crate) desired: Desired,
}

/// A pool of one TCP service with so many backends, numbered from 1.
pub(crate) fn pool(backends: u8) -> Desired {
    let mut desired = Desired::default();
    let name: lb_userspace::model::PoolName = "cache".parse().unwrap();
    desired.pools.insert(
        name.clone(),
        DesiredPool {
            slots: 1021,
            idle: Duration::from_secs(IDLE),
            drain_timeout: Duration::from_hours(8),
            backends: (1..=backends).map(backend).collect(),
        },
    );
    let service = DesiredService {
        endpoints: vec![Vip { addr: VIP.into(), port: 80, protocol: Protocol::Tcp }.into()],
        pool: name,
        udp_class: UdpClass::Dns,
        rules: Rules::default(),
    };
    desired.services.insert("web".parse().unwrap(), service);
    desired
}

/// A backend by its number; its MAC address ends with it.
pub(crate) fn backend(n: u8) -> (BackendName, DesiredBackend) {
    let backend = DesiredBackend {
        address: [10, 0, 0, n].into(),
        weight: 10.try_into().unwrap(),
        disposition: Disposition::Serving,
        next_hop: Some(NextHop {
            dst_mac: Mac([2, 0, 1, 0, 0, n]),
            src_mac: Mac(OURS),
            ifindex: LOOPBACK,
            vlan: 0,
            mtu: 1500,
            gateway: None,
            source: None,
        }),
        method: Method::Dr,
        gue_port: 0,
        server_id: None,
    };
    (name(n), backend)
}

/// A backend's name.
pub(crate) fn name(n: u8) -> BackendName {
    format!("cp{n}").parse().unwrap()
}

impl Balancer {
    /// Loads the program and writes the tables, with room for so many pins; `None`, loudly, without the privilege to.
    pub(crate) fn new(desired: Desired, pins: u32) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!(
                "SKIPPED: loading the program needs root. Type: sudo -E env \"PATH=$PATH\" cargo xtask test"
            );
            return None;
        }
        let limits = Limits {
            services: 16,
            backends: 64,
            pools: 4,
            slots: 4096,
            pins,
            flows: 8192,
            sources: 1024,
            ..Limits::default()
        };
        let object = Object::load(&limits, HashKey::from_secret(&SECRET), None).unwrap();
        let settings = object.settings(&SECRET);
        let mapped = Mapped::new(&object).unwrap();
        let now = object.now().unwrap();
        let (tables, _) = Tables::adopt(mapped, &object.limits(), settings, now).unwrap();
        let mut balancer = Self { object, tables, desired };
        balancer.apply();
        Some(balancer)
    }

    /// Changes what is wanted of a backend, and makes it so.
    pub(crate) fn set(&mut self, n: u8, change: impl FnOnce(&mut DesiredBackend)) {
        let pool = self.desired.pools.values_mut().next().unwrap();
        change(pool.backends.get_mut(&name(n)).unwrap());
        self.apply();
    }

    /// Makes what is wanted so.
    pub(crate) fn apply(&mut self) {
        self.desired.revision += 1;
        let applied = self.tables.apply(&self.desired, self.object.now().unwrap());
        assert!(applied.problem.is_none(), "{:?}", applied.problem);
    }

    /// A second passes, and the daemon does its second's work.
    pub(crate) fn second(&mut self) -> Swept {
        let memory = self.tables.memory();
        for map in [U16Map::Stamps, U16Map::Begins] {
            for i in 0..memory.len16(map) {
                memory.store16(map, i, memory.load16(map, i).wrapping_sub(1));
            }
        }
        for map in [U64Map::Probation, U64Map::Protected, U64Map::Flows, U64Map::FlowsNew] {
            for i in 0..memory.len64(map) {
                let pin = Pin(memory.load64(map, i));
                if pin.0 != 0 {
                    memory.store64(map, i, pin.touched(pin.time().wrapping_sub(1), pin.closing()).0);
                }
            }
        }
        self.tables.sweep(self.object.now().unwrap())
    }

    /// The backend that gets a packet; `None` if it is dropped.
    pub(crate) fn packet(&self, src: Ipv4Addr, port: u16, flags: Flags) -> Option<u8> {
        let (action, out) = self.object.run_on(names::PROG_LB, &frame(src, port, flags), None).unwrap();
        (action == TX).then(|| out[5])
    }

    /// Slots in transition.
    pub(crate) fn in_transition(&self) -> u32 {
        self.tables.status().values().map(|pool| pool.in_transition).sum()
    }

    /// How often something happened to pins.
    pub(crate) fn event(&self, event: PinEvent) -> u64 {
        let fd = self.object.map_fd(names::PIN_COUNTERS).unwrap().try_clone_to_owned().unwrap();
        let data = aya::maps::MapData::from_fd(fd).unwrap();
        let map: aya::maps::PerCpuArray<_, u64> =
            aya::maps::Map::from_map_data(data).unwrap().try_into().unwrap();
        map.get(&(event as u32), 0).unwrap().iter().sum()
    }
}

/// Ethernet, IPv4, TCP without data.
fn frame(src: Ipv4Addr, port: u16, flags: Flags) -> Vec<u8> {
    let mut frame = [&OURS[..], &[2, 0, 0, 0, 9, 9], &[8, 0]].concat();
    let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    ip.extend(src.octets());
    ip.extend(VIP.octets());
    let sum = csum::full(&ip);
    ip[10..12].copy_from_slice(&sum);
    frame.extend(ip);
    frame.extend(port.to_be_bytes());
    frame.extend(80u16.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, flags as u8, 0xff, 0xff, 0, 0, 0, 0]);
    // The shortest frame of Ethernet.
    frame.resize(60, 0);
    frame
}
