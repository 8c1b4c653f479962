//! Packet headers and the walk through them. Kernel program, unit tests and fuzz target run these same lines.

pub mod csum;
pub mod cursor;
pub mod ecn;
pub mod eth;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod l4;
pub mod parse;
pub mod quic;
pub mod tunnel;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of ICMP for IPv6.
pub const ICMPV6: u8 = 58;
/// IP protocol number of SCTP.
pub const SCTP: u8 = 132;

/// Two bytes of a packet as one little-endian load: for comparing and hashing, not for arithmetic.
///
/// Byte arrays that pass through enums and structs make the compiler load byte by byte; a number stays one load.
pub type Wire16 = u16;

/// The number as it lies in a packet.
#[inline(always)]
pub const fn wire(n: u16) -> Wire16 {
    u16::from_le_bytes(n.to_be_bytes())
}
