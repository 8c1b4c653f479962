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
    /// Set where the interface is a VLAN of another one.
    pub(super) vlan: Option<Vlan>,
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
    /// On the segment of this interface.
    OnLink { ifindex: u32 },
    /// Behind a router.
    Gateway { gateway: String },
    /// An address of this host.
    Local,
    /// A route that leads to no single host: `broadcast`, `multicast`, `anycast`.
    NotUnicast(&'static str),
    /// No route, as the kernel put it.
    None(NoRoute),
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
