//! Backends compared with their pool → samples. Pure.

use super::{collect::Samples, names};
use crate::{api::moment::Moment, coordinator::snapshot::PoolView, model::PoolName, outliers::Measure};

/// One pool.
pub(super) fn collect(moment: &Moment, name: &PoolName, pool: &PoolView, samples: &mut Samples) {
    for (direction, steps) in [("down", pool.weights_lowered), ("up", pool.weights_raised)] {
        samples.count(&names::POOL_OUTLIER_STEPS, &[name.as_str(), direction], steps);
    }
    let Some(report) = moment.snapshot.reports.get(name) else { return };
    for (measure, median) in Measure::ALL.into_iter().zip(report.medians) {
        if let Some(median) = median {
            samples.add(&names::POOL_OUTLIER_MEDIAN, &[name.as_str(), measure.as_str()], median);
        }
    }
    for backend in pool.backends.keys() {
        let Some(found) = report.backends.get(backend) else { continue };
        for (measure, value) in Measure::ALL.into_iter().zip(found.values) {
            let labels = [name.as_str(), backend.as_str(), measure.as_str()];
            let stands_out = found.findings.iter().any(|f| f.measure == measure);
            samples.flag(&names::BACKEND_OUTLIER, &labels, stands_out);
            if let Some(value) = value {
                samples.add(&names::BACKEND_OUTLIER_VALUE, &labels, value);
            }
        }
    }
}
