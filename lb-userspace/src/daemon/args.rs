//! The command line of `lbd`.

use std::path::PathBuf;

use clap::Parser;

/// Exit code for a configuration with errors: `EX_CONFIG` of sysexits.h.
pub(super) const EXIT_CONFIG: u8 = 78;

/// Exit code after `lbctl shutdown`: the service manager must not start lbd again (deploy/systemd/lbd.service).
pub(super) const EXIT_ASKED: u8 = 10;

/// Version, commit, ABI and compiler of the kernel program.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("LB_GIT_HASH"),
    ")\nkernel program: ",
    env!("LB_EBPF_BUILT_BY")
);

/// XDP load balancer: forwards at the driver, checks the backends, pools and depools them.
///
/// Signals: HUP reloads the configuration, TERM and INT end the daemon; forwarding goes on with the last tables.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(name = "lbd", version, long_version = LONG_VERSION)]
pub(super) struct Args {
    /// Configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/lbd/lbd.toml", env = "LBD_CONFIG")]
    pub(super) config: PathBuf,
    /// Only read the configuration: print all its problems, or that it has none, and exit (0 or 78).
    #[arg(long)]
    pub(super) check: bool,
    /// When ending, also take the program off the interfaces and forget its tables: forwarding ends.
    #[arg(long)]
    pub(super) detach_on_exit: bool,
    /// Log lines as JSON on standard error. Levels are set by `RUST_LOG`: `debug`, or `lb_userspace::health=debug`.
    #[arg(long)]
    pub(super) log_json: bool,
    /// Print docs/config.md.
    #[arg(long, hide = true)]
    pub(super) config_reference: bool,
}
