//! ICMP messages, built by etherparse.

use std::net::IpAddr;

use etherparse::{IcmpEchoHeader, Icmpv4Type, Icmpv6Type, PacketBuilder};

use crate::frame::{Flow, OURS, ROUTER, client};

/// An echo request to an address, with 56 bytes of payload.
pub(crate) fn echo(dst: &str, id: u16, seq: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let header = IcmpEchoHeader { id, seq };
    let payload: Vec<u8> = (0..56).collect();
    match (client(dst), dst.parse().unwrap()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => PacketBuilder::ethernet2(ROUTER, OURS)
            .ipv4(src.octets(), dst.octets(), 64)
            .icmpv4(Icmpv4Type::EchoRequest(header))
            .write(&mut out, &payload),
        (IpAddr::V6(src), IpAddr::V6(dst)) => PacketBuilder::ethernet2(ROUTER, OURS)
            .ipv6(src.octets(), dst.octets(), 64)
            .icmpv6(Icmpv6Type::EchoRequest(header))
            .write(&mut out, &payload),
        families => panic!("{families:?}"),
    }
    .unwrap();
    out
}

/// A message of any type over IPv4, from some router. The first four bytes of `rest` belong to the header.
pub(crate) fn message4(dst: &str, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let IpAddr::V4(dst) = dst.parse().unwrap() else { panic!("{dst}") };
    let bytes5to8 = rest[..4].try_into().unwrap();
    let icmp = Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8 };
    PacketBuilder::ethernet2(ROUTER, OURS)
        .ipv4([192, 0, 2, 254], dst.octets(), 250)
        .icmpv4(icmp)
        .write(&mut out, &rest[4..])
        .unwrap();
    out
}

/// The same over IPv6.
pub(crate) fn message6(dst: &str, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (IpAddr::V6(dst), IpAddr::V6(router)) = (dst.parse().unwrap(), client("::")) else { panic!("{dst}") };
    let bytes5to8 = rest[..4].try_into().unwrap();
    let icmp = Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8 };
    PacketBuilder::ethernet2(ROUTER, OURS)
        .ipv6(router.octets(), dst.octets(), 250)
        .icmpv6(icmp)
        .write(&mut out, &rest[4..])
        .unwrap();
    out
}

/// An error of a type about a packet, given from its IP header on: sent to whom the packet came from.
pub(crate) fn error(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    let rest = [&[0; 4], quoted].concat();
    if quoted[0] >> 4 == 4 {
        let src = IpAddr::from(<[u8; 4]>::try_from(&quoted[12..16]).unwrap());
        message4(&src.to_string(), kind, code, &rest)
    } else {
        let src = IpAddr::from(<[u8; 16]>::try_from(&quoted[8..24]).unwrap());
        message6(&src.to_string(), kind, code, &rest)
    }
}

/// The flow's other direction: what a backend sends.
pub(crate) fn answer(flow: Flow) -> Flow {
    Flow { src: flow.dst, dst: flow.src }
}
