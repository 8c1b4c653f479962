//! Pools and their tables.

use serde::{Deserialize, Serialize};

use super::{Backend, Combine, Leaving};

/// A pool in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSummary {
    /// Name.
    pub name: String,
    /// Services that use it.
    pub services: Vec<String>,
    /// Configured backends, inactive ones included.
    pub backends: u64,
    /// Those that get new connections and pass their checks.
    pub serving: u64,
    /// Those that get new connections though they fail.
    pub held: u64,
    /// Those that keep only established connections.
    pub draining: u64,
    /// Those that failed.
    pub down: u64,
    /// Those that get nothing for another reason.
    pub out: u64,
    /// Those that stand out from the others.
    #[serde(default)]
    pub suspect: u64,
    /// Up and enabled, as the threshold counts.
    pub up_and_enabled: u64,
    /// All but inactive ones, counted the same way.
    pub total: u64,
    /// Whether one more may be taken out.
    pub can_depool: bool,
}

/// A pool in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The line of `status`.
    #[serde(flatten)]
    pub summary: PoolSummary,
    /// Depool threshold, 0.0 to 1.0.
    pub threshold: f64,
    /// The threshold counts weight instead of backends.
    pub threshold_by_weight: bool,
    /// How checks combine.
    pub combine: Combine,
    /// It has checks; without them backends are taken to be up.
    pub checked: bool,
    /// How often the threshold kept a failing backend in or refused a command.
    pub could_not_depool_total: u64,
    /// Steps by which weights of backends that stand out were lowered.
    #[serde(default)]
    pub weights_lowered_total: u64,
    /// Steps by which they were raised again.
    #[serde(default)]
    pub weights_raised_total: u64,
    /// The table; `null` until the kernel has it.
    pub table: Option<Table>,
    /// Backends by name.
    pub members: Vec<Backend>,
    /// Backends that are gone from the configuration and still drain.
    pub leaving: Vec<Leaving>,
}

/// A pool's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Equal on balancers that agree.
    pub digest: String,
    /// Slots.
    pub slots: u32,
    /// Slots in transition.
    pub in_transition: u32,
}
