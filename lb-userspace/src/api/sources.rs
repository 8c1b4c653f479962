//! What API and metrics read. None of it disturbs the coordinator: they work when it is stuck, and say so.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{coordinator::snapshot::Snapshot, datapath::Reader, health::Verdict, model::CheckTarget};

/// The latest result of one check, and the counts since it was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckStatus {
    /// Verdict; `None` before the first.
    pub verdict: Option<Verdict>,
    /// The latest result.
    pub ok: bool,
    /// For people.
    pub detail: String,
    /// How long it took.
    pub latency: Duration,
    /// When it ended.
    pub when: Instant,
    /// Equal results in a row.
    pub streak: u32,
    /// Passes so far.
    pub passes: u64,
    /// Failures so far.
    pub failures: u64,
    /// Changes of the verdict to up, the first one included.
    pub ups: u64,
    /// Changes of the verdict to down, the first one included.
    pub downs: u64,
}

/// The latest results of all checks.
pub trait CheckBoard: Send + Sync + fmt::Debug {
    /// The latest result of one; `None` before the first.
    fn get(&self, target: &CheckTarget) -> Option<CheckStatus>;
}

/// What never changes while the daemon runs.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Version of the daemon.
    pub version: &'static str,
    /// Version of the kernel tables' layout.
    pub abi: u32,
    /// When it started, for metrics.
    pub started: SystemTime,
    /// When it started, for its age.
    pub started_at: Instant,
}

/// Everything that can be read.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The coordinator's state.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The checks' results.
    pub checks: Arc<dyn CheckBoard>,
    /// The data plane's counters and status.
    pub datapath: Arc<dyn Reader>,
    /// The daemon.
    pub about: About,
}

impl Sources {
    /// The latest snapshot. The lock is held for the copy of one pointer.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }
}
