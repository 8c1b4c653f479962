//! Fuzz targets, each for a bounded time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process::{self, is_installed},
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
    target: Option<String>,
}

/// The chore.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
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
