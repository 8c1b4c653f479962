//! `lbctl table`: the slots of pools, as they are in the kernel.

pub mod compare;

use std::{fmt::Write, path::PathBuf};

use self::compare::{Comparison, compare};
use super::{
    Context,
    exit::Failure,
    output::{BAD, BOLD, DIM, GOOD, NONE, WARN, cell, columns, heading, number, plain, styled},
    remote,
};
use crate::api::types::{TableReport, TableShare, Tables};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Who owns how many slots, beside what the weights ask for
    Show {
        /// Pool
        pool: String,
        /// Also slot by slot
        #[arg(long)]
        slots: bool,
    },
    /// Where the kernel differs from what is wanted, or this balancer from another; exit code 1 if it does
    Diff {
        /// Pool
        pool: String,
        /// Another balancer's table: its address, as `http://lb2:9090`, or a file that `table export` wrote there
        #[arg(long, value_name = "FILE|URL")]
        against: Option<String>,
    },
    /// One line per pool, equal on balancers that agree
    Digest {
        /// Only this pool
        pool: Option<String>,
    },
    /// Everything, as JSON, for `table diff --against` elsewhere
    Export {
        /// Only this pool
        pool: Option<String>,
    },
}

/// Runs it.
pub async fn run(context: &Context, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Show { pool, slots } => {
            let report = table(context, pool, *slots).await?;
            context.show(&report, show)
        }
        Verb::Diff { pool, against: None } => {
            let report = table(context, pool, false).await?;
            context.show(&report, drift)?;
            let differs: u32 = report.differences.iter().map(|d| d.slots).sum();
            verdict(differs, report.slots, "the kernel and what is wanted differ")
        }
        Verb::Diff { pool, against: Some(other) } => {
            let here = table(context, pool, true).await?;
            let there = theirs(other, pool).await?;
            let found = compare(&here, &there);
            context.show(&found, |found| render(&here, &there, found))?;
            if found.same_size {
                verdict(found.slots, here.slots, "the two tables differ")
            } else {
                unequal(&here, &there)
            }
        }
        Verb::Digest { pool } => {
            let tables = tables(context, pool.as_deref(), false).await?;
            context.show(&tables, |all| {
                let line = |t: &TableReport| format!("{} {} {}", plain(&t.digest), t.slots, plain(&t.pool));
                let mut lines: Vec<_> = all.tables.iter().map(line).collect();
                lines.push(String::new());
                lines.join("\n")
            })
        }
        Verb::Export { pool } => context.print_json(&tables(context, pool.as_deref(), true).await?),
    }
}

async fn table(context: &Context, pool: &str, owners: bool) -> Result<TableReport, Failure> {
    Ok(context.client.get(&path(pool, owners)?).await?)
}

async fn tables(context: &Context, pool: Option<&str>, owners: bool) -> Result<Tables, Failure> {
    match pool {
        Some(pool) => Ok(Tables { tables: vec![table(context, pool, owners).await?] }),
        None => Ok(context.client.get(&format!("/api/v1/tables?owners={owners}")).await?),
    }
}

fn path(pool: &str, owners: bool) -> Result<String, Failure> {
    if pool.is_empty() || !pool.chars().all(|c| c.is_ascii_alphanumeric() || "._-:".contains(c)) {
        return Err(Failure::NotFound {
            error: format!("there is no pool {pool}"),
            help: "`lbctl list` shows what there is".into(),
        });
    }
    Ok(format!("/api/v1/pools/{pool}/table?owners={owners}"))
}

/// Another balancer's table of the same pool.
async fn theirs(other: &str, pool: &str) -> Result<TableReport, Failure> {
    if other.contains("://") {
        return remote::get(other, &path(pool, true)?).await;
    }
    let file = PathBuf::from(other);
    let text = std::fs::read(&file).map_err(|error| Failure::NotFound {
        error: format!("{other}: {error}"),
        help: "give a file that `lbctl table export` wrote, or http://BALANCER:9090".into(),
    })?;
    let all: Tables = serde_json::from_slice(&text)
        .map_err(|error| Failure::Usage(format!("{other}: {error}; write it with `lbctl table export`")))?;
    all.tables.into_iter().find(|table| table.pool == pool).ok_or_else(|| Failure::NotFound {
        error: format!("{other} has no pool {pool}"),
        help: "export it there with `lbctl table export`".into(),
    })
}

fn verdict(differ: u32, of: u32, what: &str) -> Result<(), Failure> {
    if differ == 0 {
        return Ok(());
    }
    Err(Failure::refused(
        format!("{what} in {differ} of {of} slots"),
        "a change that is being written looks like this for a moment: look again",
    ))
}

fn unequal(here: &TableReport, there: &TableReport) -> Result<(), Failure> {
    Err(Failure::refused(
        format!("tables of {} and {} slots cannot be compared slot by slot", here.slots, there.slots),
        "`slots` of the pool must be the same on all balancers of a cluster",
    ))
}

fn percentage(part: f64) -> String {
    format!("{:.2}%", part * 100.0)
}

fn share_of(slots: u32, all: u32) -> f64 {
    if all == 0 { 0.0 } else { f64::from(slots) / f64::from(all) }
}

/// `table show`.
pub fn show(report: &TableReport) -> String {
    let mut out = head(report);
    let names = ["BACKEND", "WEIGHT", "NEW", "SLOTS", "SHARE", "BY WEIGHT", "WANTED", "DRAINING", "ID"];
    let mut rows = vec![heading(&names)];
    for backend in &report.backends {
        rows.push(row(report, backend));
    }
    out.push_str(&columns(&rows, "  "));
    if let Some(owners) = &report.owners {
        let name = |position: i32| {
            usize::try_from(position)
                .ok()
                .and_then(|i| report.backends.get(i))
                .map_or("-", |backend| backend.name.as_str())
        };
        let mut rows = vec![heading(&["SLOT", "OWNER", "OLD OWNER"])];
        let mut bases = owners.base.iter().peekable();
        for (slot, cur) in (0u32..).zip(&owners.cur) {
            let base = bases.next_if(|(at, _)| *at == slot).map_or("", |(_, base)| name(*base));
            rows.push(vec![number(slot.to_string()), cell(name(*cur)), cell(base)]);
        }
        out.push('\n');
        out.push_str(&columns(&rows, "  "));
    }
    out
}

fn head(report: &TableReport) -> String {
    let state = if report.differences.is_empty() {
        styled(GOOD, "as wanted")
    } else {
        styled(BAD, &format!("wanted: {}", report.wanted_digest))
    };
    let repaired = if report.drift_repaired == 0 {
        String::new()
    } else {
        format!(
            "  {}",
            styled(WARN, &format!("{} entries repaired since lbd started", report.drift_repaired))
        )
    };
    format!(
        "{}  {} slots, {} in transition  digest {}  {state}{repaired}\n",
        styled(BOLD, &report.pool),
        report.slots,
        report.in_transition,
        plain(&report.digest),
    )
}

fn row(report: &TableReport, backend: &TableShare) -> Vec<super::output::Cell> {
    let share = share_of(backend.slots, report.slots);
    let off = backend.slots != backend.wanted_slots;
    vec![
        cell(&backend.name),
        number(backend.weight.to_string()),
        cell(if backend.takes_new { "yes" } else { "no" }),
        number(backend.slots.to_string()).style(if off { BAD } else { NONE }),
        number(percentage(share)),
        number(percentage(backend.expected)),
        number(backend.wanted_slots.to_string()),
        number(backend.draining_slots.to_string()),
        cell(&backend.id).style(DIM),
    ]
}

/// `table diff` without another one: the reconciler's view.
pub fn drift(report: &TableReport) -> String {
    let mut out = head(report);
    if report.differences.is_empty() {
        out.push_str("  every slot has the owner that it should have\n");
        return out;
    }
    let mut rows = vec![heading(&["KERNEL HAS", "WANTED", "SLOTS"])];
    for d in &report.differences {
        rows.push(vec![
            cell(d.has.as_deref().unwrap_or("-")),
            cell(d.wanted.as_deref().unwrap_or("-")),
            number(d.slots.to_string()),
        ]);
    }
    out.push_str(&columns(&rows, "  "));
    out.push_str(
        "  lbd compares and repairs its tables all the time; what stays longer than a second is a defect\n",
    );
    out
}

/// `table diff --against`.
fn render(here: &TableReport, there: &TableReport, found: &Comparison) -> String {
    let mut out = String::new();
    for (name, report) in [("here ", here), ("there", there)] {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{} {} {} slots, {} in transition",
            styled(BOLD, name),
            plain(&report.digest),
            report.slots,
            report.in_transition
        );
    }
    let mut rows =
        vec![heading(&["BACKEND", "WEIGHT HERE", "THERE", "NEW HERE", "THERE", "SLOTS HERE", "THERE"])];
    let yes = |on: Option<bool>| on.map_or("-", |on| if on { "yes" } else { "no" });
    let n = |n: Option<u32>| number(n.map_or_else(|| "-".to_owned(), |n| n.to_string()));
    for backend in &found.backends {
        let [a, b] = &backend.sides;
        rows.push(vec![
            cell(&backend.name),
            n(a.map(|s| s.weight)),
            n(b.map(|s| s.weight)),
            cell(yes(a.map(|s| s.takes_new))),
            cell(yes(b.map(|s| s.takes_new))),
            n(a.map(|s| s.slots)),
            n(b.map(|s| s.slots)),
        ]);
    }
    if rows.len() == 1 {
        out.push_str("every backend has the same weight and the same slots on both\n");
    } else {
        out.push_str(&columns(&rows, "  "));
    }
    if !found.moves.is_empty() {
        let mut rows = vec![heading(&["OWNER HERE", "OWNER THERE", "SLOTS"])];
        for m in &found.moves {
            rows.push(vec![cell(&m.here), cell(&m.there), number(m.slots.to_string())]);
        }
        out.push_str(&columns(&rows, "  "));
    }
    out
}
