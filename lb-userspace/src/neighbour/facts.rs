//! What the kernel says about links, routes and neighbours, reduced to what direct routing needs.

use std::net::IpAddr;

use crate::model::Mac;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinkInfo {
    pub(super) ifindex: u32,
    pub(super) name: String,
    /// None where the interface is not Ethernet: tunnels, loopback.
    pub(super) mac: Option<Mac>,
    /// In bytes of L3.
    pub(super) mtu: u32,
    /// Set up by the administrator, and with carrier.
    pub(super) up: bool,
    pub(super) kind: Kind,
}

impl LinkInfo {
    /// Set where the interface is a VLAN of another one.
    pub(super) fn vlan(&self) -> Option<Vlan> {
        match self.kind {
            Kind::Vlan(vlan) => Some(vlan),
            _ => None,
        }
    }
}

/// What an interface is, as far as it decides whether a program in a driver can send frames out of it (`ndo_xdp_xmit`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Hardware, which can where its driver runs XDP programs at all, and what stands in for it: veth, tun.
    Port,
    Vlan(Vlan),
    /// A bond hands each frame to one of its members. Why this one cannot, where it cannot: `mode balance-alb`.
    Bond {
        unable: Option<String>,
    },
    /// Anything else, which cannot, in the kernel's word: `bridge`.
    Other(String),
}

/// What makes an interface a VLAN device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vlan {
    /// The interface below; None where it lives in another network namespace.
    pub(super) lower: Option<u32>,
    pub(super) id: u16,
    /// Tagged 802.1ad instead of 802.1Q.
    pub(super) service_tag: bool,
}

/// A neighbour entry's state, from where we stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbour {
    /// Has a MAC address: REACHABLE, STALE, DELAY, PROBE, PERMANENT.
    Resolved {
        mac: Mac,
        /// PROBE: it did not answer yet; what follows is an answer or a failure.
        probing: bool,
        /// Written by the administrator. Managing it would turn it into an ordinary entry, so we leave it alone.
        permanent: bool,
    },
    /// The kernel asked and nobody answered.
    Failed,
    /// Anything else: INCOMPLETE, NONE, NOARP.
    Pending,
}

/// The answer to a route lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the host that was asked for.
    Unicast(Path),
    /// The route wraps packets (`encap`) in this.
    Encapsulated(String),
    /// An address of this host.
    Local,
    /// A route that leads to no single host: `broadcast`, `multicast`, `anycast`.
    NotUnicast(&'static str),
    /// No route, as the kernel put it.
    None(NoRoute),
}

/// Where a route leads, as one lookup answers: of several next hops the one the kernel would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) ifindex: u32,
    /// None: the host is on the interface's segment. May be of the other family.
    pub(super) gateway: Option<IpAddr>,
    /// The address the kernel would send from.
    pub(super) source: Option<IpAddr>,
    /// The route's own MTU, or the one the kernel has learned for the host, in bytes of L3.
    pub(super) mtu: Option<u32>,
}

/// Why there is no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// ENETUNREACH.
    NoMatch,
    /// A route of this type forbids it: `unreachable`, `prohibit`, `blackhole`.
    Forbidden(&'static str),
    /// Any other error of the lookup.
    Other(String),
}

/// What the table wants of the kernel. The order is the order of sending, so that letting go of an entry cannot undo a later
/// wish to keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Request {
    /// Stop keeping this entry.
    Release { ifindex: u32, address: IpAddr },
    /// Look up the route.
    Lookup { address: IpAddr },
    /// Resolve now, and keep the entry fresh.
    Keep { ifindex: u32, address: IpAddr },
}
