//! Ethernet (IEEE 802.3) and VLAN tags (IEEE 802.1Q, 802.1ad).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// IPv4.
pub const IPV4: [u8; 2] = [0x08, 0x00];
/// IPv6.
pub const IPV6: [u8; 2] = [0x86, 0xdd];
/// 802.1Q customer tag.
pub const VLAN: [u8; 2] = [0x81, 0x00];
/// 802.1ad service tag.
pub const QINQ: [u8; 2] = [0x88, 0xa8];
/// Bits of a tag's control information that hold the VLAN id.
pub const VLAN_ID: [u8; 2] = [0x0f, 0xff];

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

impl Tag {
    /// The VLAN id, network order.
    #[inline(always)]
    pub const fn id(&self) -> [u8; 2] {
        [self.tci[0] & VLAN_ID[0], self.tci[1]]
    }

    /// Changes the VLAN id and keeps the priority.
    #[inline(always)]
    pub const fn set_id(&mut self, id: [u8; 2]) {
        self.tci = [self.tci[0] & !VLAN_ID[0] | id[0] & VLAN_ID[0], id[1]];
    }
}
