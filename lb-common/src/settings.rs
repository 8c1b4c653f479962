//! What the daemon may change while the program runs. Read on ways that are not the usual one.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The daemon's words. Each is one store.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Settings {
    /// ICMP messages of each kind the program may make in a tick: echo replies, packet too big.
    pub icmp_per_tick: u64,
    /// Not 0: the protected tier is nearly full, so nothing new is pinned.
    pub frozen: u64,
    /// Prefixes in use: 0 saves the search.
    pub prefixes4: u64,
    /// The same for IPv6.
    pub prefixes6: u64,
    /// Drops to copy to user space: one in so many; 0 is none.
    pub capture_every: u64,
    /// Which: a bit per [`crate::reason::Reason`].
    pub capture_reasons: u64,
    /// Reserved, zero.
    pub reserved: [u64; 2],
}
abi!(Settings, size = 64, align = 8);

impl Settings {
    /// Words, in the order of the fields.
    pub const WORDS: usize = size_of::<Self>() / 8;
}

/// How many of something happened in one tick.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Rate {
    /// The tick in the upper half, the number in the lower: one word, so that a new tick begins with one store.
    pub word: u64,
}
abi!(Rate, size = 8, align = 8);

/// [`Rate`] of new pins.
pub const RATE_PINS: u32 = 0;
/// [`Rate`] of messages that a packet is too big.
pub const RATE_TOO_BIG: u32 = 1;
/// [`Rate`] of echo replies: who asks for many of those must not keep others from learning their path's MTU.
pub const RATE_ECHO: u32 = 2;
/// Rates that are not a service's.
pub const RATES: u32 = 8;
