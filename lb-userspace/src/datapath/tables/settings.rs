//! The daemon's own words to the kernel program.

use lb_common::settings::Settings;

use super::memory::{Image, Memory, U64Map};

/// Words, in the order of the fields of [`Settings`].
const ICMP: usize = 0;
const FROZEN: usize = 1;
const PREFIXES4: usize = 2;
const PREFIXES6: usize = 3;
/// Those of this table: the others are written by whoever captures.
const OURS: usize = 4;
const _: () = assert!(OURS <= Settings::WORDS);

/// What was said last.
#[derive(Debug)]
pub(super) struct SettingsTable {
    image: Image,
}

impl SettingsTable {
    pub(super) fn adopt(memory: &impl Memory) -> Self {
        Self { image: Image::read(memory, U64Map::Settings) }
    }

    pub(super) fn set_icmp_rate(&mut self, memory: &impl Memory, per_tick: u64) {
        self.image.set(memory, ICMP, per_tick);
    }

    pub(super) fn set_frozen(&mut self, memory: &impl Memory, frozen: bool) {
        self.image.set(memory, FROZEN, u64::from(frozen));
    }

    pub(super) fn frozen(&self) -> bool {
        self.image.get(FROZEN) != 0
    }

    pub(super) fn set_prefixes(&mut self, memory: &impl Memory, (four, six): (u64, u64)) {
        self.image.set(memory, PREFIXES4, four);
        self.image.set(memory, PREFIXES6, six);
    }

    pub(super) fn repair(&self, memory: &impl Memory) -> u64 {
        self.image.repair_first(memory, OURS)
    }
}
