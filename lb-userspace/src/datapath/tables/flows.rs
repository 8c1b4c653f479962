//! Counting and tidying the tracked flows and sticky sources, which the kernel program writes.

use lb_common::{
    flow::{SAMPLE, sampled},
    pin::Pin,
    slot::MAX_BACKEND,
};

use super::{
    memory::{Memory, U64Map},
    pins,
};
use crate::datapath::Connections;

/// Tracked flows of one backend: those of the sample apart from the others, which are there only if their service tracks all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tracked {
    active: [u64; 2],
    inactive: [u64; 2],
}

/// What a scan found.
#[derive(Debug)]
pub(super) struct Flows {
    of: Vec<Tracked>,
    /// Per backend index: sources that stick to it.
    sources: Vec<u32>,
    /// All flows.
    pub(super) live: u64,
}

impl Flows {
    /// Counts live flows, and clears those that are over and those to a backend that is not `alive`; sources are let go as soon as their
    /// backend no longer `takes` new connections.
    pub(super) fn run(memory: &impl Memory, tick: u16, idle: &[u16], alive: &[bool], takes: &[bool]) -> Self {
        let backends = usize::from(MAX_BACKEND) + 1;
        let mut flows = Self { of: vec![Tracked::default(); backends], sources: vec![0; backends], live: 0 };
        for (map, established) in [(U64Map::FlowsNew, false), (U64Map::Flows, true)] {
            pins::sift(memory, map, tick, idle, alive, |pin| {
                let tracked = &mut flows.of[usize::from(pin.backend())];
                let of =
                    if established && !pin.closing() { &mut tracked.active } else { &mut tracked.inactive };
                // The tag has the hash's low bits.
                of[usize::from(!sampled(u64::from(pin.tag())))] += 1;
                flows.live += 1;
            });
        }
        for i in 0..memory.len64(U64Map::Sources) {
            let word = memory.load64(U64Map::Sources, i);
            if word != 0 {
                let backend = usize::from(Pin(word).backend());
                if takes[backend] || !memory.replace64(U64Map::Sources, i, word, 0) {
                    flows.sources[backend] += 1;
                }
            }
        }
        flows
    }

    /// Whether some word refers to the backend.
    pub(super) fn refers(&self, backend: u16) -> bool {
        let Tracked { active, inactive } = self.of[usize::from(backend)];
        active[0] + active[1] + inactive[0] + inactive[1] > 0 || self.sources[usize::from(backend)] > 0
    }

    /// A backend's connections. `exact` if all services of its pool track all their flows; else an estimate from the sample, to which
    /// those are added that are known one by one.
    pub(super) fn connections(&self, backend: u16, exact: bool) -> Connections {
        let Tracked { active, inactive } = self.of[usize::from(backend)];
        let number = |[sample, others]: [u64; 2]| {
            if exact {
                sample + others
            } else {
                // Of the flows that are known one by one, as many lie in the sample as chance has it; the rest of the sample stands for 64 times
                // itself.
                let known = others / (SAMPLE - 1);
                others + known.min(sample) + sample.saturating_sub(known) * SAMPLE
            }
        };
        Connections { active: number(active), inactive: number(inactive), exact }
    }
}
