//! Installs what the other chores need, and says what and why.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use nix::{mount::MsFlags, unistd::geteuid};

use crate::{
    process::{self, is_installed, show},
    toolchain,
    workspace::Workspace,
};

/// The linker of the eBPF object. Its LLVM is that of the compiler it is used with.
const BPF_LINKER: &str = "0.10.3";
const TARGET: &str = "bpfel-unknown-none";
const BPFFS: &str = "/sys/fs/bpf";
/// Debian asks this file before it starts a service after installing it.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// 101: not allowed.
const POLICY_TEXT: &str = "#!/bin/sh\n# Made by `cargo xtask setup` of lbd while it installs; remove it if you see it later.\nexit 101\n";

/// What somebody wants to do next: each needs what stands before it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum For {
    /// Compile `lbd`.
    Build,
    /// Run all tests.
    Test,
    /// Run emulated machines.
    Vm,
    /// Run the lab.
    Lab,
}

/// A program that a Debian package brings.
struct Program {
    name: &'static str,
    package: &'static str,
    from: For,
    why: &'static str,
    /// The package brings a service that must not start here.
    service: bool,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "ip",
        package: "iproute2",
        from: For::Test,
        why: "makes network namespaces",
        service: false,
    },
    Program {
        name: "ethtool",
        package: "ethtool",
        from: For::Test,
        why: "turns off checksum offload on veth",
        service: false,
    },
    Program {
        name: "strip",
        package: "binutils",
        from: For::Vm,
        why: "makes programs small enough for a guest",
        service: false,
    },
    Program { name: "xz", package: "xz-utils", from: For::Vm, why: "unpacks kernel modules", service: false },
    Program {
        name: "haproxy",
        package: "haproxy",
        from: For::Lab,
        why: "the cache hosts' TLS terminator",
        service: true,
    },
    Program {
        name: "varnishd",
        package: "varnish",
        from: For::Lab,
        why: "the cache hosts' cache",
        service: true,
    },
    Program {
        name: "nginx",
        package: "nginx-light",
        from: For::Lab,
        why: "the cache hosts' origin",
        service: true,
    },
];

/// One thing to do.
struct Step {
    why: String,
    action: Action,
}

enum Action {
    /// Debian packages, and whether they bring services.
    Apt { packages: Vec<&'static str>, services: bool },
    /// Anything else to type.
    Run(Vec<String>),
    /// The BPF file system.
    MountBpffs,
}

/// Installs what is missing for `purpose`; an error lists the commands to type.
pub(crate) fn ensure(workspace: &Workspace, purpose: For) -> Result<bool> {
    let steps = missing(purpose);
    if steps.is_empty() {
        return Ok(false);
    }
    let apt_needed = steps.iter().any(Step::needs_apt);
    let obstacle = if apt_needed && !is_debian() {
        Some("this is not Debian; find what brings the same")
    } else if steps.iter().any(Step::needs_root) && !geteuid().is_root() {
        Some("this is not root")
    } else {
        None
    };
    if let Some(obstacle) = obstacle {
        let update = apt_needed.then(|| "  apt-get update".to_owned());
        let steps = steps.iter().map(|s| format!("  {}        # {}", s.command(), s.why));
        let list: Vec<String> = update.into_iter().chain(steps).collect();
        bail!("something is missing, and {obstacle}. Type:\n{}", list.join("\n"));
    }
    if apt_needed {
        println!("setup: apt-get update (packages are missing)");
        process::run(apt().arg("update").arg("-qq"))?;
    }
    for step in &steps {
        println!("setup: {} ({})", step.command(), step.why);
        step.act(workspace)?;
    }
    toolchain::find(TARGET).map_err(anyhow::Error::msg).context("still missing after setting up")?;
    Ok(true)
}

/// The chore itself.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    if !ensure(workspace, For::Lab)? {
        println!("setup: nothing is missing");
    }
    Ok(())
}

fn missing(purpose: For) -> Vec<Step> {
    let mut steps = Vec::new();
    let compilers = toolchain::survey(TARGET);
    if toolchain::choose(&compilers).is_none() {
        steps.push(Step {
            why: "a compiler with `core` for BPF; the eBPF object is built with it".to_owned(),
            action: Action::Apt {
                packages: vec!["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"],
                services: false,
            },
        });
    }
    let linker = toolchain::choose(&compilers).map_or_else(
        || crate::linker::find(Path::new("/usr"), 0),
        |c| crate::linker::find(&c.sysroot, c.llvm),
    );
    if linker.is_err() {
        let words = ["cargo", "install", "bpf-linker", "--version", BPF_LINKER, "--locked"];
        steps.push(Step {
            why: "links the eBPF object".to_owned(),
            action: Action::Run(words.map(str::to_owned).to_vec()),
        });
    }
    let programs: Vec<&Program> =
        PROGRAMS.iter().filter(|p| p.from <= purpose && !is_installed(p.name)).collect();
    for services in [false, true] {
        let some: Vec<&&Program> = programs.iter().filter(|p| p.service == services).collect();
        if !some.is_empty() {
            steps.push(Step {
                why: some.iter().map(|p| format!("{}: {}", p.name, p.why)).collect::<Vec<_>>().join("; "),
                action: Action::Apt { packages: some.iter().map(|p| p.package).collect(), services },
            });
        }
    }
    if purpose >= For::Test && !is_bpffs(Path::new(BPFFS)) {
        steps.push(Step { why: "maps and links are pinned there".to_owned(), action: Action::MountBpffs });
    }
    steps
}

impl Step {
    fn needs_apt(&self) -> bool {
        matches!(self.action, Action::Apt { .. })
    }

    fn needs_root(&self) -> bool {
        !matches!(self.action, Action::Run(_))
    }

    /// What somebody would type.
    fn command(&self) -> String {
        match &self.action {
            Action::Apt { packages, .. } => show(&install(packages)),
            Action::Run(words) => words.join(" "),
            Action::MountBpffs => format!("mount -t bpf bpf {BPFFS}"),
        }
    }

    fn act(&self, workspace: &Workspace) -> Result<()> {
        match &self.action {
            Action::Apt { packages, services: false } => process::run(&mut install(packages)),
            Action::Apt { packages, services: true } => install_without_starting(packages),
            Action::Run(words) => match words.split_first() {
                Some((program, arguments)) if program == "cargo" => {
                    process::run(workspace.cargo().args(arguments))
                }
                Some((program, arguments)) => process::run(Command::new(program).args(arguments)),
                None => Ok(()),
            },
            Action::MountBpffs => {
                let none: Option<&str> = None;
                nix::mount::mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), none)
                    .with_context(|| format!("mounting the BPF file system on {BPFFS}"))
            }
        }
    }
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn install(packages: &[&str]) -> Command {
    let mut command = apt();
    command.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    command
}

/// Debian starts a service it installs, and again at each boot. The lab wants the programs only.
fn install_without_starting(packages: &[&str]) -> Result<()> {
    // Also one that an interrupted setup left behind.
    let ours = fs::read_to_string(POLICY).map_or(true, |text| text == POLICY_TEXT);
    if ours {
        fs::write(POLICY, POLICY_TEXT).with_context(|| POLICY.to_owned())?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(POLICY, mode).with_context(|| POLICY.to_owned())?;
    }
    let result = process::run(&mut install(packages));
    if ours {
        fs::remove_file(POLICY).with_context(|| POLICY.to_owned())?;
    }
    result?;
    if Path::new("/run/systemd/system").exists() {
        for service in ["haproxy", "varnish", "nginx"] {
            if packages.iter().any(|p| p.starts_with(service)) {
                process::run(Command::new("systemctl").args(["--quiet", "disable", service]))?;
            }
        }
    }
    Ok(())
}

fn is_debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .filter(|(key, _)| ["ID", "ID_LIKE"].contains(key))
            .any(|(_, value)| value.trim_matches('"').split(' ').any(|word| word == "debian"))
    })
}

fn is_bpffs(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|s| s.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC)
}
