//! Cursor → link, network and transport header, one function a layer.

use super::{
    TCP, UDP, Wire16,
    cursor::Cursor,
    eth::{self, Macs, Tag},
    ipv4::{self, Ipv4},
    ipv6::{self, Extension, Ipv6, MAX_EXTENSIONS},
    l4::{ACK, FIN, RST, SYN, Tcp, Udp},
};
use crate::reason::Reason;

/// The link layer of a frame.
#[derive(Debug)]
pub struct Link<'p> {
    /// Addresses.
    pub macs: &'p mut Macs,
    /// VLAN tags, outermost first.
    pub tags: Tags<'p>,
    /// What is inside.
    pub network: Network,
}

/// The VLAN tags of a frame.
#[derive(Debug)]
pub enum Tags<'p> {
    /// Untagged.
    None,
    /// One tag.
    One(&'p mut Tag),
    /// Two tags, the outer one given.
    Two(&'p mut Tag),
}

/// The network protocols a service can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What the transport header says about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Source and destination port in one little-endian load: the source port is the lower half.
    pub ports: u32,
    /// [`TCP`] or [`UDP`].
    pub proto: u8,
    /// TCP flags; 0 for UDP.
    pub flags: u8,
}

impl Transport {
    /// The destination port.
    #[inline(always)]
    pub const fn dport(&self) -> Wire16 {
        (self.ports >> 16) as u16
    }

    /// The first packet of a TCP connection.
    #[inline(always)]
    pub const fn opens(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }

    /// A packet that ends a TCP connection, or its sender's half.
    #[inline(always)]
    pub const fn closes(&self) -> bool {
        self.flags & (FIN | RST) != 0
    }
}

/// Ethernet header and up to two tags.
#[inline(always)]
pub fn link<'p>(cursor: &mut Cursor<'p>) -> Result<Link<'p>, Reason> {
    let macs = cursor.take::<Macs>()?;
    let ethertype = u16::from_le_bytes(*cursor.take::<[u8; 2]>()?);
    if let Some(network) = network(ethertype) {
        return Ok(Link { macs, tags: Tags::None, network });
    }
    if !is_tag(ethertype) {
        return Err(Reason::NotIp);
    }
    let outer = cursor.take::<Tag>()?;
    let ethertype = u16::from_le_bytes(outer.inner);
    if let Some(network) = network(ethertype) {
        return Ok(Link { macs, tags: Tags::One(outer), network });
    }
    if !is_tag(ethertype) {
        return Err(Reason::NotIp);
    }
    let ethertype = u16::from_le_bytes(cursor.take::<Tag>()?.inner);
    match network(ethertype) {
        Some(network) => Ok(Link { macs, tags: Tags::Two(outer), network }),
        None if is_tag(ethertype) => Err(Reason::TooManyTags),
        None => Err(Reason::NotIp),
    }
}

/// What part of a packet a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment: the transport header is there.
    First(PacketId),
    /// A later fragment.
    Later(PacketId),
}

/// What the fragments of one packet share besides addresses and protocol.
pub type PacketId = u32;

/// IPv4 header with its options skipped. A fragment is refused.
#[inline(always)]
pub fn v4<'p>(cursor: &mut Cursor<'p>) -> Result<&'p mut Ipv4, Reason> {
    match v4_part(cursor)? {
        (ip, Part::Whole) => Ok(ip),
        _ => Err(Reason::Fragment),
    }
}

/// The same for fragments too.
#[inline(always)]
pub fn v4_part<'p>(cursor: &mut Cursor<'p>) -> Result<(&'p mut Ipv4, Part), Reason> {
    let ip = cursor.take::<Ipv4>()?;
    if ip.version_ihl != ipv4::PLAIN {
        let words = ip.version_ihl & 0xf;
        if ip.version_ihl >> 4 != 4 || words < 5 {
            return Err(Reason::Malformed);
        }
        cursor.skip(usize::from(words - 5) * 4)?;
    }
    if !ip.is_fragment() {
        return Ok((ip, Part::Whole));
    }
    let id = u32::from(u16::from_le_bytes(ip.id));
    let part = if ip.is_first() { Part::First(id) } else { Part::Later(id) };
    Ok((ip, part))
}

/// IPv6 header with up to four extension headers skipped, and the transport protocol behind them. A fragment is refused.
#[inline(always)]
pub fn v6<'p>(cursor: &mut Cursor<'p>) -> Result<(&'p mut Ipv6, u8), Reason> {
    match v6_part(cursor, false)? {
        (ip, proto, Part::Whole, _) => Ok((ip, proto)),
        _ => Err(Reason::Fragment),
    }
}

/// The same for fragments too, if they are wanted. Headers behind that of a later fragment are not there: its protocol is the one the
/// fragment header names. The last number is the length of all that was skipped.
#[inline(always)]
pub fn v6_part<'p>(
    cursor: &mut Cursor<'p>,
    fragments: bool,
) -> Result<(&'p mut Ipv6, u8, Part, u16), Reason> {
    let ip = cursor.take::<Ipv6>()?;
    if ip.version_class_flow[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let mut next = ip.next;
    let mut part = Part::Whole;
    let mut long = size_of::<Ipv6>() as u16;
    if next == TCP || next == UDP {
        return Ok((ip, next, part, long));
    }
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next) {
            return Ok((ip, next, part, long));
        }
        let header = cursor.take::<Extension>()?;
        let more = match next {
            ipv6::FRAGMENT => {
                let field = u16::from_be_bytes(header.body);
                // RFC 6946: offset 0 and nothing more to come is a whole packet.
                if field & 0xfff9 != 0 {
                    if !fragments {
                        return Err(Reason::Fragment);
                    }
                    let id = u32::from_le_bytes(header.rest);
                    if field & 0xfff8 != 0 {
                        return Ok((ip, header.next, Part::Later(id), long + 8));
                    }
                    part = Part::First(id);
                }
                0
            }
            // RFC 4302: in words, minus 2; 8 bytes are taken already.
            ipv6::AUTHENTICATION => usize::from(header.len) * 4,
            ipv6::ROUTING if header.body[1] != 0 => return Err(Reason::SourceRouted),
            _ => usize::from(header.len) * 8,
        };
        cursor.skip(more)?;
        long = long.wrapping_add(8 + more as u16);
        next = header.next;
    }
    if is_extension(next) { Err(Reason::TooManyExtensions) } else { Ok((ip, next, part, long)) }
}

/// TCP or UDP header.
#[inline(always)]
pub fn transport(cursor: &mut Cursor<'_>, proto: u8) -> Result<Transport, Reason> {
    match proto {
        TCP => {
            let tcp = cursor.take::<Tcp>()?;
            Ok(Transport { ports: u32::from_le_bytes(tcp.ports), proto, flags: tcp.flags })
        }
        UDP => {
            let udp = cursor.take::<Udp>()?;
            Ok(Transport { ports: u32::from_le_bytes(udp.ports), proto, flags: 0 })
        }
        _ => Err(Reason::NotTcpUdp),
    }
}

#[inline(always)]
const fn network(ethertype: Wire16) -> Option<Network> {
    match ethertype {
        eth::IPV4 => Some(Network::V4),
        eth::IPV6 => Some(Network::V6),
        _ => None,
    }
}

#[inline(always)]
const fn is_tag(ethertype: Wire16) -> bool {
    matches!(ethertype, eth::VLAN | eth::QINQ)
}

#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::FRAGMENT | ipv6::AUTHENTICATION | ipv6::DESTINATION
    )
}

#[cfg(test)]
mod tests;
