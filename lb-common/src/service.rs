//! Destination → service: open-addressed tables of 64-byte buckets.
//!
//! A key has a home bucket and, for the few whose home is full, an alternate. The home bucket says whether anything
//! of its own lives elsewhere ([`OVERFLOW`]), so a miss costs one cache line. Writers publish the value before the key and clear the
//! key first; both are single aligned stores, so a reader sees an entry whole or not at all.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::net::Wire16;

/// Entries in an IPv4 bucket.
pub const WAYS4: usize = 4;
/// Entries in an IPv6 bucket.
pub const WAYS6: usize = 2;

/// Set in the flags of a bucket's first entry, whether or not that entry is used: look at the alternate bucket too.
pub const OVERFLOW: u32 = 1 << 31;
/// UDP: an unknown flow in a slot in transition stays with the slot's `base`; without it, it goes to `cur`.
pub const UDP_FLOW: u32 = 1 << 0;
/// UDP is QUIC: Initial and 0-RTT packets open connections.
pub const UDP_QUIC: u32 = 1 << 1;
/// The service has [`crate::rules::Rules`].
pub const SPECIAL: u32 = 1 << 2;
/// The protocol number of an entry that says: this address is ours. Its port is 0, its value means nothing.
pub const IS_VIP: u8 = 0;

/// IPv4 destination as one word: address, port, protocol as they lie in the packet, and a byte that says "used".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key4(pub u64);

/// IPv6 destination: address, then port, protocol and "used".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key6(pub [u64; 3]);

/// In a key's last byte: tells a key of all zeros from a free entry.
const USED: u64 = 1;
const M: u64 = 0x9E37_79B9_7F4A_7C15;

/// Port, protocol and [`USED`] as the four bytes that end a key.
#[inline(always)]
const fn ending(port: Wire16, proto: u8) -> u64 {
    port as u64 | (proto as u64) << 16 | USED << 24
}

impl Key4 {
    /// Builds the key. `addr` is the address's four bytes, loaded little-endian.
    #[inline(always)]
    pub const fn new(addr: u32, port: Wire16, proto: u8) -> Self {
        Self(addr as u64 | ending(port, proto) << 32)
    }

    /// Home bucket, then alternate; reduce with the table's mask.
    #[inline(always)]
    pub const fn buckets(self) -> (u32, u32) {
        pair(self.0.wrapping_mul(M))
    }
}

impl Key6 {
    /// Builds the key. `addr` is the address's two halves, loaded little-endian.
    #[inline(always)]
    pub const fn new(addr: [u64; 2], port: Wire16, proto: u8) -> Self {
        Self([addr[0], addr[1], ending(port, proto)])
    }

    /// Home bucket, then alternate; reduce with the table's mask.
    #[inline(always)]
    pub const fn buckets(self) -> (u32, u32) {
        let [a, b, c] = self.0;
        let x = a.wrapping_mul(M) ^ b;
        let x = (x ^ (x >> 32)).wrapping_mul(M) ^ c;
        pair(x.wrapping_mul(M))
    }
}

#[inline(always)]
const fn pair(x: u64) -> (u32, u32) {
    let x = x ^ (x >> 29);
    ((x >> 32) as u32, x as u32)
}

/// What a service lookup yields, packed so that it changes with one store.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct ServiceRef {
    /// Index of the service's counters.
    pub service: u16,
    /// Index of its pool in `POOLS`.
    pub pool: u16,
    /// [`OVERFLOW`], [`UDP_FLOW`], [`UDP_QUIC`], [`SPECIAL`].
    pub flags: u32,
}
abi!(ServiceRef, size = 8, align = 4);

/// One IPv4 entry; `key` 0 means free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct ServiceEntry4 {
    /// [`Key4`].
    pub key: u64,
    /// Value.
    pub value: ServiceRef,
}
abi!(ServiceEntry4, size = 16, align = 8);

/// One IPv6 entry; `key[2]` 0 means free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct ServiceEntry6 {
    /// [`Key6`].
    pub key: [u64; 3],
    /// Value.
    pub value: ServiceRef,
}
abi!(ServiceEntry6, size = 32, align = 8);

/// A cache line of IPv4 entries.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct ServiceBucket4(pub [ServiceEntry4; WAYS4]);
abi!(ServiceBucket4, size = 64, align = 8);

/// A cache line of IPv6 entries.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct ServiceBucket6(pub [ServiceEntry6; WAYS6]);
abi!(ServiceBucket6, size = 64, align = 8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::wire;

    #[test]
    fn a_used_key_is_never_the_free_key() {
        assert_ne!(Key4::new(0, 0, 0).0, 0);
        assert_ne!(Key6::new([0; 2], 0, 0).0[2], 0);
    }

    #[test]
    fn neighbouring_services_spread_over_buckets() {
        let mut seen = [0u16; 1024];
        for host in 0..=255u8 {
            for port in [80u16, 443, 8080, 8443] {
                let (home, _) = Key4::new(u32::from_le_bytes([203, 0, 113, host]), wire(port), 6).buckets();
                seen[(home & 1023) as usize] += 1;
            }
        }
        assert!(seen.iter().all(|n| *n <= 8), "{:?}", seen.iter().max());
    }

    #[test]
    fn alternate_differs_from_home_for_most_keys() {
        let same = (0..=255u8)
            .filter(|h| {
                let (a, b) = Key6::new([u64::from(*h), 1], wire(80), 6).buckets();
                a & 255 == b & 255
            })
            .count();
        assert!(same < 16, "{same}");
    }
}
