//! `GET /api/v1/top`: counters of one moment, small enough to be asked for every second.

use serde::{Deserialize, Serialize};

use crate::{datapath::Connections, model::Disposition};

use super::Traffic;

/// The counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// Seconds since the daemon started when they were read: differences of two answers are exact.
    pub at: f64,
    /// Services by name.
    pub services: Vec<TopService>,
    /// Backends by pool and name.
    pub backends: Vec<TopBackend>,
    /// Packets dropped, all reasons.
    pub dropped: u64,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopService {
    /// Name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Counters.
    pub traffic: Traffic,
}

/// A backend of one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopBackend {
    /// Pool.
    pub pool: String,
    /// Name.
    pub name: String,
    /// What the data plane does with it; `null` for one that is gone from the configuration and drains.
    pub state: Option<Disposition>,
    /// Part of the pool's slots, 0.0 to 1.0.
    pub share: f64,
    /// Counters.
    pub traffic: Traffic,
    /// Connections; an estimate unless `exact`.
    pub connections: Connections,
}
