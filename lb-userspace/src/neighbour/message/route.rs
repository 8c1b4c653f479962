//! Routes: which addresses a change concerns, and what a lookup answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;
use rtnetlink::packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia},
};

use super::super::facts::{NoRoute, Path, Route};

/// First and last address a route covers.
pub(super) fn network(message: &RouteMessage) -> Option<(IpAddr, IpAddr)> {
    let length = u32::from(message.header.destination_prefix_length);
    let destination = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => Some(address),
        _ => None,
    });
    match (message.header.address_family, destination) {
        (AddressFamily::Inet, None) => Some((Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into())),
        (AddressFamily::Inet6, None) => {
            Some((Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from_bits(u128::MAX).into()))
        }
        (_, Some(RouteAddress::Inet(v4))) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = v4.to_bits() & !host;
            Some((Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(first | host).into()))
        }
        (_, Some(RouteAddress::Inet6(v6))) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = v6.to_bits() & !host;
            Some((Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(first | host).into()))
        }
        _ => None,
    }
}

/// The answer to [`Request::Lookup`](super::Request::Lookup).
pub(in crate::neighbour) fn route(asked: IpAddr, message: &RouteMessage) -> Route {
    match message.header.kind {
        RouteType::Local => Route::Local,
        RouteType::Broadcast => Route::NotUnicast("broadcast"),
        RouteType::Multicast => Route::NotUnicast("multicast"),
        RouteType::Anycast => Route::NotUnicast("anycast"),
        RouteType::BlackHole => Route::None(NoRoute::Forbidden("blackhole")),
        RouteType::Unreachable => Route::None(NoRoute::Forbidden("unreachable")),
        RouteType::Prohibit => Route::None(NoRoute::Forbidden("prohibit")),
        _ => path(asked, message),
    }
}

fn path(asked: IpAddr, message: &RouteMessage) -> Route {
    let (mut ifindex, mut gateway, mut source, mut mtu) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet(v4)) => gateway = Some(IpAddr::from(*v4)),
            RouteAttribute::Via(RouteVia::Inet6(v6)) => gateway = Some(IpAddr::from(*v6)),
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                    _ => None,
                });
            }
            RouteAttribute::EncapType(kind) => return Route::Encapsulated(kind.to_string()),
            _ => {}
        }
    }
    match ifindex {
        // A host route may name the host itself as its gateway.
        Some(ifindex) => {
            Route::Unicast(Path { ifindex, gateway: gateway.filter(|g| *g != asked), source, mtu })
        }
        None => Route::None(NoRoute::Other("the route names no interface".to_owned())),
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::from(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::from(*v6)),
        _ => None,
    }
}

/// The refusal of [`Request::Lookup`](super::Request::Lookup).
pub(in crate::neighbour) fn no_route(error: Errno) -> Route {
    Route::None(match error {
        Errno::ENETUNREACH => NoRoute::NoMatch,
        Errno::EHOSTUNREACH => NoRoute::Forbidden("unreachable"),
        Errno::EACCES => NoRoute::Forbidden("prohibit"),
        Errno::EINVAL => NoRoute::Forbidden("blackhole"),
        other => NoRoute::Other(other.desc().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::{RouteNetlinkMessage, route::RouteLwEnCapType};

    use super::{
        super::{Notice, family},
        *,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn routed(address: &str, length: u8) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family(ip(address));
        message.header.destination_prefix_length = length;
        message.attributes.push(RouteAttribute::Destination(ip(address).into()));
        message
    }

    #[test]
    fn a_route_covers_its_network_from_first_to_last_address() {
        for (address, length, first, last) in [
            ("10.1.2.0", 24, "10.1.2.0", "10.1.2.255"),
            ("10.1.2.3", 32, "10.1.2.3", "10.1.2.3"),
            ("fd00::", 64, "fd00::", "fd00::ffff:ffff:ffff:ffff"),
            ("fd00::1", 128, "fd00::1", "fd00::1"),
            ("0.0.0.0", 0, "0.0.0.0", "255.255.255.255"),
        ] {
            let notice = Notice::from(RouteNetlinkMessage::NewRoute(routed(address, length)));
            assert_eq!(notice, Notice::Network(ip(first), ip(last)), "{address}/{length}");
        }
        let mut default = RouteMessage::default();
        default.header.address_family = AddressFamily::Inet;
        let notice = Notice::from(RouteNetlinkMessage::DelRoute(default));
        assert_eq!(notice, Notice::Network(ip("0.0.0.0"), ip("255.255.255.255")));
    }

    fn answer(attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Oif(4));
        message.attributes.extend(attributes);
        message
    }

    #[test]
    fn an_answered_lookup_is_on_link_or_behind_its_gateway() {
        let direct = Path { ifindex: 4, gateway: None, source: None, mtu: None };
        let plain = answer(vec![]);
        assert_eq!(route(ip("10.0.0.1"), &plain), Route::Unicast(direct));
        let via = answer(vec![RouteAttribute::Gateway(ip("10.0.0.1").into())]);
        assert_eq!(route(ip("10.0.0.1"), &via), Route::Unicast(direct), "its own gateway");
        let behind = |gateway| Route::Unicast(Path { gateway: Some(ip(gateway)), ..direct });
        assert_eq!(route(ip("10.0.0.2"), &via), behind("10.0.0.1"));
        let other_family = answer(vec![RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap()))]);
        assert_eq!(route(ip("10.0.0.2"), &other_family), behind("fe80::1"));
        let mut local = via.clone();
        local.header.kind = RouteType::Local;
        assert_eq!(route(ip("10.0.0.2"), &local), Route::Local);
    }

    #[test]
    fn source_and_mtu_of_the_route_are_taken_along() {
        let message = answer(vec![
            RouteAttribute::PrefSource(ip("10.0.0.254").into()),
            RouteAttribute::Metrics(vec![RouteMetric::Lock(4), RouteMetric::Mtu(1400)]),
        ]);
        let expected = Path { ifindex: 4, gateway: None, source: Some(ip("10.0.0.254")), mtu: Some(1400) };
        assert_eq!(route(ip("10.0.0.1"), &message), Route::Unicast(expected));
    }

    #[test]
    fn a_route_that_wraps_packets_is_told_from_one_that_does_not() {
        let message = answer(vec![RouteAttribute::EncapType(RouteLwEnCapType::Mpls)]);
        assert!(matches!(route(ip("10.0.0.1"), &message), Route::Encapsulated(_)));
    }
}
