//! What the walk knows of a packet when it leaves the short way: kept in one record per CPU, because functions that the verifier looks at
//! once may not take pointers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A packet's addresses and what its transport header says.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Facts {
    /// Source; IPv4 in the lower half of the first word. Loaded little-endian.
    pub src: [u64; 2],
    /// Source and destination port, as [`crate::net::parse::Transport::ports`].
    pub ports: u32,
    /// Protocol number.
    pub proto: u8,
    /// TCP flags; for QUIC, SYN in a connection's first packet.
    pub flags: u8,
    /// 1 for IPv6.
    pub six: u8,
    /// 1 if [`Facts::id`] holds.
    pub has_id: u8,
    /// Server's number in a QUIC connection id.
    pub id: u16,
    /// Reserved, zero.
    pub reserved: [u8; 2],
    /// What the fragments of a packet share besides addresses and protocol.
    pub packet_id: u32,
    /// What the packet's slot follows from.
    pub slot_hash: u64,
    /// Not 0: the flow is to be remembered once its owner is known.
    pub remember: u64,
    /// Where a number is put down so that the verifier takes it for any: see `pins` in the program.
    pub scratch: u64,
    /// Key of a look-up among access prefixes, its length first: kept here, as little is left of the stack where it is needed.
    pub access: [u32; 6],
}
abi!(Facts, size = 80, align = 8);
