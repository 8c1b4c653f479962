//! The daemon on one screen.

use serde::{Deserialize, Serialize};

use super::{Alert, Fill, OverrideRow, PoolSummary};

/// `GET /api/v1/status`: the daemon on one screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Version of the kernel tables' layout.
    pub abi: u32,
    /// Seconds since the daemon started.
    pub uptime: u64,
    /// The first configuration is in force and in the kernel.
    pub ready: bool,
    /// Seconds since the coordinator last published; about a second, else it is stuck.
    pub snapshot_age: f64,
    /// The configuration in force.
    pub config: ConfigState,
    /// What the kernel has.
    pub datapath: DatapathState,
    /// Pools by name.
    pub pools: Vec<PoolSummary>,
    /// Overrides in force.
    pub overrides: Vec<OverrideRow>,
    /// What needs an operator, the worst first.
    pub alerts: Vec<Alert>,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigState {
    /// When it was loaded.
    pub loaded: u64,
    /// Why the last reload was refused.
    pub problem: Option<String>,
    /// Reloads done.
    pub reloads_done: u64,
    /// Reloads refused.
    pub reloads_refused: u64,
}

/// What the kernel has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatapathState {
    /// Revision in the kernel.
    pub revision: u64,
    /// Revision wanted.
    pub wanted_revision: u64,
    /// Interfaces the program is attached to.
    pub attachments: Vec<Attachment>,
    /// Table entries found changed and repaired.
    pub drift_repaired: u64,
    /// Flows that are pinned because their slots change hands.
    #[serde(default)]
    pub pins: Fill,
    /// Flows that are tracked: all of services with `tracking = "always"`, one in 64 of the others.
    #[serde(default)]
    pub flows: Fill,
    /// So many flows are pinned that nothing new is.
    #[serde(default)]
    pub frozen: bool,
    /// The last thing that could not be written.
    pub problem: Option<String>,
    /// Why checks with `via = "vip"`, or some of them, go to the backends' own addresses.
    #[serde(default)]
    pub check_path_problem: Option<String>,
}

/// The program on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Interface.
    pub interface: String,
    /// `native`, `generic` or `offload`.
    pub mode: String,
    /// Kernel driver.
    pub driver: String,
    /// The program takes frames of several buffers (jumbo).
    #[serde(default)]
    pub frags: bool,
}
