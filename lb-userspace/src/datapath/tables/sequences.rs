//! Turns: the sequences of services whose scheduler hands out connections one by one, where they lie, and keeping them current.

use std::collections::BTreeMap;

use super::{
    memory::{Memory, U16Map, U64Map},
    ranges::Ranges,
    rules::RuleTable,
};
use crate::{
    datapath::{
        Error,
        schedule::{self, Candidate, MAX_TURNS},
    },
    model::Scheduler,
};

/// A service that has turns.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) scheduler: Scheduler,
    /// First element; room for [`MAX_TURNS`], or one for each backend if those are more.
    start: u32,
    room: u32,
    /// What it was computed from.
    candidates: Vec<Candidate>,
    /// What lies there.
    laid: Vec<u16>,
}

/// All of them, by the service's index.
#[derive(Debug)]
pub(super) struct Sequences {
    ranges: Ranges,
    pub(super) by_service: BTreeMap<u16, Sequence>,
}

impl Sequence {
    /// One whose turns are not known: the first change lays them.
    fn unknown(start: u32, room: u32) -> Self {
        Self { scheduler: Scheduler::Maglev, start, room, candidates: Vec::new(), laid: Vec::new() }
    }

    /// Stores what differs; how many elements that were.
    fn lay(&self, memory: &impl Memory) -> u64 {
        let mut stored = 0;
        for (at, turn) in (self.start as usize..).zip(&self.laid) {
            if memory.load16(U16Map::Sequences, at) != *turn {
                memory.store16(U16Map::Sequences, at, *turn);
                stored += 1;
            }
        }
        stored
    }
}

impl Sequences {
    /// Takes over the ranges that records name.
    pub(super) fn adopt(memory: &impl Memory, rules: &RuleTable, services: &[u16]) -> Self {
        let mut sequences =
            Self { ranges: Ranges::new(memory.len16(U16Map::Sequences) as u32), by_service: BTreeMap::new() };
        for index in services {
            let (start, len) = rules.sequence(*index);
            let room = len.max(MAX_TURNS as u32);
            if len > 0 && sequences.ranges.claim(start, room) {
                let sequence = Sequence::unknown(start, room);
                sequences.by_service.insert(*index, sequence);
            }
        }
        sequences
    }

    /// Makes a service's turns what they should be. Nothing is written if nothing they depend on changed.
    pub(super) fn apply(
        &mut self,
        memory: &impl Memory,
        rules: &mut RuleTable,
        index: u16,
        (scheduler, candidates): (Scheduler, Vec<Candidate>),
        now: u32,
    ) -> Result<(), Error> {
        let need = candidates.len().max(MAX_TURNS) as u32;
        if self.by_service.get(&index).is_none_or(|s| s.room < need) {
            let start = self.ranges.take(need, now).ok_or_else(|| Error::Full {
                table: "the table of schedulers' turns",
                need: self.ranges.need(need),
                have: u64::from(self.ranges.capacity()),
                limit: "services",
            })?;
            if let Some(old) = self.by_service.insert(index, Sequence::unknown(start, need)) {
                self.ranges.give(old.start, now);
            }
        }
        let Some(sequence) = self.by_service.get_mut(&index) else { return Ok(()) };
        if sequence.scheduler == scheduler && sequence.candidates == candidates {
            return Ok(());
        }
        let mut turns = schedule::turns(scheduler, &candidates);
        // Whose turn is next is counted by the kernel: the new sequence begins there.
        let taken = memory.load64(U64Map::Cursors, usize::from(index));
        let next = taken % (turns.len() as u64).max(1);
        turns.rotate_right(next as usize);
        sequence.laid = turns;
        sequence.lay(memory);
        rules.set_sequence(memory, index, (sequence.start, sequence.laid.len() as u32));
        (sequence.scheduler, sequence.candidates) = (scheduler, candidates);
        Ok(())
    }

    /// Takes the turns of services that no longer have any. Their records say so already.
    pub(super) fn retain(
        &mut self,
        memory: &impl Memory,
        rules: &mut RuleTable,
        keep: impl Fn(u16) -> bool,
        now: u32,
    ) {
        let ranges = &mut self.ranges;
        self.by_service.retain(|index, sequence| {
            let keep = keep(*index);
            if !keep {
                rules.set_sequence(memory, *index, (0, 0));
                ranges.give(sequence.start, now);
            }
            keep
        });
    }

    /// Puts back what somebody else changed, and says how many elements that were.
    pub(super) fn repair(&self, memory: &impl Memory) -> u64 {
        self.by_service.values().map(|sequence| sequence.lay(memory)).sum()
    }
}
