//! What needs an operator.

use super::pool;
use crate::{
    api::{
        moment::Moment,
        types::{Alert, Severity},
    },
    coordinator::snapshot::PoolView,
    datapath::Fill,
    model::{Disposition, Pooled},
};

/// A snapshot older than this means that the coordinator is stuck.
pub const STUCK_AFTER_SECONDS: f64 = 5.0;

/// Names in one sentence before the rest becomes a number.
const NAMES: usize = 5;

/// Whether the pool can never spare a backend (PyBal: `N > 1 and N < N * t + 1`).
#[expect(clippy::cast_precision_loss, reason = "the formula is in floats, and no pool has 2^53 backends")]
pub fn too_small(n: usize, threshold: f64) -> bool {
    let n = n as f64;
    n > 1.0 && n < n * threshold + 1.0
}

/// Everything wrong now, the worst first.
pub fn alerts(moment: &Moment) -> Vec<Alert> {
    let mut found = Vec::new();
    let mut say = |severity, text: String| found.push(Alert { severity, text });

    let age = moment.snapshot_age();
    if age > STUCK_AFTER_SECONDS {
        say(
            Severity::Critical,
            format!(
                "the coordinator has not published for {age:.0} s: what you see is old, and nothing reacts to failures"
            ),
        );
    }
    let status = &moment.status;
    if let Some(problem) = &status.problem {
        say(Severity::Critical, format!("the kernel's tables could not be written: {problem}"));
    }
    if let Some(problem) = &status.check_path_problem {
        say(
            Severity::Warning,
            format!(
                "checks with via = \"vip\" go to the backends' own addresses, and cannot see that a VIP is lost: {problem}"
            ),
        );
    }
    if status.attachments.is_empty() {
        say(Severity::Critical, "the program is attached to no interface: nothing is forwarded".into());
    }
    for a in status.attachments.iter().filter(|a| a.mode == "generic") {
        say(
            Severity::Warning,
            format!("{} runs in generic mode: it works, several times slower than native", a.interface),
        );
    }
    if status.drift_repaired > 0 {
        say(
            Severity::Warning,
            format!(
                "{} table entries had been changed by somebody else and were repaired",
                status.drift_repaired
            ),
        );
    }
    if let Some(problem) = &moment.snapshot.reload_problem {
        say(
            Severity::Warning,
            format!("the last reload was refused, the configuration before it is in force: {problem}"),
        );
    }
    if !moment.snapshot.ready {
        say(Severity::Warning, "starting: the first configuration is not in the kernel yet".into());
    }
    if status.frozen {
        say(
            Severity::Warning,
            "so many flows are pinned that nothing new is: raise `limits.pins`, or look for a pool that never settles".into(),
        );
    }
    if fills(status.flows) {
        let Fill { used, limit } = status.flows;
        say(
            Severity::Warning,
            format!(
                "{used} of {limit} tracked flows are in use: beyond, old ones are forgotten and counts become wrong (`limits.flows`)"
            ),
        );
    }
    for view in moment.snapshot.pools.values() {
        for (severity, text) in of_pool(moment, view) {
            say(severity, text);
        }
    }
    found.sort_by_key(|alert| std::cmp::Reverse(alert.severity));
    found
}

/// More than nine tenths full.
const fn fills(fill: Fill) -> bool {
    fill.limit > 0 && fill.used > fill.limit / 10 * 9
}

fn of_pool(moment: &Moment, view: &PoolView) -> Vec<(Severity, String)> {
    let mut found = Vec::new();
    let named = |state: Disposition| {
        let all: Vec<_> = view
            .backends
            .iter()
            .filter(|(_, b)| b.disposition == state && b.pooled == Pooled::Yes)
            .map(|(name, b)| if b.why.is_empty() { name.to_string() } else { format!("{name} ({})", b.why) })
            .collect();
        match all.len() {
            0 => None,
            n if n > NAMES => Some(format!("{} and {} more", all[..NAMES].join(", "), n - NAMES)),
            _ => Some(all.join(", ")),
        }
    };
    let summary = pool::summary(moment, view);
    if summary.serving + summary.held == 0 && !view.services.is_empty() {
        found.push((
            Severity::Critical,
            format!("pool {}: no backend serves, new connections are dropped", view.name),
        ));
    }
    if let Some(names) = named(Disposition::Held) {
        found.push((
            Severity::Critical,
            format!("pool {}: failing but kept in by the depool threshold: {names}", view.name),
        ));
    }
    if let Some(names) = named(Disposition::Down) {
        found.push((Severity::Warning, format!("pool {}: down: {names}", view.name)));
    }
    if let Some(names) = named(Disposition::Out) {
        found.push((Severity::Warning, format!("pool {}: wanted but out: {names}", view.name)));
    }
    found.extend(outliers(moment, view).map(|text| (Severity::Warning, text)));
    let n = view.backends.values().filter(|b| b.pooled != Pooled::Inactive).count();
    if too_small(n, view.threshold.fraction) {
        found.push((
            Severity::Warning,
            format!(
                "pool {}: with {n} backends and a threshold of {} none can ever be taken out",
                view.name, view.threshold.fraction
            ),
        ));
    }
    found
}

/// Who stands out and how.
fn outliers(moment: &Moment, view: &PoolView) -> Option<String> {
    let report = moment.snapshot.reports.get(&view.name)?;
    let suspects = report.backends.iter().filter_map(|(name, b)| Some((name, b.findings.first()?)));
    let said = |(name, finding)| {
        let lowered = view.backends.get(name).and_then(|b| Some((b.weight, b.lowered.as_ref()?)));
        let weight = lowered.map_or_else(String::new, |(w, l)| format!(", weight {} lowered to {w}", l.from));
        format!("{name} {finding}{weight}")
    };
    let all: Vec<_> = suspects.map(said).collect();
    let names = match all.len() {
        0 => return None,
        n if n > NAMES => format!("{}; and {} more", all[..NAMES].join("; "), n - NAMES),
        _ => all.join("; "),
    };
    Some(format!("pool {}: stands out: {names}", view.name))
}
