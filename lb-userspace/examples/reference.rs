//! Prints a reference that is made from the code, for `cargo xtask docs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("config") => print!("{}", lb_userspace::config::reference()),
        Some("metrics") => print!("{}", lb_userspace::metrics::names::reference()),
        _ => {
            eprintln!("usage: reference config|metrics");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
