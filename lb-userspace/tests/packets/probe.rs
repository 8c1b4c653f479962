//! Checks on the way of clients' packets: what the tc programs make of a socket's packets and of the answers, byte for byte.

use std::net::{IpAddr, SocketAddr};

use aya::{TestRun as _, TestRunOptions};
use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, UdpHeader};
use lb_common::{
    names,
    probe::{MARK, ProbeEvent},
};
use lb_userspace::{
    datapath::{
        Desired,
        probe::{DesiredProbe, Fate, Probes},
    },
    model::{Limits, Mac, Method, NextHop, Production, Tunnel},
};

use crate::{
    frame::{ETH, Flow, Kind, frame},
    shelf::{Lent, Ticking},
    view::SECRET,
};

const GO_ON: u32 = u32::MAX;
const SHOT: u32 = 2;
const REDIRECT: u32 = 7;
/// Loopback: what test runs come by.
const HERE: u32 = 1;
const BACKEND: [u8; 6] = [2, 0, 0, 0, 0, 9];
const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The check's own port.
const PORT: u16 = 40_001;

/// A family: our own address, the backend's, the VIP, a tunnel's outer source.
struct Addresses {
    own: IpAddr,
    backend: IpAddr,
    vip: IpAddr,
    outer: IpAddr,
}

fn families() -> [Addresses; 2] {
    let all = |[own, backend, vip, outer]: [&str; 4]| Addresses {
        own: own.parse().unwrap(),
        backend: backend.parse().unwrap(),
        vip: vip.parse().unwrap(),
        outer: outer.parse().unwrap(),
    };
    [
        all(["10.0.0.1", "10.0.0.9", "203.0.113.1", "10.0.0.77"]),
        all(["fd00::1", "fd00::9", "2001:db8::1", "fd00::77"]),
    ]
}

struct World {
    object: Lent,
    probes: Probes,
    desired: Desired,
}

impl World {
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: loading the programs needs root");
            return None;
        }
        let limits =
            Limits { services: 64, backends: 64, pools: 16, slots: 2048, pins: 1024, ..Limits::default() };
        let object = Lent::new(&limits, &SECRET, Ticking::Kernel);
        object.probes().unwrap();
        // Nothing is attached, so nothing is pinned.
        let probes = Probes::open(&object, std::path::Path::new("/nonexistent")).unwrap();
        let [four, six] = families();
        let net = |address: IpAddr| ipnet::IpNet::from(address);
        let (ipnet::IpNet::V4(source4), ipnet::IpNet::V6(source6)) = (net(four.outer), net(six.outer)) else {
            unreachable!()
        };
        let tunnel = Tunnel { source4: Some(source4), source6: Some(source6) };
        let desired = Desired { tunnel, ..Desired::default() };
        Some(Self { object, probes, desired })
    }

    /// Makes this the only way; its mark.
    fn only(&mut self, of: &Addresses, method: Method, hop: Option<NextHop>) -> u32 {
        let gue_port = if method == Method::Gue { 6080 } else { 0 };
        let probe =
            DesiredProbe { address: of.backend, production: Production { vip: of.vip, method, gue_port } };
        self.desired.probes = [(probe, hop)].into();
        self.probes.apply(&self.object, &self.desired);
        let index = (1..64).find(|index| {
            let region = self.object.region(names::PROBES).unwrap();
            region.word(index * 12 + 10).load(std::sync::atomic::Ordering::Acquire) != 0
        });
        MARK | index.unwrap() as u32
    }

    fn run(&self, program: &str, frame: &[u8], mark: u32) -> (u32, Vec<u8>, u32) {
        let mut out = vec![0; frame.len() + 256];
        // struct __sk_buff up to `ifindex`.
        let mut context = [0u32; 11];
        (context[2], context[10]) = (mark, HERE);
        let context: Vec<u8> = context.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let mut after = vec![0; 512];
        let result = self
            .object
            .with_classifier(program, |program| {
                Ok(program
                    .test_run(TestRunOptions {
                        data_in: Some(frame),
                        data_out: Some(&mut out),
                        ctx_in: Some(&context),
                        ctx_out: Some(&mut after),
                        ..TestRunOptions::default()
                    })
                    .unwrap())
            })
            .unwrap();
        out.truncate(result.data_size_out as usize);
        (result.return_value, out, u32::from_ne_bytes(after[8..12].try_into().unwrap()))
    }

    /// What leaves; it has lost its mark.
    fn out(&self, frame: &[u8], mark: u32) -> (u32, Vec<u8>) {
        let (action, out, after) = self.run(names::PROG_PROBE_OUT, frame, mark);
        assert_eq!(after, 0);
        (action, out)
    }

    fn back(&self, frame: &[u8]) -> Vec<u8> {
        let (action, out, _) = self.run(names::PROG_PROBE_IN, frame, 0);
        assert_eq!(action, GO_ON);
        out
    }

    fn counted(&self, event: ProbeEvent) -> u64 {
        let fd = self.object.map_fd(names::PROBE_COUNTERS).unwrap().try_clone_to_owned().unwrap();
        let map = aya::maps::Map::from_map_data(aya::maps::MapData::from_fd(fd).unwrap()).unwrap();
        let map: aya::maps::PerCpuArray<_, u64> = map.try_into().unwrap();
        map.get(&(event as u32), 0).unwrap().iter().sum()
    }
}

fn hop(ifindex: u32) -> NextHop {
    NextHop {
        dst_mac: Mac(BACKEND),
        src_mac: Mac(OURS),
        ifindex,
        vlan: 0,
        mtu: 1500,
        gateway: None,
        source: None,
    }
}

fn flow(src: IpAddr, dst: IpAddr) -> Flow {
    Flow { src: SocketAddr::new(src, PORT), dst: SocketAddr::new(dst, 80) }
}

fn answer(src: IpAddr, dst: IpAddr) -> Flow {
    Flow { src: SocketAddr::new(src, 80), dst: SocketAddr::new(dst, PORT) }
}

/// With the MAC addresses of a frame to the backend.
fn to_backend(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&BACKEND);
    frame[6..12].copy_from_slice(&OURS);
    frame
}

/// The frame behind outer headers; what of them comes from the flow's hash is taken from `like`.
fn wrapped(inner: &[u8], of: &Addresses, gue: bool, like: &[u8]) -> Vec<u8> {
    let mut out = inner[..ETH].to_vec();
    let packet = &inner[ETH..];
    let v4 = of.outer.is_ipv4();
    let next = match (gue, v4) {
        (true, _) => IpNumber::UDP,
        (false, true) => IpNumber::IPV4,
        (false, false) => IpNumber::IPV6,
    };
    let payload = packet.len() as u16 + if gue { 8 } else { 0 };
    match (of.outer, of.backend) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut ip = Ipv4Header::new(payload, 64, next, src.octets(), dst.octets()).unwrap();
            ip.dont_fragment = true;
            ip.header_checksum = ip.calc_header_checksum();
            ip.write_raw(&mut out).unwrap();
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let label = u32::from_be_bytes(like[ETH..ETH + 4].try_into().unwrap()) & 0xf_ffff;
            let ip = Ipv6Header {
                flow_label: Ipv6FlowLabel::try_new(label).unwrap(),
                payload_length: payload,
                next_header: next,
                hop_limit: 64,
                source: src.octets(),
                destination: dst.octets(),
                ..Ipv6Header::default()
            };
            ip.write(&mut out).unwrap();
        }
        _ => unreachable!(),
    }
    if gue {
        let source_port = u16::from_be_bytes(like[out.len()..out.len() + 2].try_into().unwrap());
        assert!(source_port >= 0xc000);
        UdpHeader { source_port, destination_port: 6080, length: payload, checksum: 0 }
            .write(&mut out)
            .unwrap();
    }
    out.extend_from_slice(packet);
    out
}

#[test]
fn a_check_leaves_as_a_clients_packet_would_and_its_answers_come_from_where_it_asked() {
    let Some(mut world) = World::new() else { return };
    for of in families() {
        for method in [Method::Dr, Method::Ipip, Method::Gue] {
            let mark = world.only(&of, method, Some(hop(HERE)));
            for kind in [Kind::Syn, Kind::Ack, Kind::Rst, Kind::Udp] {
                let asked = frame(flow(of.own, of.backend), kind);
                let inside = to_backend(frame(flow(of.own, of.vip), kind));
                let (action, left) = world.out(&asked, mark);
                assert_eq!(action, GO_ON);
                let wanted = match method {
                    Method::Dr => inside,
                    tunnel => wrapped(&inside, &of, tunnel == Method::Gue, &left),
                };
                assert_eq!(left, wanted, "{method} {kind:?} to {}", of.backend);
                if kind != Kind::Udp {
                    assert_eq!(world.probes.path().fate(PORT), Fate::Sent(mark));
                }
                let kind = if kind == Kind::Syn { Kind::SynAck } else { kind };
                let answered = world.back(&frame(answer(of.vip, of.own), kind));
                assert_eq!(answered, frame(answer(of.backend, of.own), kind), "{kind:?}");
            }
        }
    }
    assert_eq!(world.counted(ProbeEvent::Sent), 2 * 3 * 4);
    assert_eq!(world.counted(ProbeEvent::Answered), 2 * 3 * 4);
}

#[test]
fn a_way_by_another_interface_is_a_redirect() {
    let Some(mut world) = World::new() else { return };
    for of in families() {
        let mark = world.only(&of, Method::Dr, Some(hop(HERE + 1)));
        let (action, left) = world.out(&frame(flow(of.own, of.backend), Kind::Syn), mark);
        assert_eq!(action, REDIRECT);
        assert_eq!(left, to_backend(frame(flow(of.own, of.vip), Kind::Syn)));
    }
}

#[test]
fn a_udp_packet_without_a_checksum_stays_without_one() {
    let Some(mut world) = World::new() else { return };
    let [of, _] = families();
    let mark = world.only(&of, Method::Dr, Some(hop(HERE)));
    let bare = |flow| {
        let mut frame = frame(flow, Kind::Udp);
        frame[ETH + 26..ETH + 28].fill(0);
        frame
    };
    let (_, left) = world.out(&bare(flow(of.own, of.backend)), mark);
    assert_eq!(left, to_backend(bare(flow(of.own, of.vip))));
    assert_eq!(world.back(&bare(answer(of.vip, of.own))), bare(answer(of.backend, of.own)));
}

#[test]
fn what_is_not_a_checks_passes_untouched() {
    let Some(mut world) = World::new() else { return };
    for of in families() {
        let mark = world.only(&of, Method::Dr, Some(hop(HERE)));
        let asked = frame(flow(of.own, of.backend), Kind::Syn);
        // No mark, an operator's, ours with no index, an unused one, one beyond the table.
        for other in [0, 1, mark & 0xffff, mark ^ 0x8000_0000, MARK, MARK | 0x4d, MARK | 0xffff] {
            let (action, left, after) = world.run(names::PROG_PROBE_OUT, &asked, other);
            assert_eq!((action, left, after), (GO_ON, asked.clone(), other));
        }
        // An answer that nobody asked for.
        let unasked = frame(answer(of.vip, of.own), Kind::SynAck);
        world.probes.path().begin(PORT);
        assert_eq!(world.back(&unasked), unasked);
        world.out(&asked, mark);
        assert_ne!(world.back(&unasked), unasked);
        let port = |port| Flow { src: SocketAddr::new(of.vip, port), ..answer(of.vip, of.own) };
        for other in
            [answer(of.backend, of.own), answer(of.vip, of.outer), answer(of.outer, of.own), port(81)]
        {
            let other = frame(other, Kind::SynAck);
            assert_eq!(world.back(&other), other);
        }
        // The same port of the other protocol.
        let other = frame(answer(of.vip, of.own), Kind::Udp);
        assert_eq!(world.back(&other), other);
    }
}

#[test]
fn a_check_that_cannot_go_its_way_goes_none_and_says_why() {
    let Some(mut world) = World::new() else { return };
    for of in families() {
        let asked = frame(flow(of.own, of.backend), Kind::Syn);
        let fate = |world: &World| match world.probes.path().fate(PORT) {
            Fate::Dropped(why) => why,
            other => panic!("{other:?}"),
        };
        let mark = world.only(&of, Method::Dr, None);
        assert_eq!(world.out(&asked, mark).0, SHOT);
        assert!(fate(&world).contains("next hop is not known"));
        let mark = world.only(&of, Method::Dr, Some(hop(HERE)));
        assert_eq!(world.out(&asked, mark).0, GO_ON);
        let elsewhere = frame(flow(of.own, of.outer), Kind::Syn);
        assert_eq!(world.out(&elsewhere, mark).0, SHOT);
        assert!(fate(&world).contains("not the backend"));
        // The tunnel's header has no room.
        let mtu = (asked.len() - ETH) as u32;
        for (mtu, action) in [(mtu + 27, SHOT), (mtu + if of.own.is_ipv4() { 28 } else { 48 }, GO_ON)] {
            let mark = world.only(&of, Method::Gue, Some(NextHop { mtu, ..hop(HERE) }));
            assert_eq!(world.out(&asked, mark).0, action, "MTU {mtu}");
        }
        let mark = world.only(&of, Method::Dr, Some(hop(HERE)));
        // Neither TCP nor UDP.
        let mut other = asked.clone();
        other[ETH + if of.own.is_ipv4() { 9 } else { 6 }] = 47;
        assert_eq!(world.out(&other, mark).0, SHOT);
    }
    assert_eq!(world.counted(ProbeEvent::Unresolved), 2);
    assert_eq!(world.counted(ProbeEvent::Mismatch), 2);
    assert_eq!(world.counted(ProbeEvent::TooBig), 2);
    assert_eq!(world.counted(ProbeEvent::Malformed), 2);
}
