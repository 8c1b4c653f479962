//! PyBal's metric names, for dashboards and alerts that know them. Pure.

use super::{collect::Samples, names};
use crate::{
    api::moment::Moment,
    coordinator::snapshot::BackendView,
    health::{CheckStatus, Verdict},
    model::{CheckKind, CheckSpec, CheckTarget, Disposition, Pooled},
};

/// All of them. Inactive backends do not exist for PyBal.
pub fn collect(moment: &Moment, samples: &mut Samples) {
    for (name, pool) in &moment.snapshot.pools {
        let labels = [name.as_str()];
        let servers: Vec<_> = pool.backends.iter().filter(|(_, b)| b.pooled != Pooled::Inactive).collect();
        let count =
            |wanted: &dyn Fn(&BackendView) -> bool| servers.iter().filter(|(_, b)| wanted(b)).count() as u64;
        samples.count(&names::PY_SERVERS, &labels, servers.len() as u64);
        samples.count(&names::PY_ENABLED, &labels, count(&|b| b.enabled()));
        samples.count(&names::PY_UP, &labels, count(&|b| b.up == Some(true)));
        samples.count(&names::PY_POOLED, &labels, count(&|b| b.in_pool()));
        samples.flag(&names::PY_CAN_DEPOOL, &labels, pool.can_depool);
        samples.count(&names::PY_POOLED_DOWN, &labels, count(&|b| b.disposition == Disposition::Held));
        samples.add(&names::PY_THRESHOLD, &labels, pool.threshold.fraction);
        samples.count(&names::PY_COULD_NOT, &labels, pool.could_not_depool);
        for (host, view) in &servers {
            for (i, target) in view.checks.iter().enumerate() {
                if let Some(status) = moment.checks.get(target) {
                    let monitor = monitor(&view.checks[..i], &target.spec);
                    monitor_samples([name.as_str(), host.as_str(), monitor], &target.spec, &status, samples);
                }
            }
        }
    }
    samples.flag(&names::PY_BGP_ENABLED, &[], false);
}

/// PyBal's word for the first check of a kind; the check's own name for further ones, so that no series appears twice.
fn monitor<'a>(before: &[CheckTarget], spec: &'a CheckSpec) -> &'a str {
    let word = |kind: &CheckKind| match kind {
        CheckKind::Http(_) | CheckKind::Https(..) => Some("ProxyFetch"),
        CheckKind::Idle => Some("IdleConnection"),
        CheckKind::Tcp => None,
    };
    match word(&spec.kind) {
        Some(pybal) if !before.iter().any(|earlier| word(&earlier.spec.kind) == Some(pybal)) => pybal,
        _ => &spec.name,
    }
}

fn monitor_samples(labels: [&str; 3], spec: &CheckSpec, status: &CheckStatus, samples: &mut Samples) {
    samples.flag(&names::PY_STATUS, &labels, status.verdict == Some(Verdict::Up));
    samples.count(&names::PY_UP_RESULTS, &labels, status.passes);
    samples.count(&names::PY_DOWN_RESULTS, &labels, status.failures);
    samples.count(&names::PY_UP_TRANSITIONS, &labels, status.ups);
    samples.count(&names::PY_DOWN_TRANSITIONS, &labels, status.downs);
    let (scheme, http) = match &spec.kind {
        CheckKind::Http(http) => ("http", http),
        CheckKind::Https(http, _) => ("https", http),
        CheckKind::Tcp | CheckKind::Idle => return,
    };
    let Some(latency) = status.latency() else { return };
    let [service, host, monitor] = labels;
    let url = format!("{scheme}://{}{}", http.host, http.path);
    samples.add(
        &names::PY_FETCH_DURATION,
        &[service, host, monitor, "successful", &url],
        latency.as_secs_f64(),
    );
}
