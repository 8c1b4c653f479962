//! Backends.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Check, Connections, Disposition, LoweredWeight, Method, Outlier, OverrideInfo, Pooled, Rates, Traffic,
};

/// A backend of one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// Pool.
    pub pool: String,
    /// Name.
    pub name: String,
    /// Address.
    pub address: IpAddr,
    /// How packets reach it.
    #[serde(default)]
    pub method: Method,
    /// Weight in force.
    pub weight: u32,
    /// The weight is lowered because the backend stands out.
    pub lowered: Option<LoweredWeight>,
    /// Weight in the file.
    pub configured_weight: u32,
    /// Wish in force.
    pub pooled: Pooled,
    /// Wish in the file.
    pub configured_pooled: Pooled,
    /// Override in force.
    #[serde(rename = "override")]
    pub overridden: Option<OverrideInfo>,
    /// What the checks say together; `null` before all have a verdict.
    pub up: Option<bool>,
    /// Some checks say up, but not enough.
    pub partially_up: bool,
    /// What the data plane does with it.
    pub state: Disposition,
    /// Why; empty for one that simply serves.
    pub why: String,
    /// Since when.
    pub since: u64,
    /// Its checks.
    pub checks: Vec<Check>,
    /// Where its frames go.
    pub next_hop: Option<NextHop>,
    /// Why there is no next hop.
    pub next_hop_problem: Option<String>,
    /// Its part of the table; `null` until the kernel has it.
    pub table: Option<Share>,
    /// Its connections, as `ipvsadm` counts them; `null` until the kernel has its table.
    pub connections: Option<Connections>,
    /// What it did in the last minute; `null` in its first seconds.
    pub rates: Option<Rates>,
    /// How it compares with its pool.
    pub outlier: Outlier,
    /// Traffic; `null` when the counters could not be read.
    pub traffic: Option<Traffic>,
}

/// Where a backend's frames go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// Destination MAC address.
    pub mac: String,
    /// Address of the router whose MAC address that is; `null`: the backend's own.
    pub gateway: Option<String>,
    /// Egress interface's index.
    pub ifindex: u32,
    /// VLAN id, 0 for none.
    pub vlan: u16,
    /// Largest L3 packet on this way, in bytes.
    pub mtu: u32,
}

/// A backend's part of a pool's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Slots whose new connections it gets.
    pub slots: u32,
    /// Slots in transition whose old connections it keeps.
    pub draining_slots: u32,
    /// Flows pinned to it.
    pub pins: u32,
    /// Seconds since the last packet went to it; `null` before the first.
    pub quiet_for: Option<u64>,
}

/// A backend that is gone from the configuration and still drains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Pool.
    pub pool: String,
    /// Name.
    pub name: String,
    /// Its part of the table.
    #[serde(flatten)]
    pub table: Share,
    /// Its connections.
    pub connections: Connections,
}

/// `GET /api/v1/backends/H`: the host in every pool that has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backends {
    /// Revision in the kernel.
    pub revision: u64,
    /// Revision wanted; what the kernel has is older while this is greater.
    pub wanted_revision: u64,
    /// One per pool.
    pub backends: Vec<Backend>,
    /// Gone from the configuration, still draining.
    pub leaving: Vec<Leaving>,
}
