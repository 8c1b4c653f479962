//! What API and metrics read. None of it disturbs the coordinator: they work when it is stuck, and say so.

use std::{
    fmt,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{
    coordinator::snapshot::Snapshot,
    datapath::Reader,
    health::{Board, CheckStatus},
    model::CheckTarget,
};

/// The latest results of all checks.
pub trait CheckBoard: Send + Sync + fmt::Debug {
    /// The status of one; `None` when it does not run.
    fn get(&self, target: &CheckTarget) -> Option<CheckStatus>;
}

impl CheckBoard for Board {
    fn get(&self, target: &CheckTarget) -> Option<CheckStatus> {
        Self::get(self, target)
    }
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
