//! Pools and services for tests.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use lb_userspace::{
    datapath::{Desired, DesiredBackend, DesiredPool, DesiredService},
    model::{
        BackendName, Disposition, Endpoint, GUE_PORT, Mac, Method, NextHop, PoolName, Ports, Protocol, Rules,
        UdpClass, Vip,
    },
};

use crate::{frame::OURS, view::INGRESS};

/// After so many ticks without use a slot is stable again.
pub(crate) const IDLE_SECONDS: u64 = 60;
/// More ICMP messages in a second than a test makes.
pub(crate) const PLENTY: u32 = 1_000_000;

/// Nothing yet, and ICMP allowed.
pub(crate) fn nothing() -> Desired {
    Desired { icmp_rate: PLENTY, ..Desired::default() }
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
            udp_class,
            ..service(name, &[])
        };
        desired.services.insert(format!("{name}-{suffix}").parse().unwrap(), service);
    }
}

/// A service of a pool on these endpoints (see [`endpoint`]), with no rules.
pub(crate) fn service(pool: &str, endpoints: &[&str]) -> DesiredService {
    DesiredService {
        endpoints: endpoints.iter().map(|text| endpoint(text)).collect(),
        pool: pool.parse().unwrap(),
        udp_class: UdpClass::Dns,
        rules: Rules::default(),
    }
}

/// `NET PORTS PROTOCOL`: ports are `80`, `80-90` or `all`.
pub(crate) fn endpoint(text: &str) -> Endpoint {
    let [net, ports, protocol] = text.split(' ').collect::<Vec<_>>().try_into().expect("three words");
    let net = net.parse::<ipnet::IpNet>().unwrap_or_else(|_| net.parse::<IpAddr>().unwrap().into());
    let ports = match ports.split_once('-') {
        _ if ports == "all" => Ports::All,
        Some((first, last)) => Ports::Range(first.parse().unwrap(), last.parse().unwrap()),
        None => Ports::One(ports.parse().unwrap()),
    };
    Endpoint { net, ports, protocol: if protocol == "tcp" { Protocol::Tcp } else { Protocol::Udp } }
}

/// Counts named flows; a shorthand for tests.
pub(crate) fn tally<'a>(owners: impl Iterator<Item = &'a String>) -> HashMap<String, usize> {
    owners.fold(HashMap::new(), |mut sum, owner| {
        *sum.entry(owner.clone()).or_default() += 1;
        sum
    })
}
