//! Table and JSON.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    case::Case,
    cases::{GROW, GROW_THRICE, UNIT, YARDSTICK},
    rebuild::Rebuild,
};

/// A case's figures, in ns.
pub(crate) struct Row {
    pub(crate) name: String,
    p1: f64,
    median: f64,
    /// p1 less the zero's; of a live row, p1.
    net: f64,
    /// `net` in terms of the unit's, or a live row's p1 in terms of the floor's.
    ratio: f64,
    /// `net` in terms of the yardstick's, or a live row's p1 in terms of the floor's: what the baseline keeps.
    pub(crate) gauge: f64,
}

/// Everything measured.
pub(crate) struct Report {
    pub(crate) harness: Vec<Row>,
    pub(crate) live: Vec<Row>,
    /// Our program: instructions that the verifier looked at, that are left after it, and bytes of machine code.
    pub(crate) size: Option<[u32; 3]>,
    pub(crate) rebuild: Vec<Rebuild>,
}

/// Figures of all cases; of each kind the first is the zero or the floor.
pub(crate) fn rows(cases: &[Case]) -> (Vec<Row>, Vec<Row>) {
    let figures = |case: &Case| {
        let mut w = case.windows.clone();
        w.sort_by(f64::total_cmp);
        let at = |part: usize| w.get(w.len() * part / 100).copied().unwrap_or(f64::NAN);
        let name = if case.other { format!("{} (other)", case.name) } else { case.name.to_owned() };
        Row { name, p1: at(1), median: at(50), net: at(1), ratio: f64::NAN, gauge: f64::NAN }
    };
    let (mut live, mut harness): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for case in cases {
        if case.is_live() { &mut live } else { &mut harness }.push(figures(case));
    }
    let zero = harness.first().map_or(0.0, |r| r.p1);
    let p1 = |name: &str| harness.iter().find(|r| r.name == name).map(|r| r.p1);
    let undo = match (p1(GROW), p1(GROW_THRICE)) {
        (Some(once), Some(thrice)) => once - (thrice - once) / 2.0 - zero,
        _ => 0.0,
    };
    let [unit, yardstick] = [UNIT, YARDSTICK].map(|name| p1(name).map_or(f64::NAN, |p1| p1 - zero));
    for (row, case) in harness.iter_mut().zip(cases.iter().filter(|c| !c.is_live())) {
        row.net = row.p1 - zero - if case.wrapped { undo } else { 0.0 };
        row.ratio = row.net / unit;
        row.gauge = row.net / yardstick;
    }
    let floor = live.first().map_or(f64::NAN, |r| r.p1);
    for row in &mut live {
        row.ratio = row.p1 / floor;
        row.gauge = row.ratio;
    }
    (harness, live)
}

impl Report {
    /// For people.
    pub(crate) fn print(&self, unit: &str) {
        let ratio = |r: &Row| if r.ratio.is_nan() { String::new() } else { format!("{:.2}", r.ratio) };
        println!(
            "{:<28} {:>8} {:>8} {:>8} {:>12}",
            format!("packets ({unit})"),
            "p1",
            "median",
            "net",
            format!("x {UNIT}")
        );
        for r in &self.harness {
            println!("{:<28} {:>8.1} {:>8.1} {:>8.1} {:>12}", r.name, r.p1, r.median, r.net, ratio(r));
        }
        if let Some(floor) = self.live.first() {
            println!(
                "{:<28} {:>8} {:>8} {:>8} {:>12}",
                "live frames",
                "p1",
                "median",
                "Mpps",
                format!("x {}", floor.name)
            );
        }
        for r in &self.live {
            println!("{:<28} {:>8.1} {:>8.1} {:>8.2} {:>12}", r.name, r.p1, r.median, 1e3 / r.p1, ratio(r));
        }
        if let Some([seen, left, bytes]) = self.size {
            println!("program: {left} instructions, {bytes} bytes of machine code; {seen} verified");
        }
        for r in &self.rebuild {
            println!(
                "rebuild and write {:>4} pools ({} backends, {} slots; {} services): {:>7.2} ms; after one of each went down: \
                 {:.2} ms",
                r.pools, r.backends, r.slots, r.services, r.ms, r.flap_ms
            );
        }
    }

    /// For machines.
    pub(crate) fn json(&self) -> Result<String> {
        let rows = |rows: &[Row]| -> Vec<Value> {
            rows.iter()
                .map(|r| {
                    json!({
                        "name": r.name,
                        "p1_ns": round(r.p1),
                        "median_ns": round(r.median),
                        "net_ns": round(r.net),
                        "ratio": round(r.ratio),
                    })
                })
                .collect()
        };
        let rebuild: Vec<Value> = self
            .rebuild
            .iter()
            .map(|r| {
                json!({
                    "pools": r.pools,
                    "services": r.services,
                    "backends": r.backends,
                    "slots": r.slots,
                    "ms": round(r.ms),
                    "flap_ms": round(r.flap_ms),
                })
            })
            .collect();
        let program = self.size.map(
            |[seen, left, bytes]| json!({ "verified": seen, "instructions": left, "machine_code_bytes": bytes }),
        );
        Ok(serde_json::to_string_pretty(&json!({
            "cases": rows(&self.harness),
            "live": rows(&self.live),
            "program": program,
            "rebuild": rebuild,
            "machine": machine(),
        }))?)
    }
}

fn round(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

/// What figures depend on besides the program.
pub(crate) fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("", |l| l.trim_start_matches([' ', '\t', ':']));
    json!({
        "cpu": model,
        // Of the machine: this process keeps to one.
        "cpus": cpuinfo.lines().filter(|l| l.starts_with("processor")).count(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "spectre_v2": read("/sys/devices/system/cpu/vulnerabilities/spectre_v2").trim(),
        "spec_rstack_overflow": read("/sys/devices/system/cpu/vulnerabilities/spec_rstack_overflow").trim(),
    })
}
