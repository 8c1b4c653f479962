//! Prints a reference that is generated from the code: `reference config` or `reference metrics`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let text = match std::env::args().nth(1).as_deref() {
        Some("config") => lb_userspace::config::reference::reference(),
        Some("metrics") => lb_userspace::metrics::names::reference(),
        _ => {
            eprintln!("reference: say `config` or `metrics`");
            return ExitCode::from(2);
        }
    };
    print!("{text}");
    ExitCode::SUCCESS
}
