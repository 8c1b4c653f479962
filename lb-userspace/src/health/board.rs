//! The latest status of each running target, readable from any thread without asking a task.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Instant, SystemTime},
};

use super::{CheckResult, Verdict};
use crate::model::CheckTarget;

/// How a target stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckStatus {
    /// The verdict in force; `None` before the first result.
    pub verdict: Option<Verdict>,
    /// When it was reached.
    pub since: Option<SystemTime>,
    /// The last result; `None` before the first. Its texts are for people; [`super::ProbeError::kind`] is for labels.
    pub last: Option<CheckResult>,
    /// When the last result came.
    pub at: Option<SystemTime>,
    /// The same for computing ages.
    pub at_instant: Option<Instant>,
    /// How many results in a row were like the last one.
    pub streak: u32,
    /// Passes since the target was added.
    pub passes: u64,
    /// Failures since the target was added.
    pub failures: u64,
    /// Checks this host could not do (see [`super::ProbeError::Local`]); they count neither way.
    pub not_done: u64,
    /// Changes of the verdict to up, the first one included.
    pub ups: u64,
    /// Changes of the verdict to down, the first one included.
    pub downs: u64,
}

impl CheckStatus {
    /// Whether the last result was a pass.
    pub fn ok(&self) -> Option<bool> {
        self.last.as_ref().map(Result::is_ok)
    }

    /// The last result in words: `200 OK`, `connection refused`; `not checked yet`.
    pub fn text(&self) -> String {
        match &self.last {
            None => "not checked yet".to_owned(),
            Some(Ok(passed)) => passed.pass.to_string(),
            Some(Err(error)) => error.to_string(),
        }
    }

    /// What the last check took; `None` when it failed.
    pub fn latency(&self) -> Option<std::time::Duration> {
        self.last.as_ref()?.as_ref().ok().map(|passed| passed.latency)
    }
}

/// The status of every running target. Clones are handles to the same board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    cells: Arc<RwLock<HashMap<CheckTarget, Arc<Cell>>>>,
}

impl Board {
    /// One target's status; `None` when it does not run.
    pub fn get(&self, target: &CheckTarget) -> Option<CheckStatus> {
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        cells.get(target).map(|cell| cell.status())
    }

    /// All targets and their status, in no order.
    pub fn all(&self) -> Vec<(CheckTarget, CheckStatus)> {
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        cells.iter().map(|(target, cell)| (target.clone(), cell.status())).collect()
    }

    /// Adds a target; its prober writes to the cell.
    pub(super) fn add(&self, target: CheckTarget) -> Arc<Cell> {
        let cell = Arc::new(Cell::default());
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = cells.insert(target, cell.clone()) {
            old.retire();
        }
        cell
    }

    /// Removes a target. When this has returned its prober can neither write nor report.
    pub(super) fn remove(&self, target: &CheckTarget) {
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.remove(target) {
            cell.retire();
        }
    }
}

/// The place of one target, shared by its prober and the board.
#[derive(Debug, Default)]
pub(super) struct Cell(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    retired: bool,
    status: CheckStatus,
}

impl Cell {
    /// Does something unless the target was removed; removal waits until it is done.
    pub(super) fn while_running<T>(&self, act: impl FnOnce(&mut CheckStatus) -> T) -> Option<T> {
        let mut contents = self.lock();
        (!contents.retired).then(|| act(&mut contents.status))
    }

    fn status(&self) -> CheckStatus {
        self.lock().status.clone()
    }

    fn retire(&self) {
        self.lock().retired = true;
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // Nothing panics under the lock; if something did, a stale status is better than none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
