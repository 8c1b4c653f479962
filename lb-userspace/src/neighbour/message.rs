//! rtnetlink messages ↔ facts and requests. The only file that knows the wire's vocabulary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
};
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{
        InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo as Info, LinkMessage, State, VlanProtocol,
    },
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia},
};

use super::facts::{LinkInfo, Neighbour, NoRoute, Request, Route, Vlan};
use crate::model::Mac;

/// A message of the kernel, as far as it concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Link(LinkInfo),
    LinkGone(u32),
    Neighbour {
        ifindex: u32,
        address: IpAddr,
        neighbour: Neighbour,
    },
    NeighbourGone {
        ifindex: u32,
        address: IpAddr,
    },
    /// Routes to these addresses, first to last, may have changed.
    Network(IpAddr, IpAddr),
    /// Any route may have changed: a rule, an address, a next hop object.
    Routes,
    Nothing,
}

impl From<RouteNetlinkMessage> for Notice {
    fn from(message: RouteNetlinkMessage) -> Self {
        use RouteNetlinkMessage as M;
        match message {
            M::NewLink(link) => link_info(link).map_or(Self::Nothing, Self::Link),
            // The bridge announces a port's leaving as a deleted link of its own family.
            M::DelLink(link) if link.header.interface_family == AddressFamily::Unspec => {
                Self::LinkGone(link.header.index)
            }
            M::NewNeighbour(neighbour) => match entry(&neighbour) {
                Some((ifindex, address)) => {
                    Self::Neighbour { ifindex, address, neighbour: neighbour_state(&neighbour) }
                }
                None => Self::Nothing,
            },
            M::DelNeighbour(neighbour) => match entry(&neighbour) {
                Some((ifindex, address)) => Self::NeighbourGone { ifindex, address },
                None => Self::Nothing,
            },
            M::NewRoute(route) | M::DelRoute(route) => {
                network(&route).map_or(Self::Routes, |(first, last)| Self::Network(first, last))
            }
            M::NewAddress(_) | M::DelAddress(_) | M::NewRule(_) | M::DelRule(_) => Self::Routes,
            _ => Self::Nothing,
        }
    }
}

fn link_info(message: LinkMessage) -> Option<LinkInfo> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let (mut name, mut mtu, mut state) = (None, None, None);
    let (mut mac, mut lower, mut elsewhere, mut vlan) = (None, None, false, None);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value),
            LinkAttribute::Mtu(value) => mtu = Some(value),
            LinkAttribute::OperState(value) => state = Some(value),
            LinkAttribute::Address(value) => mac = unicast_mac(&value),
            LinkAttribute::Link(value) => lower = Some(value),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                vlan = infos.into_iter().find_map(|info| match info {
                    Info::Data(InfoData::Vlan(data)) => Some(data),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let vlan = vlan.map(|data| {
        let mut vlan = Vlan { lower: lower.filter(|_| !elsewhere), id: 0, service_tag: false };
        for item in data {
            match item {
                InfoVlan::Id(id) => vlan.id = id,
                InfoVlan::Protocol(protocol) => vlan.service_tag = protocol != VlanProtocol::Ieee8021Q,
                _ => {}
            }
        }
        vlan
    });
    // Wireless drivers announce events as links that carry nothing else: without these three it is no description of a link.
    Some(LinkInfo {
        ifindex: message.header.index,
        name: name?,
        mac,
        mtu: mtu?,
        // Drivers without carrier detection say Unknown.
        up: matches!(state?, State::Up | State::Unknown) && flags.contains(LinkFlags::Up),
        vlan,
    })
}

/// Interface and address of an IP neighbour entry; proxy entries are no neighbours.
fn entry(message: &NeighbourMessage) -> Option<(u32, IpAddr)> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(IpAddr::from(*v4)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(IpAddr::from(*v6)),
        _ => None,
    })?;
    Some((message.header.ifindex, address))
}

fn neighbour_state(message: &NeighbourMessage) -> Neighbour {
    use NeighbourState as S;
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => unicast_mac(bytes),
        _ => None,
    });
    let state = message.header.state;
    match (state, mac) {
        (S::Reachable | S::Stale | S::Delay | S::Probe | S::Permanent, Some(mac)) => {
            Neighbour::Resolved { mac, probing: state == S::Probe, permanent: state == S::Permanent }
        }
        (S::Failed, _) => Neighbour::Failed,
        _ => Neighbour::Pending,
    }
}

fn unicast_mac(bytes: &[u8]) -> Option<Mac> {
    let mac: [u8; 6] = bytes.try_into().ok()?;
    (mac != [0; 6] && mac[0] & 1 == 0).then_some(Mac(mac))
}

/// First and last address a route covers.
fn network(message: &RouteMessage) -> Option<(IpAddr, IpAddr)> {
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

/// The answer to [`Request::Lookup`].
pub(super) fn route(asked: IpAddr, message: &RouteMessage) -> Route {
    let mut ifindex = None;
    let mut gateway = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => gateway = Some(IpAddr::from(*v4)),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) | RouteAttribute::Via(RouteVia::Inet6(v6)) => {
                gateway = Some(IpAddr::from(*v6));
            }
            _ => {}
        }
    }
    match message.header.kind {
        RouteType::Local => Route::Local,
        RouteType::Broadcast => Route::NotUnicast("broadcast"),
        RouteType::Multicast => Route::NotUnicast("multicast"),
        RouteType::Anycast => Route::NotUnicast("anycast"),
        RouteType::BlackHole => Route::None(NoRoute::Forbidden("blackhole")),
        RouteType::Unreachable => Route::None(NoRoute::Forbidden("unreachable")),
        RouteType::Prohibit => Route::None(NoRoute::Forbidden("prohibit")),
        _ => match (gateway, ifindex) {
            // A host route may name the host itself as its gateway.
            (Some(gateway), _) if gateway != asked => Route::Gateway { gateway: gateway.to_string() },
            (_, Some(ifindex)) => Route::OnLink { ifindex },
            (_, None) => Route::None(NoRoute::Other("the route names no interface".to_owned())),
        },
    }
}

/// The refusal of [`Request::Lookup`].
pub(super) fn no_route(error: Errno) -> Route {
    Route::None(match error {
        Errno::ENETUNREACH => NoRoute::NoMatch,
        Errno::EHOSTUNREACH => NoRoute::Forbidden("unreachable"),
        Errno::EACCES => NoRoute::Forbidden("prohibit"),
        Errno::EINVAL => NoRoute::Forbidden("blackhole"),
        other => NoRoute::Other(other.desc().to_owned()),
    })
}

/// What to tell people when the kernel refuses [`Request::Keep`].
pub(super) fn refused(error: Errno, address: IpAddr) -> String {
    match error {
        Errno::ENOBUFS => {
            let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
            format!("its table is full; raise sysctl net.{family}.neigh.default.gc_thresh3")
        }
        Errno::EPERM => "lbd lacks CAP_NET_ADMIN".to_owned(),
        other => other.desc().to_owned(),
    }
}

/// All links.
pub(super) fn dump_links() -> NetlinkMessage<RouteNetlinkMessage> {
    with_flags(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_REQUEST | NLM_F_DUMP)
}

/// All neighbours of both families.
pub(super) fn dump_neighbours() -> NetlinkMessage<RouteNetlinkMessage> {
    with_flags(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), NLM_F_REQUEST | NLM_F_DUMP)
}

/// A request on the wire. `managed`: whether the kernel can keep entries fresh by itself.
pub(super) fn request(request: Request, managed: bool) -> NetlinkMessage<RouteNetlinkMessage> {
    match request {
        Request::Lookup { address } => {
            let mut message = RouteMessage::default();
            message.header.address_family = family(address);
            message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
            message.attributes.push(RouteAttribute::Destination(address.into()));
            with_flags(RouteNetlinkMessage::GetRoute(message), NLM_F_REQUEST)
        }
        Request::Keep { ifindex, address } => {
            let mut message = neighbour_message(ifindex, address);
            // Learned from outside: the garbage collector spares it, and it does not count towards gc_thresh3.
            message.header.flags = NeighbourFlags::ExtLearned;
            if managed {
                message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
            } else {
                message.header.flags |= NeighbourFlags::Use;
            }
            with_flags(
                RouteNetlinkMessage::NewNeighbour(message),
                NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
            )
        }
        Request::Release { ifindex, address } => {
            // Without NLM_F_CREATE: an entry that is gone stays gone. Flags that are not named are cleared.
            let mut message = neighbour_message(ifindex, address);
            message.header.flags = NeighbourFlags::Use;
            with_flags(RouteNetlinkMessage::NewNeighbour(message), NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE)
        }
    }
}

fn neighbour_message(ifindex: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = ifindex;
    message.header.state = NeighbourState::None;
    message.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    }));
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn with_flags(message: RouteNetlinkMessage, flags: u16) -> NetlinkMessage<RouteNetlinkMessage> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn an_answered_lookup_is_on_link_or_behind_its_gateway() {
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Oif(4));
        assert_eq!(route(ip("10.0.0.1"), &message), Route::OnLink { ifindex: 4 });
        message.attributes.push(RouteAttribute::Gateway(ip("10.0.0.1").into()));
        assert_eq!(route(ip("10.0.0.1"), &message), Route::OnLink { ifindex: 4 });
        assert_eq!(route(ip("10.0.0.2"), &message), Route::Gateway { gateway: "10.0.0.1".to_owned() });
        message.attributes.pop();
        message.attributes.push(RouteAttribute::Via(ip("fe80::1").into()));
        assert_eq!(route(ip("10.0.0.2"), &message), Route::Gateway { gateway: "fe80::1".to_owned() });
        message.header.kind = RouteType::Local;
        assert_eq!(route(ip("10.0.0.2"), &message), Route::Local);
    }

    fn neighbour(state: NeighbourState, mac: Option<&[u8]>) -> Neighbour {
        let mut message = neighbour_message(2, ip("10.0.0.1"));
        message.header.state = state;
        message.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.to_vec())));
        neighbour_state(&message)
    }

    #[test]
    fn every_neighbour_state_has_its_meaning() {
        use NeighbourState as S;
        const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
        for (state, probing, permanent) in [
            (S::Reachable, false, false),
            (S::Stale, false, false),
            (S::Delay, false, false),
            (S::Probe, true, false),
            (S::Permanent, false, true),
        ] {
            let expected = Neighbour::Resolved { mac: Mac(MAC), probing, permanent };
            assert_eq!(neighbour(state, Some(&MAC)), expected, "{state:?}");
        }
        assert_eq!(neighbour(S::Failed, Some(&MAC)), Neighbour::Failed);
        for state in [S::Incomplete, S::Noarp, S::None] {
            assert_eq!(neighbour(state, Some(&MAC)), Neighbour::Pending, "{state:?}");
        }
        for unusable in [&[0; 6][..], &[1, 0, 0, 0, 0, 1], &[2, 0, 0, 1]] {
            assert_eq!(neighbour(S::Reachable, Some(unusable)), Neighbour::Pending, "{unusable:?}");
        }
    }

    #[test]
    fn neighbours_that_are_none_are_skipped() {
        let mut proxy = neighbour_message(2, ip("10.0.0.1"));
        proxy.header.flags = NeighbourFlags::Proxy;
        assert_eq!(Notice::from(RouteNetlinkMessage::NewNeighbour(proxy)), Notice::Nothing);
        let bridge = NeighbourMessage::default();
        assert_eq!(Notice::from(RouteNetlinkMessage::DelNeighbour(bridge)), Notice::Nothing);
    }

    fn vlan_link() -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 9;
        message.header.flags = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName("eth0.7".to_owned()),
            LinkAttribute::Mtu(1400),
            LinkAttribute::OperState(State::Up),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
            LinkAttribute::Link(2),
            LinkAttribute::LinkInfo(vec![Info::Data(InfoData::Vlan(vec![
                InfoVlan::Id(7),
                InfoVlan::Protocol(VlanProtocol::Ieee8021Q),
            ]))]),
        ];
        message
    }

    #[test]
    fn a_vlan_device_is_read_with_its_tag_and_lower_interface() {
        let expected = LinkInfo {
            ifindex: 9,
            name: "eth0.7".to_owned(),
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            mtu: 1400,
            up: true,
            vlan: Some(Vlan { lower: Some(2), id: 7, service_tag: false }),
        };
        assert_eq!(link_info(vlan_link()), Some(expected));
        let mut elsewhere = vlan_link();
        elsewhere.attributes.push(LinkAttribute::LinkNetNsId(1));
        assert_eq!(link_info(elsewhere).and_then(|link| link.vlan).and_then(|vlan| vlan.lower), None);
    }

    #[test]
    fn a_link_is_up_only_with_carrier_and_by_the_administrators_will() {
        let up = |flags, state| {
            let mut message = vlan_link();
            message.header.flags = flags;
            message.attributes[2] = LinkAttribute::OperState(state);
            link_info(message).is_some_and(|link| link.up)
        };
        assert!(up(LinkFlags::Up, State::Up));
        assert!(up(LinkFlags::Up, State::Unknown));
        assert!(!up(LinkFlags::Up, State::LowerLayerDown));
        assert!(!up(LinkFlags::Up, State::Dormant));
        assert!(!up(LinkFlags::empty(), State::Unknown));
    }

    #[test]
    fn messages_that_describe_no_link_are_skipped() {
        let mut port = vlan_link();
        port.header.interface_family = AddressFamily::Bridge;
        assert_eq!(Notice::from(RouteNetlinkMessage::NewLink(port.clone())), Notice::Nothing);
        assert_eq!(Notice::from(RouteNetlinkMessage::DelLink(port)), Notice::Nothing);
        let mut wireless = vlan_link();
        wireless.attributes.remove(1);
        assert_eq!(Notice::from(RouteNetlinkMessage::NewLink(wireless)), Notice::Nothing);
        assert_eq!(Notice::from(RouteNetlinkMessage::DelLink(vlan_link())), Notice::LinkGone(9));
    }

    #[test]
    fn a_full_table_names_the_sysctl_to_raise() {
        assert!(refused(Errno::ENOBUFS, ip("10.0.0.1")).contains("net.ipv4.neigh.default.gc_thresh3"));
        assert!(refused(Errno::ENOBUFS, ip("fd00::1")).contains("net.ipv6.neigh.default.gc_thresh3"));
    }
}
