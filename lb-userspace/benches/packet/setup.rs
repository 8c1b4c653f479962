//! The worlds that packets are measured in.

use std::{rc::Rc, sync::atomic::Ordering};

use anyhow::Result;
use aya::programs::ProgramFd;
use etherparse::PacketBuilder;
use lb_common::{
    hash::HashKey,
    names,
    service::{Key4, Key6},
};
use lb_userspace::{datapath::object::Object, model::Limits};

use crate::{
    driver::{Case, Target},
    report::Rebuild,
};

const PASS: u32 = 2;
const TX: u32 = 3;

/// A loaded program with its tables filled.
pub(crate) struct World {
    object: Object,
}

impl World {
    pub(crate) fn program(&self) -> Result<&ProgramFd> {
        Ok(self.object.program_fd(names::PROG_LB)?)
    }
}

/// services x pools x backends.
fn world(services: u32, pools: u32, backends: u32) -> Result<Rc<World>> {
    let limits = Limits { slots: (pools * 65568).max(1 << 17), ..Limits::default() };
    let object = Object::load(&limits, HashKey::from_secret(&[7; 32]), None)?;
    let r = |n| object.region(n);
    let (s4, s6, p, sl, b) =
        (r(names::SERVICES4)?, r(names::SERVICES6)?, r(names::POOLS)?, r(names::SLOTS)?, r(names::BACKENDS)?);
    let per = backends;
    for pool in 0..pools {
        let start = pool * 65568;
        p.word(pool as usize * 2).store(u64::from(start) | 65537 << 32, Ordering::Relaxed);
        for i in 0..65537u32 {
            let be = 1 + pool * per + (i.wrapping_mul(2654435761) >> 7) % per;
            sl.half((start + i) as usize).store(be as u16, Ordering::Relaxed);
        }
    }
    for be in 1..=(pools * per) as usize {
        b.word(be * 8).store(0x0000_0500_0000_0002 + ((be as u64) << 16), Ordering::Relaxed);
        b.word(be * 8 + 1).store(0x0100_0600_0000_0002, Ordering::Relaxed);
        b.word(be * 8 + 2).store(1, Ordering::Relaxed);
    }
    for s in 0..services {
        for proto in [6u8, 17] {
            let addr = (0x0ac8_0000 + s).to_be_bytes();
            let key = Key4::new(addr, [0, 80], proto);
            let value = u64::from(s) | u64::from(s % pools) << 16;
            let (h, a) = key.buckets();
            let mask = object.sizes[names::SERVICES4] - 1;
            let mut done = false;
            for bucket in [h & mask, a & mask] {
                for way in 0..4 {
                    let at = (bucket as usize * 4 + way) * 2;
                    if !done && s4.word(at).load(Ordering::Relaxed) == 0 {
                        s4.word(at + 1).fetch_or(value, Ordering::Relaxed);
                        s4.word(at).store(key.0, Ordering::Relaxed);
                        done = true;
                    }
                }
                if !done {
                    s4.word(bucket as usize * 8 + 1).fetch_or(1 << 63, Ordering::Relaxed);
                }
            }
            let mut a6 = [0u8; 16];
            a6[0] = 0x20;
            a6[1] = 1;
            a6[12..].copy_from_slice(&addr);
            let key = Key6::new(lb_common::net::ipv6::halves(&a6), [0, 80], proto);
            let (h, _) = key.buckets();
            let at = ((h & (object.sizes[names::SERVICES6] - 1)) as usize * 2) * 4;
            for i in 0..3 {
                s6.word(at + i).store(key.0[i], Ordering::Relaxed);
            }
            s6.word(at + 3).store(value, Ordering::Relaxed);
        }
    }
    Ok(Rc::new(World { object }))
}

fn tcp4(dst: [u8; 4], syn: bool) -> Vec<u8> {
    let mut f = vec![];
    let b = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], dst, 64)
        .tcp(1024, 80, 1, 65535);
    if syn { b.syn().write(&mut f, &[0; 10]) } else { b.ack(1).write(&mut f, &[0; 10]) }.unwrap();
    f
}
fn tcp6(syn: bool) -> Vec<u8> {
    let mut f = vec![];
    let mut dst = [0; 16];
    dst[0] = 0x20;
    dst[1] = 1;
    dst[12] = 10;
    dst[13] = 200;
    let mut src = dst;
    src[13] = 0;
    let b = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv6(src, dst, 64)
        .tcp(1024, 80, 1, 65535);
    if syn { b.syn().write(&mut f, &[0; 10]) } else { b.ack(1).write(&mut f, &[0; 10]) }.unwrap();
    f
}
fn udp4() -> Vec<u8> {
    let mut f = vec![];
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 200, 0, 0], 64)
        .udp(1024, 80)
        .write(&mut f, &[0; 22])
        .unwrap();
    f
}

pub(crate) fn cases() -> Result<Vec<Case>> {
    let small = world(1, 1, 20)?;
    let case = |name, frame, target, flows, services, action| Case {
        name,
        frame,
        target,
        flows,
        services,
        action,
        windows: vec![],
    };
    let vip = [10, 200, 0, 0];
    Ok(vec![
        case("pass", tcp4(vip, false), Target::Own("bench_pass"), 256, 1, PASS),
        case("floor_tx", tcp4(vip, false), Target::Own("bench_floor_tx"), 256, 1, TX),
        case("v4_tcp_hot", tcp4(vip, false), Target::Ours(small.clone()), 256, 1, TX),
        case("v4_tcp_1m", tcp4(vip, false), Target::Ours(small.clone()), 1 << 20, 1, TX),
        case("v6_tcp_hot", tcp6(false), Target::Ours(small.clone()), 256, 1, TX),
        case("v4_udp_hot", udp4(), Target::Ours(small.clone()), 256, 1, TX),
        case("v4_syn_new", tcp4(vip, true), Target::Ours(small.clone()), 1 << 20, 1, TX),
        case("not_ours", tcp4([10, 201, 0, 0], false), Target::Ours(small.clone()), 256, 1, PASS),
        case("v4_services_10k", tcp4(vip, false), Target::Ours(world(8192, 1, 20)?), 256, 8192, TX),
        case("v4_backends_4096", tcp4(vip, false), Target::Ours(world(1, 1, 4096)?), 1 << 20, 1, TX),
        case("v4_pools_64", tcp4(vip, false), Target::Ours(world(64, 64, 20)?), 1 << 20, 64, TX),
    ])
}

pub(crate) fn rebuild() -> Result<Vec<Rebuild>> {
    Ok(vec![])
}
