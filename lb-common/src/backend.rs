//! Where a frame goes: one cache line per backend.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Set when the record may be used. A record without it drops what comes to it, with a reason. With no other flag the frame is only
/// given new addresses: the short way.
pub const VALID: u8 = 1 << 0;
/// The frame is wrapped: [`Backend::method`] says how.
pub const TUNNEL: u8 = 1 << 1;
/// The tunnel's outer header is IPv6.
pub const OUTER6: u8 = 1 << 2;
/// The egress takes less than an ingress may bring: each packet's length is compared with [`Backend::mtu`].
pub const NARROW: u8 = 1 << 3;

/// Direct routing: only addresses of the frame change.
pub const METHOD_DR: u8 = 0;
/// An IP header in front of the packet (RFC 2003, RFC 2473, RFC 4213).
pub const METHOD_IPIP: u8 = 1;
/// IP and UDP header in front of the packet: GUE variant 1 (draft-ietf-intarea-gue-09, section 4).
pub const METHOD_GUE: u8 = 2;
/// Bits of [`Backend::method`] that name the method; the others are the number of low bits of the outer source that come from the flow hash.
pub const METHOD_BITS: u32 = 2;

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
    /// Forwarding method ([`METHOD_BITS`]) and spread of the outer source (0 to 32).
    pub method: u8,
    /// [`VALID`], [`TUNNEL`], [`OUTER6`], [`NARROW`].
    pub flags: u8,
    /// Egress interface.
    pub ifindex: u32,
    /// Largest L3 packet the egress takes, in bytes; 0 when unknown.
    pub mtu: u16,
    /// GUE: UDP destination port, network order.
    pub gue_port: [u8; 2],
    /// Identity of this backend in its pool across restarts of the daemon; 0 means free. Not read by the kernel program.
    pub id: u64,
    /// The backend's address, IPv4 as `::ffff:a.b.c.d`: a tunnel's outer destination.
    pub addr: [u8; 16],
    /// Outer source address of tunnels, in the same form.
    pub outer_src: [u8; 16],
}
abi!(Backend, size = 64, align = 8);

impl Backend {
    /// The words of [`crate::net::eth::Macs::write`]: both addresses of a frame to this backend. Each word is loaded once and whole: from
    /// its bytes the compiler would load it byte by byte, slower and not at one moment.
    #[inline(always)]
    pub fn macs(&self) -> (u64, u32) {
        let [dst, src, ..]: &[u64; 8] = zerocopy::transmute_ref!(self);
        let (dst, src) = (u64::from_le(*dst), u64::from_le(*src));
        (dst & 0xffff_ffff_ffff | src << 48, (src >> 16) as u32)
    }

    /// Bytes that wrapping puts in front of the packet.
    #[inline(always)]
    pub const fn overhead(&self) -> u16 {
        if self.flags & TUNNEL == 0 {
            return 0;
        }
        let ip = if self.flags & OUTER6 != 0 { 40 } else { 20 };
        ip + if self.is_gue() { 8 } else { 0 }
    }

    /// Whether there is a UDP header between the outer and the inner packet.
    #[inline(always)]
    pub const fn is_gue(&self) -> bool {
        self.method & ((1 << METHOD_BITS) - 1) == METHOD_GUE
    }

    /// Low bits of the outer source that come from the flow hash, as a mask.
    #[inline(always)]
    pub const fn spread(&self) -> u32 {
        let bits = (self.method >> METHOD_BITS) as u32;
        ((1u64 << (bits & 63)) - 1) as u32
    }
}
