//! Once a second: end what is over, put right what somebody else changed, count.

use std::{collections::BTreeMap, ops::Bound};

use super::{Memory, Tables, U16Map, U64Map, clock::age, rules, slots::Slots, transitions};
use crate::{
    datapath::{BackendStatus, PoolStatus},
    model::{BackendId, PoolName},
};

/// Slots that one sweep compares with the image, at least; the tables are walked pool by pool.
const COMPARE: u32 = 1 << 18;

/// Sweeps from one comparison of the tries to the next: each entry is a system call.
const TRIES_EVERY: u32 = 30;

/// What [`Tables::sweep`] did and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Slots that are stable again, because nothing but their owner was used for long enough.
    pub settled: u32,
    /// Slots that left transition because it had lasted for `drain_timeout`.
    pub cut: u32,
    /// Backends whose remaining flows were given up because they had drained for `drain_timeout`.
    pub backends_cut: u32,
    /// Live pins.
    pub pins: u32,
    /// Pins that bound nothing any more.
    pub pins_cleared: u32,
    /// Backend indices that are free again.
    pub released: Vec<u16>,
    /// Table entries that somebody else had changed.
    pub drift_repaired: u64,
    /// Live tracked flows.
    pub flows: u64,
    /// The protected tier is so full that nothing new is pinned.
    pub frozen: bool,
}

impl<M: Memory> Tables<M> {
    /// Does the work of a tick. `tick` is the kernel program's clock now.
    pub fn sweep(&mut self, tick: u16) -> Swept {
        let now = self.clock.advance(tick);
        let mut swept = Swept { drift_repaired: self.repair(), ..Swept::default() };
        if self.applied {
            swept.backends_cut = self.backends.cut_overdue(now);
            if swept.backends_cut > 0 {
                self.alive = self.backends.alive();
                self.drop_dead_bases();
            }
            self.settle(tick, now, &mut swept);
        }
        swept.pins_cleared = self.scan_pins(tick);
        self.scan_flows(tick);
        if self.applied {
            self.refresh_turns(now);
        }
        self.freeze();
        swept.frozen = self.words.frozen();
        if let (Some(scan), Some(flows)) = (&self.scan, &self.flows) {
            swept.pins = scan.live;
            swept.flows = flows.live;
            let slots = &self.slots;
            let referred = |index: u16| {
                slots.owned(index) > 0
                    || slots.kept(index) > 0
                    || scan.of[usize::from(index)] > 0
                    || flows.refers(index)
            };
            if self.applied {
                swept.released = self.backends.release(&self.memory, now, referred);
            }
        }
        swept
    }

    /// Slots whose base died of old age go to their owner. Whoever dies of a change is dealt with by `apply`.
    fn drop_dead_bases(&mut self) {
        let alive = &self.alive;
        for pool in self.pools.by_id.values() {
            for slot in pool.range.slots() {
                let old = self.slots.get(slot);
                let (new, _) = transitions::next(old, old.slot.cur(), |b| alive[usize::from(b)]);
                self.slots.set(&self.memory, slot, new, None);
            }
        }
    }

    /// A protected tier that is three quarters full gets nothing new until it is half empty: what is not pinned stays with its base.
    fn freeze(&mut self) {
        let words = self.memory.len64(U64Map::Protected) as u64;
        let live = self.scan.as_ref().map_or(0, |scan| u64::from(scan.protected));
        let frozen =
            live * if self.words.frozen() { 2 } else { 4 } > words * if self.words.frozen() { 1 } else { 3 };
        self.words.set_frozen(&self.memory, frozen);
    }

    fn settle(&mut self, tick: u16, now: u32, swept: &mut Swept) {
        for pool in self.pools.by_id.values_mut().filter(|pool| pool.in_transition > 0) {
            for slot in pool.range.slots() {
                if !self.slots.get(slot).slot.in_transition() {
                    continue;
                }
                let quiet = age(tick, self.memory.load16(U16Map::Stamps, slot));
                let idle = quiet > pool.idle;
                let overdue = now.saturating_sub(self.slots.begun(slot)) >= pool.drain;
                if idle || overdue {
                    self.slots.settle(&self.memory, slot);
                    pool.in_transition -= 1;
                    *(if idle { &mut swept.settled } else { &mut swept.cut }) += 1;
                } else {
                    Slots::hold(&self.memory, slot, tick);
                }
            }
        }
    }

    /// Compares the small tables and a part of the slots with what was written.
    fn repair(&mut self) -> u64 {
        let memory = &self.memory;
        let mut repaired = self.backends.repair(memory)
            + self.pools.repair(memory)
            + self.services4.repair(memory)
            + self.services6.repair(memory)
            + self.shapes.repair(memory)
            + self.rules.repair(memory)
            + self.sequences.repair(memory)
            + self.words.repair(memory);
        self.since_tries += 1;
        if self.since_tries >= TRIES_EVERY {
            self.since_tries = 0;
            repaired += self.shapes.repair_tries(memory) + self.rules.repair_tries(memory);
        }
        let mut compared = 0;
        for _ in 0..self.pools.by_id.len() {
            let after = (Bound::Excluded(self.verified), Bound::Unbounded);
            let next = self.pools.by_id.range(after).next().or_else(|| self.pools.by_id.iter().next());
            let Some((id, pool)) = next else { break };
            repaired += self.slots.repair(memory, pool.range);
            self.verified = *id;
            compared += pool.range.len;
            if compared >= COMPARE {
                break;
            }
        }
        repaired
    }
}

/// What the tables hold, per pool.
pub(super) fn status<M: Memory>(tables: &Tables<M>) -> BTreeMap<PoolName, PoolStatus> {
    let Tables { pools, slots, backends, scan, flows, wanted, .. } = tables;
    let mut all: BTreeMap<PoolName, PoolStatus> = pools
        .by_id
        .values()
        .filter_map(|pool| {
            let status = PoolStatus {
                digest: pool.digest.to_string(),
                slots: pool.range.len,
                in_transition: pool.in_transition,
                backends: BTreeMap::new(),
            };
            Some((pool.name.clone()?, status))
        })
        .collect();
    let exact: BTreeMap<&PoolName, bool> = wanted.services.values().fold(BTreeMap::new(), |mut exact, s| {
        *exact.entry(&s.pool).or_insert(true) &= rules::tracks(s);
        exact
    });
    for (index, known) in &backends.known {
        let Some(BackendId { pool, backend }) = &known.name else {
            continue;
        };
        let Some(status) = all.get_mut(pool) else { continue };
        let exact = exact.get(pool).copied().unwrap_or(false);
        let counts = BackendStatus {
            slots: slots.owned(*index),
            draining_slots: slots.kept(*index),
            pins: scan.as_ref().map_or(0, |scan| scan.open[usize::from(*index)]),
            connections: flows.as_ref().map(|f| f.connections(*index, exact)).unwrap_or_default(),
            quiet_for: None,
            ..BackendStatus::default()
        };
        status.backends.entry(backend.clone()).or_default().add(&counts);
    }
    all
}

impl BackendStatus {
    /// A name that got another address has two records while the old one drains.
    fn add(&mut self, other: &Self) {
        self.slots += other.slots;
        self.draining_slots += other.draining_slots;
        self.pins += other.pins;
        self.connections.active += other.connections.active;
        self.connections.inactive += other.connections.inactive;
        self.connections.exact = other.connections.exact;
    }
}
