//! Checks and their results.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The latest result of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Name.
    pub name: String,
    /// `tcp`, `idle`, `http` or `https`.
    pub kind: String,
    /// Port.
    pub port: u16,
    /// The VIP it goes to by the way of clients' packets; `null`: it goes to the backend's own address.
    pub vip: Option<IpAddr>,
    /// Why it goes another way than configured, if it does.
    pub note: Option<String>,
    /// Its verdict; `null` before the first.
    pub up: Option<bool>,
    /// The latest result; `null` before the first.
    pub last: Option<CheckResult>,
}

/// One result and the counts so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// It passed.
    pub ok: bool,
    /// For people.
    pub detail: String,
    /// Seconds it took; `null` when it failed.
    pub latency: Option<f64>,
    /// Seconds ago.
    pub age: f64,
    /// Equal results in a row.
    pub streak: u32,
    /// Passes so far.
    pub passes: u64,
    /// Failures so far.
    pub failures: u64,
    /// Checks this host could not do; they count neither way.
    pub not_done: u64,
    /// Changes to up.
    pub ups: u64,
    /// Changes to down.
    pub downs: u64,
}

/// Answer to `POST /api/v1/checks/run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckRuns {
    /// One per check and pool.
    pub runs: Vec<CheckRun>,
}

/// One check, run at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckRun {
    /// Pool.
    pub pool: String,
    /// Backend.
    pub backend: String,
    /// Check.
    pub check: String,
    /// It passed.
    pub ok: bool,
    /// For people.
    pub detail: String,
    /// Seconds it took; `null` when it failed.
    pub latency: Option<f64>,
}
