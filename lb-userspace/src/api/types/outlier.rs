//! Backends compared with their pools.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Measure;

/// Events per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Seconds they are the mean of: 60, or less when not so much was seen yet.
    pub window: f64,
    /// New connections: attempts less repetitions.
    pub new: f64,
    /// Connection attempts (SYN).
    pub syns: f64,
    /// Packets with FIN, from clients.
    pub fins: f64,
    /// Packets with RST, from clients.
    pub resets: f64,
    /// Repeated connection attempts.
    pub retransmits: f64,
    /// `new` and `retransmits` are estimates from the flows that are tracked.
    pub estimated: bool,
}

/// Whether a backend is like the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It is, or nobody can tell.
    #[default]
    Ok,
    /// It stands out.
    Suspect,
}

/// A backend compared with its pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// The verdict.
    pub state: Standing,
    /// By what it stands out.
    pub findings: Vec<Finding>,
    /// All that is measured.
    pub measures: BTreeMap<Measure, Measured>,
}

/// A way in which a backend stands out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which.
    pub measure: Measure,
    /// Its value.
    pub value: f64,
    /// The pool's median.
    pub pool: f64,
    /// For so many seconds.
    pub seconds: u64,
    /// One sentence.
    pub text: String,
}

/// One measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The backend's value; `null` when too little happened to tell.
    pub value: Option<f64>,
    /// The pool's median; `null` when too few backends can be compared.
    pub pool: Option<f64>,
}

/// A weight that is lowered because its backend stands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoweredWeight {
    /// What it would be.
    pub from: u32,
    /// Since when.
    pub since: u64,
    /// How the backend stands out, or did when the weight was lowered last.
    pub why: String,
}
