//! The network of one test: client, switch, balancer and three cache hosts on one segment. The client reaches the VIPs through the
//! balancer; the hosts hold them on loopback and answer the client directly.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{Xdp, XdpMode},
};
use lb_common::names;
use lb_userspace::datapath::object::OBJECT;
use nix::unistd::geteuid;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{client, namespace::Namespace, server::Server, until::until};

/// The service's addresses.
pub(crate) const VIP4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 1, 1));
pub(crate) const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd09, 1, 0, 0, 0, 0, 0, 1));
/// The client's.
pub(crate) const CLIENT4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
pub(crate) const CLIENT6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1));
/// The service, over both families.
pub(crate) const SERVICE: [SocketAddr; 2] = [SocketAddr::new(VIP4, 80), SocketAddr::new(VIP6, 80)];
/// Ports that the hosts listen on.
const PORTS: &[u16] = &[80, 81];
/// The hosts' names.
pub(crate) const HOSTS: [&str; 3] = ["h1", "h2", "h3"];

/// Tells sites of one process apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A cache host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) address: IpAddr,
    pub(crate) namespace: Namespace,
    /// `None` while its server is dead.
    server: Option<Server>,
}

/// Everything that one test has. Dropping it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) client: Namespace,
    pub(crate) balancer: Namespace,
    pub(crate) hosts: Vec<Host>,
    /// Configuration, state, socket, log.
    pub(crate) dir: TempDir,
    /// Tables and attachments.
    pub(crate) bpf: PathBuf,
    finish: watch::Sender<bool>,
    /// The switch's port towards the balancer needs a program: a veth drops what its peer sends by XDP otherwise.
    _pass: Ebpf,
    _switch: Namespace,
}

impl Site {
    /// Makes one with all servers running; `None`, having said why, where that is not possible.
    pub(crate) fn new() -> Option<Self> {
        Self::with_mtu(1500)
    }

    /// The same with links that take longer packets.
    pub(crate) fn with_mtu(mtu: u32) -> Option<Self> {
        if let Some(why) = impossible() {
            eprintln!("skipped: {why}");
            return None;
        }
        remove_leftovers();
        let switch = Namespace::new();
        switch.ip("link add br0 type bridge forward_delay 0 mcast_snooping 0\nlink set br0 up\n");
        let client = plug(&switch, "client", 1, mtu);
        let balancer = plug(&switch, "lb", 10, mtu);
        client.ip(&format!("route add {VIP4}/32 via 10.9.0.10\nroute add {VIP6}/128 via fd09::10\n"));
        // A frame that XDP sends on loses the note that its checksum is still to be computed: the sender must compute it.
        client.output("ethtool", &["-K", "e0", "tx", "off"]);
        switch.output("ethtool", &["-K", "lb", "tx", "off"]);
        // The kernel notices within two seconds that a neighbour is gone, instead of within a minute.
        for family in ["ipv4", "ipv6"] {
            balancer.sysctl(&format!("{family}/neigh/e0/base_reachable_time_ms"), 500);
            balancer.sysctl(&format!("{family}/neigh/e0/delay_first_probe_time"), 1);
            balancer.sysctl(&format!("{family}/neigh/e0/retrans_time_ms"), 200);
            balancer.sysctl(&format!("{family}/neigh/e0/interval_probe_time_ms"), 500);
        }
        let pass = pass(&switch, "lb", mtu);
        let finish = watch::Sender::new(false);
        let hosts =
            HOSTS.iter().zip(11..).map(|(name, number)| host(&switch, name, number, mtu, &finish)).collect();
        let dir = tempfile::Builder::new().prefix("lbd-e2e-").tempdir().expect("a directory");
        let bpf = bpf_dir(std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let site = Self { client, balancer, hosts, dir, bpf, finish, _pass: pass, _switch: switch };
        site.configure(|_| {});
        Some(site)
    }

    /// The host of that name.
    pub(crate) fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).expect("a host of this name")
    }

    /// Kills a host's server: its connections are reset, new ones refused.
    pub(crate) fn kill_server(&mut self, name: &str) {
        self.hosts.iter_mut().find(|host| host.name == name).expect("a host of this name").server = None;
    }

    /// Starts it again.
    pub(crate) fn start_server(&mut self, name: &str) {
        let finish = self.finish.subscribe();
        let host = self.hosts.iter_mut().find(|host| host.name == name).expect("a host of this name");
        host.server = Some(Server::start(&host.namespace, host.name, PORTS, finish));
    }

    /// Lets downloads end.
    pub(crate) fn finish_downloads(&self) {
        self.finish.send_replace(true);
    }

    /// One request: who answered.
    pub(crate) fn request(&self, to: SocketAddr) -> std::io::Result<String> {
        self.client.run(|| client::request(to))
    }

    /// So many requests over each family: how many each host answered. None may fail.
    pub(crate) fn requests(&self, n: usize) -> std::collections::BTreeMap<String, u32> {
        let mut hosts = std::collections::BTreeMap::new();
        self.client.run(|| {
            for target in SERVICE.iter().cycle().take(2 * n) {
                let host = client::request(*target).unwrap_or_else(|e| panic!("{target}: {e}"));
                *hosts.entry(host).or_default() += 1;
            }
        });
        hosts
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings {
            interfaces: vec!["e0"],
            mode: "native",
            threshold: 0.5,
            check: r#"kind = "http", url = "http://cache.example.org/check", interval = "200ms", timeout = "200ms", jitter = 0, fall = 2"#,
            hosts: self.hosts.iter().map(|host| (host.name, host.address, 10)).collect(),
            service: "",
            pool: "",
            further: String::new(),
        };
        change(&mut settings);
        fs::write(self.config(), settings.text(self)).expect("writing the configuration");
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("lbd.toml")
    }

    /// The directory of overrides and secret.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// What `ip link` says of the balancer's interface has a program in it.
    pub(crate) fn attached(&self) -> bool {
        self.balancer.output("ip", &["link", "show", "dev", "e0"]).contains("prog/xdp")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what lbd logged:\n{}", self.log());
        }
        remove_pins(&self.bpf);
    }
}

/// What a test may vary of the configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) interfaces: Vec<&'static str>,
    pub(crate) mode: &'static str,
    pub(crate) threshold: f64,
    /// Keys of the pool's one check; empty for none.
    pub(crate) check: &'static str,
    /// Name, address, weight.
    pub(crate) hosts: Vec<(&'static str, IpAddr, u32)>,
    /// More keys of the service.
    pub(crate) service: &'static str,
    /// More keys of the pool.
    pub(crate) pool: &'static str,
    /// More tables.
    pub(crate) further: String,
}

impl Settings {
    fn text(&self, site: &Site) -> String {
        let dir = site.dir.path().display();
        let checks =
            if self.check.is_empty() { String::new() } else { format!("checks = [{{ {} }}]", self.check) };
        let backends: Vec<String> = self
            .hosts
            .iter()
            .map(|(name, address, weight)| {
                format!("{name} = {{ address = \"{address}\", weight = {weight} }}\n")
            })
            .collect();
        let backends = backends.concat();
        format!(
            r#"[lbd]
interfaces = {interfaces:?}
xdp_mode = "{mode}"
http = ["127.0.0.1:9090"]
socket = "{dir}/lbd.sock"
state_dir = "{dir}/state"
bpf_dir = "{bpf}"
limits = {{ services = 64, backends = 64, pools = 8, slots = 16384, pins = 131072 }}

[services.web]
vips = ["{VIP4}", "{VIP6}"]
port = 80
pool = "cache"
{service}

[pools.cache]
slots = 1021
depool_threshold = {threshold}
{pool}
{checks}

[pools.cache.backends]
{backends}
{further}"#,
            interfaces = self.interfaces,
            mode = self.mode,
            bpf = site.bpf.display(),
            threshold = self.threshold,
            service = self.service,
            pool = self.pool,
            further = self.further,
        )
    }
}

fn impossible() -> Option<&'static str> {
    let there = |program: &str, argument: &str| Command::new(program).arg(argument).output().is_ok();
    if !geteuid().is_root() {
        Some("network namespaces and XDP need root")
    } else if !there("ip", "-V") {
        Some("no `ip`; apt-get install iproute2")
    } else if !there("ethtool", "--version") {
        Some("no `ethtool`; apt-get install ethtool")
    } else if !Path::new("/sys/fs/bpf").exists() {
        Some("this kernel has no BPF file system")
    } else {
        None
    }
}

/// A namespace whose `e0` is plugged into the switch.
fn plug(switch: &Namespace, port: &str, number: u8, mtu: u32) -> Namespace {
    let namespace = Namespace::new();
    switch.ip(&format!(
        "link add {port} mtu {mtu} type veth peer name e0 mtu {mtu} address 02:00:00:00:00:{number:02x} netns {}\n\
         link set {port} master br0 up\n",
        namespace.path()
    ));
    namespace.ip(&format!(
        "link set e0 up\naddr add 10.9.0.{number}/24 dev e0\naddr add fd09::{number}/64 dev e0 nodad\n"
    ));
    namespace
}

fn host(switch: &Namespace, name: &'static str, number: u8, mtu: u32, finish: &watch::Sender<bool>) -> Host {
    let namespace = plug(switch, name, number, mtu);
    // Before the addresses: an answer given once stays in somebody's table.
    namespace.sysctl("ipv4/conf/all/arp_ignore", 1);
    namespace.sysctl("ipv4/conf/all/arp_announce", 2);
    // Tells the segment of a changed MAC address.
    namespace.sysctl("ipv4/conf/e0/arp_notify", 1);
    namespace.ip(&format!("addr add {VIP4}/32 dev lo\naddr add {VIP6}/128 dev lo nodad\n"));
    let server = Some(Server::start(&namespace, name, PORTS, finish.subscribe()));
    Host { name, address: Ipv4Addr::new(10, 9, 0, number).into(), namespace, server }
}

/// Attaches the object's program that lets everything pass; it leaves the interface with the returned value. Only this one is loaded:
/// verifying the others takes the kernel seconds.
fn pass(switch: &Namespace, port: &str, mtu: u32) -> Ebpf {
    let name = if mtu > 3000 { names::PROG_PASS_FRAGS } else { names::PROG_PASS };
    let mut object = EbpfLoader::new().load(OBJECT).expect("the object loads");
    let program: &mut Xdp =
        object.program_mut(name).expect("the object has it").try_into().expect("it is for XDP");
    program.load().expect("the kernel accepts it");
    switch.run(|| program.attach(port, XdpMode::Driver)).expect("a veth takes a program");
    object
}

fn bpf_dir(process: u32, number: u32) -> PathBuf {
    PathBuf::from(format!("/sys/fs/bpf/lbd-e2e-{process}-{number}"))
}

/// Pins outlive a killed test; those of processes that are gone belong to nobody.
fn remove_leftovers() {
    for entry in fs::read_dir("/sys/fs/bpf").expect("the BPF file system").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("lbd-e2e-").and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove_pins(&entry.path());
        }
    }
}

fn remove_pins(dir: &Path) {
    if dir.exists() {
        until("the pins are removed", || fs::remove_dir_all(dir).ok());
    }
}
