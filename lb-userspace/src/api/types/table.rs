//! `GET /api/v1/tables` and `/api/v1/pools/P/table`: the slots of pools, as they are in the kernel.

pub use crate::datapath::inspect::slots::{Difference, NOBODY, Owners, TableReport, TableShare};
use serde::{Deserialize, Serialize};

/// Query of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableQuery {
    /// Also who owns each slot.
    pub owners: bool,
}

/// Answer of `GET /api/v1/tables`, and what `lbctl table export` writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tables {
    /// By pool.
    pub tables: Vec<TableReport>,
}
