//! Slots: which backend the flows of one part of the hash space go to.
//!
//! A pool owns a range of slots. A slot is 16 bits: a backend's index and one bit, "in transition". While that bit is clear nothing else is read.
//! While it is set, the slot's `base` (who owned it when it was last stable) and the pins decide with it (design 4.3).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Slots in one map element: a cache line.
pub const SLOTS_PER_LINE: u32 = 32;
/// Bit of a [`Slot`]: its `base` or its pins may own flows that `cur` does not.
pub const TRANSITION: u16 = 1 << 15;
/// Largest backend index a slot can hold. Index 0 means "nobody".
pub const MAX_BACKEND: u16 = TRANSITION - 1;

/// One slot, as it is packed in a [`SlotLine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Slot(pub u16);

impl Slot {
    /// A stable slot of `backend`.
    pub const fn stable(backend: u16) -> Self {
        Self(backend & MAX_BACKEND)
    }

    /// A slot of `backend` in transition.
    pub const fn moving(backend: u16) -> Self {
        Self((backend & MAX_BACKEND) | TRANSITION)
    }

    /// Where new connections go; 0 is nobody.
    #[inline(always)]
    pub const fn cur(self) -> u16 {
        self.0 & MAX_BACKEND
    }

    /// Whether base and pins have a say.
    #[inline(always)]
    pub const fn in_transition(self) -> bool {
        self.0 & TRANSITION != 0
    }
}

/// A cache line of slots (or bases, or stamps).
#[repr(C, align(2))]
#[derive(Clone, Copy, Debug, Default, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct SlotLine(pub [u16; SLOTS_PER_LINE as usize]);
abi!(SlotLine, size = 64, align = 2);

/// Where a pool's slots are. `start` and `len` share one word, so that a range moves with one store.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct PoolRange {
    /// First slot; a multiple of [`SLOTS_PER_LINE`].
    pub start: u32,
    /// Number of slots; 0 means the pool has none and drops what comes.
    pub len: u32,
    /// Identity of the pool across restarts of the daemon; 0 means free. Not read by the kernel program.
    pub id: u64,
}
abi!(PoolRange, size = 16, align = 8);

/// The slot of a flow: a multiply-shift of the hash's upper half, which needs no division.
#[inline(always)]
pub const fn index(hash: u64, len: u32) -> u32 {
    (((hash >> 32) * len as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_covers_the_range_and_never_leaves_it() {
        for len in [1, 2, 31, 65537, u32::MAX] {
            assert_eq!(index(0, len), 0);
            assert_eq!(index(u64::MAX, len), len - 1);
        }
    }

    #[test]
    fn transition_bit_does_not_touch_the_backend() {
        assert_eq!(Slot::moving(MAX_BACKEND).cur(), MAX_BACKEND);
        assert!(Slot::moving(1).in_transition() && !Slot::stable(1).in_transition());
        assert!(!Slot::stable(u16::MAX).in_transition());
    }
}
