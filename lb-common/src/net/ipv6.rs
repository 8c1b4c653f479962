//! IPv6 (RFC 8200) and the extension headers a packet may carry before its transport header.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Routing header.
pub const ROUTING: u8 = 43;
/// Fragment header.
pub const FRAGMENT: u8 = 44;
/// Authentication header (RFC 4302).
pub const AUTHENTICATION: u8 = 51;
/// Destination options.
pub const DESTINATION: u8 = 60;
/// How many extension headers are walked.
pub const MAX_EXTENSIONS: usize = 4;

/// The fixed header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Ipv6 {
    /// Version 4 bits, traffic class 8, flow label 20.
    pub version_class_flow: [u8; 4],
    /// Length of what follows, in bytes.
    pub payload_len: [u8; 2],
    /// Protocol or extension header that follows.
    pub next: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub src: [u8; 16],
    /// Destination.
    pub dst: [u8; 16],
}

/// What all extension headers begin with. The fragment header has the same size and shape.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Extension {
    /// Protocol or extension header that follows.
    pub next: u8,
    /// Length beyond the first 8 bytes: in 8-byte units, or 4-byte units for the authentication header.
    pub len: u8,
    /// Routing: type, segments left. Fragment: offset 13 bits, reserved 2, more 1.
    pub body: [u8; 2],
    /// The rest of the first 8 bytes.
    pub rest: [u8; 4],
}

/// An address as two little-endian loads, the form that keys and hashes use.
#[inline(always)]
pub const fn halves(a: &[u8; 16]) -> [u64; 2] {
    [
        u64::from_le_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
        u64::from_le_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
    ]
}
