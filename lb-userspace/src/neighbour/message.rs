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
                Some((ifindex, address)) => Self::Neighbour {
                    ifindex,
                    address,
                    neighbour: neighbour_state(&neighbour),
                },
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
        let mut vlan = Vlan {
            lower: lower.filter(|_| !elsewhere),
            id: 0,
            service_tag: false,
        };
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
        (S::Reachable | S::Stale | S::Delay | S::Probe | S::Permanent, Some(mac)) => Neighbour::Resolved {
            mac,
            probing: state == S::Probe,
            permanent: state == S::Permanent,
        },
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
        (AddressFamily::Inet6, None) => Some((
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::from_bits(u128::MAX).into(),
        )),
        (_, Some(RouteAddress::Inet(v4))) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = v4.to_bits() & !host;
            Some((
                Ipv4Addr::from_bits(first).into(),
                Ipv4Addr::from_bits(first | host).into(),
            ))
        }
        (_, Some(RouteAddress::Inet6(v6))) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = v6.to_bits() & !host;
            Some((
                Ipv6Addr::from_bits(first).into(),
                Ipv6Addr::from_bits(first | host).into(),
            ))
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
            (Some(gateway), _) if gateway != asked => Route::Gateway {
                gateway: gateway.to_string(),
            },
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
    with_flags(
        RouteNetlinkMessage::GetLink(LinkMessage::default()),
        NLM_F_REQUEST | NLM_F_DUMP,
    )
}

/// All neighbours of both families.
pub(super) fn dump_neighbours() -> NetlinkMessage<RouteNetlinkMessage> {
    with_flags(
        RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()),
        NLM_F_REQUEST | NLM_F_DUMP,
    )
}

/// A request on the wire. `managed`: whether the kernel can keep entries fresh by itself.
pub(super) fn request(request: Request, managed: bool) -> NetlinkMessage<RouteNetlinkMessage> {
    match request {
        Request::Lookup { address } => {
            let mut message = RouteMessage::default();
            message.header.address_family = family(address);
            message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
            message
                .attributes
                .push(RouteAttribute::Destination(address.into()));
            with_flags(RouteNetlinkMessage::GetRoute(message), NLM_F_REQUEST)
        }
        Request::Keep { ifindex, address } => {
            let mut message = neighbour_message(ifindex, address);
            // Learned from outside: the garbage collector spares it, and it does not count towards gc_thresh3.
            message.header.flags = NeighbourFlags::ExtLearned;
            if managed {
                message
                    .attributes
                    .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
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
            with_flags(
                RouteNetlinkMessage::NewNeighbour(message),
                NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE,
            )
        }
    }
}

fn neighbour_message(ifindex: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = ifindex;
    message.header.state = NeighbourState::None;
    message
        .attributes
        .push(NeighbourAttribute::Destination(match address {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        }));
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

fn with_flags(message: RouteNetlinkMessage, flags: u16) -> NetlinkMessage<RouteNetlinkMessage> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message
}
