//! Who has which index. A freed one is given out again as late as possible: a packet under way, or one still retransmitted, finds nobody there.

use std::collections::{BTreeMap, BTreeSet};

/// Indices from 1.
#[derive(Debug)]
pub(super) struct Places<K> {
    of: BTreeMap<K, u16>,
    used: BTreeSet<u16>,
    /// The last one given out.
    last: u16,
    /// One more than the highest.
    end: u16,
}

impl<K: Ord + Copy> Places<K> {
    /// Indices below `end`.
    pub(super) const fn new(end: u16) -> Self {
        Self { of: BTreeMap::new(), used: BTreeSet::new(), last: 0, end }
    }

    /// Frees the indices of those that are not wanted any more; returns them.
    pub(super) fn keep(&mut self, wanted: impl Fn(&K) -> bool) -> Vec<u16> {
        let gone: Vec<(K, u16)> = self.of.extract_if(.., |key, _| !wanted(key)).collect();
        for (_, index) in &gone {
            self.used.remove(index);
        }
        gone.into_iter().map(|(_, index)| index).collect()
    }

    /// The index of `key`, a new one if it has none; `None` when all are taken.
    pub(super) fn place(&mut self, key: K) -> Option<u16> {
        if let Some(index) = self.of.get(&key) {
            return Some(*index);
        }
        let free = |index: &u16| !self.used.contains(index);
        let index = (self.last + 1..self.end).find(free).or_else(|| (1..=self.last).find(free))?;
        self.of.insert(key, index);
        self.used.insert(index);
        self.last = index;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_stays_with_its_owner_and_is_reused_last() {
        let mut places = Places::new(4);
        assert_eq!([places.place('a'), places.place('b')], [Some(1), Some(2)]);
        assert_eq!(places.keep(|k| *k == 'b'), [1]);
        assert_eq!(places.place('c'), Some(3));
        assert_eq!(places.place('b'), Some(2));
        assert_eq!(places.place('d'), Some(1));
        assert_eq!(places.place('e'), None);
        assert_eq!(places.keep(|k| *k != 'd'), [1]);
        assert_eq!(places.place('e'), Some(1));
    }

    #[test]
    fn nobody_gets_index_zero() {
        let mut places = Places::new(2);
        assert_eq!([places.place(1), places.place(2)], [Some(1), None]);
    }
}
