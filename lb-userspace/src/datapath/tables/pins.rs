//! Reading and tidying the pins, which the kernel program writes.

use lb_common::{
    pin::{CLOSING_TICKS, Pin},
    slot::MAX_BACKEND,
};

use super::{
    clock::age,
    memory::{Memory, U64Map},
};

/// What a scan found.
#[derive(Debug)]
pub(super) struct Scan {
    /// Per backend index: pins that bind a flow to it.
    pub(super) of: Vec<u32>,
    /// All of these.
    pub(super) live: u32,
    /// Those of the protected tier.
    pub(super) protected: u32,
    /// Words that were freed.
    pub(super) cleared: u32,
}

impl Scan {
    /// Counts live pins and clears those that bind nothing any more: those of flows silent for longer than the `idle` of their backend's
    /// pool, and those to a backend that is not `alive`. A pin that the kernel program uses in the meantime stays.
    pub(super) fn run(memory: &impl Memory, tick: u16, idle: &[u16], alive: &[bool]) -> Self {
        let mut scan = Self { of: vec![0; usize::from(MAX_BACKEND) + 1], live: 0, protected: 0, cleared: 0 };
        for tier in [U64Map::Probation, U64Map::Protected] {
            for i in 0..memory.len64(tier) {
                let word = memory.load64(tier, i);
                if word == 0 {
                    continue;
                }
                let pin = Pin(word);
                let backend = usize::from(pin.backend());
                let quiet = age(tick, pin.time());
                let over = quiet > idle[backend] || (pin.closing() && quiet > CLOSING_TICKS);
                if (over || !alive[backend]) && memory.replace64(tier, i, word, 0) {
                    scan.cleared += 1;
                } else {
                    scan.of[backend] += 1;
                    scan.live += 1;
                    scan.protected += u32::from(tier == U64Map::Protected);
                }
            }
        }
        scan
    }
}
