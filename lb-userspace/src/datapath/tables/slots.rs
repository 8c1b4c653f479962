//! The slot tables: their image, who is referred to how often, and the one place that writes them.

use lb_common::slot::{MAX_BACKEND, Slot};

use super::{
    clock::{LONGEST, age},
    memory::{Memory, U16Map},
    transitions::State,
};

/// The slots of all pools.
#[derive(Debug)]
pub(super) struct Slots {
    cur: Vec<u16>,
    base: Vec<u16>,
    /// When a slot's transition began, or last began anew; wide ticks.
    begun: Vec<u32>,
    /// Per backend index: slots that have it as `cur`.
    owned: Vec<u32>,
    /// Per backend index: slots in transition that have it as `base` and somebody else as `cur`.
    kept: Vec<u32>,
}

/// A pool's part of the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Range {
    pub(super) fn slots(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

impl Slots {
    /// Nothing known yet. Pages of slots that no pool uses are never touched.
    pub(super) fn new(slots: usize) -> Self {
        let backends = usize::from(MAX_BACKEND) + 1;
        Self {
            cur: vec![0; slots],
            base: vec![0; slots],
            begun: vec![0; slots],
            owned: vec![0; backends],
            kept: vec![0; backends],
        }
    }

    pub(super) fn get(&self, slot: usize) -> State {
        State { slot: Slot(self.cur[slot]), base: self.base[slot] }
    }

    pub(super) fn begun(&self, slot: usize) -> u32 {
        self.begun[slot]
    }

    /// Slots that have the backend as `cur`.
    pub(super) fn owned(&self, backend: u16) -> u32 {
        self.owned[usize::from(backend)]
    }

    /// Slots whose older flows the backend keeps.
    pub(super) fn kept(&self, backend: u16) -> u32 {
        self.kept[usize::from(backend)]
    }

    fn count(&mut self, state: State, up: bool) {
        let add = |n: &mut u32| *n = if up { *n + 1 } else { *n - 1 };
        let cur = state.slot.cur();
        add(&mut self.owned[usize::from(cur)]);
        if state.slot.in_transition() && state.base != cur {
            add(&mut self.kept[usize::from(state.base)]);
        }
    }

    /// Takes a slot as it is in the kernel, after `sound` has put right what cannot be; whether something had to be.
    pub(super) fn adopt(
        &mut self,
        memory: &impl Memory,
        slot: usize,
        (tick, now): (u16, u32),
        sound: impl Fn(State) -> State,
    ) -> bool {
        let found = State {
            slot: Slot(memory.load16(U16Map::Slots, slot)),
            base: memory.load16(U16Map::Bases, slot),
        };
        let state = sound(found);
        if state.base != found.base {
            memory.store16(U16Map::Bases, slot, state.base);
        }
        if state.slot != found.slot {
            memory.store16(U16Map::Slots, slot, state.slot.0);
        }
        let ago = if state.slot.in_transition() { age(tick, memory.load16(U16Map::Begins, slot)) } else { 0 };
        let begun = now.saturating_sub(u32::from(ago));
        (self.cur[slot], self.base[slot], self.begun[slot]) = (state.slot.0, state.base, begun);
        self.count(state, true);
        state != found
    }

    /// Writes a slot of a range that no packet can reach yet. In transition from the start, it takes over flows whose pins are older than
    /// itself: they bind.
    pub(super) fn lay(&mut self, memory: &impl Memory, slot: usize, state: State, tick: u16, now: u32) {
        memory.store16(U16Map::Begins, slot, tick.wrapping_sub(LONGEST));
        memory.store16(U16Map::Stamps, slot, tick);
        memory.store16(U16Map::Bases, slot, state.base);
        memory.store16(U16Map::Slots, slot, state.slot.0);
        (self.cur[slot], self.base[slot], self.begun[slot]) = (state.slot.0, state.base, now);
        self.count(state, true);
    }

    /// Changes a live slot. `restart`: its idle time starts anew, at `(tick, now)`. A packet may pass between any two stores: begin,
    /// stamp and base are right before the slot refers to them.
    pub(super) fn set(
        &mut self,
        memory: &impl Memory,
        slot: usize,
        state: State,
        restart: Option<(u16, u32)>,
    ) -> bool {
        let old = self.get(slot);
        if let Some((tick, now)) = restart {
            if !old.slot.in_transition() {
                memory.store16(U16Map::Begins, slot, tick);
            }
            memory.store16(U16Map::Stamps, slot, tick);
            self.begun[slot] = now;
        }
        if state == old {
            return false;
        }
        self.count(old, false);
        self.count(state, true);
        if state.base != old.base {
            memory.store16(U16Map::Bases, slot, state.base);
            self.base[slot] = state.base;
        }
        if state.slot != old.slot {
            memory.store16(U16Map::Slots, slot, state.slot.0);
            self.cur[slot] = state.slot.0;
        }
        true
    }

    /// Keeps the beginning of a long transition from coming round again with the clock: beyond the oldest age it stays.
    pub(super) fn hold(memory: &impl Memory, slot: usize, tick: u16) {
        if age(tick, memory.load16(U16Map::Begins, slot)) > LONGEST {
            memory.store16(U16Map::Begins, slot, tick.wrapping_sub(LONGEST));
        }
    }

    /// Ends a slot's transition: the bit first. The base follows `cur`, so that a packet which has just read the bit still finds
    /// somebody.
    pub(super) fn settle(&mut self, memory: &impl Memory, slot: usize) {
        let old = self.get(slot);
        let state = State::stable(old.slot.cur());
        self.count(old, false);
        self.count(state, true);
        memory.store16(U16Map::Slots, slot, state.slot.0);
        memory.store16(U16Map::Bases, slot, state.base);
        (self.cur[slot], self.base[slot]) = (state.slot.0, state.base);
    }

    /// The range is nobody's any more.
    pub(super) fn forget(&mut self, range: Range) {
        for slot in range.slots() {
            self.count(self.get(slot), false);
        }
    }

    /// Puts back what somebody else changed, and says how many slots that were.
    pub(super) fn repair(&self, memory: &impl Memory, range: Range) -> u64 {
        let mut repaired = 0;
        for slot in range.slots() {
            let state = self.get(slot);
            let base = state.slot.in_transition() && memory.load16(U16Map::Bases, slot) != state.base;
            let cur = memory.load16(U16Map::Slots, slot) != state.slot.0;
            if base {
                memory.store16(U16Map::Bases, slot, state.base);
            }
            if cur {
                memory.store16(U16Map::Slots, slot, state.slot.0);
            }
            repaired += u64::from(base || cur);
        }
        repaired
    }
}
