//! Ticks: the kernel's clock of 16 bits that wrap, made wide, and ages that survive the wrap.

use std::time::Duration;

/// The kernel reads its clock a moment after we read ours: a stamp so little ahead of us is not 18 hours old.
const SKEW: u16 = 64;
/// Longest time a 16-bit age can tell from a short one.
pub(super) const LONGEST: u16 = u16::MAX / 2;

/// Ticks since `stamp`.
pub(super) const fn age(now: u16, stamp: u16) -> u16 {
    let age = now.wrapping_sub(stamp);
    if age > u16::MAX - SKEW { 0 } else { age }
}

/// A clock that does not wrap, fed by one that does at least once in nine hours.
#[derive(Clone, Copy, Debug)]
pub(super) struct WideClock {
    last: Option<u16>,
    wide: u32,
}

impl WideClock {
    pub(super) const fn new() -> Self {
        Self { last: None, wide: 0 }
    }

    /// Moves on to `tick`. A tick that lies behind changes nothing.
    pub(super) fn advance(&mut self, tick: u16) -> u32 {
        let passed = self.last.map_or(0, |last| tick.wrapping_sub(last));
        if passed <= LONGEST {
            self.wide = self.wide.saturating_add(u32::from(passed));
            self.last = Some(tick);
        }
        self.wide
    }
}

/// `time` in ticks of a length, rounded up.
pub(super) fn ticks(time: Duration, tick: Duration) -> u32 {
    let ticks = time.as_nanos().div_ceil(tick.as_nanos().max(1));
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// The same where it is compared with a 16-bit age.
pub(super) fn short_ticks(time: Duration, tick: Duration) -> u16 {
    ticks(time, tick).min(u32::from(LONGEST)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_survives_the_wrap_and_a_stamp_from_the_next_tick() {
        assert_eq!(age(5, 65_530), 11);
        assert_eq!(age(100, 101), 0);
        assert_eq!(age(40_000, 0), 40_000);
    }

    #[test]
    fn the_wide_clock_goes_on_over_wraps_and_never_back() {
        let mut clock = WideClock::new();
        clock.advance(65_000);
        assert_eq!(clock.advance(64), 600);
        assert_eq!(clock.advance(60), 600);
        assert_eq!(clock.advance(65), 601);
    }

    #[test]
    fn durations_are_rounded_up_to_ticks() {
        let tick = Duration::from_millis(1024);
        assert_eq!(ticks(Duration::from_mins(5), tick), 293);
        assert_eq!(ticks(Duration::from_secs(1), tick), 1);
        assert_eq!(short_ticks(Duration::from_secs(1 << 30), tick), LONGEST);
    }
}
