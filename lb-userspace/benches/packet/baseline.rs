//! What rows should cost: a committed file of ratios, written from several runs, and the comparison of a run with it.
//!
//! A row through the harness is its net time in terms of the yardstick's; a live row is its time in terms of the floor's. Each has a noise:
//! how far apart the runs were that it was written from.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    case::Case,
    report::{Row, machine},
};

/// A run that is so many times as far off as most were is not by chance.
const NOISES: f64 = 3.0;
/// Slower by this part says nothing of any row.
const SLACK: f64 = 0.05;
/// Nor by this, in terms of the yardstick: less than a nanosecond, which says nothing of rows that cost little.
const SLACK_ABSOLUTE: f64 = 0.1;
/// Of a machine that the file is not of, a row may differ by so many times as much.
const ELSEWHERE: f64 = 3.0;

/// The file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// What it was measured on.
    machine: Value,
    /// How many runs it was made of.
    runs: usize,
    rows: BTreeMap<String, Expected>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Expected {
    /// From the windows of all runs.
    ratio: f64,
    /// The median distance of a run from that, in terms of it.
    noise: f64,
}

/// A row that is slower than noise explains.
pub(crate) struct Slower {
    pub(crate) name: String,
    ratio: f64,
    expected: f64,
    limit: f64,
}

impl Baseline {
    /// Learns from several runs: `together` are the rows of all their windows, `apart` those of each.
    pub(crate) fn learn(together: &[Row], apart: &[Vec<Row>]) -> Self {
        let round = |x: f64| (x * 1000.0).round() / 1000.0;
        let rows = together.iter().filter(|row| row.gauge.is_finite()).map(|row| {
            let same = apart.iter().flatten().filter(|other| other.name == row.name);
            let mut deviations: Vec<f64> =
                same.map(|other| (other.gauge / row.gauge - 1.0).abs()).filter(|d| d.is_finite()).collect();
            deviations.sort_by(f64::total_cmp);
            let noise = deviations.get(deviations.len() / 2).copied().unwrap_or_default();
            (row.name.clone(), Expected { ratio: round(row.gauge), noise: round(noise) })
        });
        Self { machine: machine(), runs: apart.len(), rows: rows.collect() }
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let what = || format!("the baseline {}", file.display());
        serde_json::from_slice(&std::fs::read(file).with_context(what)?).with_context(what)
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, text).with_context(|| format!("the baseline {}", file.display()))
    }

    /// Whether this machine is of the kind that the file was written on: processor and mitigations, which decide what a call costs.
    pub(crate) fn is_of_here(&self) -> bool {
        let here = machine();
        ["cpu", "spectre_v2", "spec_rstack_overflow"].iter().all(|key| self.machine[key] == here[key])
    }

    /// Rows that are slower than they should be. On a machine of another kind those that depend on its caches are left out.
    pub(crate) fn slower(&self, rows: &[Row], cases: &[Case]) -> Vec<Slower> {
        let here = self.is_of_here();
        let comparable =
            |row: &&Row| here || cases.iter().any(|case| case.name == row.name && case.is_cached());
        let mut slower = Vec::new();
        for row in rows.iter().filter(comparable) {
            let Some(Expected { ratio, noise }) = self.rows.get(&row.name) else { continue };
            let limit = limit(*ratio, *noise, if here { 1.0 } else { ELSEWHERE });
            if row.gauge > limit {
                slower.push(Slower { name: row.name.clone(), ratio: row.gauge, expected: *ratio, limit });
            }
        }
        slower
    }

    /// Rows that the file does not know.
    pub(crate) fn unknown<'r>(&self, rows: &'r [Row]) -> Vec<&'r str> {
        let new = |row: &&Row| row.gauge.is_finite() && !self.rows.contains_key(&row.name);
        rows.iter().filter(new).map(|row| row.name.as_str()).collect()
    }
}

fn limit(ratio: f64, noise: f64, times: f64) -> f64 {
    ratio * (1.0 + (NOISES * noise + SLACK) * times) + SLACK_ABSOLUTE * times
}

impl std::fmt::Display for Slower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, ratio, expected, limit } = self;
        write!(f, "{name}: {ratio:.2}, the baseline has {expected:.2} and allows {limit:.2}")
    }
}
