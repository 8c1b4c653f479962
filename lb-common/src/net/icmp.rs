//! ICMP (RFC 792) and ICMPv6 (RFC 4443), as far as a balancer answers, makes and delivers them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The eight bytes every message begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum.
    pub csum: [u8; 2],
    /// Depends on the type: identifier and sequence number, or an MTU in the last bytes.
    pub rest: [u8; 4],
}

/// ICMP echo request.
pub const ECHO4: u8 = 8;
/// ICMP echo reply.
pub const REPLY4: u8 = 0;
/// ICMP destination unreachable.
pub const UNREACHABLE4: u8 = 3;
/// Its code "fragmentation needed and DF set" (RFC 1191: the MTU is in the last two bytes of [`Icmp::rest`]).
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// ICMP time exceeded.
pub const EXCEEDED4: u8 = 11;
/// ICMP parameter problem.
pub const PROBLEM4: u8 = 12;
/// ICMPv6 packet too big: the MTU is [`Icmp::rest`].
pub const TOO_BIG6: u8 = 2;
/// ICMPv6 echo request.
pub const ECHO6: u8 = 128;
/// ICMPv6 echo reply.
pub const REPLY6: u8 = 129;
/// ICMPv6 errors are 1 (unreachable) to 4 (parameter problem).
pub const LAST_ERROR6: u8 = 4;

/// Bytes of the packet that our own errors quote: the longest IPv4 header and eight bytes of what is behind it; a whole IPv6 and TCP header.
pub const QUOTE: usize = 68;

/// Whether a message of this type quotes the packet it is about.
#[inline(always)]
pub const fn quotes4(kind: u8) -> bool {
    matches!(kind, UNREACHABLE4 | EXCEEDED4 | PROBLEM4)
}

/// The same for ICMPv6.
#[inline(always)]
pub const fn quotes6(kind: u8) -> bool {
    kind >= 1 && kind <= LAST_ERROR6
}
