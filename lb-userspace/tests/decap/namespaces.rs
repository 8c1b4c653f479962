//! A host that holds a VIP on its loopback answers what a balancer sent to it through tunnels. The balancer is a socket here: for GUE a
//! plain UDP socket whose datagrams are whole packets, for IP in IP a raw one.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Command, Output},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    combinations::{all, counter},
    frame::{self, Family, PORT, Wrap},
    namespace::Namespace,
    world::{hooks, tc_mixes},
};

/// The sender's own addresses: balancer and client are one host here, so that answers come back to it.
const SENDER4: &str = "10.9.0.1";
const SENDER6: &str = "fd09::1";
pub(crate) const HOST4: &str = "10.9.0.2";
pub(crate) const HOST6: &str = "fd09::2";
const VIP4: &str = "203.0.113.1";
const VIP6: &str = "2001:db8::1";
/// The VIP's service: what comes goes back in capitals.
const ECHO: u16 = 7;
/// For what must come, on a busy machine; and for what must not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// Outer family, wrapping, inner family.
pub(crate) type Tunnel = (Family, Wrap, Family);

/// Tells apart the wires of this process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A sender and a receiving host on one wire.
pub(crate) struct Wire {
    pub(crate) sender: Namespace,
    pub(crate) host: Namespace,
    /// Where `lbdecap` pins; removed with the wire.
    pub(crate) pins: PathBuf,
}

impl Wire {
    /// `None`, and why, where that cannot be.
    pub(crate) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces and XDP need root");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pins = PathBuf::from(format!("/sys/fs/bpf/lbdecap-test-{}-{number}", std::process::id()));
        let (sender, host) = (Namespace::new(), Namespace::new());
        host.sysctl("ipv4/conf/all/arp_ignore", 1);
        host.sysctl("ipv4/conf/all/arp_announce", 2);
        sender.ip(&format!("link add e0 type veth peer name e0 netns {}\nlink set e0 up\n", host.path()));
        sender.ip(&format!("addr add {SENDER4}/24 dev e0\naddr add {SENDER6}/64 dev e0 nodad\n"));
        host.ip(&format!(
            "link set e0 up\naddr add {HOST4}/24 dev e0\naddr add {HOST6}/64 dev e0 nodad\n\
             addr add {VIP4}/32 dev lo\naddr add {VIP6}/128 dev lo nodad\n"
        ));
        Some(Self { sender, host, pins })
    }

    /// The same network, for a second `lbdecap` that knows nothing of the first one.
    pub(crate) fn with_other_pins(&self) -> Self {
        let mut pins = self.pins.clone().into_os_string();
        pins.push("-other");
        Self { sender: self.sender.clone(), host: self.host.clone(), pins: pins.into() }
    }

    /// Runs `lbdecap` on the host.
    pub(crate) fn lbdecap(&self, words: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbdecap"));
        command.arg("--bpf-dir").arg(&self.pins).args(words.split(' '));
        self.host.run(|| command.output().expect("lbdecap runs"))
    }

    /// The same; it must succeed. What it printed.
    pub(crate) fn done(&self, words: &str) -> String {
        let output = self.lbdecap(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "lbdecap {words}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Packets counted under a name.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let status: Value = serde_json::from_str(&self.done("status e0 --json")).expect("JSON");
        status[0]["packets"][name].as_u64().expect("a counter")
    }

    /// A client's socket, and its datagram for the VIP.
    fn client(&self, inside: Family) -> (UdpSocket, Vec<u8>) {
        let (client, vip) = match inside {
            Family::V4 => (SENDER4, VIP4),
            Family::V6 => (SENDER6, VIP6),
        };
        let (client, vip): (IpAddr, IpAddr) = (client.parse().expect("one"), vip.parse().expect("one"));
        let ear = self.sender.run(|| UdpSocket::bind((client, 0)).expect("a port"));
        let from = ear.local_addr().expect("bound");
        (ear, frame::inner(from, SocketAddr::new(vip, ECHO), true, 0, b"hello"))
    }

    /// Sends a datagram for the VIP through a tunnel, again and again, until the echo comes. `false`: none came within `patience`.
    pub(crate) fn asks(&self, (outer, wrap, inside): Tunnel, patience: Duration) -> bool {
        let (ear, packet) = self.client(inside);
        let begin = Instant::now();
        while begin.elapsed() < patience {
            self.sender.run(|| send(outer, wrap, &packet));
            if hears(&ear, Duration::from_millis(100)) {
                return true;
            }
        }
        false
    }

    /// Asks once and then once more for each answer, until told to stop. How many answers came; panics at the first that does not.
    pub(crate) fn asks_on(&self, (outer, wrap, inside): Tunnel, stop: &AtomicBool) -> u32 {
        let (ear, packet) = self.client(inside);
        let mut answers = 0;
        self.sender.run(|| {
            while !stop.load(Ordering::Relaxed) {
                send(outer, wrap, &packet);
                assert!(hears(&ear, Duration::from_secs(5)), "no answer after {answers}");
                answers += 1;
            }
        });
        answers
    }
}

/// Whether the echo comes.
fn hears(ear: &UdpSocket, patience: Duration) -> bool {
    ear.set_read_timeout(Some(patience)).expect("a socket");
    let mut buffer = [0; 64];
    match ear.recv_from(&mut buffer) {
        Ok((length, _)) => {
            assert_eq!(&buffer[..length], b"HELLO");
            true
        }
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{e}");
            false
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.pins.exists() {
            self.lbdecap("detach e0");
            let _ = std::fs::remove_dir_all(&self.pins);
        }
    }
}

/// One packet to the host, wrapped.
fn send(outer: Family, wrap: Wrap, packet: &[u8]) {
    let host: IpAddr = if outer == Family::V4 { HOST4 } else { HOST6 }.parse().expect("one");
    if wrap != Wrap::IpIp {
        let any: SocketAddr = if host.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().expect("one");
        let socket = UdpSocket::bind(any).expect("a port");
        let payload = match wrap {
            Wrap::Header => [&[0, frame::protocol(packet), 0, 0], packet].concat(),
            _ => packet.to_vec(),
        };
        // Refused is what a host answers that does not take it out.
        let _ = socket.send_to(&payload, (host, PORT));
        return;
    }
    let domain = if host.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let protocol = Protocol::from(i32::from(frame::protocol(packet)));
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).expect("root");
    // The kernel writes the outer header.
    let _ = socket.send_to(packet, &SocketAddr::new(host, 0).into());
}

/// Both VIPs' service. Its threads end with the test's process.
pub(crate) fn serve(host: &Namespace) {
    for vip in [VIP4, VIP6] {
        let vip: IpAddr = vip.parse().expect("one");
        let socket = host.run(|| UdpSocket::bind((vip, ECHO)).expect("the VIP's port"));
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length].to_ascii_uppercase(), client);
            }
        });
    }
}

fn answers_at(hook: &str) {
    let Some(wire) = Wire::new() else { return };
    if !hooks().contains(&hook) {
        eprintln!("skipped: this kernel has no {hook}");
        return;
    }
    serve(&wire.host);
    assert!(!wire.asks((Family::V4, Wrap::Direct, Family::V4), SHORT), "answered without lbdecap");
    wire.done(&format!("attach e0 --address {HOST4} --address {HOST6} --hook {hook}"));
    for tunnel @ (outer, wrap, inside) in all() {
        if outer != inside && matches!(hook, "tcx" | "clsact") && !tc_mixes() {
            continue;
        }
        let counter = counter(outer, wrap, inside).as_str();
        let before = wire.counted(counter);
        assert!(
            wire.asks(tunnel, PATIENCE),
            "{hook}: no answer through {tunnel:?}: {}",
            wire.done("status e0")
        );
        assert!(wire.counted(counter) > before, "{hook}: {counter} for {tunnel:?}");
    }
    assert_eq!(wire.counted("truncated") + wire.counted("cannot_strip") + wire.counted("defect"), 0);
    wire.done("detach e0");
    assert!(!wire.asks((Family::V6, Wrap::Direct, Family::V6), SHORT), "answered after detach");
    assert!(!wire.pins.exists(), "pins are left");
}

#[test]
fn a_vip_answers_through_every_tunnel_with_native_xdp() {
    answers_at("native");
}

#[test]
fn a_vip_answers_through_every_tunnel_with_generic_xdp() {
    answers_at("generic");
}

#[test]
fn a_vip_answers_through_every_tunnel_with_a_tcx_link() {
    answers_at("tcx");
}

#[test]
fn a_vip_answers_through_every_tunnel_with_a_clsact_filter() {
    answers_at("clsact");
}

#[test]
fn changing_the_settings_loses_no_packet_and_no_count() {
    for hook in hooks() {
        let Some(wire) = Wire::new() else { return };
        serve(&wire.host);
        let attach = format!("attach e0 --address {HOST4} --hook {hook}");
        wire.done(&attach);
        let tunnel = (Family::V4, Wrap::Direct, Family::V4);
        // The first answer waits for neighbours.
        assert!(wire.asks(tunnel, PATIENCE));
        let stop = AtomicBool::new(false);
        let answers = thread::scope(|scope| {
            let asking = scope.spawn(|| wire.asks_on(tunnel, &stop));
            for source in ["10.0.0.0/8", "0.0.0.0/0", "10.9.0.1"] {
                let said = wire.done(&format!("{attach} --source {source}"));
                assert!(said.contains("changed"), "{said}");
            }
            stop.store(true, Ordering::Relaxed);
            asking.join().expect("every question is answered")
        });
        assert!(answers > 0);
        assert!(wire.counted("gue_direct") > u64::from(answers));
    }
}
