//! The kernel's tables as [`Memory`]: mapped regions, and maps that only the kernel can search.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use lb_common::names;

use super::{
    Error, kernel, keyed,
    object::Object,
    region::Region,
    tables::{Memory, Trie, TrieKey, U16Map, U64Map},
};

/// The mapped tables of one object.
#[derive(Debug)]
pub struct Mapped {
    halves: [Region; U16Map::ALL.len()],
    words: [Region; U64Map::ALL.len()],
    tries: [OwnedFd; Trie::ALL.len()],
}

const fn name16(map: U16Map) -> &'static str {
    match map {
        U16Map::Slots => names::SLOTS,
        U16Map::Bases => names::BASES,
        U16Map::Stamps => names::STAMPS,
        U16Map::Begins => names::BEGINS,
        U16Map::Sequences => names::SEQUENCES,
    }
}

const fn name64(map: U64Map) -> &'static str {
    match map {
        U64Map::Services4 => names::SERVICES4,
        U64Map::Services6 => names::SERVICES6,
        U64Map::Pools => names::POOLS,
        U64Map::Backends => names::BACKENDS,
        U64Map::Probation => names::PROBATION,
        U64Map::Protected => names::PROTECTED,
        U64Map::Rules => names::RULES,
        U64Map::Shapes => names::SHAPES,
        U64Map::Settings => names::SETTINGS,
        U64Map::Cursors => names::CURSORS,
        U64Map::FlowsNew => names::FLOWS_NEW,
        U64Map::Flows => names::FLOWS,
        U64Map::Sources => names::SOURCES,
    }
}

const fn name_of(trie: Trie) -> &'static str {
    match trie {
        Trie::Access4 => names::ACCESS4,
        Trie::Access6 => names::ACCESS6,
        Trie::Prefixes4 => names::PREFIXES4,
        Trie::Prefixes6 => names::PREFIXES6,
        Trie::ServerIds => names::SERVER_IDS,
    }
}

/// Bytes of a trie's key and of its value.
const fn sizes(trie: Trie) -> (usize, usize) {
    match trie {
        Trie::Access4 => (4 + 8, 4),
        Trie::Access6 => (4 + 20, 4),
        Trie::Prefixes4 => (4 + 4, 8),
        Trie::Prefixes6 => (4 + 16, 8),
        Trie::ServerIds => (4, 4),
    }
}

/// One of each, or the first error.
fn each<T, const N: usize>(mut make: impl FnMut(usize) -> Result<T, Error>) -> Result<[T; N], Error> {
    let all: Vec<T> = (0..N).map(&mut make).collect::<Result<_, _>>()?;
    all.try_into().map_err(|_| kernel("counting tables".into(), io::Error::other("one is missing")))
}

impl Mapped {
    /// Maps the tables of `object`.
    pub fn new(object: &Object) -> Result<Self, Error> {
        Ok(Self {
            halves: each(|i| object.region(name16(U16Map::ALL[i])))?,
            words: each(|i| object.region(name64(U64Map::ALL[i])))?,
            tries: each(|i| {
                let name = name_of(Trie::ALL[i]);
                let fd = object.map_fd(name)?;
                fd.try_clone_to_owned().map_err(|e| kernel(format!("opening the map {name}"), e))
            })?,
        })
    }

    fn of16(&self, map: U16Map) -> &Region {
        &self.halves[map as usize]
    }

    fn of64(&self, map: U64Map) -> &Region {
        &self.words[map as usize]
    }
}

impl Memory for Mapped {
    fn len16(&self, map: U16Map) -> usize {
        self.of16(map).words() * 4
    }

    fn len64(&self, map: U64Map) -> usize {
        self.of64(map).words()
    }

    fn load16(&self, map: U16Map, index: usize) -> u16 {
        self.of16(map).half(index).load(Acquire)
    }

    fn store16(&self, map: U16Map, index: usize, value: u16) {
        self.of16(map).half(index).store(value, Release);
    }

    fn load64(&self, map: U64Map, index: usize) -> u64 {
        self.of64(map).word(index).load(Acquire)
    }

    fn store64(&self, map: U64Map, index: usize, value: u64) {
        self.of64(map).word(index).store(value, Release);
    }

    fn replace64(&self, map: U64Map, index: usize, current: u64, new: u64) -> bool {
        self.of64(map).word(index).compare_exchange(current, new, AcqRel, Relaxed).is_ok()
    }

    fn entries(&self, trie: Trie) -> io::Result<BTreeMap<TrieKey, u64>> {
        let (key, value) = sizes(trie);
        keyed::entries(&self.tries[trie as usize], key, value)
    }

    fn put(&self, trie: Trie, key: &[u8], value: u64) -> io::Result<()> {
        let (len, size) = sizes(trie);
        debug_assert_eq!(key.len(), len);
        keyed::put(&self.tries[trie as usize], key, &value.to_le_bytes()[..size])
    }

    fn remove(&self, trie: Trie, key: &[u8]) -> io::Result<()> {
        keyed::remove(&self.tries[trie as usize], key)
    }
}
