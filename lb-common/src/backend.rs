//! Where a frame goes: one cache line per backend.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Set when the record may be used. A record without it drops what comes to it, with a reason.
pub const VALID: u8 = 1 << 0;
/// Leave through the interface the frame came in by, when that is the backend's (`XDP_TX`).
pub const METHOD_DR: u8 = 0;

/// A backend of one pool. The first three words are written with one store each, so that a changed MAC address is
/// followed without a torn frame; whatever cannot change within a word (method, family) gets a new record instead.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Backend {
    /// The next hop's MAC address.
    pub dst_mac: [u8; 6],
    /// 802.1Q tag the frame leaves with, VLAN id in network order; 0 for none.
    pub vlan: [u8; 2],
    /// The egress interface's MAC address.
    pub src_mac: [u8; 6],
    /// Forwarding method: [`METHOD_DR`].
    pub method: u8,
    /// [`VALID`].
    pub flags: u8,
    /// Egress interface.
    pub ifindex: u32,
    /// Largest L3 packet the egress takes, in bytes; 0 when unknown.
    pub mtu: u16,
    /// Reserved, zero.
    pub reserved: u16,
    /// Identity of this backend in its pool across restarts of the daemon; 0 means free. Not read by the kernel program.
    pub id: u64,
    /// The backend's address, IPv4 as `::ffff:a.b.c.d`.
    pub addr: [u8; 16],
    /// Outer source address of tunnels.
    pub outer_src: [u8; 16],
}
abi!(Backend, size = 64, align = 8);

impl Backend {
    /// The words of [`crate::net::eth::Macs::write`]: both addresses of a frame to this backend.
    #[inline(always)]
    pub const fn macs(&self) -> (u64, u32) {
        let [d, s] = [self.dst_mac, self.src_mac];
        (
            u64::from_le_bytes([d[0], d[1], d[2], d[3], d[4], d[5], s[0], s[1]]),
            u32::from_le_bytes([s[2], s[3], s[4], s[5]]),
        )
    }
}
