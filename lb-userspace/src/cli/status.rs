//! `lbctl status`.

use std::fmt::Write;

use super::{
    Context,
    exit::Failure,
    output::{BAD, BOLD, CALM, GOOD, NONE, WARN, cell, columns, heading, number, plain, styled},
    units::{age, now, since},
};
use crate::api::types::{DatapathState, Fill, OverrideInfo, PoolSummary, Severity, Status};

/// Runs it.
pub async fn run(context: &Context) -> Result<(), Failure> {
    let status: Status = context.client.get("/api/v1/status").await?;
    context.show(&status, |status| render(status, now()))
}

/// The screen.
pub fn render(status: &Status, now: u64) -> String {
    let mut out = String::new();
    let verdict = match status.alerts.first().map(|alert| alert.severity) {
        None => styled(GOOD, "all well"),
        Some(Severity::Warning) => styled(WARN, "look below"),
        Some(Severity::Critical) => styled(BAD, "trouble"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{}  up {}  configuration {} old  {verdict}",
        styled(BOLD, &format!("lbd {}", status.version)),
        age(status.uptime),
        age(since(status.config.loaded, now)),
    );
    for a in &status.datapath.attachments {
        let style = if a.mode == "native" || a.mode == "offload" { NONE } else { WARN };
        let _ = writeln!(
            out,
            "  {}  {} mode, driver {}{}",
            plain(&a.interface),
            styled(style, &a.mode),
            plain(&a.driver),
            if a.frags { ", jumbo frames" } else { "" }
        );
    }
    tables(&mut out, &status.datapath);
    let lag = status.datapath.wanted_revision.saturating_sub(status.datapath.revision);
    if lag > 0 {
        let _ = writeln!(out, "  the kernel is {lag} revision(s) behind");
    }
    if !status.alerts.is_empty() {
        let _ = writeln!(out, "\n{}", styled(BOLD, "ALERTS"));
        for alert in &status.alerts {
            let (style, word) = match alert.severity {
                Severity::Critical => (BAD, "CRITICAL"),
                Severity::Warning => (WARN, "WARNING"),
            };
            let _ = writeln!(out, "  {}  {}", styled(style, word), plain(&alert.text));
        }
    }
    let mut pools: Vec<_> = status.pools.iter().collect();
    pools.sort_by_key(|pool| std::cmp::Reverse(trouble(pool)));
    let mut rows = vec![heading(&[
        "POOL", "SERVING", "HELD", "DRAINING", "DOWN", "OUT", "SUSPECT", "SPARE", "SERVICES",
    ])];
    for pool in pools {
        let bad = |n: u64| number(n.to_string()).style(if n > 0 { BAD } else { NONE });
        rows.push(vec![
            cell(&pool.name),
            number(format!("{}/{}", pool.serving, pool.backends)).style(if pool.serving > 0 {
                GOOD
            } else {
                BAD
            }),
            bad(pool.held),
            number(pool.draining.to_string()).style(if pool.draining > 0 { CALM } else { NONE }),
            bad(pool.down),
            number(pool.out.to_string()),
            number(pool.suspect.to_string()).style(if pool.suspect > 0 { WARN } else { NONE }),
            cell(if pool.can_depool { "yes" } else { "no" }).style(if pool.can_depool { NONE } else { WARN }),
            cell(if pool.services.is_empty() { "-".to_owned() } else { pool.services.join(" ") }),
        ]);
    }
    out.push('\n');
    out.push_str(&columns(&rows, ""));
    if !status.overrides.is_empty() {
        let _ = writeln!(out, "\n{}", styled(BOLD, "OVERRIDES"));
        for row in &status.overrides {
            let _ = writeln!(
                out,
                "  {}  {}",
                plain(&format!("{}/{}", row.pool, row.backend)),
                plain(&override_text(&row.what, now))
            );
        }
    }
    out
}

/// How full the tables of flows are, and whether somebody else wrote in any.
fn tables(out: &mut String, d: &DatapathState) {
    let fill = |f: Fill| format!("{} of {}", f.used, f.limit);
    let frozen =
        if d.frozen { format!(", {}", styled(BAD, "frozen: no flow is pinned")) } else { String::new() };
    let drift = match d.drift_repaired {
        0 => String::new(),
        n => format!("  {}", styled(WARN, &format!("drift: {n} entries repaired"))),
    };
    let _ = writeln!(out, "  flows tracked {}, pinned {}{frozen}{drift}", fill(d.flows), fill(d.pins));
}

/// Pools with the most trouble first; the order of names otherwise.
fn trouble(pool: &PoolSummary) -> (bool, u64, u64, u64, u64) {
    (
        pool.serving + pool.held == 0 && !pool.services.is_empty(),
        pool.held,
        pool.down,
        pool.suspect,
        pool.draining,
    )
}

/// `pooled=no by alice 4m10s ago: kernel upgrade, for 30m more`.
pub fn override_text(o: &OverrideInfo, now: u64) -> String {
    let mut what = Vec::new();
    if let Some(pooled) = o.pooled {
        what.push(format!("pooled={pooled}"));
    }
    if let Some(weight) = o.weight {
        what.push(format!("weight={weight}"));
    }
    let mut text = format!("{} by {} {} ago", what.join(" "), o.by, age(since(o.since, now)));
    if let Some(reason) = &o.reason {
        let _ = write!(text, ": {reason}");
    }
    if let Some(until) = o.until {
        let _ = write!(text, ", for {} more", age(since(now, until)));
    }
    text
}
