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
    /// Counts the pins that bind, and clears the others (see [`sift`]).
    pub(super) fn run(memory: &impl Memory, tick: u16, idle: &[u16], alive: &[bool]) -> Self {
        let mut scan = Self { of: vec![0; usize::from(MAX_BACKEND) + 1], live: 0, protected: 0, cleared: 0 };
        for tier in [U64Map::Probation, U64Map::Protected] {
            scan.cleared += sift(memory, tier, tick, idle, alive, |pin| {
                scan.of[usize::from(pin.backend())] += 1;
                scan.live += 1;
                scan.protected += u32::from(tier == U64Map::Protected);
            });
        }
        scan
    }
}

/// Shows the words of a table of flows that still bind, and clears the others: those of flows silent for longer than the `idle` of their
/// backend's pool or closed for a while, and those to a backend that is not `alive`. One that the kernel program uses in the meantime stays.
/// How many were cleared.
pub(super) fn sift(
    memory: &impl Memory,
    map: U64Map,
    tick: u16,
    idle: &[u16],
    alive: &[bool],
    mut live: impl FnMut(Pin),
) -> u32 {
    let mut cleared = 0;
    for i in 0..memory.len64(map) {
        let word = memory.load64(map, i);
        if word == 0 {
            continue;
        }
        let pin = Pin(word);
        let backend = usize::from(pin.backend());
        let quiet = age(tick, pin.time());
        let over = quiet > idle[backend] || (pin.closing() && quiet > CLOSING_TICKS);
        if (over || !alive[backend]) && memory.replace64(map, i, word, 0) {
            cleared += 1;
        } else {
            live(pin);
        }
    }
    cleared
}
