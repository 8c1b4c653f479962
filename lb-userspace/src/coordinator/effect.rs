//! What the coordinator wants done.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
};

use tracing::Level;

use super::overrides::Document;
use crate::model::{BackendName, CheckTarget, PoolName};

/// One thing to do, after an event was applied.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Run exactly these checks from now on.
    Targets(HashSet<CheckTarget>),
    /// Watch exactly these addresses from now on.
    Addresses(BTreeSet<IpAddr>),
    /// What the data plane should have has changed: fetch it by [`State::desired`](super::state::State::desired), soon, or, when a
    /// backend went down, at once.
    Program {
        /// A backend went down.
        urgent: bool,
    },
    /// Write the overrides to disk.
    Save(Document),
    /// Write a line to the log.
    Log(Line),
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How bad.
    pub level: Level,
    /// In the words operators grep for, where there are such.
    pub message: String,
    /// About which pool.
    pub pool: Option<PoolName>,
    /// About which backend.
    pub backend: Option<BackendName>,
}

impl Line {
    /// About the daemon as a whole.
    pub(super) fn general(level: Level, message: impl Into<String>) -> Self {
        Self { level, message: message.into(), pool: None, backend: None }
    }

    /// Hands it to the log.
    pub fn emit(&self) {
        let pool = self.pool.as_ref().map_or("", PoolName::as_str);
        let backend = self.backend.as_ref().map_or("", BackendName::as_str);
        match self.level {
            Level::ERROR => tracing::error!(pool, backend, "{}", self.message),
            Level::WARN => tracing::warn!(pool, backend, "{}", self.message),
            Level::INFO => tracing::info!(pool, backend, "{}", self.message),
            _ => tracing::debug!(pool, backend, "{}", self.message),
        }
    }
}
