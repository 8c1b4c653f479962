//! What must become of a frame: the rules of the data plane once more, in plain Rust over byte offsets, without the product's parser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::reason::Reason;

use crate::frame::{ETH, Flow, QINQ, VLAN};

/// What the headers of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) flow: Flow,
    pub(crate) proto: u8,
    pub(crate) flags: u8,
    pub(crate) ttl: u8,
    pub(crate) tags: usize,
}

/// Where a frame is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) dst_mac: [u8; 6],
    pub(crate) src_mac: [u8; 6],
    pub(crate) vlan: u16,
    pub(crate) ifindex: u32,
}

fn bytes<const N: usize>(frame: &[u8], at: usize) -> Result<[u8; N], Reason> {
    frame.get(at..at + N).and_then(|b| b.try_into().ok()).ok_or(Reason::Truncated)
}

fn word(frame: &[u8], at: usize) -> Result<u16, Reason> {
    bytes(frame, at).map(u16::from_be_bytes)
}

/// Reads a frame's headers as far as a balancer has to.
pub(crate) fn read(frame: &[u8]) -> Result<Seen, Reason> {
    let mut tags = 0;
    let mut ethertype = word(frame, 12)?;
    while ethertype == VLAN || ethertype == QINQ {
        if tags == 2 {
            return Err(Reason::TooManyTags);
        }
        tags += 1;
        ethertype = word(frame, 12 + 4 * tags)?;
    }
    let ip = ETH + 4 * tags;
    let (src, dst, proto, ttl, l4): (IpAddr, IpAddr, u8, u8, usize) = match ethertype {
        0x0800 => {
            let header: [u8; 20] = bytes(frame, ip)?;
            let length = usize::from(header[0] & 15) * 4;
            if header[0] >> 4 != 4 || length < 20 {
                return Err(Reason::Malformed);
            }
            if frame.len() < ip + length {
                return Err(Reason::Truncated);
            }
            // Bit 13 is "more fragments", bits 12 to 0 are the offset.
            if u16::from_be_bytes([header[6], header[7]]) & 0b0011_1111_1111_1111 != 0 {
                return Err(Reason::Fragment);
            }
            let [src, dst] = [12, 16].map(|at| Ipv4Addr::from(bytes::<4>(&header, at).unwrap()));
            (src.into(), dst.into(), header[9], header[8], ip + length)
        }
        0x86dd => {
            let header: [u8; 40] = bytes(frame, ip)?;
            if header[0] >> 4 != 6 {
                return Err(Reason::Malformed);
            }
            let (proto, l4) = extensions(frame, header[6], ip + 40)?;
            let [src, dst] = [8, 24].map(|at| Ipv6Addr::from(bytes::<16>(&header, at).unwrap()));
            (src.into(), dst.into(), proto, header[7], l4)
        }
        _ => return Err(Reason::NotIp),
    };
    let needed = match proto {
        6 => 20,
        17 => 8,
        _ => return Err(Reason::NotTcpUdp),
    };
    if frame.len() < l4 + needed {
        return Err(Reason::Truncated);
    }
    let flow =
        Flow { src: SocketAddr::new(src, word(frame, l4)?), dst: SocketAddr::new(dst, word(frame, l4 + 2)?) };
    Ok(Seen { flow, proto, flags: if proto == 6 { frame[l4 + 13] } else { 0 }, ttl, tags })
}

/// Walks IPv6 extension headers; returns the protocol behind them and where it begins.
fn extensions(frame: &[u8], mut next: u8, mut at: usize) -> Result<(u8, usize), Reason> {
    let mut seen = 0;
    while [0, 43, 44, 51, 60].contains(&next) {
        if seen == 4 {
            return Err(Reason::TooManyExtensions);
        }
        seen += 1;
        let first: [u8; 8] = bytes(frame, at)?;
        let length = match next {
            44 => {
                // A header that fragments nothing (RFC 6946) is an ordinary one.
                let field = u16::from_be_bytes([first[2], first[3]]);
                if field >> 3 != 0 || field & 1 != 0 {
                    return Err(Reason::Fragment);
                }
                8
            }
            43 if first[3] > 0 => return Err(Reason::SourceRouted),
            51 => (usize::from(first[1]) + 2) * 4,
            _ => (usize::from(first[1]) + 1) * 8,
        };
        // The shortest header counted in words may claim less than its fixed part.
        at += length.max(8);
        if at > frame.len() {
            return Err(Reason::Truncated);
        }
        next = first[0];
    }
    Ok((next, at))
}

/// What happens to a frame with so many tags on its way to a VLAN: refused when only the outer of two would go.
pub(crate) fn can_retag(tags: usize, vlan: u16) -> bool {
    vlan != 0 || tags < 2
}

/// The frame as it must leave.
pub(crate) fn rewritten(frame: &[u8], hop: &Hop) -> Vec<u8> {
    let tags = read(frame).expect("only a frame that could be read is sent").tags;
    let mut out = [hop.dst_mac, hop.src_mac].concat();
    match (tags, hop.vlan) {
        (0, 0) => {}
        (0, vlan) => {
            out.extend(VLAN.to_be_bytes());
            out.extend(vlan.to_be_bytes());
        }
        (_, vlan) => {
            if vlan != 0 {
                let tci = word(frame, 14).unwrap() & 0xf000 | vlan;
                out.extend(&frame[12..14]);
                out.extend(tci.to_be_bytes());
            }
        }
    }
    // With or without a tag in front of it, the rest begins with a type.
    out.extend(&frame[if tags == 0 { 12 } else { 16 }..]);
    let ip = out.len() - (frame.len() - ETH - 4 * tags);
    if out[ip] >> 4 == 4 {
        let end = ip + usize::from(out[ip] & 15) * 4;
        let was_right = sum(&out[ip..end]) == 0xffff;
        out[ip + 8] -= 1;
        if was_right {
            seal(&mut out[ip..end]);
        } else {
            // A wrong checksum stays exactly as wrong: the receiver shall see it.
            let old = u16::from_be_bytes([out[ip + 10], out[ip + 11]]);
            let (new, carry) = old.overflowing_add(0x0100);
            let new = new + u16::from(carry);
            let new = if new == 0xffff { 0 } else { new };
            out[ip + 10..ip + 12].copy_from_slice(&new.to_be_bytes());
        }
    } else {
        out[ip + 7] -= 1;
    }
    out
}

/// The ones' complement sum of 16-bit words (RFC 1071).
fn sum(header: &[u8]) -> u16 {
    header.chunks(2).fold(0u16, |sum, w| {
        let (sum, carry) = sum.overflowing_add(u16::from_be_bytes([w[0], w[1]]));
        sum + u16::from(carry)
    })
}

/// Writes the checksum of an IPv4 header.
pub(crate) fn seal(header: &mut [u8]) {
    header[10..12].fill(0);
    let checksum = !sum(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}
