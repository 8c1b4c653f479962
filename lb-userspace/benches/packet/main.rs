//! Cost of a packet, in ns, by two methods. The harness: a program in the kernel gives each packet another flow and tail-calls the program
//! under test; each window of packets is timed; cases take turns; p1 and median over all windows, and net = p1 minus that of a program that
//! only passes. Live frames: they leave by a veth, meet the program under test on its other end, and come back.
//!
//! Run by `cargo xtask bench`; needs root. Ratios between rows of one run are what counts: the machine is shared and its clock is its own.

mod case;
mod cases;
mod driver;
mod frame;
mod live;
mod rebuild;
mod report;
mod world;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{
    case::Case,
    driver::Harness,
    live::Veths,
    report::Report,
    world::{SMALL, Site},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let rounds = value("--rounds").map_or(Ok(25), |r| r.parse())?;
    let only = value("--only");
    let wanted = |case: &Case| only.as_ref().is_none_or(|only| case.name.contains(only.as_str()));

    live::leave_network()?;
    driver::pin_to_last_cpu()?;
    let mut harness = Harness::load()?;
    let mut cases = cases::harness(SMALL);
    cases.extend(cases::live(&mut Veths::new(&mut harness), SMALL)?);
    if let Some(file) = value("--against") {
        let object = std::fs::read(&file).with_context(|| file.clone())?;
        let other = cases::through_ours(Site { object: Some(object.leak()), ..SMALL });
        cases = beside(cases, other);
    }
    // What the others are compared with is always measured.
    let live = cases.iter().any(|c| c.is_live() && wanted(c));
    cases.retain(|c| wanted(c) || c.is_needed() || live && c.name == "live_floor");
    measure(&mut harness, &mut cases, rounds)?;

    let (rows, live) = report::rows(&cases);
    let size = cases.iter().find_map(Case::world).map(world::World::size).transpose()?;
    let rebuild = if only.is_none() { rebuild::rebuild()? } else { Vec::new() };
    let report = Report { harness: rows, live, size, rebuild };
    report.print();
    if let Some(file) = value("--json") {
        std::fs::write(&file, report.json()?)?;
        println!("written to {file}");
    }
    Ok(())
}

/// Each case followed by the same through the other build.
fn beside(cases: Vec<Case>, mut other: Vec<Case>) -> Vec<Case> {
    let mut pairs = Vec::new();
    for case in cases {
        let twin = other.iter().position(|o| o.name == case.name).map(|at| other.swap_remove(at).other());
        pairs.push(case);
        pairs.extend(twin);
    }
    pairs
}

/// The zero is measured before every case of its kind: a shared machine has fast and slow minutes, and it must have seen them all.
fn measure(harness: &mut Harness, cases: &mut [Case], rounds: u32) -> anyhow::Result<()> {
    cases.sort_by_key(Case::is_live);
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
