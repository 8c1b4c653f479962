//! Table and JSON.

use anyhow::Result;
use serde_json::{Value, json};

use crate::driver::Case;

/// A case's figures, in ns.
pub(crate) struct Row {
    name: &'static str,
    p10: f64,
    median: f64,
    net: f64,
}

/// Time to rebuild and write a pool's slots.
pub(crate) struct Rebuild {
    /// Backends of the pool.
    pub(crate) backends: usize,
    /// Best of several, in ms: the whole table, and after one backend went down.
    pub(crate) ms: f64,
    /// The same after one backend went down.
    pub(crate) flap_ms: f64,
}

/// Figures of all cases; the first is the zero.
pub(crate) fn rows(cases: &[Case]) -> Vec<Row> {
    let mut rows: Vec<Row> = cases
        .iter()
        .map(|case| {
            let mut w = case.windows.clone();
            w.sort_by(f64::total_cmp);
            let at = |part: usize| w.get(w.len() * part / 100).copied().unwrap_or(f64::NAN);
            Row { name: case.name, p10: at(10), median: at(50), net: 0.0 }
        })
        .collect();
    let zero = rows.first().map_or(0.0, |r| r.p10);
    for row in &mut rows {
        row.net = row.p10 - zero;
    }
    rows
}

/// The table.
pub(crate) fn print(rows: &[Row], rebuild: &[Rebuild]) {
    let hot = rows.iter().find(|r| r.name == "v4_tcp_hot").map(|r| r.net);
    println!("{:<20} {:>8} {:>8} {:>8} {:>12}", "case", "p10 ns", "median", "net ns", "x v4_tcp_hot");
    for r in rows {
        let ratio = hot.filter(|h| *h > 0.0).map_or(String::new(), |h| format!("{:.2}", r.net / h));
        println!("{:<20} {:>8.1} {:>8.1} {:>8.1} {:>12}", r.name, r.p10, r.median, r.net, ratio);
    }
    for r in rebuild {
        println!(
            "rebuild and write a pool of {:>4} backends: {:>7.2} ms; after one went down: {:.2} ms",
            r.backends, r.ms, r.flap_ms
        );
    }
}

/// The same for machines.
pub(crate) fn json(rows: &[Row], rebuild: &[Rebuild]) -> Result<String> {
    let round = |x: f64| (x * 100.0).round() / 100.0;
    let cases: Vec<Value> = rows
        .iter()
        .map(|r| json!({ "name": r.name, "p10_ns": round(r.p10), "median_ns": round(r.median), "net_ns": round(r.net) }))
        .collect();
    let rebuild: Vec<Value> = rebuild
        .iter()
        .map(|r| json!({ "backends": r.backends, "ms": round(r.ms), "flap_ms": round(r.flap_ms) }))
        .collect();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("", |l| l.trim_start_matches([' ', '\t', ':']));
    let machine = json!({
        "cpu": model,
        "cpus": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "spectre_v2": read("/sys/devices/system/cpu/vulnerabilities/spectre_v2").trim(),
        "spec_rstack_overflow": read("/sys/devices/system/cpu/vulnerabilities/spec_rstack_overflow").trim(),
    });
    Ok(serde_json::to_string_pretty(&json!({ "cases": cases, "rebuild": rebuild, "machine": machine }))?)
}
