//! What a packet costs, and what a pool's rebuild takes: see `lb-userspace/benches/packet`.

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use crate::{
    process,
    setup::{self, For},
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
}

/// The chore.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
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
    if let Some(file) = &options.json {
        // Cargo runs the benchmark in the package's folder; the path was meant from here.
        let here = env::current_dir().context("the current folder")?;
        command.arg("--json").arg(here.join(file));
    }
    process::run(&mut command)
}
