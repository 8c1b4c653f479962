//! Headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::reason::Reason;

use crate::frame::{ETH, QINQ, VLAN};

/// What part of a packet a frame carries; the number is its identification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    First(u32),
    Later(u32),
}

/// What the headers of a frame say, up to the network layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) tags: usize,
    /// Where the IP header and what is behind it begin.
    pub(crate) l3: usize,
    pub(crate) l4: usize,
    pub(crate) six: bool,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) proto: u8,
    pub(crate) part: Part,
    pub(crate) ttl: u8,
    /// DSCP and ECN.
    pub(crate) tos: u8,
    /// Length of the packet by its header.
    pub(crate) len: usize,
    /// Its sender does not want it fragmented on its way.
    pub(crate) tell: bool,
}

pub(super) fn bytes<const N: usize>(frame: &[u8], at: usize) -> Result<[u8; N], Reason> {
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
    let l3 = ETH + 4 * tags;
    let seen = match ethertype {
        0x0800 => four(frame, l3),
        0x86dd => six(frame, l3),
        _ => Err(Reason::NotIp),
    }?;
    Ok(Seen { tags, ..seen })
}

/// An IPv4 header, in a frame or quoted.
pub(super) fn four(frame: &[u8], l3: usize) -> Result<Seen, Reason> {
    let header: [u8; 20] = bytes(frame, l3)?;
    let length = usize::from(header[0] & 15) * 4;
    if header[0] >> 4 != 4 || length < 20 {
        return Err(Reason::Malformed);
    }
    if frame.len() < l3 + length {
        return Err(Reason::Truncated);
    }
    let [src, dst] = [12, 16].map(|at| Ipv4Addr::from(bytes::<4>(&header, at).unwrap()));
    let id = u32::from(u16::from_be_bytes([header[4], header[5]]));
    // Bit 14 is "don't fragment", bit 13 is "more fragments", bits 12 to 0 are the offset.
    let field = u16::from_be_bytes([header[6], header[7]]);
    let part = match (field & 0x1fff, field & 0x2000) {
        (0, 0) => Part::Whole,
        (0, _) => Part::First(id),
        _ => Part::Later(id),
    };
    Ok(Seen {
        tags: 0,
        l3,
        l4: l3 + length,
        six: false,
        src: src.into(),
        dst: dst.into(),
        proto: header[9],
        part,
        ttl: header[8],
        tos: header[1],
        len: usize::from(u16::from_be_bytes([header[2], header[3]])),
        tell: field & 0x4000 != 0,
    })
}

fn six(frame: &[u8], l3: usize) -> Result<Seen, Reason> {
    let header: [u8; 40] = bytes(frame, l3)?;
    if header[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let (proto, l4, part) = extensions(frame, header[6], l3 + 40)?;
    let [src, dst] = [8, 24].map(|at| Ipv6Addr::from(bytes::<16>(&header, at).unwrap()));
    Ok(Seen {
        tags: 0,
        l3,
        l4,
        six: true,
        src: src.into(),
        dst: dst.into(),
        proto,
        part,
        ttl: header[7],
        tos: (u16::from_be_bytes([header[0], header[1]]) >> 4) as u8,
        len: usize::from(u16::from_be_bytes([header[4], header[5]])) + 40,
        tell: true,
    })
}

/// Walks IPv6 extension headers; returns the protocol behind them, where it begins, and what part of a packet this is.
fn extensions(frame: &[u8], mut next: u8, mut at: usize) -> Result<(u8, usize, Part), Reason> {
    let mut part = Part::Whole;
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
                let id = u32::from_be_bytes([first[4], first[5], first[6], first[7]]);
                if field >> 3 != 0 {
                    return Ok((first[0], at + 8, Part::Later(id)));
                }
                if field & 1 != 0 {
                    part = Part::First(id);
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
    Ok((next, at, part))
}

/// Source port, destination port and flags of a TCP or UDP header.
pub(crate) fn transport(frame: &[u8], l4: usize, proto: u8) -> Result<(u16, u16, u8), Reason> {
    let needed = if proto == 6 { 20 } else { 8 };
    if frame.len() < l4 + needed {
        return Err(Reason::Truncated);
    }
    Ok((word(frame, l4)?, word(frame, l4 + 2)?, if proto == 6 { frame[l4 + 13] } else { 0 }))
}

/// The ones' complement sum of 16-bit words (RFC 1071).
pub(crate) fn sum(words: &[u8]) -> u16 {
    words.chunks(2).fold(0u16, |sum, w| {
        let (sum, carry) = sum.overflowing_add(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)]));
        sum + u16::from(carry)
    })
}

/// Writes the checksum of an IPv4 header.
pub(crate) fn seal(header: &mut [u8]) {
    header[10..12].fill(0);
    let checksum = !sum(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}
