//! Which part of the slot tables belongs to which pool.

use std::collections::BTreeMap;

use lb_common::slot::SLOTS_PER_LINE;

use super::GRACE;

/// First-fit allocation in whole cache lines. A freed range rests for [`GRACE`] ticks, because a packet on its way through the
/// program may still hold the old range.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    lines: u32,
    /// First line → (lines, since when it rests).
    taken: BTreeMap<u32, (u32, Option<u32>)>,
}

const fn lines(slots: u32) -> u32 {
    slots.div_ceil(SLOTS_PER_LINE)
}

impl Ranges {
    pub(super) fn new(slots: u32) -> Self {
        Self { lines: slots / SLOTS_PER_LINE, taken: BTreeMap::new() }
    }

    /// Slots there are.
    pub(super) fn capacity(&self) -> u32 {
        self.lines * SLOTS_PER_LINE
    }

    /// Slots in use or resting, and those that `slots` more would take.
    pub(super) fn need(&self, slots: u32) -> u64 {
        let taken: u64 = self.taken.values().map(|(n, _)| u64::from(*n)).sum();
        (taken + u64::from(lines(slots))) * u64::from(SLOTS_PER_LINE)
    }

    /// Takes a range that is in use already. `false`: it is not a range, or another's.
    pub(super) fn claim(&mut self, start: u32, slots: u32) -> bool {
        let (first, count) = (start / SLOTS_PER_LINE, lines(slots));
        let fits = start.is_multiple_of(SLOTS_PER_LINE)
            && count > 0
            && first.checked_add(count).is_some_and(|end| end <= self.lines)
            && self.taken.range(..first + count).next_back().is_none_or(|(at, (n, _))| at + n <= first);
        if fits {
            self.taken.insert(first, (count, None));
        }
        fits
    }

    /// Takes the first gap that is large enough; its first slot.
    pub(super) fn take(&mut self, slots: u32, now: u32) -> Option<u32> {
        self.taken.retain(|_, (_, rests)| rests.is_none_or(|since| now.saturating_sub(since) < GRACE));
        let count = lines(slots);
        let mut gap = 0;
        for (at, (n, _)) in &self.taken {
            if at - gap >= count {
                break;
            }
            gap = at + n;
        }
        if count == 0 || self.lines - gap < count {
            return None;
        }
        self.taken.insert(gap, (count, None));
        Some(gap * SLOTS_PER_LINE)
    }

    /// Gives a range back.
    pub(super) fn give(&mut self, start: u32, now: u32) {
        if let Some((_, rests)) = self.taken.get_mut(&(start / SLOTS_PER_LINE)) {
            *rests = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_whole_lines_and_the_first_gap_is_taken() {
        let mut ranges = Ranges::new(320);
        assert_eq!(ranges.take(33, 0), Some(0));
        assert_eq!(ranges.take(32, 0), Some(64));
        assert_eq!(ranges.take(97, 0), Some(96));
        assert_eq!(ranges.take(97, 0), None);
        ranges.give(64, 0);
        assert_eq!(ranges.take(32, 1), Some(224), "what was given back rests");
        assert_eq!(ranges.take(32, GRACE), Some(64));
    }

    #[test]
    fn only_aligned_free_ranges_can_be_claimed() {
        let mut ranges = Ranges::new(128);
        assert!(ranges.claim(32, 33));
        assert!(!ranges.claim(64, 1) && !ranges.claim(0, 33) && !ranges.claim(1, 1));
        assert!(!ranges.claim(96, 33) && !ranges.claim(u32::MAX - 31, 32) && !ranges.claim(0, 0));
        assert!(ranges.claim(0, 32) && ranges.claim(96, 32));
    }
}
