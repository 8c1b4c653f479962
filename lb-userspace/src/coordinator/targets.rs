//! Which checks a backend gets, and by which way each goes. Pure.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use crate::model::{Backend, CheckSpec, CheckTarget, Config, Pool, PoolName, Production, Service, Via};

/// The services that the configuration gives to a pool.
pub(super) fn services<'c>(config: &'c Config, pool: &PoolName) -> Vec<&'c Service> {
    config.services.values().map(AsRef::as_ref).filter(|service| service.pool == *pool).collect()
}

/// A backend's checks.
pub(super) fn targets(backend: &Backend, pool: &Pool, services: &[&Service]) -> Vec<CheckTarget> {
    let target = |spec: &Arc<CheckSpec>| CheckTarget {
        address: backend.address,
        spec: Arc::clone(spec),
        production: production(backend, spec, services),
    };
    pool.checks.iter().map(target).collect()
}

/// The first VIP of the backend's family, of a service that has the check's port if there is one.
fn production(backend: &Backend, spec: &CheckSpec, services: &[&Service]) -> Option<Production> {
    if spec.via != Via::Vip {
        return None;
    }
    let of = |service: &&Service| service.vips.iter().find_map(|net| Production::to(backend, vip(*net)));
    let with_port = services.iter().filter(|service| service.ports.contains(spec.port)).find_map(of);
    with_port.or_else(|| services.iter().find_map(of))
}

/// An address of a VIP prefix that hosts take for their own: not the one that names the network, which may be a broadcast or anycast
/// address there.
fn vip(net: IpNet) -> IpAddr {
    let alone = net.prefix_len() + 1 >= net.max_prefix_len();
    match net.network() {
        first if alone => first,
        IpAddr::V4(first) => IpAddr::V4((first.to_bits() + 1).into()),
        IpAddr::V6(first) => IpAddr::V6((first.to_bits() + 1).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;
    use crate::model::{CheckKind, Method, Ports, Protocol, Rules, UdpClass};

    fn service(name: &str, vips: &[&str], ports: Ports) -> Service {
        Service {
            name: name.parse().unwrap(),
            vips: vips.iter().map(|vip| vip.parse().unwrap()).collect(),
            ports,
            protocols: vec![Protocol::Tcp],
            pool: "cache".parse().unwrap(),
            udp_class: UdpClass::default(),
            rules: Rules::default(),
        }
    }

    fn spec(port: u16, via: Via) -> CheckSpec {
        CheckSpec {
            name: "tcp".into(),
            kind: CheckKind::Tcp,
            port,
            via,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            jitter_per_mille: 0,
            rise: NonZeroU32::MIN,
            fall: NonZeroU32::MIN,
        }
    }

    fn backend(address: &str) -> Backend {
        Backend::new("b1".parse().unwrap(), address.parse().unwrap())
    }

    fn chosen(address: &str, port: u16, services: &[Service]) -> Option<String> {
        let services: Vec<&Service> = services.iter().collect();
        production(&backend(address), &spec(port, Via::Vip), &services).map(|p| p.vip.to_string())
    }

    #[test]
    fn the_vip_is_the_first_of_its_family_of_the_service_with_the_checks_port() {
        let services = [
            service("a", &["203.0.113.1/32", "2001:db8::1/128"], Ports::One(80)),
            service("b", &["203.0.113.2/32", "203.0.113.3/32"], Ports::Range(8000, 8099)),
        ];
        assert_eq!(chosen("10.0.0.1", 80, &services).as_deref(), Some("203.0.113.1"));
        assert_eq!(chosen("10.0.0.1", 8050, &services).as_deref(), Some("203.0.113.2"));
        assert_eq!(chosen("fd00::1", 80, &services).as_deref(), Some("2001:db8::1"));
        // No service has the port: the host should have the address all the same.
        assert_eq!(chosen("10.0.0.1", 9100, &services).as_deref(), Some("203.0.113.1"));
        // The service with the port has no VIP of the family.
        assert_eq!(chosen("fd00::1", 8050, &services).as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn without_a_vip_of_its_family_a_backend_is_checked_on_its_own_address_and_says_so() {
        let service = service("a", &["203.0.113.1/32"], Ports::One(80));
        let pool = |via| Pool {
            name: "cache".parse().unwrap(),
            backends: std::collections::BTreeMap::new(),
            checks: vec![Arc::new(spec(80, via))],
            combine: crate::model::Combine::All,
            threshold: crate::model::Threshold::default(),
            outliers: crate::model::Outliers::default(),
            optimistic: false,
            allow_empty: false,
            slots: 251,
        };
        let target =
            |address, via, services: &[&Service]| targets(&backend(address), &pool(via), services).remove(0);
        for (other, why) in [
            (target("fd00::1", Via::Vip, &[&service]), true),
            (target("10.0.0.1", Via::Vip, &[]), true),
            (target("10.0.0.1", Via::Backend, &[&service]), false),
        ] {
            assert_eq!((other.production, other.detour().is_some()), (None, why), "{other:?}");
        }
        let vip = target("10.0.0.1", Via::Vip, &[&service]);
        assert!(vip.production.is_some() && vip.detour().is_none());
    }

    #[test]
    fn the_way_is_part_of_a_checks_identity() {
        let [service] = [service("a", &["203.0.113.1/32"], Ports::One(80))];
        let way = |method, gue_port| {
            let backend = Backend { method, gue_port, ..backend("10.0.0.1") };
            production(&backend, &spec(80, Via::Vip), &[&service])
        };
        assert_ne!(way(Method::Dr, 6080), way(Method::Ipip, 6080));
        assert_ne!(way(Method::Gue, 6080), way(Method::Gue, 6081));
        // The port of GUE means nothing elsewhere.
        assert_eq!(way(Method::Ipip, 6080), way(Method::Ipip, 6081));
    }

    #[test]
    fn of_a_prefix_it_is_an_address_that_a_host_answers_on() {
        for (net, wanted) in [
            ("203.0.113.0/28", "203.0.113.1"),
            ("203.0.113.4/31", "203.0.113.4"),
            ("203.0.113.9/32", "203.0.113.9"),
            ("2001:db8::/64", "2001:db8::1"),
            ("2001:db8::9/128", "2001:db8::9"),
        ] {
            assert_eq!(vip(net.parse().unwrap()).to_string(), wanted);
        }
    }
}
