//! Random sites: services of all shapes and rules over pools of backends reached by all methods; and their changes.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use lb_userspace::{
    datapath::{Desired, DesiredBackend, DesiredPool, DesiredService},
    model::{
        Disposition, Endpoint, HashFields, Method, Persistence, Protocol, QuicId, Rules, Scheduler, Tracking,
        Tunnel, UdpClass,
    },
};

use super::Random;
use crate::{
    site::{backend, endpoint, nothing, pool},
    world::World,
};

/// Pools of a site.
const POOLS: usize = 8;
/// Backends of a pool at most.
const BACKENDS: usize = 6;

fn one_backend(random: &mut Random, pool: u8, n: u8) -> DesiredBackend {
    let (_, mut b) = backend(pool, n);
    let hop = b.next_hop.as_mut().unwrap();
    hop.vlan = random.pick(&[0, 0, 0, 100, 200]);
    hop.ifindex = random.pick(&[1, 1, 1, 7]);
    hop.mtu = random.pick(&[1500, 1500, 1500, 9000, 1400, 600]);
    b.method = random.pick(&[Method::Dr, Method::Dr, Method::Dr, Method::Ipip, Method::Gue]);
    if b.method != Method::Dr && random.one_in(2) {
        b.address = format!("2001:db8:b::{pool}:{n}").parse().unwrap();
    }
    b.gue_port = random.pick(&[6080, 5555]);
    b.server_id = Some(u16::from(n) | if random.one_in(2) { 0x0100 } else { 0 });
    b.weight = random.pick(&[1, 10, 10, 30]).try_into().unwrap();
    b
}

fn disposition(random: &mut Random) -> Disposition {
    use Disposition::{Down, Draining, Held, Serving};
    random.pick(&[Serving, Serving, Serving, Serving, Held, Draining, Draining, Down])
}

fn one_pool(random: &mut Random, number: u8) -> DesiredPool {
    let mut all = pool(number, random.pick(&[13, 61, 251, 1021]), 0);
    all.drain_timeout = Duration::from_secs(random.pick(&[100, 300, 10_000]));
    for n in 1..=random.below(BACKENDS + 1) as u8 {
        let mut one = one_backend(random, number, n);
        if random.one_in(20) {
            one.next_hop = None;
        }
        all.backends.insert(format!("b{n}").parse().unwrap(), one);
    }
    all
}

fn rules(random: &mut Random, class: UdpClass) -> Rules {
    let mut rules = Rules::default();
    if random.one_in(2) {
        return rules;
    }
    if random.one_in(3) {
        rules.hash = random.pick(&[HashFields::Source, HashFields::SourcePort, HashFields::DestinationPort]);
    }
    if random.one_in(3) {
        rules.tracking = Tracking::Always;
    }
    if random.one_in(3) {
        use Scheduler::{Lc, Rr, Sed, Wlc, Wrr};
        rules.scheduler = random.pick(&[Rr, Wrr, Lc, Wlc, Sed]);
    }
    if random.one_in(2) {
        let (prefix4, prefix6) = (random.pick(&[32, 31, 24]), random.pick(&[128, 127, 64]));
        rules.persistence = Some(Persistence { timeout: Duration::from_mins(5), prefix4, prefix6 });
    }
    let nets =
        ["198.51.100.0/30", "198.51.100.2/32", "2001:db8:c::/126", "2001:db8:c::2/128", "0.0.0.0/0", "::/0"];
    if random.one_in(4) {
        rules.block = (0..=random.below(3)).map(|_| random.pick(&nets).parse().unwrap()).collect();
    }
    if random.one_in(6) {
        rules.allow = (0..=random.below(4)).map(|_| random.pick(&nets).parse().unwrap()).collect();
    }
    if random.one_in(6) {
        rules.max_new_per_second = Some(10_000_000);
    }
    if class == UdpClass::Quic && random.one_in(2) {
        let len = random.pick(&[1, 2]);
        rules.quic_id = Some(QuicId { offset: random.pick(&[0, 0, 0, 1, 7, 18]), len });
    }
    rules
}

fn one_endpoint(random: &mut Random) -> Endpoint {
    let six = random.one_in(2);
    let host = random.below(16);
    let ports = random.pick(&["80", "80", "80", "443", "443", "53", "4433", "80-90", "85-443", "all"]);
    let bits = if random.one_in(4) { random.pick(&[1, 2, 4]) } else { 0 };
    let net: ipnet::IpNet = if six {
        format!("2001:db8::{host:x}/{}", 128 - bits).parse().unwrap()
    } else {
        format!("203.0.113.{host}/{}", 32 - bits).parse().unwrap()
    };
    let protocol = match ports {
        "53" | "4433" => "udp",
        "443" | "all" => random.pick(&["tcp", "udp"]),
        _ => "tcp",
    };
    endpoint(&format!("{} {ports} {protocol}", net.trunc()))
}

fn services(random: &mut Random, desired: &mut Desired) {
    let mut taken = BTreeSet::new();
    for n in 0..24 {
        let class = random.pick(&[UdpClass::Dns, UdpClass::Flow, UdpClass::Quic, UdpClass::Quic]);
        let endpoints: Vec<Endpoint> =
            (0..=random.below(4)).map(|_| one_endpoint(random)).filter(|e| taken.insert(*e)).collect();
        if endpoints.is_empty() {
            continue;
        }
        // One of QUIC with TCP beside it, as HTTP has.
        let service = DesiredService {
            rules: rules(random, class),
            pool: format!("p{}", random.below(POOLS)).parse().unwrap(),
            udp_class: if endpoints.iter().any(|e| e.protocol == Protocol::Udp) {
                class
            } else {
                UdpClass::Dns
            },
            endpoints,
        };
        desired.services.insert(format!("s{n}").parse().unwrap(), service);
    }
}

/// A site.
pub(super) fn site(random: &mut Random) -> Desired {
    let mut all = nothing();
    all.tunnel = Tunnel {
        source4: Some(random.pick(&["192.0.2.1/32", "192.0.2.0/24", "10.64.0.0/10"]).parse().unwrap()),
        source6: Some(
            random.pick(&["2001:db8:5::1/128", "2001:db8:5::/64", "2001:db8:5::/112"]).parse().unwrap(),
        ),
    };
    for n in 0..POOLS {
        all.pools.insert(format!("p{n}").parse().unwrap(), one_pool(random, n as u8));
    }
    services(random, &mut all);
    all
}

/// Another state of the site: mostly other fates and weights of backends, now and then another table, other services, another site.
pub(super) fn change(random: &mut Random, world: &mut World) {
    let mut wanted = world.desired.clone();
    match random.below(12) {
        0 => {
            let revision = wanted.revision;
            wanted = Desired { revision, ..site(random) };
        }
        1 => {
            wanted.services.clear();
            services(random, &mut wanted);
        }
        2 => {
            let n = random.below(POOLS);
            wanted.pools.insert(format!("p{n}").parse().unwrap(), one_pool(random, n as u8));
        }
        _ => {
            for (name, pool) in &mut wanted.pools {
                if random.one_in(2) {
                    continue;
                }
                for one in pool.backends.values_mut() {
                    one.disposition = disposition(random);
                }
                if random.one_in(4) {
                    let n = 1 + random.below(BACKENDS) as u8;
                    let number: u8 = name.to_string()[1..].parse().unwrap();
                    let backend = format!("b{n}").parse().unwrap();
                    if pool.backends.remove(&backend).is_none() {
                        pool.backends.insert(backend, one_backend(random, number, n));
                    }
                }
            }
        }
    }
    // Backends with another address are others; their places rest for a while.
    world.sweep();
    world.change(|desired| *desired = wanted);
}

/// An address that a client may send to: most of them some service's.
pub(super) fn destination(random: &mut Random) -> IpAddr {
    let host = random.below(17);
    let text = if random.one_in(2) { format!("203.0.113.{host}") } else { format!("2001:db8::{host:x}") };
    text.parse().unwrap()
}
