//! Services that are no single address and port: prefixes, port ranges, all ports.
//!
//! Only a packet that no single address, port and protocol claims comes here. A longest-prefix match gives a list of entries; the first that
//! fits is the service. Whoever fills the list puts the narrower entry first.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::service::ServiceRef;

/// Entries that are looked at for one prefix.
pub const MAX_ENTRIES: u32 = 32;

/// What a prefix leads to: a part of the list.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct ShapeList {
    /// First entry.
    pub start: u32,
    /// Entries; 0: an address of ours without a port.
    pub len: u32,
}
abi!(ShapeList, size = 8, align = 4);

/// Ports of a protocol, and their service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct ShapeEntry {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
    /// Protocol number; 0 matches nothing.
    pub proto: u8,
    /// Reserved, zero.
    pub reserved: [u8; 3],
    /// The service.
    pub value: ServiceRef,
}
abi!(ShapeEntry, size = 16, align = 4);

impl ShapeEntry {
    /// Whether a packet is this service's. `port` is a number, not as it lies in the packet.
    #[inline(always)]
    pub const fn claims(&self, proto: u8, port: u16) -> bool {
        self.proto == proto && self.first <= port && port <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_claims_its_ends_and_nothing_beyond() {
        let entry = ShapeEntry { first: 80, last: 90, proto: 6, ..ShapeEntry::default() };
        assert!(entry.claims(6, 80) && entry.claims(6, 90));
        assert!(!entry.claims(6, 79) && !entry.claims(6, 91) && !entry.claims(17, 85));
        assert!(!ShapeEntry::default().claims(6, 0));
    }
}
