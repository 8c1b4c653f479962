//! The kernel's routes, neighbours and links → [`NeighbourEvent`].
//!
//! Frames need the MAC address of the backend, or of the router before it, and the kernel already knows how to find it, keep it
//! fresh and follow it. [`Watcher`] asks it to: one route lookup for each address and one managed neighbour entry for each next
//! hop, then it listens. Whether a backend may be behind a router is not decided here: that depends on its forwarding method.
//!
//! **Several next hops.** Of a multipath route the one counts that the kernel answers for the address, as it would use itself.
//!
//! **VLANs, bonds.** A next hop names the interface below a VLAN device and the tag. A bond stays what it is: the program runs on its
//! members and sees their indices, so a frame to the bond's index is redirected into the bond, which hashes it to a member as it does
//! with the kernel's own (`ndo_xdp_xmit` of bonds, Linux 5.15). The members' drivers must take redirected frames; most do as soon as a
//! program is attached to them, so `interfaces` names every member. Interfaces that take none (bridge, team, macvlan ...) are refused
//! with a sentence, unless the program is in generic mode, where the kernel's stack sends what it redirects.
//!
//! | file | is |
//! |---|---|
//! | `facts` | what the kernel says, in our words |
//! | `table` | the state machine: facts and the time in, events and requests out. No socket, no clock |
//! | `message` | rtnetlink messages ↔ facts and requests; links and routes apart |
//! | `socket` | a netlink socket that loses nothing silently |
//! | `watcher` | the task: sockets ↔ table ↔ channels |

mod facts;
mod message;
mod socket;
mod table;
mod watcher;

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
pub(crate) mod netns;

use std::net::IpAddr;

pub use watcher::{Watcher, WatcherError};

use crate::model::NextHop;

/// The way to a watched address changed, or was found for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourEvent {
    /// The backend's address.
    pub address: IpAddr,
    /// The way, or why there is none, for people: `no route to 10.0.0.1`, `10.0.0.1 does not answer ARP on eth0`.
    pub next_hop: Result<NextHop, String>,
}
