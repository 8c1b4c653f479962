//! What a service asks for beyond the plain way; read only for services that have [`crate::service::SPECIAL`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The slot follows from the source address alone (LVS `sh`, `mh`).
pub const HASH_SOURCE: u32 = 1 << 0;
/// The slot follows from source address and source port (LVS `sh-port`, `mh-port`).
pub const HASH_SOURCE_PORT: u32 = 1 << 1;
/// The slot follows from the destination port alone.
pub const HASH_DESTINATION_PORT: u32 = 1 << 2;
/// Every flow is tracked and stays where it is.
pub const TRACK: u32 = 1 << 3;
/// New connections are handed out in turn: [`Rules::sequence_start`].
pub const SEQUENCE: u32 = 1 << 4;
/// New connections of a source go where its last one went: [`Rules::sticky`].
pub const STICKY: u32 = 1 << 5;
/// There are prefixes that may not, or that alone may use the service.
pub const PREFIXES: u32 = 1 << 6;
/// With [`PREFIXES`]: a source of no listed prefix is blocked.
pub const ONLY_ALLOWED: u32 = 1 << 7;
/// [`Rules::ceiling`] holds.
pub const CEILING: u32 = 1 << 8;
/// Packets of established QUIC connections name their backend: [`Rules::id_offset`].
pub const QUIC_ID: u32 = 1 << 9;

/// Rules of one service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Rules {
    /// The flags of this module.
    pub flags: u32,
    /// Ticks after which a tracked flow is over.
    pub idle: u16,
    /// Ticks for which a source sticks.
    pub sticky: u16,
    /// Bits of an IPv6 source that tell sources apart, as [`crate::net::ipv6::halves`] loads them.
    pub mask6: [u64; 2],
    /// The same of an IPv4 source.
    pub mask4: u32,
    /// New connections per tick.
    pub ceiling: u32,
    /// First element of the service's turn in `SEQUENCES`; shares a word with the length, so that both change with one store.
    pub sequence_start: u32,
    /// Elements; 0: nobody serves.
    pub sequence_len: u32,
    /// Byte of a QUIC connection id at which the server's number begins, 0 to 18.
    pub id_offset: u8,
    /// Its length: 1 or 2 bytes.
    pub id_len: u8,
    /// Reserved, zero.
    pub reserved: [u8; 22],
}
abi!(Rules, size = 64, align = 8);

/// The value of a prefix that may not use the service.
pub const BLOCK: u32 = 1;
/// The value of one that may.
pub const ALLOW: u32 = 2;

/// Bits of an access prefix's key before the address: the service.
pub const PREFIX_OF_SERVICE: u32 = 32;

/// Key data of an IPv4 access prefix: the service, then the address.
#[inline(always)]
pub const fn access4(service: u16, addr: u32) -> [u32; 2] {
    [service as u32, addr]
}

/// Key data of an IPv6 access prefix.
#[inline(always)]
pub const fn access6(service: u16, addr: [u64; 2]) -> [u32; 5] {
    let [a, b] = addr;
    [service as u32, a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32]
}

/// What tells the sources of services apart, besides their addresses. The pool is part of it: a service that gets another pool, or a new one
/// that gets the index of one before it, begins with sources that stick to nobody.
#[inline(always)]
pub const fn source(service: u16, pool: u16) -> u64 {
    service as u64 | (pool as u64) << 16 | 3 << 32
}

/// Key of a QUIC server number in a pool.
#[inline(always)]
pub const fn server_id(pool: u16, id: u16) -> u32 {
    (pool as u32) << 16 | id as u32
}
