//! What is counted, per CPU, without atomics.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Counters of one service or one backend. They wrap like any 64-bit counter, i.e. never.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Counters {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded, from the Ethernet header on.
    pub bytes: u64,
    /// Packets with SYN and without ACK: connection attempts, retransmissions included.
    pub syns: u64,
    /// Packets with FIN or RST.
    pub closes: u64,
}
abi!(Counters, size = 32, align = 8);

/// What happens in slots in transition. The number is the counter's index.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinEvent {
    /// A first packet was pinned to the slot's new backend.
    Pinned,
    /// A pinned flow answered and moved to the protected tier.
    Promoted,
    /// A pin decided.
    Hit,
    /// No pin: an older flow stayed with the slot's base.
    Base,
    /// A live pin had to make room for another one.
    Evicted,
}

impl PinEvent {
    /// Every event, in the order of its number.
    pub const ALL: [Self; 5] = [Self::Pinned, Self::Promoted, Self::Hit, Self::Base, Self::Evicted];

    /// The metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Promoted => "promoted",
            Self::Hit => "hit",
            Self::Base => "base",
            Self::Evicted => "evicted",
        }
    }
}
