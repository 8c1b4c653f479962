//! Chores of this repository, each one command, the same on a laptop and in CI: `cargo xtask CHORE`.

mod bench;
mod build;
mod docs;
mod fuzz;
mod lab;
mod lint;
mod netns;
mod process;
mod setup;
mod test;
mod tidy;
mod vm;
mod workspace;

// Setup asks whether a toolchain is there by the very lines with which the build script will look for it.
#[path = "../../lb-userspace/build/linker.rs"]
#[expect(dead_code, reason = "only the build script runs what is found")]
mod linker;
#[path = "../../lb-userspace/build/toolchain.rs"]
#[expect(dead_code, reason = "only the build script runs what is found")]
mod toolchain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use workspace::Workspace;

/// Chores of the lbd repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what building, testing and the lab need (Debian, as root), saying what and why
    Setup,
    /// Build `lbd` and `lbctl`, with the eBPF object inside
    Build(build::Options),
    /// Set up, lint, and run all tests
    Test(test::Options),
    /// Formatting, clippy, documentation
    Lint,
    /// This repository's own rules, as code
    Tidy,
    /// Write the generated references in docs/, or check that they are current
    Docs(docs::Options),
    /// A small edge site in network namespaces, with real servers and real traffic
    Lab(lab::Options),
    /// What a packet costs, in ns, and what a pool's rebuild takes (as root)
    Bench(bench::Options),
    /// Other kernels, emulated: the packet suite, VLANs, bonds and tunnel devices on each
    Vm(vm::Options),
    /// Run the fuzz targets for a bounded time (needs nightly and cargo-fuzz), or `--packets`: random frames through the program
    Fuzz(fuzz::Options),
    /// The lab's load; the lab runs it inside the client's namespace
    #[command(hide = true)]
    LabClient(lab::client::Options),
    /// The first process of an emulated machine, and what it runs there
    #[command(hide = true)]
    VmGuest(vm::guest::Options),
}

fn main() -> ExitCode {
    let chore = Arguments::parse().chore;
    if let Chore::VmGuest(options) = &chore {
        // There is no repository in there.
        return vm::guest::run(options);
    }
    match run(chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match chore {
        Chore::Setup => setup::run(&workspace),
        Chore::Build(options) => build::run(&workspace, &options),
        Chore::Test(options) => test::run(&workspace, &options),
        Chore::Lint => lint::run(&workspace),
        Chore::Tidy => tidy::run(&workspace),
        Chore::Docs(options) => docs::run(&workspace, &options),
        Chore::Lab(options) => lab::run(&workspace, &options),
        Chore::Bench(options) => bench::run(&workspace, &options),
        Chore::Fuzz(options) => fuzz::run(&workspace, &options),
        Chore::LabClient(options) => lab::client::run(&options),
        Chore::Vm(options) => vm::run(&workspace, &options),
        Chore::VmGuest(_) => Ok(()),
    }
}
