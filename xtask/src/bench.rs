//! What a packet costs, and what a pool's rebuild takes: see `lb-userspace/benches/packet`.

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use crate::{
    process,
    setup::{self, For},
    vm,
    workspace::Workspace,
};

/// Options of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds over all cases; more give steadier figures on a busy machine
    #[arg(long, default_value_t = 25)]
    rounds: u32,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Measure another build of the program (its object file) beside this one
    #[arg(long, value_name = "OBJECT")]
    against: Option<PathBuf>,
    /// Fail if a row is slower than the committed baseline allows
    #[arg(long)]
    check: bool,
    /// Count instructions instead of nanoseconds, in an emulated machine (see `cargo xtask vm`): no cache, no neighbour, no noise
    #[arg(long, conflicts_with_all = ["check", "only", "against", "json", "write_baseline"])]
    instructions: bool,
    /// Measure several times and write the baseline
    #[arg(long, conflicts_with_all = ["check", "only", "against", "json"])]
    write_baseline: bool,
}

/// The committed ratios, below the repository's root.
const BASELINE: &str = "lb-userspace/benches/packet/baseline.json";

/// The chore.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.instructions {
        return vm::instructions(workspace);
    }
    if !geteuid().is_root() {
        bail!("loading programs needs root. Type: sudo -E env \"PATH=$PATH\" cargo xtask bench");
    }
    setup::ensure(workspace, For::Build)?;
    let mut command = workspace.cargo();
    command.args(["bench", "--locked", "--package", "lb-userspace", "--bench", "packet", "--"]);
    command.args(["--rounds", &options.rounds.to_string()]);
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    // Cargo runs the benchmark in the package's folder; paths were meant from here.
    let here = env::current_dir().context("the current folder")?;
    for (flag, file) in [("--json", &options.json), ("--against", &options.against)] {
        if let Some(file) = file {
            command.arg(flag).arg(here.join(file));
        }
    }
    for (flag, wanted) in [("--check", options.check), ("--write-baseline", options.write_baseline)] {
        if wanted {
            command.arg(flag).arg(workspace.root.join(BASELINE));
        }
    }
    process::run(&mut command)
}
