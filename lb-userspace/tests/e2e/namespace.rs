//! Network namespaces without names: each lives as long as its value, also when a test panics or is killed.

use std::{
    fs::{self, File},
    io::Write as _,
    os::fd::AsRawFd as _,
    panic::resume_unwind,
    process::{Command, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Namespace(Arc<File>);

impl Namespace {
    /// A new one with loopback up. IPv6 addresses are usable at once, and replies may leave by another way than requests came.
    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            for (name, value) in [
                ("ipv6/conf/all/accept_dad", 0),
                ("ipv6/conf/default/accept_dad", 0),
                ("ipv6/conf/default/accept_ra", 0),
                ("ipv4/conf/all/rp_filter", 0),
                ("ipv4/conf/default/rp_filter", 0),
                ("ipv4/conf/all/send_redirects", 0),
                ("ipv4/conf/default/send_redirects", 0),
            ] {
                sysctl(name, value);
            }
            ip("link set lo up\n");
            File::open("/proc/thread-self/ns/net").expect("the namespace's file")
        });
        Self(Arc::new(made.join().unwrap_or_else(|panic| resume_unwind(panic))))
    }

    /// Does something inside. Sockets and processes made there stay there.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                work()
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// A thread inside.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let there = self.clone();
        thread::spawn(move || {
            there.enter();
            work()
        })
    }

    fn enter(&self) {
        setns(&*self.0, CloneFlags::CLONE_NEWNET).expect("entering a namespace of our own");
    }

    /// What `ip` takes for `netns`.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Commands of `ip`, a line each.
    pub(crate) fn ip(&self, commands: &str) {
        self.run(|| ip(commands));
    }

    /// Writes `/proc/sys/net/NAME`.
    pub(crate) fn sysctl(&self, name: &str, value: u32) {
        self.run(|| sysctl(name, value));
    }

    /// What a command prints.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> String {
        self.run(|| {
            let output = Command::new(program).args(arguments).output().expect("a program to run");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program} {arguments:?}: {said}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }
}

fn ip(commands: &str) {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ip of iproute2");
    child.stdin.take().expect("a pipe").write_all(commands.as_bytes()).expect("ip reads");
    let output = child.wait_with_output().expect("ip ends");
    assert!(output.status.success(), "{commands}{}", String::from_utf8_lossy(&output.stderr));
}

fn sysctl(name: &str, value: u32) {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value.to_string()).unwrap_or_else(|error| panic!("{path}: {error}"));
}
