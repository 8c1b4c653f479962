//! The kernel's tables as [`Memory`]: mapped regions.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use lb_common::names;

use super::{
    Error,
    object::Object,
    region::Region,
    tables::{Memory, U16Map, U64Map},
};

/// The mapped tables of one object.
#[derive(Debug)]
pub struct Mapped {
    services4: Region,
    services6: Region,
    pools: Region,
    slots: Region,
    bases: Region,
    stamps: Region,
    begins: Region,
    backends: Region,
    probation: Region,
    protected: Region,
}

impl Mapped {
    /// Maps the tables of `object`.
    pub fn new(object: &Object) -> Result<Self, Error> {
        Ok(Self {
            services4: object.region(names::SERVICES4)?,
            services6: object.region(names::SERVICES6)?,
            pools: object.region(names::POOLS)?,
            slots: object.region(names::SLOTS)?,
            bases: object.region(names::BASES)?,
            stamps: object.region(names::STAMPS)?,
            begins: object.region(names::BEGINS)?,
            backends: object.region(names::BACKENDS)?,
            probation: object.region(names::PROBATION)?,
            protected: object.region(names::PROTECTED)?,
        })
    }

    fn of16(&self, map: U16Map) -> &Region {
        match map {
            U16Map::Slots => &self.slots,
            U16Map::Bases => &self.bases,
            U16Map::Stamps => &self.stamps,
            U16Map::Begins => &self.begins,
        }
    }

    fn of64(&self, map: U64Map) -> &Region {
        match map {
            U64Map::Services4 => &self.services4,
            U64Map::Services6 => &self.services6,
            U64Map::Pools => &self.pools,
            U64Map::Backends => &self.backends,
            U64Map::Probation => &self.probation,
            U64Map::Protected => &self.protected,
        }
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
}
