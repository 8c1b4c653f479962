//! The load balancer's daemon.

fn main() -> std::process::ExitCode {
    lb_userspace::daemon::main()
}
