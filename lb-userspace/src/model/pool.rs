//! Pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Backend, BackendName, CheckSpec, PoolName};

/// How the checks of a backend make one verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// Up when all are.
    #[default]
    All,
    /// Up when one is.
    Any,
}

/// The part of a pool that must stay up and enabled: `depool only while U >= N * fraction` (PyBal's formula).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// 0.0 to 1.0. Default 0.5.
    pub fraction: f64,
    /// Count weight instead of backends.
    pub by_weight: bool,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { fraction: 0.5, by_weight: false }
    }
}

/// What is done about a backend that works but stands out from its pool: too many connections for its weight, resets, lost answers.
/// It is always shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outliers {
    /// Lower its weight as well, as far as the depool threshold allows. Off by default.
    pub lower_weight: bool,
}

/// The backends of one or more services.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Its backends by name; not empty unless `allow_empty`.
    pub backends: BTreeMap<BackendName, Arc<Backend>>,
    /// Checks each backend must pass. Empty: backends are taken to be up, and status says so.
    pub checks: Vec<Arc<CheckSpec>>,
    /// How they combine.
    pub combine: Combine,
    /// How far the pool may shrink.
    pub threshold: Threshold,
    /// What is done about outliers.
    pub outliers: Outliers,
    /// Serve a new backend before its first check has passed.
    pub optimistic: bool,
    /// The operator said that a pool without backends is meant.
    pub allow_empty: bool,
    /// Slots of the pool's table: a prime, 65537 by default.
    pub slots: u32,
}
