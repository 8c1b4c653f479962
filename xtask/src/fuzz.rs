//! Random input, bounded: the fuzz targets for a time, or frames through the loaded program by their number.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use crate::{
    process::{self, is_installed},
    setup::{self, For},
    workspace::Workspace,
};

/// Where fuzz crates live.
const CRATES: [&str; 2] = ["lb-common/fuzz", "lb-userspace/fuzz"];

/// Options of `fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only targets whose name contains this
    #[arg(conflicts_with = "packets")]
    target: Option<String>,
    /// Instead, random frames through the loaded program, compared with the model of its rules (needs root, and no nightly)
    #[arg(long, conflicts_with = "seconds")]
    packets: bool,
    /// Frames of `--packets`
    #[arg(long, default_value_t = 10_000_000, requires = "packets")]
    frames: u64,
    /// What the frames of `--packets` follow from; another one each time if not given
    #[arg(long, requires = "packets")]
    seed: Option<u64>,
}

/// The chore.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.packets { packets(workspace, options) } else { targets_in_turn(workspace, options) }
}

/// The long form of `lb-userspace/tests/packets/random.rs`.
fn packets(workspace: &Workspace, options: &Options) -> Result<()> {
    if !geteuid().is_root() {
        bail!("loading the program needs root. Type: sudo -E env \"PATH=$PATH\" cargo xtask fuzz --packets");
    }
    setup::ensure(workspace, For::Build)?;
    let seed = match options.seed {
        Some(seed) => seed,
        None => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()),
    };
    println!("\n== {} frames of seed {seed}", options.frames);
    let mut command = workspace.cargo();
    // Optimised: the model and the test's own bookkeeping would take most of the time.
    command.args([
        "test",
        "--profile",
        "bench",
        "--locked",
        "--package",
        "lb-userspace",
        "--test",
        "packets",
    ]);
    command.args(["--", "--nocapture", "random::"]);
    command.env("LB_FUZZ_FRAMES", options.frames.to_string()).env("LB_FUZZ_SEED", seed.to_string());
    process::run(&mut command)
        .with_context(|| format!("the same again: cargo xtask fuzz --packets --seed {seed}"))
}

fn targets_in_turn(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut need = Vec::new();
    if !is_installed("cargo-fuzz") {
        need.push("cargo install cargo-fuzz --locked");
    }
    if process::quietly(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])).is_err() {
        need.push("rustup toolchain install nightly");
    }
    if !need.is_empty() {
        bail!("fuzzing needs a nightly compiler and cargo-fuzz. Type:\n  {}", need.join("\n  "));
    }
    let wanted = options.target.as_deref().unwrap_or_default();
    let targets: Vec<(PathBuf, String)> = CRATES
        .iter()
        .map(|folder| workspace.root.join(folder))
        .flat_map(|folder| targets(&folder).into_iter().map(move |name| (folder.clone(), name)))
        .filter(|(_, name)| name.contains(wanted))
        .collect();
    if targets.is_empty() {
        bail!("no fuzz target matches `{wanted}`");
    }
    for (folder, name) in targets {
        println!("\n== {name} ({} s)", options.seconds);
        process::run(
            Command::new("rustup")
                .args(["run", "nightly", "cargo", "fuzz", "run", "--fuzz-dir"])
                .arg(&folder)
                .args([&name, "--", &format!("-max_total_time={}", options.seconds)])
                .current_dir(&workspace.root),
        )
        .with_context(|| {
            format!("{name}: the input that broke it is in {}/artifacts/{name}", folder.display())
        })?;
    }
    Ok(())
}

/// The targets of a fuzz crate; none if it does not exist.
fn targets(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.join("fuzz_targets"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}
