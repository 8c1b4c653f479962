//! Cost of a packet, in ns, by two methods. The harness: a program in the kernel gives each packet another flow and tail-calls the program
//! under test; each window of packets is timed; cases take turns; p1 and median over all windows, and net = p1 minus that of a program that
//! only passes. Live frames: they leave by a veth, meet the program under test on its other end, and come back.
//!
//! Run by `cargo xtask bench`; needs root. Ratios between rows of one run are what counts: the machine is shared and its clock is its own.
//! `docs/performance.md` explains the rows and what was learnt from them.

mod baseline;
mod case;
mod cases;
mod driver;
mod frame;
mod live;
mod rebuild;
mod report;
mod world;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    baseline::Baseline,
    case::Case,
    driver::Harness,
    live::Veths,
    report::Report,
    world::{SMALL, Site},
};

const NANOSECONDS: &str = "ns";
/// A row that seems slower is measured again so many times, and what is measured added: noise goes away, a regression stays.
const SECOND_LOOKS: u32 = 3;

fn main() -> ExitCode {
    match Options::from_args().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `cargo xtask bench` passes on.
struct Options {
    rounds: u32,
    runs: u32,
    /// Windows per round.
    windows: u64,
    /// What a nanosecond is: on an emulated machine it may be an instruction.
    unit: String,
    only: Option<String>,
    json: Option<PathBuf>,
    against: Option<PathBuf>,
    check: Option<PathBuf>,
    write_baseline: Option<PathBuf>,
}

impl Options {
    fn from_args() -> Result<Self> {
        let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
        let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
        let number = |name: &str, default: u64| {
            value(name).map_or(Ok(default), |n| n.parse().with_context(|| format!("{name} {n}")))
        };
        let path = |name: &str| value(name).map(PathBuf::from);
        Ok(Self {
            rounds: number("--rounds", 25)? as u32,
            runs: number("--runs", 5)? as u32,
            windows: number("--windows", 32)?,
            unit: value("--unit").unwrap_or_else(|| NANOSECONDS.to_owned()),
            only: value("--only"),
            json: path("--json"),
            against: path("--against"),
            check: path("--check"),
            write_baseline: path("--write-baseline"),
        })
    }

    /// Whether time is measured, and not something that caches have no part in.
    fn is_time(&self) -> bool {
        self.unit == NANOSECONDS
    }

    fn wants(&self, case: &Case) -> bool {
        (self.is_time() || case.counted)
            && self.only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))
    }
}

fn run(options: &Options) -> Result<()> {
    live::leave_network()?;
    driver::pin_to_last_cpu()?;
    let mut harness = Harness::load(options.windows)?;
    let mut cases = all(&mut harness, options)?;
    let live = cases.iter().any(|c| c.is_live() && options.wants(c));
    cases.retain(|c| options.wants(c) || c.is_needed() || live && c.name == cases::LIVE_FLOOR);
    cases.sort_by_key(Case::is_live);

    if let Some(file) = &options.write_baseline {
        return write_baseline(&mut harness, &mut cases, options, file);
    }
    measure(&mut harness, &mut cases, options.rounds)?;
    let (rows, live) = report::rows(&cases);
    let size = cases.iter().find_map(Case::world).map(world::World::size).transpose()?;
    let rebuilds = options.only.as_ref().is_none_or(|only| "rebuild".contains(only.as_str()));
    let rebuild = if rebuilds && options.is_time() { rebuild::rebuild()? } else { Vec::new() };
    let report = Report { harness: rows, live, size, rebuild };
    report.print(&options.unit);
    if let Some(file) = &options.json {
        std::fs::write(file, report.json()?).with_context(|| file.display().to_string())?;
        println!("written to {}", file.display());
    }
    match &options.check {
        Some(file) => check(&mut harness, &mut cases, &Baseline::read(file)?, options.rounds),
        None => Ok(()),
    }
}

/// Every case, those through another build beside those through this one.
fn all(harness: &mut Harness, options: &Options) -> Result<Vec<Case>> {
    let mut cases = cases::harness(SMALL);
    if options.is_time() {
        cases.extend(cases::live(&mut Veths::new(harness), SMALL)?);
    }
    let Some(file) = &options.against else { return Ok(cases) };
    let object = std::fs::read(file).with_context(|| file.display().to_string())?;
    let mut other = cases::through_ours(Site { object: Some(object.leak()), ..SMALL });
    let mut pairs = Vec::new();
    for case in cases {
        let twin = other.iter().position(|o| o.name == case.name).map(|at| other.swap_remove(at).other());
        pairs.push(case);
        pairs.extend(twin);
    }
    Ok(pairs)
}

/// The zero is measured before every case of its kind: a shared machine has fast and slow minutes, and it must have seen them all.
fn measure(harness: &mut Harness, cases: &mut [Case], rounds: u32) -> Result<()> {
    let first_live = cases.iter().position(Case::is_live).unwrap_or(cases.len());
    let (through, live) = cases.split_at_mut(first_live);
    for _ in 0..rounds {
        for kind in [&mut *through, &mut *live] {
            let Some((zero, others)) = kind.split_first_mut() else { continue };
            for case in others {
                harness.measure(zero)?;
                harness.measure(case)?;
            }
        }
    }
    Ok(())
}

/// Measures several times and writes what is to be expected.
fn write_baseline(harness: &mut Harness, cases: &mut [Case], options: &Options, file: &Path) -> Result<()> {
    let mut all: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    let mut apart = Vec::new();
    for _ in 0..options.runs {
        measure(harness, cases, options.rounds)?;
        apart.push(flat(report::rows(cases)));
        for (all, case) in all.iter_mut().zip(&mut *cases) {
            all.append(&mut case.windows);
        }
    }
    for (all, case) in all.into_iter().zip(&mut *cases) {
        case.windows = all;
    }
    Baseline::learn(&flat(report::rows(cases)), &apart).write(file)?;
    println!("{} runs, written to {}", apart.len(), file.display());
    Ok(())
}

/// Fails if a row is slower than the baseline allows, and is so again and again.
fn check(harness: &mut Harness, cases: &mut Vec<Case>, baseline: &Baseline, rounds: u32) -> Result<()> {
    if !baseline.is_of_here() {
        println!(
            "the baseline is of another processor, or of other mitigations: only rows that stay in the first caches are compared, loosely"
        );
    }
    let rows = flat(report::rows(cases));
    let unknown = baseline.unknown(&rows);
    if !unknown.is_empty() {
        println!("not in the baseline: {}. Type: cargo xtask bench --write-baseline", unknown.join(", "));
    }
    let mut slower = baseline.slower(&rows, cases);
    for _ in 0..SECOND_LOOKS {
        if slower.is_empty() {
            break;
        }
        let names: Vec<String> = slower.into_iter().map(|s| s.name).collect();
        println!("again, more closely: {}", names.join(", "));
        cases.retain(|c| c.is_needed() || c.name == cases::LIVE_FLOOR || names.iter().any(|n| n == c.name));
        measure(harness, cases, rounds)?;
        slower = baseline.slower(&flat(report::rows(cases)), cases);
        slower.retain(|s| names.contains(&s.name));
    }
    if slower.is_empty() {
        println!("no row is slower than the baseline allows");
        return Ok(());
    }
    let lines: Vec<String> = slower.iter().map(ToString::to_string).collect();
    bail!("slower than the baseline:\n  {}", lines.join("\n  "))
}

fn flat((mut rows, live): (Vec<report::Row>, Vec<report::Row>)) -> Vec<report::Row> {
    rows.extend(live);
    rows
}
