//! When the next check of a target starts.
//!
//! Checks stand on a fixed grid (first start + n × interval), so that a slow check does not move all later ones; each start is moved
//! from its grid point by jitter that depends on target and tick alone, so that targets never fall into step.

use std::time::{Duration, Instant};

/// A new target is first checked within this long, however long its interval: a new backend should be known soon.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// A lost connection of an `idle` check is opened again within this long (plus jitter), however long the host has been away.
pub(super) const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// The grid of one target.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    seed: u64,
    interval: Duration,
    /// Width of the window in which a start lies, its middle being the grid point.
    window: Duration,
    tick: u64,
    grid_point: Instant,
}

impl Schedule {
    /// A grid whose first start lies within `min(interval, 1 s)` of `now`, at a place that depends on `seed`.
    ///
    /// Two neighbouring starts may each move by half the jitter, so the time between them changes by at most
    /// `jitter_per_mille` thousandths of the interval.
    pub(super) fn new(seed: u64, interval: Duration, jitter_per_mille: u16, now: Instant) -> Self {
        Self {
            seed,
            interval: interval.max(Duration::from_millis(1)),
            window: interval / 1000 * u32::from(jitter_per_mille.min(500)),
            tick: 0,
            grid_point: now + part(interval.min(FIRST_WITHIN), mix(seed)),
        }
    }

    /// Start of the first check.
    pub(super) const fn first(&self) -> Instant {
        self.grid_point
    }

    /// Moves on and returns the next start, never before `now`. A tick that was missed, because a check took long, is still done when
    /// it is late by no more than half an interval; older ones are skipped, so they never pile up. (Without that grace a check that
    /// times out after exactly one interval would miss every second tick.)
    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        let late = now.saturating_duration_since(self.grid_point + self.interval / 2);
        let steps = late.as_nanos().div_ceil(self.interval.as_nanos()).max(1) as u64;
        self.tick += steps;
        self.grid_point += Duration::from_nanos(self.interval.as_nanos() as u64 * steps);
        let moved = part(self.window, mix(self.seed ^ mix(self.tick)));
        let start = self.grid_point + moved;
        start.checked_sub(self.window / 2).unwrap_or(start).max(now)
    }

    /// When an `idle` connection that failed at `now` is opened again. While the verdict stands the pace is the interval, so that
    /// `fall` means what it says; once down (`failures_while_down` more failures) it slows to [`RECONNECT_MAX`] and no further.
    pub(super) fn reconnect_after_failure(&self, failures_while_down: u32, now: Instant) -> Instant {
        let pace = self.reconnect_pace().saturating_mul(1 << failures_while_down.min(16)).min(RECONNECT_MAX);
        let window = pace.min(self.window);
        let moved = part(window, mix(self.seed ^ mix(self.tick ^ (u64::from(failures_while_down) << 32))));
        now + pace.saturating_sub(window / 2) + moved
    }

    /// When an `idle` connection that was opened at `opened` and closed cleanly by the server at `now` is opened again: at once,
    /// except when the last attempt is less than one interval ago. A server that accepts and closes thus costs one connection an
    /// interval, not a busy loop.
    pub(super) fn reconnect_after_close(&self, opened: Instant, now: Instant) -> Instant {
        (opened + self.reconnect_pace()).max(now)
    }

    fn reconnect_pace(&self) -> Duration {
        self.interval.min(RECONNECT_MAX)
    }
}

/// Scrambles a number (the finaliser of `SplitMix64`).
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The `random / 2^64`-th part of a duration.
const fn part(whole: Duration, random: u64) -> Duration {
    let nanos = (whole.as_nanos() * (random as u128)) >> 64;
    Duration::from_nanos(nanos as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn without_jitter_and_delay_starts_stand_on_the_grid() {
        let now = Instant::now();
        let mut schedule = Schedule::new(7, SECOND, 0, now);
        let first = schedule.first();
        for n in 1..100 {
            assert_eq!(schedule.advance(first + SECOND * (n - 1)), first + SECOND * n);
        }
    }

    #[test]
    fn a_check_as_long_as_its_interval_misses_no_tick_and_a_longer_one_skips() {
        let now = Instant::now();
        let mut schedule = Schedule::new(7, SECOND, 0, now);
        let first = schedule.first();
        let ended = first + SECOND + Duration::from_millis(3);
        assert_eq!(schedule.advance(ended), ended, "3 ms late: done at once");
        let ended = first + SECOND * 2 + Duration::from_millis(501);
        assert_eq!(schedule.advance(ended), first + SECOND * 3, "tick 2 was missed and is skipped");
        let ended = first + SECOND * 1_000_000 + Duration::from_millis(700);
        assert_eq!(schedule.advance(ended), first + SECOND * 1_000_001, "no pile-up after a long stop");
    }

    #[test]
    fn first_starts_are_spread_over_a_second_at_most() {
        let now = Instant::now();
        for (interval, within) in [(SECOND * 60, SECOND), (SECOND / 10, SECOND / 10)] {
            let mut tenths = [0u32; 10];
            for seed in 0..10_000 {
                let delay = Schedule::new(seed, interval, 100, now).first() - now;
                assert!(delay < within);
                tenths[(delay.as_nanos() * 10 / within.as_nanos()) as usize] += 1;
            }
            assert!(tenths.iter().all(|n| (850..1150).contains(n)), "{tenths:?}");
        }
    }

    #[test]
    fn idle_reconnects_slow_down_to_five_seconds_and_no_further() {
        let now = Instant::now();
        let delays = |interval: Duration, failures: u32| {
            Schedule::new(1, interval, 0, now).reconnect_after_failure(failures, now) - now
        };
        assert_eq!([0, 1, 2, 3, 4].map(|n| delays(SECOND, n).as_secs()), [1, 2, 4, 5, 5]);
        assert_eq!(delays(SECOND, u32::MAX), RECONNECT_MAX);
        assert_eq!(delays(SECOND * 3600, 0), RECONNECT_MAX);
        assert_eq!(delays(SECOND / 10, 0), SECOND / 10);
    }

    #[test]
    fn a_server_that_accepts_and_closes_gets_one_connection_an_interval() {
        let now = Instant::now();
        let schedule = Schedule::new(1, SECOND * 3, 100, now);
        let (mut at, mut connections) = (now, 0);
        while at < now + SECOND * 60 {
            connections += 1;
            at = schedule.reconnect_after_close(at, at);
        }
        assert_eq!(connections, 20);
        let later = now + SECOND * 40;
        assert_eq!(
            schedule.reconnect_after_close(now, later),
            later,
            "a connection that lived long is opened again at once"
        );
    }

    proptest! {
        #[test]
        fn starts_never_go_back_and_neighbours_differ_by_interval_and_jitter(
            seed: u64, interval_ms in 100u64..3_600_000, jitter in 0u16..=500
        ) {
            let interval = Duration::from_millis(interval_ms);
            let slack = interval * u32::from(jitter) / 1000;
            let mut schedule = Schedule::new(seed, interval, jitter, Instant::now());
            let mut last = schedule.first();
            for _ in 0..50 {
                let next = schedule.advance(last);
                prop_assert!(next - last + slack >= interval, "{:?}", next - last);
                prop_assert!(next - last <= interval + slack, "{:?}", next - last);
                last = next;
            }
        }

        #[test]
        fn the_next_start_is_never_in_the_past_nor_more_than_two_intervals_away(
            seed: u64, jitter in 0u16..=500, takes in prop::collection::vec(0u64..5_000, 1..50)
        ) {
            let mut schedule = Schedule::new(seed, SECOND, jitter, Instant::now());
            let mut start = schedule.first();
            for ms in takes {
                let ended = start + Duration::from_millis(ms);
                start = schedule.advance(ended);
                prop_assert!(start >= ended);
                prop_assert!(start - ended <= SECOND * 2);
            }
        }
    }
}
