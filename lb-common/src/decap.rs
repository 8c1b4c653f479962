//! What the decapsulator of receiving hosts and its loader share. It is a program of its own: none of this is the balancer's.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::reason::Reason;

/// The program for XDP.
pub const PROG_XDP: &str = "lb_decap";
/// The same for interfaces whose frames may lie in several buffers (jumbo frames); Linux 5.18.
pub const PROG_XDP_FRAGS: &str = "lb_decap_frags";
/// The same for tc ingress.
pub const PROG_TC: &str = "lb_decap_tc";
/// `Array<Config>` of one. Written by the loader before the program is attached, never changed.
pub const CONFIG: &str = "CONFIG";
/// `HashMap<[u8; 4], u8>`: this host's IPv4 addresses. Written like [`CONFIG`].
pub const ADDRESSES4: &str = "ADDRESSES4";
/// `HashMap<[u8; 16], u8>`: this host's IPv6 addresses.
pub const ADDRESSES6: &str = "ADDRESSES6";
/// `LpmTrie<[u8; 4], u8>`: where IPv4 tunnels may come from.
pub const SOURCES4: &str = "SOURCES4";
/// `LpmTrie<[u8; 16], u8>`: where IPv6 tunnels may come from.
pub const SOURCES6: &str = "SOURCES6";
/// `PerCpuArray<u64>`: packets per [`Outcome`]. Written by the program; outlives a change of the configuration.
pub const COUNT: &str = "COUNT";

/// Version of [`Config`]'s layout and of [`Outcome`]'s numbers: a loader reads only what one of its own version attached.
pub const VERSION: u8 = 1;

/// Addresses of each family that a host may receive tunnels on.
pub const ADDRESSES: usize = 16;
/// Prefixes of each family that tunnels may come from.
pub const SOURCES: usize = 16;

/// What to decapsulate. The program itself finds addresses and prefixes in [`ADDRESSES4`] to [`SOURCES6`]; the lists here are what the
/// loader filled those with, for whoever asks later.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Config {
    /// This host's IPv4 addresses: outer destinations. The first `counts[0]` are meant.
    pub addresses4: [[u8; 4]; ADDRESSES],
    /// This host's IPv6 addresses; `counts[1]`.
    pub addresses6: [[u8; 16]; ADDRESSES],
    /// Where IPv4 outer headers may come from; `counts[2]`.
    pub sources4: [Prefix4; SOURCES],
    /// Where IPv6 outer headers may come from; `counts[3]`.
    pub sources6: [Prefix6; SOURCES],
    /// How many of each list are meant.
    pub counts: [u8; 4],
    /// 1: sources are checked, also those of a family without a prefix.
    pub restricted: u8,
    /// [`VERSION`] of the loader.
    pub version: u8,
    /// UDP port of GUE, network order; 0: no GUE.
    pub gue_port: [u8; 2],
    /// Index of the interface, little-endian: for the loader, which knows an interface that was made anew by it.
    pub ifindex: [u8; 4],
}
abi!(Config, size = 684, align = 1);

/// An IPv4 prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Prefix4 {
    /// Its first address.
    pub first: [u8; 4],
    /// Bits that an address must share with it.
    pub length: u8,
}

/// An IPv6 prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Prefix6 {
    /// Its first address.
    pub first: [u8; 16],
    /// Bits that an address must share with it.
    pub length: u8,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The outer header is gone, the inner packet goes to the kernel.
    Stripped,
    /// To the kernel, unchanged.
    Pass,
    /// Dropped.
    Drop,
}

labelled! {
    /// What happened to a packet, and why. The number is the counter's index.
    Outcome,
    /// What it means for the packet.
    fate: Fate {
        /// IPv4 taken out of IPv4.
        V4InV4 "v4_in_v4" Stripped;
        /// IPv6 taken out of IPv4.
        V6InV4 "v6_in_v4" Stripped;
        /// IPv4 taken out of IPv6.
        V4InV6 "v4_in_v6" Stripped;
        /// IPv6 taken out of IPv6.
        V6InV6 "v6_in_v6" Stripped;
        /// A packet taken out of GUE variant 1, of any family.
        GueDirect "gue_direct" Stripped;
        /// A packet taken out of GUE variant 0, of any family.
        GueHeader "gue_header" Stripped;
        /// Not IPv4 or IPv6, for example ARP.
        NotIp "not_ip" Pass;
        /// IP, but no tunnel that is handled here.
        NotTunnel "not_tunnel" Pass;
        /// A tunnel to an address that is not configured.
        NotOurs "not_ours" Pass;
        /// A tunnel from an address that is not among the permitted sources.
        SourceRefused "source_refused" Pass;
        /// A fragment of an outer packet: the way from the balancer has too small an MTU.
        Fragment "fragment" Pass;
        /// The frame ends inside a header.
        Truncated "truncated" Pass;
        /// A header contradicts itself, or the inner packet is not of the family that the outer header names.
        Malformed "malformed" Pass;
        /// More VLAN tags or extension headers than are walked, or a routing header with hops left.
        Unusual "unusual" Pass;
        /// GUE with optional fields, flags, a control message or a protocol that is not IP.
        GueUnsupported "gue_unsupported" Pass;
        /// The kernel would not move the frame's begin: for tc and mixed families, Linux 6.3 is needed.
        CannotStrip "cannot_strip" Pass;
        /// The outer header says that a router was congested, and the inner packet's sender would not understand it (RFC 6040).
        Congestion "congestion" Drop;
        /// A check that only the verifier asks for. Anything but 0 is a defect of this program.
        Defect "defect" Drop;
    }
}

impl From<Reason> for Outcome {
    /// What the shared parser found.
    #[inline(always)]
    fn from(why: Reason) -> Self {
        match why {
            Reason::NotIp => Self::NotIp,
            Reason::Truncated => Self::Truncated,
            Reason::Fragment => Self::Fragment,
            Reason::Malformed => Self::Malformed,
            _ => Self::Unusual,
        }
    }
}
