//! One look at all sources: the only place of the API that reads the clock and the counters.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::sources::{About, CheckBoard, Sources};
use crate::{
    coordinator::snapshot::Snapshot,
    datapath::{self, Count, Counters},
    model::BackendId,
};

/// Everything at one moment, so that one answer does not contradict itself.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The coordinator's state.
    pub snapshot: Arc<Snapshot>,
    /// What the kernel has.
    pub status: Arc<datapath::Status>,
    /// Counters, unless they could not be read or nobody needs them.
    pub counters: Option<Counters>,
    /// Results of the checks.
    pub checks: Arc<dyn CheckBoard>,
    /// The daemon.
    pub about: About,
    /// Now.
    pub now: Instant,
}

impl Moment {
    /// Reads everything but the counters. Never waits.
    pub fn without_counters(sources: &Sources) -> Self {
        Self {
            snapshot: sources.snapshot(),
            status: sources.datapath.status(),
            counters: None,
            checks: Arc::clone(&sources.checks),
            about: sources.about,
            now: Instant::now(),
        }
    }

    /// Reads everything. System calls: not on a runtime's worker.
    pub fn with_counters(sources: &Sources) -> Self {
        let mut moment = Self::without_counters(sources);
        match sources.datapath.counters() {
            Ok(counters) => moment.counters = Some(counters),
            Err(error) => tracing::warn!(%error, "counters could not be read"),
        }
        moment
    }

    /// Counters of backends by pool and name.
    pub fn backend_counts(&self) -> BTreeMap<&BackendId, Count> {
        self.counters
            .iter()
            .flat_map(|counters| counters.backends.iter().map(|(id, count)| (id, *count)))
            .collect()
    }

    /// Seconds since the coordinator published.
    pub fn snapshot_age(&self) -> f64 {
        self.now.saturating_duration_since(self.snapshot.published).as_secs_f64()
    }
}
