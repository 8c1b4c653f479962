//! Model of what the kernel program does with a packet (design 4.3), for tests: the same tables, the same rule, plain Rust.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    rc::Rc,
};

use lb_common::{
    backend::VALID,
    pin::{self, Pin, WAYS},
    slot::{self, Slot},
};

use super::memory::{Memory, Trie, TrieKey, U16Map, U64Map};

/// Services there is room for.
const SERVICES: usize = 64;

/// Tables in plain memory that lose every store after the `budget`th: what a daemon that is killed there leaves.
#[derive(Clone, Debug)]
pub(super) struct Bank {
    halves: RefCell<[Vec<u16>; U16Map::ALL.len()]>,
    words: RefCell<[Vec<u64>; U64Map::ALL.len()]>,
    tries: RefCell<BTreeMap<Trie, BTreeMap<TrieKey, u64>>>,
    budget: Cell<u64>,
    stores: Cell<u64>,
}

impl Bank {
    pub(super) fn new(slots: usize, pools: usize, backends: usize) -> Rc<Self> {
        let pins = 4096 * WAYS;
        Rc::new(Self {
            halves: RefCell::new(U16Map::ALL.map(|map| match map {
                U16Map::Sequences => vec![0; 8 * 1024],
                _ => vec![0; slots],
            })),
            words: RefCell::new([
                vec![0; 16 * 8],
                vec![0; 16 * 8],
                vec![0; pools * 2],
                vec![0; backends * 8],
                vec![0; pins],
                vec![0; pins],
                vec![0; SERVICES * 8],
                vec![0; 1024 * 2],
                vec![0; 8],
                vec![0; SERVICES],
                vec![0; 64 * WAYS],
                vec![0; 256 * WAYS],
                vec![0; 64 * WAYS],
            ]),
            tries: RefCell::default(),
            budget: Cell::new(u64::MAX),
            stores: Cell::new(0),
        })
    }

    /// A copy on which only the next `budget` stores have an effect.
    pub(super) fn killed_after(&self, budget: u64) -> Rc<Self> {
        let copy = self.clone();
        copy.budget.set(budget);
        copy.stores.set(0);
        Rc::new(copy)
    }

    /// From now on stores count again.
    pub(super) fn restarted(&self) {
        self.budget.set(u64::MAX);
    }

    /// Stores so far, lost ones included.
    pub(super) fn stores(&self) -> u64 {
        self.stores.get()
    }

    fn alive(&self) -> bool {
        self.stores.set(self.stores.get() + 1);
        self.stores.get() <= self.budget.get()
    }

    /// Writes behind the daemon's back.
    pub(super) fn poke16(&self, map: U16Map, index: usize, value: u16) {
        self.halves.borrow_mut()[map as usize][index] = value;
    }

    /// Writes behind the daemon's back.
    pub(super) fn poke64(&self, map: U64Map, index: usize, value: u64) {
        self.words.borrow_mut()[map as usize][index] = value;
    }
}

impl Memory for Rc<Bank> {
    fn len16(&self, map: U16Map) -> usize {
        self.halves.borrow()[map as usize].len()
    }
    fn len64(&self, map: U64Map) -> usize {
        self.words.borrow()[map as usize].len()
    }
    fn load16(&self, map: U16Map, index: usize) -> u16 {
        self.halves.borrow()[map as usize][index]
    }
    fn store16(&self, map: U16Map, index: usize, value: u16) {
        if self.alive() {
            self.poke16(map, index, value);
        }
    }
    fn load64(&self, map: U64Map, index: usize) -> u64 {
        self.words.borrow()[map as usize][index]
    }
    fn store64(&self, map: U64Map, index: usize, value: u64) {
        if self.alive() {
            self.poke64(map, index, value);
        }
    }
    fn replace64(&self, map: U64Map, index: usize, current: u64, new: u64) -> bool {
        let same = self.load64(map, index) == current;
        if same {
            self.store64(map, index, new);
        }
        same
    }
    fn entries(&self, trie: Trie) -> io::Result<BTreeMap<TrieKey, u64>> {
        Ok(self.tries.borrow().get(&trie).cloned().unwrap_or_default())
    }
    fn put(&self, trie: Trie, key: &[u8], value: u64) -> io::Result<()> {
        if self.alive() {
            self.tries.borrow_mut().entry(trie).or_default().insert(key.to_vec(), value);
        }
        Ok(())
    }
    fn remove(&self, trie: Trie, key: &[u8]) -> io::Result<()> {
        if self.alive() {
            self.tries.borrow_mut().entry(trie).or_default().remove(key);
        }
        Ok(())
    }
}

/// The kernel program.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) bank: Rc<Bank>,
    pub(super) tick: u16,
    pub(super) pin_idle: u16,
}

impl Kernel {
    /// Id of the backend that gets a packet of the flow `hash` in the pool with an index; 0 for nobody, or a record that is not valid.
    pub(super) fn packet(&self, pool: usize, hash: u64, first: bool) -> u64 {
        let index = self.backend(pool, hash, first);
        let record = usize::from(index) * 8;
        let valid = self.bank.load64(U64Map::Backends, record + 1).to_ne_bytes()[7] & VALID != 0;
        if valid { self.bank.load64(U64Map::Backends, record + 3) } else { 0 }
    }

    fn backend(&self, pool: usize, hash: u64, first: bool) -> u16 {
        let range = self.bank.load64(U64Map::Pools, pool * 2).to_ne_bytes();
        let part = |at: usize| u32::from_ne_bytes([range[at], range[at + 1], range[at + 2], range[at + 3]]);
        let (start, len) = (part(0), part(4));
        if len == 0 {
            return 0;
        }
        let slot = (start + slot::index(hash, len)) as usize;
        let state = Slot(self.bank.load16(U16Map::Slots, slot));
        if !state.in_transition() {
            return state.cur();
        }
        let begin = self.bank.load16(U16Map::Begins, slot);
        let backend = match self.pinned(hash, first, begin) {
            Some(backend) => backend,
            None if first => {
                self.pin(hash, state.cur());
                return state.cur();
            }
            None => self.bank.load16(U16Map::Bases, slot),
        };
        if backend != state.cur() {
            self.bank.poke16(U16Map::Stamps, slot, self.tick);
        }
        backend
    }

    fn ways(&self, tier: U64Map, hash: u64) -> std::ops::Range<usize> {
        let buckets = self.bank.len64(tier) / WAYS;
        let first = (pin::bucket(hash) as usize & (buckets - 1)) * WAYS;
        first..first + WAYS
    }

    fn pinned(&self, hash: u64, first: bool, begin: u16) -> Option<u16> {
        for tier in [U64Map::Protected, U64Map::Probation] {
            for at in self.ways(tier, hash) {
                let pin = Pin(self.bank.load64(tier, at));
                if pin.expired(self.tick, self.pin_idle)
                    || pin.tag() != pin::tag(hash)
                    || pin.predates(self.tick, begin)
                    || (first && pin.reopened(self.tick))
                {
                    continue;
                }
                let touched = pin.touched(self.tick, false);
                if tier == U64Map::Probation && !first {
                    self.bank.poke64(tier, at, 0);
                    self.place(U64Map::Protected, hash, touched);
                } else {
                    self.bank.poke64(tier, at, touched.0);
                }
                return Some(pin.backend());
            }
        }
        None
    }

    fn pin(&self, hash: u64, backend: u16) {
        if backend != 0 {
            self.place(U64Map::Probation, hash, Pin::new(pin::tag(hash), self.tick, backend));
        }
    }

    fn place(&self, tier: U64Map, hash: u64, pin: Pin) {
        let there = |at: &usize| Pin(self.bank.load64(tier, *at));
        let free = self
            .ways(tier, hash)
            .find(|at| there(at).tag() == pin.tag())
            .or_else(|| self.ways(tier, hash).find(|at| there(at).expired(self.tick, self.pin_idle)));
        self.bank.poke64(tier, free.expect("the tests' pins fit"), pin.0);
    }
}
