//! Services and the whole list.

use serde::{Deserialize, Serialize};

use super::{Net, Pool, Ports, Protocols, Scheduler, Traffic, UdpClass};

/// `GET /api/v1/list`: services and pools in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct List {
    /// Services by name.
    pub services: Vec<Service>,
    /// Pools by name.
    pub pools: Vec<Pool>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Name.
    pub name: String,
    /// Addresses and prefixes.
    pub addresses: Vec<Net>,
    /// Port: a number, a range such as `8000-8099`, or `all`.
    pub port: Ports,
    /// Protocol: `tcp`, `udp` or `tcp+udp`.
    pub protocol: Protocols,
    /// Its pool.
    pub pool: String,
    /// Who gets a new connection.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// Class of a UDP service.
    pub udp_class: UdpClass,
    /// Seconds without a packet after which a flow is over.
    pub idle: u64,
    /// Seconds a drained backend keeps its flows at most.
    pub drain_timeout: u64,
    /// Traffic; `null` when the counters could not be read.
    pub traffic: Option<Traffic>,
}
