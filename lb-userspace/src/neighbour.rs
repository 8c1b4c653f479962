//! The kernel's routes, neighbours and links → [`NeighbourEvent`].

use std::net::IpAddr;

use crate::model::NextHop;

/// The way to a watched address changed, or was found for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourEvent {
    /// The backend's address.
    pub address: IpAddr,
    /// The way, or why there is none, for people: `no route to 10.0.0.1`, `10.0.0.1 does not answer ARP on eth0`.
    pub next_hop: Result<NextHop, String>,
}
