//! Wiring: builds the modules, hands them their channels, and sees to the order of start and end.
//!
//! Start: configuration → secret → kernel objects → sockets → tasks → first configuration in force → `READY`. Whatever fails before
//! that ends the process with one message. End: the tasks stop, overrides are on disk, and the program stays on its interfaces, forwarding
//! by the last tables, unless detaching was asked for.

mod args;
mod control;
mod production;
mod run;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use crate::config;

/// `lbd`.
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    if args.config_reference {
        print!("{}", config::reference());
        return ExitCode::SUCCESS;
    }
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{}", problems.render_styled());
            return ExitCode::from(args::EXIT_CONFIG);
        }
    };
    if args.check {
        for warning in &loaded.warnings {
            eprintln!("{}", warning.render_styled());
        }
        println!(
            "{}: {} services, {} pools, {} backends; no errors",
            args.config.display(),
            loaded.config.services.len(),
            loaded.config.pools.len(),
            loaded.config.pools.values().map(|p| p.backends.len()).sum::<usize>(),
        );
        return ExitCode::SUCCESS;
    }
    telemetry::init(args.log_json);
    for warning in &loaded.warnings {
        tracing::warn!(line = warning.line(), "{}: {}", args.config.display(), warning.message());
    }
    match run::run(&args, loaded.config) {
        Ok(run::Ending::Leave) => ExitCode::SUCCESS,
        Ok(run::Ending::Stay | run::Ending::Detach) => ExitCode::from(args::EXIT_ASKED),
        Err(e) => {
            tracing::error!("lbd ends: {e:#}");
            ExitCode::FAILURE
        }
    }
}
