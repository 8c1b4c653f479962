//! Facts of this host, from `/proc` and `/sys`. Below `root`, so that a test can have a host of its own.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::finding::Finding;

/// This host.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

/// An interface. What could not be read is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Bytes of the longest packet.
    pub mtu: Option<u32>,
    /// Receive queues.
    pub queues: usize,
    /// CPUs that at least one of its interrupts goes to, and its interrupts.
    pub interrupts: Option<(usize, usize)>,
    /// CPUs of this host.
    pub cpus: usize,
    /// `up`, `down`.
    pub state: String,
    /// It is there.
    pub present: bool,
}

impl Host {
    /// The real one.
    pub fn here() -> Self {
        Self { root: "/".into() }
    }

    /// Another one, below a directory.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(path)) else { return Vec::new() };
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn cpus(&self) -> usize {
        self.read("proc/stat").map_or(0, |stat| {
            stat.lines()
                .filter(|line| {
                    line.strip_prefix("cpu")
                        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                })
                .count()
        })
    }

    /// An interface.
    pub fn interface(&self, name: &str) -> Interface {
        let at = format!("sys/class/net/{name}");
        Interface {
            mtu: self.read(&format!("{at}/mtu")).and_then(|mtu| mtu.parse().ok()),
            queues: self.names(&format!("{at}/queues")).iter().filter(|q| q.starts_with("rx-")).count(),
            interrupts: self.interrupts(name),
            cpus: self.cpus(),
            state: self.read(&format!("{at}/operstate")).unwrap_or_default(),
            present: self.root.join(&at).exists(),
        }
    }

    /// MTU of the interface with this index.
    pub fn mtu_of(&self, ifindex: u32) -> Option<u32> {
        self.names("sys/class/net").iter().find_map(|name| {
            let at = format!("sys/class/net/{name}");
            let index: u32 = self.read(&format!("{at}/ifindex"))?.parse().ok()?;
            (index == ifindex).then(|| self.read(&format!("{at}/mtu"))?.parse().ok())?
        })
    }

    /// Which CPUs the interface's interrupts go to.
    fn interrupts(&self, name: &str) -> Option<(usize, usize)> {
        let table = self.read("proc/interrupts")?;
        let numbers: Vec<&str> = table
            .lines()
            .filter(|line| {
                line.split([' ', ',']).any(|word| {
                    word.strip_prefix(name)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', ':', '@']))
                })
            })
            .filter_map(|line| line.split_once(':').map(|(number, _)| number.trim()))
            .collect();
        if numbers.is_empty() {
            return None;
        }
        let mut cpus = BTreeSet::new();
        for number in &numbers {
            let effective = self
                .read(&format!("proc/irq/{number}/effective_affinity_list"))
                .or_else(|| self.read(&format!("proc/irq/{number}/smp_affinity_list")))?;
            cpus.insert(effective);
        }
        Some((cpus.len(), numbers.len()))
    }

    /// Addresses of this host.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let _ = self;
        nix::ifaddrs::getifaddrs().map_or_else(
            |_| Vec::new(),
            |all| {
                all.filter_map(|one| {
                    let address = one.address?;
                    address
                        .as_sockaddr_in()
                        .map(|four| IpAddr::V4(four.ip()))
                        .or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
                })
                .collect()
            },
        )
    }

    /// What the kernel of this host is set to.
    pub fn kernel(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mounts = self.read("proc/mounts").unwrap_or_default();
        let is_bpf = |line: &str| {
            let mut words = line.split(' ').skip(1);
            words.next() == Some("/sys/fs/bpf") && words.next() == Some("bpf")
        };
        findings.push(if mounts.lines().any(is_bpf) {
            Finding::ok("bpffs", "mounted at /sys/fs/bpf: tables outlive lbd")
        } else {
            Finding::bad(
                "bpffs",
                "/sys/fs/bpf is not a BPF file system: nothing would forward after lbd ends",
                "mount -t bpf bpf /sys/fs/bpf",
            )
        });
        if self.read("proc/sys/net/core/bpf_jit_harden").as_deref() == Some("2") {
            findings.push(Finding::warn(
                "bpf_jit_harden",
                "constants are blinded for root's programs too: each packet costs more",
                "sysctl -w net.core.bpf_jit_harden=1",
            ));
        }
        let filter = |name: &str| self.read(&format!("proc/sys/net/ipv4/conf/{name}/rp_filter"));
        let (forward, all) = (self.read("proc/sys/net/ipv4/ip_forward"), filter("all"));
        findings.push(Finding::ok(
            "ip_forward, rp_filter",
            format!(
                "{} and {}: packets of services are forwarded before the kernel routes, so neither matters to them",
                forward.as_deref().unwrap_or("unknown"),
                all.as_deref().unwrap_or("unknown")
            ),
        ));
        findings
    }
}

/// The key that balancers share: whoever reads it can aim flows at one backend.
pub fn secret(path: &Path) -> Vec<Finding> {
    let about = "secret";
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            vec![Finding::warn(about, format!("{shown} cannot be looked at"), "run this as root")]
        }
        Err(error) => vec![Finding::warn(
            about,
            format!("{shown}: {error}; lbd makes one when it starts, which is then this host's alone"),
            "on several balancers: give all the same `secret_file`",
        )],
        Ok(metadata) if metadata.mode() & 0o077 != 0 => vec![Finding::bad(
            about,
            format!("{shown} has mode {:04o}: others may read it", metadata.mode() & 0o7777),
            format!("chmod 600 {shown}"),
        )],
        Ok(_) => vec![Finding::ok(about, format!("{shown} is its owner's alone"))],
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{super::finding::Level, *};

    fn host() -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("proc/stat", "cpu  1\ncpu0 1\ncpu1 1\nctxt 9\n"),
            (
                "proc/interrupts",
                "  CPU0 CPU1\n 30: 1 2 PCI-MSI eth0-rx-0\n 31: 1 2 PCI-MSI eth0-rx-1\n 40: 1 1 PCI-MSI eth01-rx-0\n",
            ),
            ("proc/irq/30/smp_affinity_list", "0\n"),
            ("proc/irq/31/smp_affinity_list", "0\n"),
            ("proc/mounts", "none /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n"),
            ("proc/sys/net/core/bpf_jit_harden", "2\n"),
            ("sys/class/net/eth0/mtu", "9000\n"),
            ("sys/class/net/eth0/ifindex", "2\n"),
            ("sys/class/net/eth0/operstate", "up\n"),
            ("sys/class/net/eth0/queues/rx-0/x", ""),
            ("sys/class/net/eth0/queues/tx-0/x", ""),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = Host::below(dir.path());
        (dir, host)
    }

    #[test]
    fn an_interface_is_read_with_its_queues_and_interrupts() {
        let (_dir, host) = host();
        let wanted = Interface {
            mtu: Some(9_000),
            queues: 1,
            interrupts: Some((1, 2)),
            cpus: 2,
            state: "up".into(),
            present: true,
        };
        assert_eq!(host.interface("eth0"), wanted);
        assert!(!host.interface("eth9").present);
        assert_eq!((host.mtu_of(2), host.mtu_of(3)), (Some(9_000), None));
    }

    #[test]
    fn mounts_and_settings_become_findings() {
        let (dir, host) = host();
        let levels =
            |host: &Host| host.kernel().iter().map(|f| (f.about.clone(), f.level)).collect::<Vec<_>>();
        assert!(levels(&host).contains(&("bpffs".into(), Level::Ok)));
        assert!(levels(&host).contains(&("bpf_jit_harden".into(), Level::Warn)));
        fs::write(dir.path().join("proc/mounts"), "none /sys/fs/bpf tmpfs rw 0 0\n").unwrap();
        assert!(levels(&host).contains(&("bpffs".into(), Level::Bad)));
    }

    #[test]
    fn a_secret_that_others_may_read_is_bad() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert_eq!(secret(&path)[0].level, Level::Warn);
        fs::write(&path, "x").unwrap();
        for (mode, level) in [(0o600, Level::Ok), (0o640, Level::Bad), (0o604, Level::Bad)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(secret(&path)[0].level, level, "{mode:o}");
        }
    }
}
