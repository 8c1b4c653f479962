//! Network namespaces for tests: one for the test's thread, one for each [`Peer`]; nothing is named, nothing is left behind.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};

/// Runs a test in a network namespace of its own, on a current-thread runtime so that every task stays in it. Says why and
/// skips where namespaces cannot be made.
pub(crate) fn in_namespace(test: impl AsyncFnOnce() + Send + 'static) {
    if !geteuid().is_root() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    if Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: no `ip`; apt-get install iproute2");
        return;
    }
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(test());
    };
    if let Err(panic) = thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

/// `ip` in the namespace of the calling thread.
pub(crate) fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split_whitespace()));
}

/// Writes a sysctl of the calling thread's namespace: `net/ipv4/conf/all/arp_ignore`.
pub(crate) fn sysctl(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{name}"), value).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn run(command: &mut Command) {
    let output = command.output().expect("a program to run");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A second namespace, which lives as long as this value.
#[derive(Debug)]
pub(crate) struct Peer(Child);

impl Peer {
    /// Makes the namespace and a veth pair into it.
    pub(crate) fn new(here: &str, there: &str) -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        let peer = Self(child);
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "the peer's namespace");
        ip(&format!("link add {here} type veth peer name {there} netns {}", peer.0.id()));
        ip(&format!("link set {here} up"));
        peer.ip("link set lo up");
        peer.ip(&format!("link set {there} up"));
        peer
    }

    /// `ip` in the peer's namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        run(self.enter().arg("ip").args(arguments.split_whitespace()));
    }

    /// Writes a sysctl of the peer's namespace.
    pub(crate) fn sysctl(&self, name: &str, value: &str) {
        run(self.enter().args(["sh", "-c", &format!("echo {value} > /proc/sys/{name}")]));
    }

    /// Runs a program in the peer's namespace: its exit code and what it printed.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.enter().arg(program).args(arguments).output().expect("a program to run");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.id().to_string(), "-n"]);
        command
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A child that is already dead is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
