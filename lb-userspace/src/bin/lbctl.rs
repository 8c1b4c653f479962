//! Operates `lbd` through its control socket.

fn main() -> std::process::ExitCode {
    lb_userspace::cli::main()
}
