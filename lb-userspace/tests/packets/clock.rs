//! Time that only the test moves: the program's clock stands still, and whatever it remembers grows older instead.
//!
//! The object is the shipped one but for its reads of the kernel's clock, which all give the same. The daemon's time goes on: it looks at
//! the tables through [`Dated`], where nothing that is remembered changes but `now` does. So a run depends on its seed alone: no packet
//! meets the edge of a tick, and no machine is too slow.

use std::{cell::Cell, collections::BTreeMap, io};

use lb_common::pin::Pin;
use lb_userspace::datapath::{
    mapped::Mapped,
    tables::{Memory, Trie, TrieKey, U16Map, U64Map},
};

/// What the clock says, in jiffies. A small number of ticks whatever the kernel's frequency, so that times wrap.
const STILL: i32 = 100 << 10;
/// `call bpf_jiffies64`.
const READ: [u8; 8] = [0x85, 0, 0, 0, 118, 0, 0, 0];

/// The object with a clock that stands still.
pub(crate) fn stopped(object: &[u8]) -> Vec<u8> {
    let [a, b, c, d] = STILL.to_le_bytes();
    // r0 = STILL
    let set = [0xb7, 0, 0, 0, a, b, c, d];
    let mut object = object.to_vec();
    // Instructions have eight bytes, and sections of them begin at multiples of that.
    for instruction in object.chunks_exact_mut(READ.len()).filter(|i| **i == READ) {
        instruction.copy_from_slice(&set);
    }
    assert!(!object.windows(READ.len()).any(|bytes| bytes == READ), "not all reads of the clock were found");
    object
}

/// Tables of flows that the program writes and the daemon looks at.
pub(crate) const REMEMBERED: [U64Map; 5] =
    [U64Map::Probation, U64Map::Protected, U64Map::FlowsNew, U64Map::Flows, U64Map::Sources];

/// The same word, last used so many ticks later.
pub(crate) fn later(word: u64, ticks: u16) -> u64 {
    let pin = Pin(word);
    if word == 0 { 0 } else { pin.touched(pin.time().wrapping_add(ticks), false).0 }
}

/// Tables as a daemon sees them whose clock is ahead of the program's.
#[derive(Debug)]
pub(crate) struct Dated {
    /// As the program sees them.
    pub(crate) mapped: Mapped,
    ahead: Cell<u16>,
}

impl Dated {
    pub(crate) fn new(mapped: Mapped) -> Self {
        Self { mapped, ahead: Cell::new(0) }
    }

    /// The daemon's time when it is `tick` to the program.
    pub(crate) fn daemon(&self, tick: u16) -> u16 {
        tick.wrapping_add(self.ahead.get())
    }

    /// Everything was used `ticks` longer ago, as the program sees it.
    pub(crate) fn age(&self, ticks: u16) {
        for map in [U16Map::Stamps, U16Map::Begins] {
            for i in 0..self.mapped.len16(map) {
                self.mapped.store16(map, i, self.mapped.load16(map, i).wrapping_sub(ticks));
            }
        }
        for map in REMEMBERED {
            for i in 0..self.mapped.len64(map) {
                let word = self.mapped.load64(map, i);
                if word != 0 {
                    self.mapped.store64(map, i, later(word, ticks.wrapping_neg()));
                }
            }
        }
    }

    /// The same, and as the daemon sees it, that time has passed.
    pub(crate) fn pass(&self, ticks: u16) {
        self.age(ticks);
        self.ahead.set(self.daemon(ticks));
    }

    fn dates(map: U16Map) -> bool {
        matches!(map, U16Map::Stamps | U16Map::Begins)
    }
}

impl Memory for Dated {
    fn len16(&self, map: U16Map) -> usize {
        self.mapped.len16(map)
    }

    fn len64(&self, map: U64Map) -> usize {
        self.mapped.len64(map)
    }

    fn load16(&self, map: U16Map, index: usize) -> u16 {
        let value = self.mapped.load16(map, index);
        if Self::dates(map) { self.daemon(value) } else { value }
    }

    fn store16(&self, map: U16Map, index: usize, value: u16) {
        let ahead = if Self::dates(map) { self.ahead.get() } else { 0 };
        self.mapped.store16(map, index, value.wrapping_sub(ahead));
    }

    fn load64(&self, map: U64Map, index: usize) -> u64 {
        let word = self.mapped.load64(map, index);
        if REMEMBERED.contains(&map) { later(word, self.ahead.get()) } else { word }
    }

    fn store64(&self, map: U64Map, index: usize, value: u64) {
        let word =
            if REMEMBERED.contains(&map) { later(value, self.ahead.get().wrapping_neg()) } else { value };
        self.mapped.store64(map, index, word);
    }

    fn replace64(&self, map: U64Map, index: usize, current: u64, new: u64) -> bool {
        let back = self.ahead.get().wrapping_neg();
        let [current, new] =
            [current, new].map(|word| if REMEMBERED.contains(&map) { later(word, back) } else { word });
        self.mapped.replace64(map, index, current, new)
    }

    fn entries(&self, trie: Trie) -> io::Result<BTreeMap<TrieKey, u64>> {
        self.mapped.entries(trie)
    }

    fn put(&self, trie: Trie, key: &[u8], value: u64) -> io::Result<()> {
        self.mapped.put(trie, key, value)
    }

    fn remove(&self, trie: Trie, key: &[u8]) -> io::Result<()> {
        self.mapped.remove(trie, key)
    }
}
