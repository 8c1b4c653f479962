//! A moment → samples. Pure.

use std::time::SystemTime;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::{
    connections,
    names::{self, Kind, Name},
    outliers,
};
use crate::{
    api::{moment::Moment, view::alerts::STUCK_AFTER_SECONDS},
    coordinator::snapshot::PoolView,
    health::Verdict,
    model::{BackendName, Disposition, PoolName, Pooled},
};

/// Every state, for `lb_backend_state`.
const STATES: [Disposition; 5] =
    [Disposition::Serving, Disposition::Held, Disposition::Draining, Disposition::Down, Disposition::Out];

/// Samples by metric, in the order of their first sample.
#[derive(Debug, Default)]
pub struct Samples {
    families: Vec<(&'static Name, Vec<Metric>)>,
}

impl Samples {
    /// Adds one sample; `labels` in the order of the name's.
    pub fn add(&mut self, name: &'static Name, labels: &[&str], value: f64) {
        debug_assert_eq!(name.labels.len(), labels.len(), "{}", name.name);
        let pairs = name
            .labels
            .iter()
            .zip(labels)
            .map(|(label, value)| {
                let mut pair = LabelPair::default();
                pair.set_name((*label).to_owned());
                pair.set_value((*value).to_owned());
                pair
            })
            .collect();
        let mut metric = Metric::from_label(pairs);
        match name.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        // Samples of a metric mostly come one after the other, and there are few metrics.
        match self.families.iter_mut().rev().find(|(n, _)| n.name == name.name) {
            Some((_, metrics)) => metrics.push(metric),
            None => self.families.push((name, vec![metric])),
        }
    }

    /// Adds a whole number. Above 2^53 the last digits are lost, which no rate shows.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has only floats")]
    pub fn count(&mut self, name: &'static Name, labels: &[&str], value: u64) {
        self.add(name, labels, value as f64);
    }

    /// Adds 1 or 0.
    pub fn flag(&mut self, name: &'static Name, labels: &[&str], value: bool) {
        self.add(name, labels, f64::from(u8::from(value)));
    }

    /// For the encoder.
    pub fn into_families(self) -> Vec<MetricFamily> {
        self.families
            .into_iter()
            .map(|(name, metrics)| {
                let mut family = MetricFamily::default();
                family.set_name(name.name.to_owned());
                family.set_help(name.help.to_owned());
                family.set_field_type(match name.kind {
                    Kind::Counter => MetricType::COUNTER,
                    Kind::Gauge => MetricType::GAUGE,
                });
                family.set_metric(metrics);
                family
            })
            .collect()
    }
}

/// Everything but the process.
pub fn collect(moment: &Moment, samples: &mut Samples) {
    let snapshot = &moment.snapshot;
    samples.flag(&names::UP, &[], moment.snapshot_age() <= STUCK_AFTER_SECONDS);
    samples.flag(&names::INFO, &[moment.about.version, &moment.about.abi.to_string()], true);
    traffic(moment, samples);
    for (name, pool) in &snapshot.pools {
        pool_samples(moment, name, pool, samples);
    }
    samples.flag(&names::RELOAD_SUCCESSFUL, &[], snapshot.reload_problem.is_none());
    let loaded = snapshot
        .config_loaded
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    samples.add(&names::RELOAD_TIMESTAMP, &[], loaded);
    samples.count(&names::RELOADS, &["success"], snapshot.reloads.0);
    samples.count(&names::RELOADS, &["failure"], snapshot.reloads.1);
    samples.flag(&names::DATAPATH_PROBLEM, &[], moment.status.problem.is_some());
    samples.count(&names::DRIFT_REPAIRED, &[], moment.status.drift_repaired);
    connections::tables(&moment.status, samples);
    samples.count(&names::REVISION_LAG, &[], snapshot.revision.saturating_sub(moment.status.revision));
    let overrides = snapshot
        .pools
        .values()
        .flat_map(|pool| pool.backends.values())
        .filter(|backend| backend.overridden.is_some())
        .count();
    samples.count(&names::OVERRIDES, &[], overrides as u64);
}

fn traffic(moment: &Moment, samples: &mut Samples) {
    let Some(counters) = &moment.counters else {
        return;
    };
    for (service, count) in &counters.services {
        let labels = [service.as_str()];
        samples.count(&names::SERVICE_PACKETS, &labels, count.packets);
        samples.count(&names::SERVICE_BYTES, &labels, count.bytes);
        samples.count(&names::SERVICE_CONNECTIONS, &labels, count.syns);
        samples.count(&names::SERVICE_CLOSES, &labels, count.closes);
        samples.count(&names::SERVICE_RESETS, &labels, count.resets);
    }
    for (id, count) in moment.backend_counts() {
        let labels = [id.pool.as_str(), id.backend.as_str()];
        samples.count(&names::BACKEND_PACKETS, &labels, count.packets);
        samples.count(&names::BACKEND_BYTES, &labels, count.bytes);
        samples.count(&names::BACKEND_CONNECTIONS, &labels, count.syns);
        samples.count(&names::BACKEND_CLOSES, &labels, count.closes);
        samples.count(&names::BACKEND_RESETS, &labels, count.resets);
        connections::retransmits(moment, id, count.retransmits, samples);
    }
    for reason in &counters.reasons {
        samples.count(&names::PACKETS_STOPPED, &[reason.reason, reason.verdict], reason.packets);
    }
    for (event, count) in &counters.probes {
        samples.count(&names::CHECK_PACKETS, &[event], *count);
    }
    for (event, count) in &counters.pins {
        samples.count(&names::PINS, &[event], *count);
    }
}

fn pool_samples(moment: &Moment, name: &PoolName, pool: &PoolView, samples: &mut Samples) {
    let labels = [name.as_str()];
    let count = |wanted: &dyn Fn(&crate::coordinator::snapshot::BackendView) -> bool| {
        pool.backends.values().filter(|b| wanted(b)).count() as u64
    };
    samples.count(&names::POOL_BACKENDS, &labels, count(&|b| b.pooled != Pooled::Inactive));
    samples.count(&names::POOL_UP_ENABLED, &labels, count(&|b| b.enabled() && b.up == Some(true)));
    samples.count(&names::POOL_SERVING, &labels, count(&|b| b.in_pool()));
    samples.count(&names::POOL_HELD, &labels, count(&|b| b.disposition == Disposition::Held));
    samples.flag(&names::POOL_CAN_DEPOOL, &labels, pool.can_depool);
    samples.add(&names::POOL_THRESHOLD, &labels, pool.threshold.fraction);
    samples.count(&names::POOL_COULD_NOT_DEPOOL, &labels, pool.could_not_depool);
    if let Some(status) = moment.status.pools.get(name) {
        samples.count(&names::POOL_SLOTS_IN_TRANSITION, &labels, u64::from(status.in_transition));
    }
    outliers::collect(moment, name, pool, samples);
    connections::current(moment, name, samples);
    for (backend, view) in &pool.backends {
        let labels = [name.as_str(), backend.as_str()];
        samples.count(&names::BACKEND_WEIGHT, &labels, u64::from(view.weight.get()));
        samples.count(&names::BACKEND_CONFIGURED_WEIGHT, &labels, u64::from(view.configured_weight.get()));
        samples.flag(&names::BACKEND_UP, &labels, view.up == Some(true));
        samples.flag(&names::BACKEND_POOLED, &labels, view.enabled());
        for state in STATES {
            samples.flag(
                &names::BACKEND_STATE,
                &[name.as_str(), backend.as_str(), &state.to_string()],
                view.disposition == state,
            );
        }
        checks(moment, name, backend, view, samples);
    }
}

fn checks(
    moment: &Moment,
    pool: &PoolName,
    backend: &BackendName,
    view: &crate::coordinator::snapshot::BackendView,
    samples: &mut Samples,
) {
    for target in &view.checks {
        let labels = [pool.as_str(), backend.as_str(), &*target.spec.name];
        let status = moment.checks.get(target);
        samples.flag(
            &names::CHECK_UP,
            &labels,
            status.as_ref().is_some_and(|s| s.verdict == Some(Verdict::Up)),
        );
        let Some(status) = status else { continue };
        if let Some(latency) = status.latency() {
            samples.add(&names::CHECK_DURATION, &labels, latency.as_secs_f64());
        }
        let [pool, backend, check] = labels;
        for (result, count) in
            [("pass", status.passes), ("fail", status.failures), ("not_done", status.not_done)]
        {
            samples.count(&names::CHECK_RESULTS, &[pool, backend, check, result], count);
        }
    }
}
