//! `lbdecap`: attaches the decapsulator to an interface of a receiving host, takes it off, shows what it did. Nothing stays running:
//! program and counters are pinned, and live until they are detached or the host restarts.
//!
//! | module | is |
//! |---|---|
//! | [`settings`] | addresses, sources and port, checked, to and from the program's configuration. Pure |
//! | [`object`] | the eBPF object inside this binary |
//! | `hook` | the places in the kernel it can be attached to |
//! | `pins` | where everything is pinned |
//! | `attach` | attach, replace without a gap, detach |
//! | `status` | what is attached, and the counters |
#![forbid(unsafe_code)]

mod attach;
mod hook;
pub mod object;
mod pins;
pub mod settings;
mod status;

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use lb_common::net::tunnel::GUE_PORT;

use hook::Hook;
use pins::Pins;
use settings::{Prefix, Settings};

const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("LB_GIT_HASH"),
    ")\nkernel program: ",
    env!("LB_EBPF_BUILT_BY")
);

/// Takes tunnelled traffic (IP in IP, GUE) out of its tunnel on the host that receives it.
///
/// The program stays attached after this command has ended, until `detach` or a restart of the host.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 4 nothing is attached.
#[derive(Debug, Parser)]
#[command(name = "lbdecap", version, long_version = LONG_VERSION)]
struct Args {
    /// Directory of the pins, on a BPF file system. Network namespaces that share one need a directory each.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/lbdecap", global = true)]
    bpf_dir: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Attach to an interface, or change what is attached there without a gap. Counters are kept.
    Attach(Attach),
    /// Take it off an interface. Does nothing where nothing is attached.
    Detach {
        /// Interface.
        interface: String,
    },
    /// Show where it is attached, its settings and its counters.
    Status {
        /// Interface; default: all.
        interface: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Attach {
    /// Interface on which tunnelled packets come in.
    interface: String,
    /// Address of this host that the balancers send to (the outer destination); may be given several times.
    #[arg(long = "address", value_name = "ADDRESS", required = true)]
    addresses: Vec<IpAddr>,
    /// UDP port of GUE; 0: only IP in IP.
    #[arg(long, value_name = "PORT", default_value_t = GUE_PORT)]
    gue_port: u16,
    /// Only take out what comes from here (the outer source); may be given several times. Default: from anywhere.
    #[arg(long = "source", value_name = "PREFIX")]
    sources: Vec<Prefix>,
    /// Where in the kernel.
    #[arg(long, value_enum, default_value_t = Hook::Native)]
    hook: Hook,
    /// Short for --hook generic.
    #[arg(long, conflicts_with = "hook")]
    generic: bool,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.verb {
        Verb::Attach(wanted) => attach(&args, wanted),
        Verb::Detach { interface } => attach::detach(&Pins::of(&args.bpf_dir, interface)).map(|was_there| {
            println!("{interface}: {}", if was_there { "detached" } else { "nothing was attached" });
            ExitCode::SUCCESS
        }),
        Verb::Status { interface, json } => status::print(&args.bpf_dir, interface.as_deref(), *json),
    };
    done.unwrap_or_else(|error| {
        eprintln!("lbdecap: {error:#}");
        ExitCode::FAILURE
    })
}

fn attach(args: &Args, wanted: &Attach) -> Result<ExitCode> {
    let settings = Settings::new(&wanted.addresses, &wanted.sources, wanted.gue_port)?;
    let hook = if wanted.generic { Hook::Generic } else { wanted.hook };
    let replaced = attach::attach(&Pins::of(&args.bpf_dir, &wanted.interface), hook, &settings)?;
    let how = if replaced { "changed" } else { "attached" };
    println!("{}: {how} ({hook}), {settings}", wanted.interface);
    if let Some(note) = hook.note() {
        println!("{}: {note}", wanted.interface);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_address_is_needed_and_a_prefix_has_no_stray_bits() {
        let parse = |words: &str| Args::try_parse_from(words.split(' '));
        assert!(parse("lbdecap attach e0 --address 10.0.0.1 --source 10.0.0.0/8 --generic").is_ok());
        assert!(parse("lbdecap attach e0").is_err());
        assert!(parse("lbdecap attach e0 --address 10.0.0.1 --source 10.0.0.1/8").is_err());
        assert!(parse("lbdecap attach e0 --address 10.0.0.1 --hook tcx --generic").is_err());
    }
}
