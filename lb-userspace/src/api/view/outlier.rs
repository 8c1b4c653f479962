//! Backends compared with their pools.

use crate::{
    api::{
        moment::Moment,
        types::{Finding, LoweredWeight, Measured, Outlier, Rates, Standing},
        view::unix,
    },
    coordinator::snapshot,
    model::{BackendName, PoolName},
    outliers::{self, BackendReport, Measure, Report},
};

/// A backend's rates and how it compares with its pool. Nothing is known of one that nobody has judged yet.
pub fn outlier(moment: &Moment, pool: &PoolName, backend: &BackendName) -> (Option<Rates>, Outlier) {
    let Some(report) = moment.snapshot.reports.get(pool) else {
        return (None, Outlier::default());
    };
    let Some(found) = report.backends.get(backend) else {
        return (None, Outlier::default());
    };
    (found.rates.map(Rates::from), of(moment, report, found))
}

fn of(moment: &Moment, report: &Report, found: &BackendReport) -> Outlier {
    let finding = |f: &outliers::Finding| Finding {
        measure: f.measure,
        value: f.value,
        pool: f.median,
        seconds: moment.now.saturating_duration_since(f.since).as_secs(),
        text: f.to_string(),
    };
    let measured = Measure::ALL.into_iter().zip(found.values.into_iter().zip(report.medians));
    Outlier {
        state: if found.findings.is_empty() { Standing::Ok } else { Standing::Suspect },
        findings: found.findings.iter().map(finding).collect(),
        measures: measured.map(|(measure, (value, pool))| (measure, Measured { value, pool })).collect(),
    }
}

/// How many of a pool stand out.
pub fn suspects(moment: &Moment, pool: &PoolName) -> u64 {
    let report = moment.snapshot.reports.get(pool);
    report.map_or(0, |report| report.backends.values().filter(|b| !b.findings.is_empty()).count() as u64)
}

/// A lowered weight as JSON.
pub fn lowered(lowered: &snapshot::LoweredWeight) -> LoweredWeight {
    LoweredWeight { from: lowered.from.get(), since: unix(lowered.since), why: lowered.why.clone() }
}

impl From<outliers::Rates> for Rates {
    fn from(rates: outliers::Rates) -> Self {
        let outliers::Rates { window, new, syns, fins, resets, retransmits, estimated } = rates;
        Self { window, new, syns, fins, resets, retransmits, estimated }
    }
}
