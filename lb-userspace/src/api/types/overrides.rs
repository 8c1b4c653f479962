//! Who changed what, why, since and until when.

use serde::{Deserialize, Serialize};

use super::Pooled;

/// An override in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideRow {
    /// Pool.
    pub pool: String,
    /// Backend.
    pub backend: String,
    /// What it is.
    #[serde(flatten)]
    pub what: OverrideInfo,
}

/// Who changed what, why, since and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideInfo {
    /// Wish, if overridden.
    pub pooled: Option<Pooled>,
    /// Weight, if overridden.
    pub weight: Option<u32>,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: u64,
    /// Until when.
    pub until: Option<u64>,
}
