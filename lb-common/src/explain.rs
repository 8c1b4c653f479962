//! What the dry-run program found about one frame.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The slot is in transition.
pub const IN_TRANSITION: u32 = 1 << 0;
/// A pin decided.
pub const BY_PIN: u32 = 1 << 1;
/// The slot's base decided.
pub const BY_BASE: u32 = 1 << 2;
/// [`Explain::service`] and [`Explain::pool`] hold.
pub const HAS_SERVICE: u32 = 1 << 3;
/// [`Explain::slot`] and what follows hold.
pub const HAS_SLOT: u32 = 1 << 4;
/// The frame would be forwarded; without it, [`Explain::reason`] holds.
pub const FORWARDED: u32 = 1 << 5;
/// The tracked flow decided.
pub const BY_FLOW: u32 = 1 << 6;
/// The scheduler's turn decided.
pub const BY_SEQUENCE: u32 = 1 << 7;
/// The source's stickiness decided.
pub const BY_SOURCE: u32 = 1 << 8;
/// The connection id decided.
pub const BY_ID: u32 = 1 << 9;
/// An ICMP error: what is told is of the flow it quotes.
pub const QUOTED: u32 = 1 << 10;
/// A fragment that follows its first.
pub const FOLLOWS: u32 = 1 << 11;
/// New pins are frozen: a first packet stayed with the base.
pub const BY_FREEZE: u32 = 1 << 12;

/// The walk of one frame, as far as it came.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Explain {
    /// The flow's hash.
    pub hash: u64,
    /// The flags of this module.
    pub flags: u32,
    /// Number of the [`crate::reason::Reason`], unless forwarded.
    pub reason: u32,
    /// Slot within the pool.
    pub slot: u32,
    /// Service index.
    pub service: u16,
    /// Pool index.
    pub pool: u16,
    /// The slot's `cur`.
    pub cur: u16,
    /// The slot's `base`; only while in transition.
    pub base: u16,
    /// The backend that gets the frame.
    pub backend: u16,
    /// Reserved, zero.
    pub reserved: u16,
}
abi!(Explain, size = 32, align = 8);
