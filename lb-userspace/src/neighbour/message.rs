//! rtnetlink messages ↔ facts and requests. With its two parts the only place that knows the wire's vocabulary.

mod link;
mod route;

use std::net::IpAddr;

use nix::errno::Errno;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
};
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::LinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
    route::{RouteAttribute, RouteMessage},
};

pub(super) use self::route::{no_route, route};
use super::facts::{LinkInfo, Neighbour, Request};
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
            M::NewLink(link) => link::link_info(link).map_or(Self::Nothing, Self::Link),
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
                route::network(&route).map_or(Self::Routes, |(first, last)| Self::Network(first, last))
            }
            M::NewAddress(_) | M::DelAddress(_) | M::NewRule(_) | M::DelRule(_) => Self::Routes,
            _ => Self::Nothing,
        }
    }
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

    #[test]
    fn a_full_table_names_the_sysctl_to_raise() {
        assert!(refused(Errno::ENOBUFS, ip("10.0.0.1")).contains("net.ipv4.neigh.default.gc_thresh3"));
        assert!(refused(Errno::ENOBUFS, ip("fd00::1")).contains("net.ipv6.neigh.default.gc_thresh3"));
    }
}
