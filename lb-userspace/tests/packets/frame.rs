//! Frames as a client's router would send them.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    IpAuthHeader, IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv4Options, Ipv6FragmentHeader, Ipv6Header,
    Ipv6RawExtHeader, PacketBuilder, PacketBuilderStep, TcpHeader,
};

/// The router's address; frames come from it.
pub(crate) const ROUTER: [u8; 6] = [2, 0, 0, 0, 9, 9];
/// Our interface's address; frames come to it.
pub(crate) const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Length of an Ethernet header without tags.
pub(crate) const ETH: usize = 14;
/// 802.1Q.
pub(crate) const VLAN: u16 = 0x8100;
/// 802.1ad.
pub(crate) const QINQ: u16 = 0x88a8;

/// Who talks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
}

/// What the transport header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Syn,
    SynAck,
    Ack,
    FinAck,
    Rst,
    Udp,
}

/// A flow of the client with a port.
pub(crate) fn flow(dst: &str, sport: u16) -> Flow {
    let dst: SocketAddr = dst.parse().unwrap();
    Flow { src: SocketAddr::new(client(&dst.ip().to_string()), sport), dst }
}

/// The client, in the family of an address.
pub(crate) fn client(of: &str) -> IpAddr {
    match of.parse().unwrap() {
        IpAddr::V4(_) => IpAddr::from([198, 51, 100, 7]),
        IpAddr::V6(_) => "2001:db8:c::7".parse().unwrap(),
    }
}

/// Ethernet, IP with a TTL of 64 and without options, transport header, a few bytes of payload.
pub(crate) fn frame(flow: Flow, kind: Kind) -> Vec<u8> {
    with_payload(flow, kind, b"payload!")
}

/// The same with other payload.
pub(crate) fn with_payload(flow: Flow, kind: Kind, payload: &[u8]) -> Vec<u8> {
    with_ip(flow, kind, headers(flow, kind, &[]), payload)
}

/// The same over IPv4 with options: `words` words of them.
pub(crate) fn with_options(flow: Flow, kind: Kind, words: usize) -> Vec<u8> {
    // No-operation options (RFC 791), one byte each.
    with_ip(flow, kind, headers(flow, kind, &vec![1; words * 4]), b"payload!")
}

fn headers(flow: Flow, kind: Kind, options: &[u8]) -> IpHeaders {
    let protocol = if kind == Kind::Udp { IpNumber::UDP } else { IpNumber::TCP };
    match (flow.src.ip(), flow.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut ip = Ipv4Header::new(0, 64, protocol, src.octets(), dst.octets()).unwrap();
            ip.options = Ipv4Options::try_from(options).unwrap();
            ip.identification = 0x1234;
            IpHeaders::Ipv4(ip, etherparse::Ipv4Extensions::default())
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => IpHeaders::Ipv6(
            Ipv6Header {
                hop_limit: 64,
                next_header: protocol,
                source: src.octets(),
                destination: dst.octets(),
                ..Ipv6Header::default()
            },
            etherparse::Ipv6Extensions::default(),
        ),
        families => panic!("{families:?}"),
    }
}

fn with_ip(flow: Flow, kind: Kind, ip: IpHeaders, payload: &[u8]) -> Vec<u8> {
    let step = PacketBuilder::ethernet2(ROUTER, OURS).ip(ip);
    let mut bytes = Vec::new();
    if kind == Kind::Udp {
        step.udp(flow.src.port(), flow.dst.port()).write(&mut bytes, payload).unwrap();
    } else {
        tcp(step, flow, kind).write(&mut bytes, payload).unwrap();
    }
    bytes
}

fn tcp(step: PacketBuilderStep<IpHeaders>, flow: Flow, kind: Kind) -> PacketBuilderStep<TcpHeader> {
    let tcp = step.tcp(flow.src.port(), flow.dst.port(), 7, 65_000);
    match kind {
        Kind::Syn => tcp.syn(),
        Kind::SynAck => tcp.syn().ack(8),
        Kind::FinAck => tcp.fin().ack(8),
        Kind::Rst => tcp.rst(),
        Kind::Ack | Kind::Udp => tcp.ack(8),
    }
}

/// Puts tags (type, control information) behind the addresses, the first one outermost.
pub(crate) fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut bytes = frame[..12].to_vec();
    for (ethertype, tci) in tags {
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(tci.to_be_bytes());
    }
    bytes.extend(&frame[12..]);
    bytes
}

/// Sets bytes at an offset.
pub(crate) fn edit(frame: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// Sets bytes of an IPv4 header of an untagged frame, and its checksum.
pub(crate) fn edit4(frame: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = edit(frame, ETH + at, new);
    let words = usize::from(bytes[ETH] & 0xf).max(5);
    crate::model::seal(&mut bytes[ETH..ETH + words * 4]);
    bytes
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ext {
    /// Hop-by-hop options, so many 8-byte units beyond the first.
    HopByHop(usize),
    /// Destination options, likewise.
    Destination(usize),
    /// Routing header with segments left, of one address.
    Routing { left: u8 },
    /// Authentication header with an integrity check value of so many words.
    Authentication { words: usize },
    /// Fragment: offset in 8-byte units, and whether more follow.
    Fragment { offset: u16, more: bool },
}

impl Ext {
    fn number(self) -> IpNumber {
        match self {
            Self::HopByHop(_) => IpNumber::IPV6_HEADER_HOP_BY_HOP,
            Self::Destination(_) => IpNumber::IPV6_DESTINATION_OPTIONS,
            Self::Routing { .. } => IpNumber::IPV6_ROUTE_HEADER,
            Self::Authentication { .. } => IpNumber::AUTHENTICATION_HEADER,
            Self::Fragment { .. } => IpNumber::IPV6_FRAGMENTATION_HEADER,
        }
    }

    fn bytes(self, next: IpNumber) -> Vec<u8> {
        let raw = |payload: &[u8]| Ipv6RawExtHeader::new_raw(next, payload).unwrap().to_bytes().to_vec();
        match self {
            // PadN (RFC 8200): type 1, its length, zeros.
            Self::HopByHop(units) | Self::Destination(units) => {
                let mut options = vec![0; 6 + units * 8];
                options[..2].copy_from_slice(&[1, (4 + units * 8) as u8]);
                raw(&options)
            }
            Self::Routing { left } => {
                let mut routing = vec![0; 6 + 16];
                routing[..2].copy_from_slice(&[2, left]);
                raw(&routing)
            }
            Self::Authentication { words } => {
                IpAuthHeader::new(next, 1, 2, &vec![0xaa; words * 4]).unwrap().to_bytes().to_vec()
            }
            Self::Fragment { offset, more } => {
                let offset = IpFragOffset::try_new(offset).unwrap();
                Ipv6FragmentHeader::new(next, offset, more, 77).to_bytes().to_vec()
            }
        }
    }
}

/// Puts extension headers, in this order, into an untagged IPv6 frame.
pub(crate) fn extended(frame: &[u8], chain: &[Ext]) -> Vec<u8> {
    let mut bytes = frame[..ETH + 40].to_vec();
    let transport = IpNumber(frame[ETH + 6]);
    bytes[ETH + 6] = chain.first().map_or(transport, |e| e.number()).0;
    for (i, ext) in chain.iter().enumerate() {
        bytes.extend(ext.bytes(chain.get(i + 1).map_or(transport, |e| e.number())));
    }
    bytes.extend(&frame[ETH + 40..]);
    let payload = (bytes.len() - ETH - 40) as u16;
    edit(&bytes, ETH + 4, &payload.to_be_bytes())
}

/// Makes an untagged packet a fragment: its transport header stays, whatever the offset (in 8-byte units).
pub(crate) fn fragment(frame: &[u8], id: u32, offset: u16, more: bool) -> Vec<u8> {
    if frame[12] == 0x08 {
        let [_, _, a, b] = id.to_be_bytes();
        let [c, d] = (offset | u16::from(more) << 13).to_be_bytes();
        return edit4(frame, 4, &[a, b, c, d]);
    }
    let bytes = extended(frame, &[Ext::Fragment { offset, more }]);
    edit(&bytes, ETH + 40 + 4, &id.to_be_bytes())
}

/// Sets "don't fragment" of an untagged IPv4 frame; nothing of an IPv6 one, where it goes without saying.
pub(crate) fn whole(frame: &[u8]) -> Vec<u8> {
    if frame[12] == 0x08 { edit4(frame, 6, &[0x40, 0]) } else { frame.to_vec() }
}

/// Sets DSCP and ECN of an untagged frame.
pub(crate) fn marked(frame: &[u8], tos: u8) -> Vec<u8> {
    if frame[12] == 0x08 {
        return edit4(frame, 1, &[tos]);
    }
    edit(frame, ETH, &[0x60 | tos >> 4, tos << 4 | frame[ETH + 1] & 15])
}

/// The beginning of a QUIC packet: a long header of a version with a destination connection id, or, for version 0, a short one.
pub(crate) fn quic(first: u8, version: u32, id: &[u8]) -> Vec<u8> {
    let head = if version == 0 {
        vec![first]
    } else {
        [&[first][..], &version.to_be_bytes(), &[id.len() as u8]].concat()
    };
    [&head, id, &[0; 24]].concat()
}
