//! The worlds that packets are measured in: the real tables, written by the product's own code.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use aya::programs::ProgramFd;
use etherparse::PacketBuilder;
use lb_common::{hash::HashKey, names, slot::SLOTS_PER_LINE};
use lb_userspace::{
    datapath::{
        Desired, DesiredBackend, DesiredPool, DesiredService, mapped::Mapped, object::Object, tables::Tables,
    },
    model::{
        BackendName, Disposition, GUE_PORT, Limits, Mac, Method, NextHop, PoolName, Protocol, Rules,
        UdpClass, Vip,
    },
};

use crate::{
    driver::{Case, Target},
    report::Rebuild,
};

/// XDP actions.
const PASS: u32 = 2;
const TX: u32 = 3;
/// Slots of a full-size pool.
const SLOTS: u32 = 65_537;
const SECRET: [u8; 32] = [7; 32];
const CLIENT: [u8; 4] = [10, 0, 0, 1];
/// The first service's address; the others follow.
const VIP: [u8; 4] = [10, 200, 0, 0];
const NOBODY: [u8; 4] = [10, 210, 0, 0];
/// Of every service.
pub(crate) const PORT: u16 = 80;

/// A loaded program with its tables.
pub(crate) struct World {
    object: Object,
    tables: Tables<Mapped>,
    desired: Desired,
}

impl World {
    /// `services` addresses, spread over `pools` pools of `backends` each.
    fn new(services: u32, pools: u32, backends: u32) -> Result<Self> {
        let limits = Limits {
            services: (services * 2).max(1024),
            backends: pools * backends,
            pools,
            slots: pools * SLOTS.next_multiple_of(SLOTS_PER_LINE),
            ..Limits::default()
        };
        let mut world = Self::empty(&limits, desired(services, pools, backends)?)?;
        world.apply()?;
        Ok(world)
    }

    /// Tables with nothing in them.
    fn empty(limits: &Limits, desired: Desired) -> Result<Self> {
        let object = Object::load(limits, HashKey::from_secret(&SECRET), None)?;
        let settings = object.settings(&SECRET);
        let (tables, _) = Tables::adopt(Mapped::new(&object)?, &object.limits(), settings, object.now()?)?;
        Ok(Self { object, tables, desired })
    }

    fn apply(&mut self) -> Result<()> {
        let applied = self.tables.apply(&self.desired, self.object.now()?);
        ensure!(applied.problem.is_none(), "{:?}", applied.problem);
        Ok(())
    }

    /// The program that forwards.
    pub(crate) fn program(&self) -> Result<ProgramFd> {
        Ok(self.object.with_program(names::PROG_LB, |p| Ok(p.fd().map(ProgramFd::try_clone)))???)
    }
}

fn desired(services: u32, pools: u32, backends: u32) -> Result<Desired> {
    let name = |n: u32| -> Result<PoolName> { Ok(format!("p{n}").parse()?) };
    let mut all = Desired { revision: 1, ..Desired::default() };
    for pool in 0..pools {
        let backends = (0..backends)
            .map(|b| Ok((format!("b{b}").parse::<BackendName>()?, backend(pool * backends + b)?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let wanted = DesiredPool {
            slots: SLOTS,
            idle: Duration::from_mins(5),
            drain_timeout: Duration::from_hours(1),
            backends,
        };
        all.pools.insert(name(pool)?, wanted);
    }
    for service in 0..services {
        let four = Ipv4Addr::from(u32::from_be_bytes(VIP) + service);
        let endpoint = |addr, protocol| Vip { addr, port: PORT, protocol }.into();
        for (suffix, protocol) in [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)] {
            let wanted = DesiredService {
                endpoints: vec![
                    endpoint(IpAddr::V4(four), protocol),
                    endpoint(IpAddr::V6(six(four.octets())), protocol),
                ],
                pool: name(service % pools)?,
                udp_class: UdpClass::Dns,
                rules: Rules::default(),
            };
            all.services.insert(format!("s{service}-{suffix}").parse()?, wanted);
        }
    }
    Ok(all)
}

fn backend(n: u32) -> Result<DesiredBackend> {
    let [_, a, b, c] = n.to_be_bytes();
    Ok(DesiredBackend {
        address: IpAddr::V4(Ipv4Addr::new(10, 100 + a, b, c)),
        weight: 10.try_into()?,
        disposition: Disposition::Serving,
        // Interface 1 is the one test frames come in by, so the action is XDP_TX.
        next_hop: Some(NextHop {
            dst_mac: Mac([2, 0, 1, a, b, c]),
            src_mac: Mac([2, 0, 0, 0, 0, 1]),
            ifindex: 1,
            vlan: 0,
            mtu: 1500,
        }),
        method: Method::Dr,
        gue_port: GUE_PORT,
        server_id: None,
    })
}

/// An IPv6 address that ends in an IPv4 one.
fn six(four: [u8; 4]) -> Ipv6Addr {
    let [a, b, c, d] = four.map(u16::from);
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, a << 8 | b, c << 8 | d)
}

/// The kinds of packets measured, 64 bytes on the wire or as short as the headers allow.
enum Kind {
    Ack,
    Syn,
    Udp,
}

fn frame4(dst: [u8; 4], kind: &Kind) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1]).ipv4(CLIENT, dst, 64);
    match kind {
        Kind::Ack => ip.tcp(1024, PORT, 1, 65_535).ack(1).write(&mut frame, &[0; 10])?,
        Kind::Syn => ip.tcp(1024, PORT, 1, 65_535).syn().write(&mut frame, &[0; 10])?,
        Kind::Udp => ip.udp(1024, PORT).write(&mut frame, &[0; 22])?,
    }
    Ok(frame)
}

fn frame6(dst: [u8; 4]) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1])
        .ipv6(six(CLIENT).octets(), six(dst).octets(), 64)
        .tcp(1024, PORT, 1, 65_535)
        .ack(1)
        .write(&mut frame, &[0; 10])?;
    Ok(frame)
}

/// The rows of the report; the first is the zero.
pub(crate) fn cases() -> Result<Vec<Case>> {
    const HOT: u64 = 256;
    const MILLION: u64 = 1 << 20;
    const FOUR_EACH: u64 = 4 * 4096;
    let one = Rc::new(World::new(1, 1, 20)?);
    let many_backends = Rc::new(World::new(1, 1, 4096)?);
    let many_pools = Rc::new(World::new(64, 64, 20)?);
    let own = |name, program, action| -> Result<Case> {
        Ok(Case::new(name, frame4(VIP, &Kind::Ack)?, Target::Own(program), action))
    };
    let ours = |name, frame: Result<Vec<u8>>, world: &Rc<World>, action| -> Result<Case> {
        Ok(Case::new(name, frame?, Target::Ours(world.clone()), action))
    };
    Ok(vec![
        own("pass", "bench_pass", PASS)?.flows(HOT),
        own("floor_tx", "bench_floor_tx", TX)?.flows(HOT),
        ours("v4_tcp_hot", frame4(VIP, &Kind::Ack), &one, TX)?.flows(HOT),
        ours("v4_tcp_1m", frame4(VIP, &Kind::Ack), &one, TX)?.flows(MILLION),
        ours("v6_tcp_hot", frame6(VIP), &one, TX)?.flows(HOT),
        ours("v4_udp_hot", frame4(VIP, &Kind::Udp), &one, TX)?.flows(HOT),
        ours("v4_syn_new", frame4(VIP, &Kind::Syn), &one, TX)?.flows(MILLION),
        ours("not_ours", frame4(NOBODY, &Kind::Ack), &one, PASS)?.flows(HOT),
        // Growth in one dimension each, against `v4_tcp_hot`: among many services, to many backends, to many pools …
        ours("v4_services_10k", frame4(VIP, &Kind::Ack), &Rc::new(World::new(10_000, 1, 20)?), TX)?
            .flows(HOT),
        ours("v4_backends_4096", frame4(VIP, &Kind::Ack), &many_backends, TX)?.flows(FOUR_EACH),
        ours("v4_pools_64", frame4(VIP, &Kind::Ack), &many_pools, TX)?.flows(HOT).services(64),
        // … and the worst that they can do to the caches: every service hit in turn, a million flows.
        ours("v4_services_8k_hit", frame4(VIP, &Kind::Ack), &Rc::new(World::new(8_192, 1, 20)?), TX)?
            .flows(HOT)
            .services(8_192),
        ours("v4_backends_4096_1m", frame4(VIP, &Kind::Ack), &many_backends, TX)?.flows(MILLION),
        ours("v4_pools_64_1m", frame4(VIP, &Kind::Ack), &many_pools, TX)?.flows(MILLION).services(64),
    ])
}

/// Times rebuilding and writing a pool's slots: all of them, and after one backend went down.
pub(crate) fn rebuild() -> Result<Vec<Rebuild>> {
    const TRIES: usize = 5;
    let ms = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
    let mut rows = Vec::new();
    for backends in [20, 100] {
        let (mut whole, mut flap) = (f64::MAX, f64::MAX);
        for _ in 0..TRIES {
            let limits = Limits { backends, ..Limits::default() };
            let mut world = World::empty(&limits, desired(1, 1, backends)?)?;
            let began = Instant::now();
            world.apply()?;
            whole = whole.min(ms(began));
            if let Some(b) =
                world.desired.pools.values_mut().next().and_then(|p| p.backends.values_mut().next())
            {
                b.disposition = Disposition::Down;
            }
            world.desired.revision += 1;
            let began = Instant::now();
            world.apply()?;
            flap = flap.min(ms(began));
        }
        rows.push(Rebuild { backends: backends as usize, ms: whole, flap_ms: flap });
    }
    Ok(rows)
}
