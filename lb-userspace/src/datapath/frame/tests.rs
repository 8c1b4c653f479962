use etherparse::{IpNumber, NetSlice, SlicedPacket, TransportSlice};

use super::*;
use crate::datapath::question::{Flags, Quic};

fn shape(src: &str, dst: &str, protocol: u8) -> Shape {
    let end = |text: &str| text.parse::<std::net::SocketAddr>().map(|a| (a.ip(), a.port())).unwrap();
    Shape::new(end(src), end(dst), protocol)
}

fn v4(protocol: u8) -> Shape {
    shape("198.51.100.7:40000", "203.0.113.10:443", protocol)
}

fn v6(protocol: u8) -> Shape {
    shape("[2001:db8::7]:5000", "[2001:db8::10]:53", protocol)
}

fn built(shape: &Shape) -> Vec<u8> {
    of(&Probe::Shape(shape.clone())).unwrap()
}

#[test]
fn somebody_elses_parser_reads_what_was_meant() {
    let bytes = built(&v4(TCP));
    let frame = SlicedPacket::from_ethernet(&bytes).unwrap();
    let Some(NetSlice::Ipv4(ip)) = frame.net else { panic!("{frame:?}") };
    assert_eq!(ip.header().destination(), [203, 0, 113, 10]);
    assert!(ip.header().dont_fragment());
    assert_eq!(ip.header().to_header().calc_header_checksum(), ip.header().header_checksum());
    let Some(TransportSlice::Tcp(tcp)) = frame.transport else { panic!() };
    assert_eq!((tcp.source_port(), tcp.destination_port(), tcp.syn(), tcp.ack()), (40000, 443, true, false));

    let bytes = built(&v6(UDP));
    let frame = SlicedPacket::from_ethernet(&bytes).unwrap();
    let Some(NetSlice::Ipv6(ip)) = frame.net else { panic!("{frame:?}") };
    assert_eq!(ip.header().destination(), "2001:db8::10".parse::<std::net::Ipv6Addr>().unwrap().octets());
    let Some(TransportSlice::Udp(udp)) = frame.transport else { panic!() };
    assert_eq!((udp.source_port(), udp.destination_port(), udp.length()), (5000, 53, 8));
}

#[test]
fn flags_ttl_length_and_tags_are_those_that_were_asked_for() {
    for base in [v4(TCP), v6(TCP)] {
        let asked = Shape {
            flags: Flags { fin: true, ack: true, ..Flags::default() },
            ttl: 3,
            length: Some(1_500),
            vlans: vec![10, 20],
            ..base
        };
        let bytes = built(&asked);
        assert_eq!(bytes.len(), 1_500 + 14 + 8);
        let frame = SlicedPacket::from_ethernet(&bytes).unwrap();
        assert_eq!(frame.vlan_ids().iter().map(|id| id.value()).collect::<Vec<_>>(), [10, 20]);
        let Some(TransportSlice::Tcp(tcp)) = frame.transport else { panic!() };
        assert_eq!((tcp.fin(), tcp.ack(), tcp.syn(), tcp.rst()), (true, true, false, false));
        match frame.net {
            Some(NetSlice::Ipv4(ip)) => assert_eq!((ip.header().ttl(), ip.header().total_len()), (3, 1_500)),
            Some(NetSlice::Ipv6(ip)) => {
                assert_eq!((ip.header().hop_limit(), ip.header().payload_length()), (3, 1_460));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn parts_of_a_packet_agree_in_their_number_and_only_the_first_has_ports() {
    for (base, id) in [(v4(UDP), 0xbeef), (v6(UDP), 0xdead_beef)] {
        for later in [false, true] {
            let bytes = built(&Shape { fragment: Some(Fragment { later, id }), ..base.clone() });
            let frame = SlicedPacket::from_ethernet(&bytes).unwrap();
            // What is a part is not taken for a whole datagram.
            assert!(frame.transport.is_none(), "{frame:?}");
            match frame.net {
                Some(NetSlice::Ipv4(ip)) => {
                    let header = ip.header();
                    assert_eq!(u32::from(header.identification()), id);
                    assert_eq!(
                        (header.more_fragments(), header.fragments_offset().value() > 0),
                        (!later, later)
                    );
                }
                Some(NetSlice::Ipv6(ip)) => {
                    assert!(ip.is_payload_fragmented());
                    assert_eq!(bytes[14 + 40 + 4..14 + 48], id.to_be_bytes());
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_router_quotes_what_the_service_sent() {
    let bytes = built(&Shape { quoted: true, ..v4(TCP) });
    let frame = SlicedPacket::from_ethernet(&bytes).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = frame.transport else { panic!("{frame:?}") };
    let quoted = SlicedPacket::from_ip(icmp.payload());
    // Eight bytes of TCP are no TCP header; the addresses are read all the same.
    let inner = etherparse::LaxSlicedPacket::from_ip(icmp.payload()).unwrap();
    assert!(quoted.is_err() || inner.transport.is_none());
    assert_eq!(icmp.payload()[12..16], [203, 0, 113, 10]);
    assert_eq!(icmp.payload()[20..24], [0x01, 0xbb, 0x9c, 0x40]);
    assert_eq!(csum::full(icmp.slice()), [0, 0]);

    let bytes = built(&Shape { quoted: true, ..v6(UDP) });
    assert_eq!((bytes[14 + 6], bytes[14 + 40]), (ICMPV6, TOO_BIG6));
    assert_eq!(bytes[14 + 48 + 8..14 + 48 + 24], octets6("2001:db8::10".parse().unwrap()));
    assert_eq!(bytes[14 + 48 + 40..14 + 48 + 44], [0, 53, 0x13, 0x88]);
}

#[test]
fn quic_packets_have_their_connection_id_where_it_belongs() {
    let asked = |short| built(&Shape { quic: Some(Quic { short, id: vec![9, 0x12, 0x34] }), ..v4(UDP) });
    assert_eq!(asked(true)[42..46], [0x40, 9, 0x12, 0x34]);
    assert_eq!(asked(false)[42..51], [0xc0, 0, 0, 0, 1, 3, 9, 0x12, 0x34]);
    let long = Shape { quic: Some(Quic { short: true, id: vec![0; 21] }), ..v4(UDP) };
    assert_eq!(of(&Probe::Shape(long)), Err(Impossible::ConnectionId));
}

#[test]
fn an_echo_request_is_one_in_both_families_and_other_protocols_keep_their_number() {
    assert!(matches!(
        SlicedPacket::from_ethernet(&built(&v4(ICMP))).unwrap().transport,
        Some(TransportSlice::Icmpv4(_))
    ));
    assert_eq!(built(&v6(ICMP))[14 + 40], ECHO6);
    let sctp = built(&v4(132));
    let frame = SlicedPacket::from_ethernet(&sctp).unwrap();
    let Some(NetSlice::Ipv4(ip)) = frame.net else { panic!("{frame:?}") };
    assert_eq!(ip.header().protocol(), IpNumber::SCTP);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let mixed = shape("198.51.100.7:1", "[2001:db8::10]:53", UDP);
    assert_eq!(of(&Probe::Shape(mixed)), Err(Impossible::Families));
    let refused = |shape: Shape| of(&Probe::Shape(shape)).unwrap_err();
    assert_eq!(
        refused(Shape { length: Some(39), ..v4(TCP) }),
        Impossible::TooShort { needed: 40, asked: 39 }
    );
    assert_eq!(refused(Shape { length: Some(9_000), ..v4(TCP) }), Impossible::Length(9_014));
    assert_eq!(refused(Shape { vlans: vec![1, 2, 3], ..v4(TCP) }), Impossible::Tags);
    assert_eq!(refused(Shape { quoted: true, ..v4(132) }), Impossible::Quote);
    assert_eq!(of(&Probe::Frame(vec![0; 13])), Err(Impossible::Length(13)));
}
