//! Ethernet (IEEE 802.3) and VLAN tags (IEEE 802.1Q, 802.1ad).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Wire16, wire};

/// IPv4.
pub const IPV4: Wire16 = wire(0x0800);
/// IPv6.
pub const IPV6: Wire16 = wire(0x86dd);
/// 802.1Q customer tag.
pub const VLAN: Wire16 = wire(0x8100);
/// 802.1ad service tag.
pub const QINQ: Wire16 = wire(0x88a8);
/// Bits of a tag's control information that hold the VLAN id.
pub const VLAN_ID: Wire16 = wire(0x0fff);

/// The two addresses of a frame. What follows is a tag or the type.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Macs {
    /// Destination.
    pub dst: [u8; 6],
    /// Source.
    pub src: [u8; 6],
}

/// What follows the type of a tag ([`VLAN`] or [`QINQ`]): its control information, and the type of what it wraps.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Tag {
    /// Priority 3 bits, drop eligible 1, VLAN id 12.
    pub tci: [u8; 2],
    /// Type of what is inside.
    pub inner: [u8; 2],
}

impl Macs {
    /// Writes both addresses with two stores: `low` is the destination and the source's first two bytes, `high` the source's
    /// other four, both as they lie in memory on a little-endian machine.
    #[inline(always)]
    pub fn write(&mut self, low: u64, high: u32) {
        let bytes = self.as_mut_bytes();
        bytes[..8].copy_from_slice(&low.to_le_bytes());
        bytes[8..].copy_from_slice(&high.to_le_bytes());
    }
}

impl Tag {
    /// The VLAN id.
    #[inline(always)]
    pub const fn id(&self) -> Wire16 {
        u16::from_le_bytes(self.tci) & VLAN_ID
    }

    /// Changes the VLAN id and keeps the priority.
    #[inline(always)]
    pub const fn set_id(&mut self, id: Wire16) {
        self.tci = (u16::from_le_bytes(self.tci) & !VLAN_ID | id & VLAN_ID).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_in_frame_order() {
        let mut macs = Macs { dst: [0; 6], src: [0; 6] };
        macs.write(u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8]), u32::from_le_bytes([9, 10, 11, 12]));
        assert_eq!((macs.dst, macs.src), ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]));
    }

    #[test]
    fn a_new_id_keeps_the_priority() {
        let mut tag = Tag { tci: [0xe1, 0x23], inner: [8, 0] };
        assert_eq!(tag.id(), wire(0x123));
        tag.set_id(wire(0xabc));
        assert_eq!(tag.tci, [0xea, 0xbc]);
    }
}
