//! Indices of pools and of services' counters.

use std::collections::{BTreeMap, BTreeSet};

use super::GRACE;

/// Hands out the lowest free index. One that was given back rests for [`GRACE`] ticks, because a packet on its way through the
/// program may still hold it.
#[derive(Debug)]
pub(super) struct Indices {
    capacity: u32,
    used: BTreeSet<u16>,
    resting: BTreeMap<u16, u32>,
    /// Below this one all are in use.
    low: u16,
}

impl Indices {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            capacity: capacity.min(u32::from(u16::MAX)),
            used: BTreeSet::new(),
            resting: BTreeMap::new(),
            low: 0,
        }
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Takes an index that is in use already. `false`: out of range, or another's.
    pub(super) fn claim(&mut self, index: u16) -> bool {
        u32::from(index) < self.capacity && self.used.insert(index)
    }

    pub(super) fn take(&mut self, now: u32) -> Option<u16> {
        self.resting.retain(|_, since| now.saturating_sub(*since) < GRACE);
        // The first index that is not in the sorted sequence of those in use.
        let mut free = u32::from(self.low);
        let mut used = self.used.range(self.low..).copied().peekable();
        let mut resting = self.resting.keys().copied().peekable();
        let mut low = None;
        loop {
            let in_use = used.next_if(|i| u32::from(*i) == free).is_some();
            let rests = resting.next_if(|i| u32::from(*i) == free).is_some();
            if !in_use {
                low.get_or_insert(free);
            }
            if !in_use && !rests {
                break;
            }
            free += 1;
        }
        self.low = low.unwrap_or(free) as u16;
        (free < self.capacity).then(|| {
            let index = free as u16;
            self.used.insert(index);
            index
        })
    }

    pub(super) fn give(&mut self, index: u16, now: u32) {
        if self.used.remove(&index) {
            self.low = self.low.min(index);
            self.resting.insert(index, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_index_is_next_and_a_used_one_rests_first() {
        let mut indices = Indices::new(4);
        assert!(indices.claim(1) && !indices.claim(1) && !indices.claim(4));
        assert_eq!((indices.take(0), indices.take(0)), (Some(0), Some(2)));
        indices.give(0, 5);
        assert_eq!(indices.take(6), Some(3));
        assert_eq!(indices.take(6), None);
        assert_eq!(indices.take(5 + GRACE), Some(0));
    }
}
