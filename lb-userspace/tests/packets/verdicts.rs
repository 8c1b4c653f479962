//! One named case for each thing a frame can be.

use std::collections::BTreeSet;

use lb_common::{
    net::{ipv6::halves, wire},
    reason::Reason,
    service::{Key4, Key6, WAYS4, WAYS6},
};
use lb_userspace::{
    datapath::Desired,
    model::{Disposition, Protocol, Vip},
};

use crate::{
    frame::{ETH, Ext, Kind, QINQ, ROUTER, VLAN, edit, edit4, extended, flow, frame, tagged, with_options},
    icmp::{echo, message4, message6},
    model::Outcome,
    site::{nothing, pool, service, site},
    world::World,
};

/// What a case expects.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// Not forwarded.
    Stop(Reason),
    /// Forwarded for this service to this backend.
    Send(&'static str, &'static str),
    /// The same, by another interface.
    Redirect(&'static str, &'static str),
    /// Turned into an answer.
    Answer(Reason),
}
use Want::{Answer, Redirect, Send, Stop};

struct Case {
    name: String,
    frame: Vec<u8>,
    want: Want,
}

/// VLAN of the pool `tagged`.
const TAG: u16 = 100;

/// Pools, one property each.
pub(crate) fn desired() -> Desired {
    let mut all = nothing();
    site(&mut all, "one", 1, pool(1, 13, 1));
    site(&mut all, "many", 2, pool(2, 251, 5));
    site(&mut all, "empty", 3, pool(3, 13, 0));
    let mut down = pool(4, 13, 2);
    down.backends.values_mut().for_each(|b| b.disposition = Disposition::Down);
    site(&mut all, "down", 4, down);
    let mut unresolved = pool(5, 13, 1);
    unresolved.backends.values_mut().for_each(|b| b.next_hop = None);
    site(&mut all, "unresolved", 5, unresolved);
    let mut vlan = pool(6, 13, 1);
    vlan.backends.values_mut().for_each(|b| b.next_hop.as_mut().unwrap().vlan = TAG);
    site(&mut all, "tagged", 6, vlan);
    let mut far = pool(7, 13, 1);
    far.backends.values_mut().for_each(|b| b.next_hop.as_mut().unwrap().ifindex = 7);
    site(&mut all, "far", 7, far);
    all
}

const ONE4: &str = "203.0.113.1:80";
const ONE6: &str = "[2001:db8::1]:80";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, frame: Vec<u8>, want| {
        cases.push(Case { name: name.to_owned(), frame, want });
    };
    let one = Send("one-tcp", "one/b1");
    let of = |dst: &str, kind| frame(flow(dst, 40_000), kind);
    let v4 = of(ONE4, Kind::Ack);
    let v6 = of(ONE6, Kind::Ack);
    let strange = of("203.0.113.200:80", Kind::Ack);

    // Both families, both protocols, every kind of packet.
    for (name, kind) in [
        ("SYN", Kind::Syn),
        ("SYN+ACK", Kind::SynAck),
        ("ACK", Kind::Ack),
        ("FIN+ACK", Kind::FinAck),
        ("RST", Kind::Rst),
    ] {
        case(&format!("IPv4 TCP {name}"), of(ONE4, kind), one);
        case(&format!("IPv6 TCP {name}"), of(ONE6, kind), one);
    }
    case("IPv4 UDP", of("203.0.113.1:53", Kind::Udp), Send("one-udp", "one/b1"));
    case("IPv6 UDP", of("[2001:db8::1]:53", Kind::Udp), Send("one-udp", "one/b1"));
    case("IPv4 UDP of class flow", of("203.0.113.1:4433", Kind::Udp), Send("one-flow", "one/b1"));
    case("IPv6 UDP of class flow", of("[2001:db8::1]:4433", Kind::Udp), Send("one-flow", "one/b1"));

    // Not ours.
    case(
        "ARP",
        [&[0xff; 6][..], &ROUTER, &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1], &[0; 20]].concat(),
        Stop(Reason::NotIp),
    );
    case("an Ethernet header and nothing else", v4[..ETH].to_vec(), Stop(Reason::Truncated));
    case(
        "an unknown type behind one tag",
        edit(&tagged(&v4, &[(VLAN, 5)]), 16, &[0x88, 0xcc]),
        Stop(Reason::NotIp),
    );
    case(
        "an unknown type behind two tags",
        edit(&tagged(&v4, &[(QINQ, 5), (VLAN, 6)]), 20, &[0x88, 0xcc]),
        Stop(Reason::NotIp),
    );
    case("MPLS", edit(&v4, 12, &[0x88, 0x47]), Stop(Reason::NotIp));
    for vip in ["203.0.113.1", "2001:db8::1"] {
        case(&format!("echo to {vip}"), echo(vip, 1, 1), Answer(Reason::EchoReply));
    }
    case("ICMP echo to an address that is not ours", echo("203.0.113.200", 1, 1), Stop(Reason::NotTcpUdp));
    case("ICMPv6 echo to an address that is not ours", echo("2001:db8::c8", 1, 1), Stop(Reason::NotTcpUdp));
    case("ICMP timestamp to a VIP", message4("203.0.113.1", 13, 0, &[0; 12]), Stop(Reason::Icmp));
    case("neighbour solicitation for a VIP", message6("2001:db8::1", 135, 0, &[0; 20]), Stop(Reason::Icmp));
    case("ICMP over IPv6 to a VIP", edit(&v6, ETH + 6, &[1]), Stop(Reason::NotTcpUdp));
    case("ICMPv6 over IPv4 to a VIP", edit4(&v4, 9, &[58]), Stop(Reason::NotTcpUdp));
    case("SCTP to a VIP over IPv4", edit4(&v4, 9, &[132]), Stop(Reason::Sctp));
    case("SCTP to a VIP over IPv6", edit(&v6, ETH + 6, &[132]), Stop(Reason::Sctp));
    case("SCTP to an address that is not ours", edit4(&strange, 9, &[132]), Stop(Reason::NotTcpUdp));
    for (name, number) in [("GRE", 47), ("IPv4 in IPv4", 4)] {
        case(&format!("{name} over IPv4"), edit4(&v4, 9, &[number]), Stop(Reason::NotTcpUdp));
    }
    // "No next header" (RFC 8200) ends the chain; so do ESP and mobility, which are not walked.
    for (name, number) in [("no next header", 59), ("ESP", 50), ("mobility", 135)] {
        case(&format!("IPv6 with {name}"), edit(&v6, ETH + 6, &[number]), Stop(Reason::NotTcpUdp));
    }
    for (name, dst, kind) in [
        ("IPv4, another address", "203.0.113.200:80", Kind::Ack),
        ("IPv4, another port", "203.0.113.1:81", Kind::Ack),
        ("IPv4, TCP to the UDP port", "203.0.113.1:53", Kind::Ack),
        ("IPv4, UDP to the TCP port", "203.0.113.1:80", Kind::Udp),
        ("IPv4, port and address swapped halves", "203.0.113.1:20480", Kind::Ack),
        ("IPv6, another address", "[2001:db8::c8]:80", Kind::Ack),
        ("IPv6, another network", "[2001:db9::1]:80", Kind::Ack),
        ("IPv6, another port", "[2001:db8::1]:81", Kind::Ack),
        ("IPv6, TCP to the UDP port", "[2001:db8::1]:53", Kind::Ack),
        ("IPv6, UDP to the TCP port", "[2001:db8::1]:80", Kind::Udp),
        ("all zeros", "0.0.0.0:0", Kind::Ack),
        ("all zeros over IPv6", "[::]:0", Kind::Ack),
    ] {
        case(&format!("no service: {name}"), of(dst, kind), Stop(Reason::NotService));
    }

    // IPv4 headers.
    for words in 1..=10 {
        case(
            &format!("IPv4 with {words} words of options"),
            with_options(flow(ONE4, 40_000), Kind::Ack, words),
            one,
        );
    }
    case(
        "IPv4 UDP with options",
        with_options(flow("203.0.113.1:53", 9), Kind::Udp, 3),
        Send("one-udp", "one/b1"),
    );
    case("IPv4 header of 4 words", edit(&v4, ETH, &[0x44]), Stop(Reason::Malformed));
    case("IPv4 header of 0 words", edit(&v4, ETH, &[0x40]), Stop(Reason::Malformed));
    for version in [0, 5, 6, 15] {
        let bytes = edit(&v4, ETH, &[version << 4 | 5]);
        case(&format!("type IPv4, version {version}"), bytes, Stop(Reason::Malformed));
    }
    for version in [0, 4, 7] {
        let bytes = edit(&v6, ETH, &[version << 4]);
        case(&format!("type IPv6, version {version}"), bytes, Stop(Reason::Malformed));
    }
    case("IPv4, don't fragment", edit4(&v4, 6, &[0x40, 0]), one);
    case("IPv4, reserved flag", edit4(&v4, 6, &[0x80, 0]), one);
    let unknown = Stop(Reason::FragmentUnknown);
    case("IPv4, middle fragment", edit4(&v4, 6, &[0x20, 0xb9]), unknown);
    case("IPv4, last fragment", edit4(&v4, 6, &[0, 0xb9]), unknown);
    case("IPv4, last fragment of the largest packet", edit4(&v4, 6, &[0x1f, 0xff]), unknown);
    case("IPv4, first fragment of nobody's", edit4(&strange, 6, &[0x20, 0]), Stop(Reason::Fragment));
    case("IPv4, last fragment of nobody's", edit4(&strange, 6, &[0, 0xb9]), Stop(Reason::Fragment));
    case(
        "IPv4, last fragment of ICMP to a VIP",
        edit4(&edit4(&v4, 9, &[1]), 6, &[0, 0xb9]),
        Stop(Reason::Fragment),
    );
    case(
        "IPv4, first fragment of ICMP to a VIP",
        edit4(&edit4(&v4, 9, &[1]), 6, &[0x20, 0]),
        Stop(Reason::Fragment),
    );
    case("IPv4, first fragment", edit4(&v4, 6, &[0x20, 0]), one);
    case("IPv4, DSCP and ECN", edit4(&v4, 1, &[0xb9]), one);
    case("IPv4, a wrong checksum stays wrong", edit(&v4, ETH + 10, &[0x12, 0x34]), one);
    case("IPv4, padded to the minimum frame", [&v4[..], &[0; 6]].concat(), one);

    // TTL and hop limit.
    for (ttl, fate) in [(0, Stop(Reason::TtlExpired)), (1, Stop(Reason::TtlExpired)), (2, one), (255, one)] {
        case(&format!("TTL {ttl}"), edit4(&v4, 8, &[ttl]), fate);
        case(&format!("hop limit {ttl}"), edit(&v6, ETH + 7, &[ttl]), fate);
    }

    // IPv6 extension headers: each alone, then chains of them.
    let hop = Ext::HopByHop(0);
    let long = Ext::HopByHop(31);
    let target = Ext::Destination(1);
    let visited = Ext::Routing { left: 0 };
    let to_visit = Ext::Routing { left: 1 };
    let auth = Ext::Authentication { words: 3 };
    let atomic = Ext::Fragment { offset: 0, more: false };
    for (name, chain, want) in [
        ("hop-by-hop", &[hop][..], one),
        ("a hop-by-hop header of 256 bytes", &[long], one),
        ("destination options", &[target], one),
        ("routing, all visited", &[visited], one),
        ("routing, one to visit", &[to_visit], Stop(Reason::SourceRouted)),
        ("routing, 255 to visit", &[Ext::Routing { left: 255 }], Stop(Reason::SourceRouted)),
        ("authentication", &[auth], one),
        ("authentication without a value", &[Ext::Authentication { words: 0 }], one),
        ("authentication of odd length in 8 bytes", &[Ext::Authentication { words: 4 }], one),
        ("an atomic fragment", &[atomic], one),
        ("a middle fragment", &[Ext::Fragment { offset: 181, more: true }], unknown),
        ("a last fragment", &[Ext::Fragment { offset: 181, more: false }], unknown),
        ("two headers", &[hop, target], one),
        ("three headers", &[hop, visited, auth], one),
        ("four headers", &[hop, visited, atomic, target], one),
        (
            "four headers, the last a fragment's",
            &[hop, target, visited, Ext::Fragment { offset: 1, more: false }],
            unknown,
        ),
        ("four headers, the last source-routed", &[hop, target, auth, to_visit], Stop(Reason::SourceRouted)),
        ("five headers", &[hop, target, visited, auth, target], Stop(Reason::TooManyExtensions)),
        (
            "five headers, the fifth a fragment's",
            &[hop, target, target, target, Ext::Fragment { offset: 0, more: true }],
            Stop(Reason::TooManyExtensions),
        ),
    ] {
        case(&format!("IPv6 with {name}"), extended(&v6, chain), want);
    }
    case("IPv6 with a first fragment", extended(&v6, &[Ext::Fragment { offset: 0, more: true }]), one);
    case(
        "IPv6 UDP behind an extension header",
        extended(&of("[2001:db8::1]:53", Kind::Udp), &[target]),
        Send("one-udp", "one/b1"),
    );
    case(
        "IPv6, no transport behind an extension header",
        edit(&extended(&v6, &[hop]), ETH + 40, &[59]),
        Stop(Reason::NotTcpUdp),
    );

    // Tags, and backends with and without one. Priorities (the upper bits) survive.
    let far = Redirect("far-tcp", "far/b1");
    let vlan = Send("tagged-tcp", "tagged/b1");
    for (family, plain, to_tagged, to_far) in [
        ("IPv4", &v4, of("203.0.113.6:80", Kind::Ack), of("203.0.113.7:80", Kind::Ack)),
        ("IPv6", &v6, of("[2001:db8::6]:80", Kind::Ack), of("[2001:db8::7]:80", Kind::Ack)),
    ] {
        let mut case = |name: &str, frame: Vec<u8>, want| case(&format!("{family}, {name}"), frame, want);
        case("802.1Q popped", tagged(plain, &[(VLAN, 5)]), one);
        case("802.1ad popped", tagged(plain, &[(QINQ, 0xe005)]), one);
        case("a priority tag popped", tagged(plain, &[(VLAN, 0xa000)]), one);
        case(
            "two tags to an untagged backend",
            tagged(plain, &[(QINQ, 5), (VLAN, 6)]),
            Stop(Reason::VlanRewrite),
        );
        case("three tags", tagged(plain, &[(QINQ, 5), (VLAN, 6), (VLAN, 7)]), Stop(Reason::TooManyTags));
        case("tag pushed", to_tagged.clone(), vlan);
        case("the right tag kept", tagged(&to_tagged, &[(VLAN, TAG)]), vlan);
        case("802.1Q rewritten", tagged(&to_tagged, &[(VLAN, 0x7abc)]), vlan);
        case("802.1ad rewritten", tagged(&to_tagged, &[(QINQ, 0xfabc)]), vlan);
        case("outer of two tags rewritten", tagged(&to_tagged, &[(QINQ, 0x2005), (VLAN, 0x4006)]), vlan);
        case("two equal tags, outer kept", tagged(&to_tagged, &[(VLAN, TAG), (VLAN, TAG)]), vlan);
        case("to another interface", to_far.clone(), far);
        case("to another interface, tag popped", tagged(&to_far, &[(VLAN, 9)]), far);
    }

    // Pools that cannot serve. A pool without backends has nobody to expire for; a TTL that expires needs no next hop.
    let ttl = Reason::TtlExpired;
    for (n, reason, with_ttl_1) in [
        (3, Reason::NoBackend, Reason::NoBackend),
        (4, Reason::NoBackend, Reason::NoBackend),
        (5, Reason::Unresolved, ttl),
    ] {
        for (family, dst) in [("IPv4", format!("203.0.113.{n}:80")), ("IPv6", format!("[2001:db8::{n}]:80"))]
        {
            case(&format!("{family}, pool {n}: {reason:?}"), of(&dst, Kind::Syn), Stop(reason));
        }
        let dst = format!("203.0.113.{n}:80");
        case(&format!("pool {n} and TTL 1"), edit4(&of(&dst, Kind::Ack), 8, &[1]), Stop(with_ttl_1));
    }
    cases
}

#[test]
fn every_named_frame_gets_what_it_should() {
    let Some(world) = World::new(1024, desired()) else { return };
    let cases = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        println!("{}", case.name);
        let (got, _) = world.watched(&case.frame);
        let as_declared = match (case.want, &got) {
            (Stop(why), Outcome::Stopped(got)) | (Answer(why), Outcome::Answered { why: got, .. }) => {
                why == *got
            }
            (Send(s, b), Outcome::Sent { service, backend, redirected: false, .. })
            | (Redirect(s, b), Outcome::Sent { service, backend, redirected: true, .. }) => {
                Some(s) == service.as_deref() && b == backend
            }
            _ => false,
        };
        if !as_declared {
            wrong.push(format!("{}: {got:02x?} instead of {:?}", case.name, case.want));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!("{} cases", cases.len());
    assert!(cases.len() >= 60);
}

#[test]
fn names_of_cases_are_unique() {
    let cases = cases();
    let names: BTreeSet<&str> = cases.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
}

/// Services whose keys share a home bucket of a table with `mask + 1` buckets, one more than fit.
fn crowded(mask: u32, six: bool) -> Vec<Vip> {
    let home = |vip: &Vip| {
        let port = wire(vip.port);
        let bucket = match vip.addr {
            std::net::IpAddr::V4(a) => Key4::new(u32::from_le_bytes(a.octets()), port, 6).buckets().0,
            std::net::IpAddr::V6(a) => Key6::new(halves(&a.octets()), port, 6).buckets().0,
        };
        bucket & mask
    };
    let ways = if six { WAYS6 } else { WAYS4 };
    let vips = (1..60_000u16).map(|port| Vip {
        addr: if six { "2001:db8:f::1".parse().unwrap() } else { [192, 0, 2, 1].into() },
        port,
        protocol: Protocol::Tcp,
    });
    let first = vips.clone().next().unwrap();
    vips.filter(|vip| home(vip) == home(&first)).take(ways + 2).collect()
}

#[test]
fn services_that_share_a_full_bucket_are_all_found_and_their_neighbours_are_not() {
    for six in [false, true] {
        let Some(mut world) = World::new(1024, desired()) else { return };
        let map = if six {
            lb_userspace::datapath::tables::U64Map::Services6
        } else {
            lb_userspace::datapath::tables::U64Map::Services4
        };
        let mask = world.buckets(map) - 1;
        let mut vips = crowded(mask, six);
        let stranger = vips.pop().unwrap();
        let dst = |vip: &Vip| std::net::SocketAddr::new(vip.addr, vip.port).to_string();
        let ack = |vip: &Vip| frame(flow(&dst(vip), 1234), Kind::Ack);
        world.change(|desired| {
            for (i, vip) in vips.iter().enumerate() {
                let mut service = service("one", &[]);
                service.endpoints.push((*vip).into());
                desired.services.insert(format!("crowd-{i}").parse().unwrap(), service);
            }
        });
        for (i, vip) in vips.iter().enumerate() {
            let bytes = ack(vip);
            let (got, _) = world.watched(&bytes);
            let Outcome::Sent { service, .. } = got else { panic!("{got:?}") };
            assert_eq!(service, Some(format!("crowd-{i}")));
        }
        assert_eq!(world.watched(&ack(&stranger)).0, Outcome::Stopped(Reason::NotService));
        // One after the other leaves; the others stay reachable, whichever bucket they live in.
        for gone in 0..vips.len() {
            world.change(|desired| {
                desired.services.remove(format!("crowd-{gone}").as_str()).unwrap();
            });
            for (i, vip) in vips.iter().enumerate() {
                let short = world.watched(&ack(vip)).0.short();
                assert_eq!(short, if i <= gone { "not_service" } else { "b1" }, "{i} after {gone} left");
            }
        }
    }
}
