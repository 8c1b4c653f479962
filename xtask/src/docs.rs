//! References that are generated from the code: docs/config.md and docs/metrics.md.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{process, workspace::Workspace};

/// Generated files and what is asked of lb-userspace's example `reference`, which prints them.
const GENERATED: [(&str, &str); 2] = [("docs/config.md", "config"), ("docs/metrics.md", "metrics")];

/// Options of `docs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Change nothing; fail if a file is not what the code says
    #[arg(long)]
    check: bool,
}

/// The chore.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.check {
        return check(workspace);
    }
    for (file, topic) in GENERATED {
        let path = workspace.root.join(file);
        fs::write(&path, generate(workspace, topic)?).with_context(|| path.display().to_string())?;
        println!("{file}");
    }
    Ok(())
}

/// Fails if a file is not what the code says.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut stale = Vec::new();
    for (file, topic) in GENERATED {
        // A file that is not there is as stale as a wrong one.
        let there = fs::read_to_string(workspace.root.join(file)).unwrap_or_default();
        if there != generate(workspace, topic)? {
            stale.push(file);
        }
    }
    if !stale.is_empty() {
        bail!("not what the code says: {}. Type: cargo xtask docs", stale.join(", "));
    }
    Ok(())
}

fn generate(workspace: &Workspace, topic: &str) -> Result<String> {
    let words =
        ["run", "--quiet", "--locked", "--package", "lb-userspace", "--example", "reference", "--", topic];
    process::quietly(workspace.cargo().args(words))
}
