//! What is known of a pool, for others to see.

use std::{collections::BTreeMap, fmt, time::Instant};

use super::measure::{MEASURES, Measure};
use crate::model::BackendName;

/// A pool's backends compared, made anew every five seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Backends by name; those seen since the last judgement only are missing.
    pub backends: BTreeMap<BackendName, BackendReport>,
    /// The pool's median of each measure, in the order of [`Measure::ALL`]; `None` where too few can be compared.
    pub medians: [Option<f64>; MEASURES],
}

/// A backend compared with its pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackendReport {
    /// What it did, per second; `None` before the first slice is complete.
    pub rates: Option<Rates>,
    /// Its value of each measure, in the order of [`Measure::ALL`]; `None` where too little happened to tell.
    pub values: [Option<f64>; MEASURES],
    /// By what it stands out. Empty: it is like the others, or nobody can tell.
    pub findings: Vec<Finding>,
}

/// Events per second, over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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

/// A way in which a backend stands out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// Which.
    pub measure: Measure,
    /// Its value.
    pub value: f64,
    /// The pool's median.
    pub median: f64,
    /// Since when.
    pub since: Instant,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.measure.sentence(self.value, self.median))
    }
}
