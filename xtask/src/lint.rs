//! Formatting, clippy, documentation: whatever the compiler's own tools can say, warnings being errors.

use std::process::Command;

use anyhow::Result;

use crate::{
    process,
    setup::{self, For},
    workspace::Workspace,
};

/// The chore: all of it, the first failure ends it.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace, For::Build)?;
    for (_, mut command) in steps(workspace) {
        process::run(&mut command)?;
    }
    Ok(())
}

/// Names and commands, cheapest first.
pub(crate) fn steps(workspace: &Workspace) -> Vec<(&'static str, Command)> {
    let cargo = |words: &[&str]| {
        let mut command = workspace.cargo();
        command.args(words);
        command
    };
    let mut documentation =
        cargo(&["doc", "--workspace", "--locked", "--no-deps", "--document-private-items", "--quiet"]);
    // Private items are documented here, so linking to them is fine.
    documentation.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    vec![
        ("format", cargo(&["fmt", "--all", "--check"])),
        // Not a member: another compiler builds it.
        ("format (eBPF)", cargo(&["fmt", "--manifest-path", "lb-ebpf/Cargo.toml", "--check"])),
        (
            "clippy",
            cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"]),
        ),
        ("documentation", documentation),
    ]
}
