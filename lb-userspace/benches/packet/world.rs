//! The worlds that packets are measured in: the real tables, written by the product's own code.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    time::Duration,
};

use anyhow::{Result, ensure};
use aya::programs::{ProgramFd, XdpMode};
use lb_common::{hash::HashKey, names, slot::SLOTS_PER_LINE};
use lb_userspace::{
    datapath::{
        Desired, DesiredBackend, DesiredPool, DesiredService,
        mapped::Mapped,
        object::{OBJECT, Object},
        tables::Tables,
    },
    model::{
        BackendName, Disposition, GUE_PORT, Limits, Mac, Method, NextHop, PoolName, Protocol, Rules,
        Scheduler, Tracking, UdpClass, Vip,
    },
};

use crate::frame::{PORT, VIP, six};

const SECRET: [u8; 32] = [7; 32];
/// Loopback: the interface test frames come in by.
const LOOPBACK: u32 = 1;

/// What a world is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// Addresses, each with a TCP and a UDP service in both families, spread over the pools.
    pub(crate) services: u32,
    /// Pools.
    pub(crate) pools: u32,
    /// Backends of each.
    pub(crate) backends: u32,
    /// Slots of each.
    pub(crate) slots: u32,
    /// Pins there is room for.
    pub(crate) pins: u32,
    /// The interface backends are behind.
    pub(crate) ifindex: u32,
    /// The backends' addresses are of IPv6.
    pub(crate) six: bool,
    /// How packets reach them.
    pub(crate) method: Method,
    /// What services do with flows.
    pub(crate) rule: Rule,
    /// Another build of our program than the one in this binary.
    pub(crate) object: Option<&'static [u8]>,
}

/// What a site's services do with flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing: slots decide.
    Plain,
    /// They remember each.
    Tracked,
    /// They send new ones where there are fewest.
    LeastConnections,
    /// They refuse many clients, none of those that come.
    Blocking,
}

/// A small site with full-size tables.
pub(crate) const SMALL: Site = Site {
    services: 1,
    pools: 1,
    backends: 20,
    slots: 65_537,
    pins: 1 << 20,
    ifindex: LOOPBACK,
    six: false,
    method: Method::Dr,
    rule: Rule::Plain,
    object: None,
};

/// A loaded program with its tables.
pub(crate) struct World {
    pub(crate) object: Object,
    tables: Tables<Mapped>,
    pub(crate) desired: Desired,
}

/// A world that is made when a packet first needs it.
#[derive(Clone)]
pub(crate) struct Planned {
    site: Site,
    make: fn(Site) -> Result<World>,
    made: Rc<OnceCell<World>>,
}

impl Planned {
    /// The world.
    pub(crate) fn world(&self) -> Result<&World> {
        if let Some(world) = self.made.get() {
            return Ok(world);
        }
        let world = (self.make)(self.site)?;
        Ok(self.made.get_or_init(|| world))
    }

    /// If it was needed already.
    pub(crate) fn made(&self) -> Option<&World> {
        self.made.get()
    }
}

impl Site {
    /// All backends serve, all slots are stable.
    pub(crate) fn stable(self) -> Planned {
        self.plan(|site| site.world(|_| Disposition::Serving))
    }

    /// Of the backends every second serves first and then drains, when the others begin to serve: all slots are in transition.
    pub(crate) fn moving(self) -> Planned {
        self.plan(Self::move_all)
    }

    fn plan(self, make: fn(Self) -> Result<World>) -> Planned {
        Planned { site: self, make, made: Rc::default() }
    }

    fn move_all(self) -> Result<World> {
        let mut world = self.world(|n| if n % 2 == 0 { Disposition::Serving } else { Disposition::Down })?;
        for pool in world.desired.pools.values_mut() {
            for backend in pool.backends.values_mut() {
                backend.disposition = match backend.disposition {
                    Disposition::Serving => Disposition::Draining,
                    _ => Disposition::Serving,
                };
            }
        }
        world.desired.revision += 1;
        world.apply()?;
        for (name, pool) in world.tables.status() {
            ensure!(pool.in_transition == pool.slots, "pool {name}: {} slots moved", pool.in_transition);
        }
        Ok(world)
    }

    fn world(self, disposition: impl Fn(u32) -> Disposition) -> Result<World> {
        let mut world = self.empty(disposition)?;
        world.apply()?;
        Ok(world)
    }

    /// Tables with nothing in them.
    pub(crate) fn empty(self, disposition: impl Fn(u32) -> Disposition) -> Result<World> {
        let limits = Limits {
            services: (self.services * 2).max(1024),
            backends: self.pools * self.backends,
            pools: self.pools,
            slots: self.pools * self.slots.next_multiple_of(SLOTS_PER_LINE),
            pins: self.pins,
            ..Limits::default()
        };
        let key = HashKey::from_secret(&SECRET);
        let object = Object::load_bytes(self.object.unwrap_or(OBJECT), &limits, key, None)?;
        let settings = object.settings(&SECRET);
        let (tables, _) = Tables::adopt(Mapped::new(&object)?, &object.limits(), settings, object.now()?)?;
        Ok(World { object, tables, desired: self.desired(disposition)? })
    }

    fn desired(self, disposition: impl Fn(u32) -> Disposition) -> Result<Desired> {
        let name = |n: u32| -> Result<PoolName> { Ok(format!("p{n}").parse()?) };
        let mut all = Desired { revision: 1, ..Desired::default() };
        for pool in 0..self.pools {
            let backends = (0..self.backends)
                .map(|n| {
                    let disposition = disposition(n);
                    let backend = DesiredBackend { disposition, ..self.backend(pool * self.backends + n)? };
                    Ok((format!("b{n}").parse::<BackendName>()?, backend))
                })
                .collect::<Result<BTreeMap<_, _>>>()?;
            let wanted = DesiredPool {
                slots: self.slots,
                idle: Duration::from_mins(5),
                drain_timeout: Duration::from_hours(1),
                backends,
            };
            all.pools.insert(name(pool)?, wanted);
        }
        for service in 0..self.services {
            let four = Ipv4Addr::from(u32::from_be_bytes(VIP) + service);
            let endpoint = |addr, protocol| Vip { addr, port: PORT, protocol }.into();
            for (suffix, protocol) in [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)] {
                let wanted = DesiredService {
                    endpoints: vec![
                        endpoint(IpAddr::V4(four), protocol),
                        endpoint(IpAddr::V6(six(four.octets())), protocol),
                    ],
                    pool: name(service % self.pools)?,
                    udp_class: UdpClass::Dns,
                    rules: self.rules()?,
                };
                all.services.insert(format!("s{service}-{suffix}").parse()?, wanted);
            }
        }
        Ok(all)
    }

    fn rules(self) -> Result<Rules> {
        let plain = Rules::default();
        Ok(match self.rule {
            Rule::Plain => plain,
            Rule::Tracked => Rules { tracking: Tracking::Always, ..plain },
            Rule::LeastConnections => {
                Rules { tracking: Tracking::Always, scheduler: Scheduler::Wlc, ..plain }
            }
            Rule::Blocking => {
                let block = (0..1024u32).map(|n| {
                    let [_, _, a, b] = n.to_be_bytes();
                    Ok(format!("192.{a}.{b}.0/24").parse()?)
                });
                Rules { block: block.collect::<Result<_>>()?, ..plain }
            }
        })
    }

    fn backend(self, n: u32) -> Result<DesiredBackend> {
        let [_, a, b, c] = n.to_be_bytes();
        let four = [10, 100 + a, b, c];
        Ok(DesiredBackend {
            address: if self.six { IpAddr::V6(six(four)) } else { IpAddr::V4(four.into()) },
            weight: 10.try_into()?,
            disposition: Disposition::Serving,
            next_hop: Some(NextHop {
                dst_mac: Mac([2, 0, 1, a, b, c]),
                src_mac: Mac([2, 0, 0, 0, 0, 1]),
                ifindex: self.ifindex,
                vlan: 0,
                mtu: 1500,
                gateway: None,
                source: None,
            }),
            method: self.method,
            gue_port: GUE_PORT,
            server_id: None,
        })
    }
}

impl World {
    /// Writes what is desired.
    pub(crate) fn apply(&mut self) -> Result<()> {
        let applied = self.tables.apply(&self.desired, self.object.now()?);
        ensure!(applied.problem.is_none(), "{:?}", applied.problem);
        Ok(())
    }

    /// The program that forwards.
    pub(crate) fn program(&self) -> Result<ProgramFd> {
        Ok(self.object.with_program(names::PROG_LB, |p| Ok(p.fd().map(ProgramFd::try_clone)))???)
    }

    /// Attaches it to an interface, for as long as this process lives.
    pub(crate) fn attach(&self, interface: &str) -> Result<()> {
        self.object.with_program(names::PROG_LB, |p| Ok(p.attach(interface, XdpMode::Driver)))??;
        Ok(())
    }

    /// Its size: instructions that the verifier looked at, that are left after it, and bytes of machine code.
    pub(crate) fn size(&self) -> Result<[u32; 3]> {
        let info = self.object.with_program(names::PROG_LB, |p| Ok(p.info()))??;
        let bytes = info.size_translated().unwrap_or_default();
        Ok([info.verified_instruction_count().unwrap_or_default(), bytes / 8, info.size_jitted()])
    }
}
