//! Takes tunnelled traffic out of its tunnel, on a host that receives it.

fn main() -> std::process::ExitCode {
    lb_userspace::decap::main()
}
