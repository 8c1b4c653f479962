//! Everything that says whether this works, each step timed, every failure reported, all tests counted.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use crate::{
    docs, lint,
    process::{self, show},
    setup::{self, For},
    tidy,
    workspace::Workspace,
};

/// Options of `test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what needs no root: lints, unit and property tests
    #[arg(long)]
    unit: bool,
    /// Leave formatting, clippy, documentation and tidy out
    #[arg(long)]
    no_lint: bool,
}

/// Tests of one run, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

/// A step that ended.
struct Done {
    name: String,
    took: Duration,
    tally: Option<Tally>,
    error: Option<anyhow::Error>,
}

/// The chore.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if !options.unit && !geteuid().is_root() {
        bail!(
            "packets through the real program and network namespaces need root. Type one of:\n  \
             sudo -E env \"PATH=$PATH\" cargo xtask test\n  cargo xtask test --unit        (what needs no root)"
        );
    }
    let mut done = Vec::new();
    let needs = if options.unit { For::Build } else { For::Test };
    done.push(step("setup", || setup::ensure(workspace, needs).map(drop)));
    if done.iter().all(|step| step.error.is_none()) {
        if !options.no_lint {
            for (name, mut command) in lint::steps(workspace) {
                done.push(step(name, || process::run(&mut command)));
            }
            done.push(step("tidy", || tidy::run(workspace)));
            done.push(step("docs", || docs::check(workspace)));
        }
        for (name, mut command) in suites(workspace, options.unit) {
            let mut tally = Tally::default();
            let mut finished = step(name, || count(&mut command, &mut tally));
            finished.tally = Some(tally);
            done.push(finished);
        }
    }
    report(&done)
}

/// The runs of `cargo test`.
fn suites(workspace: &Workspace, unit_only: bool) -> Vec<(&'static str, Command)> {
    let cargo = |words: &[&str]| {
        let mut command = workspace.cargo();
        command.args(["test", "--locked", "--no-fail-fast"]).args(words);
        command
    };
    let mut suites = vec![
        ("unit tests", cargo(&["--workspace", "--lib", "--bins"])),
        ("documentation tests", cargo(&["--workspace", "--doc"])),
    ];
    if !unit_only && has_integration_tests(workspace) {
        // They load programs and lay out networks: one at a time within a file, so that timing bounds hold on two cores.
        suites.push((
            "packets, namespaces, command lines (root)",
            cargo(&["--package", "lb-userspace", "--test", "*", "--", "--test-threads=1"]),
        ));
    }
    suites
}

fn has_integration_tests(workspace: &Workspace) -> bool {
    fs::read_dir(workspace.root.join("lb-userspace/tests")).is_ok_and(|dir| {
        dir.flatten()
            .any(|f| f.path().extension().is_some_and(|e| e == "rs") || f.path().join("main.rs").exists())
    })
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Done {
    println!("\n== {name}");
    let start = Instant::now();
    let error = work().err();
    if let Some(error) = &error {
        eprintln!("error: {error:#}");
    }
    Done { name: name.to_owned(), took: start.elapsed(), tally: None, error }
}

/// Runs one `cargo test`, passing on what it prints and adding up its results, also those of a run that fails.
fn count(command: &mut Command, tally: &mut Tally) -> Result<()> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| show(command))?;
    let stdout = child.stdout.take().context("cargo's standard output is not piped")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        tally.add(&line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{status}: {}", show(command));
    }
    Ok(())
}

impl Tally {
    /// Adds a line `test result: ok. 3 passed; 0 failed; 1 ignored; …`; other lines say nothing.
    pub(crate) fn add(&mut self, line: &str) {
        let Some((_, results)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for result in results.split("; ") {
            let Some((number, what)) = result.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// What each step took, then the closing line.
fn report(done: &[Done]) -> Result<()> {
    println!("\n{:<44} {:>8}  result", "step", "seconds");
    let mut sum = Tally::default();
    for step in done {
        let tests =
            step.tally.map_or(String::new(), |t| format!(", {} passed, {} failed", t.passed, t.failed));
        let result = if step.error.is_none() { "ok" } else { "FAILED" };
        println!("{:<44} {:>8.1}  {result}{tests}", step.name, step.took.as_secs_f64());
        if let Some(tally) = step.tally {
            sum.passed += tally.passed;
            sum.failed += tally.failed;
            sum.ignored += tally.ignored;
        }
    }
    let ignored = if sum.ignored == 0 { String::new() } else { format!(", {} ignored", sum.ignored) };
    println!("\n{} passed, {} failed{ignored}", sum.passed, sum.failed);
    let failed: Vec<&str> = done.iter().filter(|s| s.error.is_some()).map(|s| s.name.as_str()).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    if sum.passed == 0 {
        bail!("not one test ran");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_runs_add_up() {
        let mut tally = Tally::default();
        tally.add(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s",
        );
        tally.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s");
        tally.add("test a_test ... ok");
        assert_eq!(tally, Tally { passed: 15, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_run_without_tests_is_a_failure() {
        assert!(report(&[]).is_err());
    }

    #[test]
    fn a_failed_run_still_counts_its_tests() {
        let mut tally = Tally::default();
        let script = "echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101";
        assert!(count(Command::new("sh").args(["-c", script]), &mut tally).is_err());
        assert_eq!(tally, Tally { passed: 1, failed: 1, ignored: 0 });
    }
}
