//! Cost of a packet, in ns, by the harness method: a program in the kernel gives each packet another flow and tail-calls the program under test;
//! each window of packets is timed; cases take turns; p10 and median over all windows, and net = p10 minus that of a program that only passes.
//!
//! Run by `cargo xtask bench`; needs root. Ratios between rows of one run are what counts: the machine is shared and its clock is its own.

mod driver;
mod report;
mod setup;

use std::process::ExitCode;

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
    let mut cases = setup::cases()?;
    if let Some(only) = &only {
        cases.retain(|c| c.name == "pass" || c.name.contains(only.as_str()));
    }
    driver::pin_to_last_cpu()?;
    let mut harness = driver::Harness::load()?;
    // The zero is measured before every other case: a shared machine has fast and slow minutes, and it must have seen them all.
    if let Some((zero, others)) = cases.split_first_mut() {
        for _ in 0..rounds {
            for case in &mut *others {
                harness.measure(zero)?;
                harness.measure(case)?;
            }
        }
    }
    let rows = report::rows(&cases);
    let rebuild = if only.is_none() { setup::rebuild()? } else { Vec::new() };
    report::print(&rows, &rebuild);
    if let Some(file) = value("--json") {
        std::fs::write(&file, report::json(&rows, &rebuild)?)?;
        println!("written to {file}");
    }
    Ok(())
}
