//! A frame as a client's or a router's would arrive, for asking the program where it goes. Pure.

use std::net::IpAddr;

use lb_common::net::{
    ICMP, ICMPV6, TCP, UDP, csum,
    eth::{self, Macs},
    icmp::{ECHO4, ECHO6, FRAGMENTATION_NEEDED, Icmp, TOO_BIG6, UNREACHABLE4},
    ipv4::{self, Ipv4},
    ipv6::{self, Ipv6},
    l4::{self, ACK, FIN, RST, SYN, Tcp, Udp},
};
use zerocopy::IntoBytes;

use super::question::{Fragment, Probe, Shape};

/// The kernel runs a program on frames of one page with room before and behind them; this fits everywhere.
pub const LONGEST: usize = 3_400;
/// An Ethernet header; the kernel refuses less.
const SHORTEST: usize = 14;
/// What a router's message says of its link.
const MTU: u16 = 1_400;
/// Longest destination connection id of QUIC (RFC 9000, section 17.2).
const LONGEST_ID: usize = 20;

/// Why there is no such packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// Of two families.
    #[error("source and destination are of different families: give both as IPv4 or both as IPv6")]
    Families,
    /// Of a length that cannot be.
    #[error(
        "a frame of {0} bytes cannot be asked about: {SHORTEST} to {LONGEST} can, from the Ethernet header on"
    )]
    Length(usize),
    /// Shorter than what must be in it.
    #[error("the packet's headers alone take {needed} bytes, more than the length {asked}")]
    TooShort {
        /// Bytes of its headers.
        needed: usize,
        /// Wished length.
        asked: u16,
    },
    /// Too many tags.
    #[error("at most two VLAN tags, with ids up to 4094")]
    Tags,
    /// No such connection id.
    #[error("a QUIC connection id has at most {LONGEST_ID} bytes")]
    ConnectionId,
    /// Nothing to quote.
    #[error("a router's message quotes a whole TCP or UDP packet: neither another protocol nor a fragment")]
    Quote,
}

/// The frame of `probe`.
pub(super) fn of(probe: &Probe) -> Result<Vec<u8>, Impossible> {
    let frame = match probe {
        Probe::Frame(bytes) => bytes.clone(),
        Probe::Shape(shape) => of_shape(shape)?,
    };
    if (SHORTEST..=LONGEST).contains(&frame.len()) { Ok(frame) } else { Err(Impossible::Length(frame.len())) }
}

fn of_shape(shape: &Shape) -> Result<Vec<u8>, Impossible> {
    let six = match (shape.src, shape.dst) {
        (IpAddr::V4(_), IpAddr::V4(_)) => false,
        (IpAddr::V6(_), IpAddr::V6(_)) => true,
        _ => return Err(Impossible::Families),
    };
    if shape.vlans.len() > 2 || shape.vlans.iter().any(|id| *id > 4094) {
        return Err(Impossible::Tags);
    }
    let mut frame = Macs { dst: [2, 0, 0, 0, 0, 1], src: [2, 0, 0, 0, 0, 2] }.as_bytes().to_vec();
    for (i, id) in shape.vlans.iter().enumerate() {
        let outer_of_two = i == 0 && shape.vlans.len() == 2;
        frame.extend(if outer_of_two { eth::QINQ } else { eth::VLAN }.to_le_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(if six { eth::IPV6 } else { eth::IPV4 }.to_le_bytes());
    frame.extend(if shape.quoted { message(shape)? } else { packet(shape)? });
    Ok(frame)
}

/// The IP packet that was asked about. Checksums behind the IP header are left out: no balancer looks at them.
fn packet(shape: &Shape) -> Result<Vec<u8>, Impossible> {
    let (protocol, mut payload) = payload(shape)?;
    if shape.fragment.is_some_and(|fragment| fragment.later) {
        // Whatever: only the first part has a transport header.
        payload = vec![0; 64];
    }
    let plain = header(shape, protocol, 0);
    if let Some(asked) = shape.length {
        let wanted = usize::from(asked).checked_sub(plain.len()).filter(|wanted| *wanted >= payload.len());
        let needed = plain.len() + payload.len();
        payload.resize(wanted.ok_or(Impossible::TooShort { needed, asked })?, 0);
    }
    let len = u16::try_from(payload.len()).map_err(|_| Impossible::Length(payload.len()))?;
    if protocol == UDP && shape.fragment.is_none_or(|fragment| !fragment.later) {
        payload[4..6].copy_from_slice(&len.to_be_bytes());
    }
    let mut packet = header(shape, protocol, len);
    packet.extend(payload);
    Ok(packet)
}

/// IP header, and for a part of an IPv6 packet the extension header that says so.
fn header(shape: &Shape, protocol: u8, payload: u16) -> Vec<u8> {
    match (shape.src, shape.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let (id, frag) = match shape.fragment {
                // "Don't fragment", as everybody's TCP has it.
                None => (0, 1 << 14),
                // Offsets count eight bytes; "more fragments" is bit 13.
                Some(Fragment { later: false, id }) => (id, 1 << 13),
                Some(Fragment { later: true, id }) => (id, 185),
            };
            let total = payload.saturating_add(size_of::<Ipv4>() as u16);
            let mut ip = Ipv4 {
                version_ihl: ipv4::PLAIN,
                tos: 0,
                total_len: total.to_be_bytes(),
                id: (id as u16).to_be_bytes(),
                frag: u16::to_be_bytes(frag),
                ttl: shape.ttl,
                proto: protocol,
                csum: [0; 2],
                src: src.octets(),
                dst: dst.octets(),
            };
            ip.csum = csum::full(ip.as_bytes());
            ip.as_bytes().to_vec()
        }
        (src, dst) => {
            let extension: u16 = if shape.fragment.is_some() { 8 } else { 0 };
            let ip = Ipv6 {
                version_class_flow: [0x60, 0, 0, 0],
                payload_len: payload.saturating_add(extension).to_be_bytes(),
                next: if shape.fragment.is_some() { ipv6::FRAGMENT } else { protocol },
                hop_limit: shape.ttl,
                src: octets6(src),
                dst: octets6(dst),
            };
            let mut bytes = ip.as_bytes().to_vec();
            if let Some(Fragment { later, id }) = shape.fragment {
                let place: u16 = if later { 185 << 3 } else { 1 };
                bytes.extend([protocol, 0]);
                bytes.extend(place.to_be_bytes());
                bytes.extend(id.to_be_bytes());
            }
            bytes
        }
    }
}

fn octets6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Protocol number and what is behind the IP header.
fn payload(shape: &Shape) -> Result<(u8, Vec<u8>), Impossible> {
    let ports = l4::ports(shape.src_port, shape.dst_port);
    let flags = shape.flags;
    Ok(match shape.protocol {
        TCP => {
            let flag = |set: bool, bit: u8| if set { bit } else { 0 };
            let tcp = Tcp {
                ports,
                seq: [0; 4],
                ack: [0; 4],
                offset: 5 << 4,
                flags: flag(flags.syn, SYN)
                    | flag(flags.ack, ACK)
                    | flag(flags.fin, FIN)
                    | flag(flags.rst, RST),
                window: [0xff; 2],
                csum: [0; 2],
                urgent: [0; 2],
            };
            (TCP, tcp.as_bytes().to_vec())
        }
        UDP => {
            let mut bytes = Udp { ports, len: [0, 8], csum: [0; 2] }.as_bytes().to_vec();
            if let Some(quic) = &shape.quic {
                if quic.id.len() > LONGEST_ID {
                    return Err(Impossible::ConnectionId);
                }
                bytes.extend(quic_bytes(quic.short, &quic.id));
            }
            (UDP, bytes)
        }
        ICMP | ICMPV6 => {
            let six = shape.dst.is_ipv6();
            let mut echo =
                Icmp { kind: if six { ECHO6 } else { ECHO4 }, code: 0, csum: [0; 2], rest: [0, 1, 0, 1] };
            // The other family's covers the addresses as well; see `packet`.
            if !six {
                echo.csum = csum::full(echo.as_bytes());
            }
            (if six { ICMPV6 } else { ICMP }, echo.as_bytes().to_vec())
        }
        // SCTP's ports are where everybody else's are; nothing is known of the rest.
        other => (other, [&ports[..], &[0; 12]].concat()),
    })
}

/// First byte, version, connection ids; a first packet is at least 1200 bytes long (RFC 9000, section 14.1), which nobody looks at here.
fn quic_bytes(short: bool, id: &[u8]) -> Vec<u8> {
    if short {
        return [&[0x40][..], id, &[0; 20]].concat();
    }
    [&[0xc0, 0, 0, 0, 1, id.len() as u8][..], id, &[0; 20]].concat()
}

/// What the client's router says when the answer of the service was too long for a link behind it: it quotes the answer's begin, whose
/// source is the service.
fn message(shape: &Shape) -> Result<Vec<u8>, Impossible> {
    if !matches!(shape.protocol, TCP | UDP) || shape.fragment.is_some() {
        return Err(Impossible::Quote);
    }
    let answer = Shape {
        src: shape.dst,
        dst: shape.src,
        src_port: shape.dst_port,
        dst_port: shape.src_port,
        quoted: false,
        length: None,
        quic: None,
        ..shape.clone()
    };
    let quote = packet(&answer)?;
    let six = shape.dst.is_ipv6();
    let mut body = if six {
        let rest = u32::from(MTU).max(1_280).to_be_bytes();
        Icmp { kind: TOO_BIG6, code: 0, csum: [0; 2], rest }.as_bytes().to_vec()
    } else {
        let [high, low] = MTU.to_be_bytes();
        let rest = [0, 0, high, low];
        Icmp { kind: UNREACHABLE4, code: FRAGMENTATION_NEEDED, csum: [0; 2], rest }.as_bytes().to_vec()
    };
    // Routers quote at least the header and eight bytes of what is behind it; many no more.
    let quoted = if six { size_of::<Ipv6>() } else { size_of::<Ipv4>() } + 8;
    body.extend(&quote[..quoted.min(quote.len())]);
    if !six {
        let sum = csum::full(&body);
        body[2..4].copy_from_slice(&sum);
    }
    let len = u16::try_from(body.len()).map_err(|_| Impossible::Quote)?;
    let mut packet = header(shape, if six { ICMPV6 } else { ICMP }, len);
    packet.extend(body);
    Ok(packet)
}

#[cfg(test)]
mod tests;
