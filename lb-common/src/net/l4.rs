//! TCP (RFC 9293) and UDP (RFC 768), as far as a balancer looks.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// TCP flag.
pub const FIN: u8 = 1 << 0;
/// TCP flag.
pub const SYN: u8 = 1 << 1;
/// TCP flag.
pub const RST: u8 = 1 << 2;
/// TCP flag.
pub const ACK: u8 = 1 << 4;

/// The two ports as they lie in a header.
pub const fn ports(src: u16, dst: u16) -> [u8; 4] {
    let (s, d) = (src.to_be_bytes(), dst.to_be_bytes());
    [s[0], s[1], d[0], d[1]]
}

/// TCP header without options.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Tcp {
    /// Source and destination port.
    pub ports: [u8; 4],
    /// Sequence number.
    pub seq: [u8; 4],
    /// Acknowledgment number.
    pub ack: [u8; 4],
    /// Header length in words, 4 bits, then reserved bits.
    pub offset: u8,
    /// [`FIN`], [`SYN`], [`RST`], [`ACK`] and others.
    pub flags: u8,
    /// Window.
    pub window: [u8; 2],
    /// Checksum.
    pub csum: [u8; 2],
    /// Urgent pointer.
    pub urgent: [u8; 2],
}

/// UDP header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Udp {
    /// Source and destination port.
    pub ports: [u8; 4],
    /// Length of header and payload.
    pub len: [u8; 2],
    /// Checksum.
    pub csum: [u8; 2],
}
