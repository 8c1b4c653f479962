//! Pools: their ranges and who owns the slots in them.

use std::collections::BTreeMap;

use super::{
    backends::Backends,
    indices::Indices,
    memory::{Image, Memory, U64Map},
    ranges::Ranges,
    slots::{Range, Slots},
    transitions::{self, State},
};
use crate::{
    datapath::{
        DesiredPool, Error,
        digest::{self, Digest},
        maglev::{self, Share},
    },
    model::PoolName,
};

/// A pool in the tables.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) index: u16,
    pub(super) range: Range,
    /// Unknown for one that an earlier daemon wrote and the configuration no longer has.
    pub(super) name: Option<PoolName>,
    /// A slot is idle after so many ticks.
    pub(super) idle: u16,
    /// A transition lasts at most so many ticks.
    pub(super) drain: u32,
    pub(super) in_transition: u32,
    pub(super) digest: Digest,
    /// What the table was last dealt for.
    shares: Option<Vec<Share>>,
    /// Per share its backend's index.
    owners: Vec<u16>,
}

/// All pools.
#[derive(Debug)]
pub(super) struct Pools {
    image: Image,
    indices: Indices,
    ranges: Ranges,
    pub(super) by_id: BTreeMap<u64, Pool>,
}

/// The moment of a change: the kernel's tick, and ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) tick: u16,
    pub(super) now: u32,
}

/// `start` and `len` as they lie in the first word of a `PoolRange`.
fn pack(range: Range) -> u64 {
    let mut word = [0; 8];
    word[..4].copy_from_slice(&range.start.to_ne_bytes());
    word[4..].copy_from_slice(&range.len.to_ne_bytes());
    u64::from_ne_bytes(word)
}

fn unpack(word: u64) -> Range {
    let half = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&word.to_ne_bytes()[at..at + 4]);
        u32::from_ne_bytes(bytes)
    };
    Range { start: half(0), len: half(4) }
}

impl Pools {
    /// Takes over the pools that are there. One whose range cannot be is emptied; the number of those.
    pub(super) fn adopt(memory: &impl Memory, limit: u32, slots: u32) -> (Self, u64) {
        let image = Image::read(memory, U64Map::Pools);
        let capacity = (image.len() / 2) as u32;
        let mut pools = Self {
            image,
            indices: Indices::new(capacity.min(limit)),
            ranges: Ranges::new(slots),
            by_id: BTreeMap::new(),
        };
        let mut emptied = 0;
        for index in 0..capacity.min(u32::from(u16::MAX)) as u16 {
            let at = usize::from(index) * 2;
            let id = pools.image.get(at + 1);
            let range = unpack(pools.image.get(at));
            if id == 0 && range == Range::default() {
                continue;
            }
            if id == 0 || pools.by_id.contains_key(&id) || !pools.indices.claim(index) {
                pools.write(memory, index, Range::default());
                pools.image.set(memory, at + 1, 0);
                emptied += 1;
                continue;
            }
            let sound = range.len == 0 || pools.ranges.claim(range.start, range.len);
            let range = if sound { range } else { Range::default() };
            emptied += u64::from(!sound);
            pools.write(memory, index, range);
            pools.by_id.insert(id, Pool::new(index, range));
        }
        (pools, emptied)
    }

    /// The index of a pool that is in the tables.
    pub(super) fn index(&self, name: &PoolName) -> Option<u16> {
        self.by_id.get(&digest::pool_id(name)).map(|pool| pool.index)
    }

    /// Ticks after which a slot of the pool is idle.
    pub(super) fn idle(&self, name: &PoolName) -> Option<u16> {
        self.by_id.get(&digest::pool_id(name)).map(|pool| pool.idle)
    }

    /// Whether some pool has the index.
    pub(super) fn has_index(&self, index: u16) -> bool {
        self.image.len() > usize::from(index) * 2 && self.image.get(usize::from(index) * 2 + 1) != 0
    }

    fn write(&mut self, memory: &impl Memory, index: u16, range: Range) {
        self.image.set(memory, usize::from(index) * 2, pack(range));
    }

    /// Makes one pool what it should be. Returns how many slots changed.
    pub(super) fn apply(
        &mut self,
        memory: &impl Memory,
        slots: &mut Slots,
        name: &PoolName,
        wanted: &Wanted<'_>,
        at: Moment,
    ) -> Result<u32, Error> {
        let id = digest::pool_id(name);
        if !self.by_id.contains_key(&id) {
            let index = self.indices.take(at.now).ok_or_else(|| Error::Full {
                table: "the table of pools",
                need: self.by_id.len() as u64 + 1,
                have: u64::from(self.indices.capacity()),
                limit: "pools",
            })?;
            self.image.set(memory, usize::from(index) * 2 + 1, id);
            self.by_id.insert(id, Pool::new(index, Range::default()));
        }
        let Some(pool) = self.by_id.get_mut(&id) else {
            return Ok(0);
        };
        pool.name = Some(name.clone());
        (pool.idle, pool.drain) = (wanted.idle, wanted.drain);
        if pool.range.len == wanted.desired.slots {
            return Ok(pool.change(memory, slots, wanted, at));
        }
        // A table of another size is laid beside the old one and switched to with one store.
        let len = wanted.desired.slots;
        let start = self.ranges.take(len, at.now).ok_or_else(|| Error::Full {
            table: "the table of slots",
            need: self.ranges.need(len),
            have: u64::from(self.ranges.capacity()),
            limit: "slots",
        });
        let start = match start {
            Ok(start) => start,
            // The old table still has to follow its backends.
            Err(full) => {
                if pool.range.len > 0 {
                    pool.change(memory, slots, wanted, at);
                }
                return Err(full);
            }
        };
        let old = pool.range;
        pool.lay(memory, slots, Range { start, len }, wanted, at);
        let (index, range) = (pool.index, pool.range);
        self.write(memory, index, range);
        slots.forget(old);
        self.ranges.give_unless_empty(old, at.now);
        Ok(len)
    }

    /// Removes the pools that are not wanted. No service leads to them any more.
    pub(super) fn retain(
        &mut self,
        memory: &impl Memory,
        slots: &mut Slots,
        wanted: &BTreeMap<PoolName, DesiredPool>,
        now: u32,
    ) {
        let ids: std::collections::BTreeSet<u64> = wanted.keys().map(digest::pool_id).collect();
        let gone: Vec<u64> = self.by_id.keys().filter(|id| !ids.contains(*id)).copied().collect();
        for id in gone {
            let Some(pool) = self.by_id.remove(&id) else {
                continue;
            };
            self.write(memory, pool.index, Range::default());
            self.image.set(memory, usize::from(pool.index) * 2 + 1, 0);
            slots.forget(pool.range);
            self.ranges.give_unless_empty(pool.range, now);
            self.indices.give(pool.index, now);
        }
    }

    pub(super) fn repair(&self, memory: &impl Memory) -> u64 {
        self.image.repair(memory)
    }
}

impl Ranges {
    fn give_unless_empty(&mut self, range: Range, now: u32) {
        if range.len > 0 {
            self.give(range.start, now);
        }
    }
}

/// What a pool should be.
pub(super) struct Wanted<'a> {
    pub(super) seed: u64,
    pub(super) desired: &'a DesiredPool,
    pub(super) idle: u16,
    pub(super) drain: u32,
    pub(super) shares: Vec<Share>,
    /// Per share its backend's index; 0 for one that found no room.
    pub(super) owners: Vec<u16>,
    /// Per backend index, whether it keeps established flows.
    pub(super) alive: &'a [bool],
    /// [`Wanted::alive`] differs from the last time.
    pub(super) fates_changed: bool,
}

impl<'a> Wanted<'a> {
    pub(super) fn shares(
        name: &PoolName,
        desired: &'a DesiredPool,
        backends: &Backends,
    ) -> (Vec<Share>, Vec<u16>) {
        desired
            .backends
            .iter()
            .map(|(backend, b)| {
                let id = digest::backend_id(name, backend, b.address);
                let index = backends.index(id);
                let share = Share {
                    id,
                    weight: b.weight.get(),
                    takes_new: b.disposition.takes_new() && index.is_some(),
                };
                (share, index.unwrap_or(0))
            })
            .unzip()
    }

    /// Deals the table: per slot the index of its owner, 0 for nobody.
    fn deal(&self) -> Vec<u16> {
        let mut table = maglev::build(self.seed, &self.shares, self.desired.slots);
        for owner in &mut table {
            *owner = self.owners.get(usize::from(*owner)).copied().unwrap_or(0);
        }
        table
    }
}

impl Pool {
    fn new(index: u16, range: Range) -> Self {
        Self {
            index,
            range,
            name: None,
            idle: u16::MAX,
            drain: u32::MAX,
            in_transition: 0,
            digest: Digest(0),
            shares: None,
            owners: Vec::new(),
        }
    }

    /// Changes the slots that have to, in place.
    fn change(&mut self, memory: &impl Memory, slots: &mut Slots, wanted: &Wanted<'_>, at: Moment) -> u32 {
        let same = self.shares.as_ref() == Some(&wanted.shares) && self.owners == wanted.owners;
        if same && !wanted.fates_changed {
            return 0;
        }
        // A table whose size could not be changed is dealt as large as it is.
        let table = (!same).then(|| {
            let mut table = wanted.deal();
            let (have, want) = (self.range.len as usize, table.len());
            if have != want {
                table = (0..have).map(|i| table[i * want / have]).collect();
            }
            table
        });
        let mut changed = 0;
        self.in_transition = 0;
        for (i, slot) in self.range.slots().enumerate() {
            let old = slots.get(slot);
            let owner = table.as_ref().map_or(old.slot.cur(), |table| table[i]);
            let (new, restart) = transitions::next(old, owner, |b| wanted.alive[usize::from(b)]);
            let restart = restart.then_some((at.tick, at.now));
            changed += u32::from(slots.set(memory, slot, new, restart));
            self.in_transition += u32::from(new.slot.in_transition());
        }
        self.remember(wanted, table.as_deref());
        changed
    }

    /// Lays the table into a new range. Slots of a table of another size cover other flows: each new one takes over the state of
    /// the old one that had most of its flows.
    fn lay(
        &mut self,
        memory: &impl Memory,
        slots: &mut Slots,
        range: Range,
        wanted: &Wanted<'_>,
        at: Moment,
    ) {
        let table = wanted.deal();
        let old = self.range;
        self.in_transition = 0;
        for (i, owner) in table.iter().enumerate() {
            let new = if old.len == 0 {
                State::stable(*owner)
            } else {
                let middle = (2 * i as u64 + 1) * u64::from(old.len) / (2 * u64::from(range.len));
                let before = slots.get(old.start as usize + middle as usize);
                transitions::next(before, *owner, |b| wanted.alive[usize::from(b)]).0
            };
            slots.lay(memory, range.start as usize + i, new, at.tick, at.now);
            self.in_transition += u32::from(new.slot.in_transition());
        }
        self.range = range;
        self.remember(wanted, Some(&table));
    }

    fn remember(&mut self, wanted: &Wanted<'_>, table: Option<&[u16]>) {
        if let Some(table) = table {
            let mut ids = BTreeMap::from([(0, 0)]);
            ids.extend(wanted.owners.iter().copied().zip(wanted.shares.iter().map(|s| s.id)));
            // Looked up once per owner, not once per slot.
            let mut by_index = vec![0u64; 1 + usize::from(ids.keys().max().copied().unwrap_or(0))];
            for (index, id) in ids {
                by_index[usize::from(index)] = if index == 0 { 0 } else { id };
            }
            self.digest = Digest::of(table.iter().map(|owner| by_index[usize::from(*owner)]));
        }
        self.shares = Some(wanted.shares.clone());
        self.owners.clone_from(&wanted.owners);
    }
}
