//! The kernel's routes, neighbours and links → [`NeighbourEvent`].
//!
//! Direct routing needs the MAC address of every backend, and the kernel already knows how to find it, keep it fresh and follow
//! it. [`Watcher`] asks it to: one route lookup and one managed neighbour entry for each address, then it listens.
//!
//! | file | is |
//! |---|---|
//! | `facts` | what the kernel says, in our words |
//! | `table` | the state machine: facts and the time in, events and requests out. No socket, no clock |
//! | `message` | rtnetlink messages ↔ facts and requests |
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
