//! What one backend did in the last minute: a ring of slices of five seconds.

use std::time::Duration;

/// Length of a slice.
pub(super) const SLICE: Duration = Duration::from_secs(5);
/// Slices of the window.
pub(super) const SLICES: usize = 12;
/// What is looked back at.
pub const WINDOW: Duration = Duration::from_mins(1);

/// What happened in five seconds. Small, as there is a dozen for each backend.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slice {
    pub(super) packets: u32,
    pub(super) syns: u32,
    pub(super) fins: u32,
    pub(super) resets: u32,
    pub(super) retransmits: u32,
    /// New connections that were its fair share.
    pub(super) expected: f32,
    /// Active connections at its end.
    pub(super) active: f32,
}

/// What happened in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) packets: f64,
    pub(super) syns: f64,
    pub(super) fins: f64,
    pub(super) resets: f64,
    /// Repeated connection attempts that were seen: of tracked flows only.
    pub(super) retransmits: f64,
    pub(super) expected: f64,
    /// Active connections, on average.
    pub(super) active: f64,
    /// Seconds that were looked at.
    pub(super) seconds: f64,
}

/// The last complete slices, and the one that is being filled.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    ring: [Slice; SLICES],
    next: usize,
    filled: usize,
    pub(super) current: Slice,
}

impl Window {
    /// `slices` began since the one that is being filled, which therefore is complete.
    pub(super) fn turn(&mut self, slices: u64) {
        for _ in 0..slices.min(SLICES as u64 + 1) {
            self.ring[self.next] = std::mem::take(&mut self.current);
            self.next = (self.next + 1) % SLICES;
            self.filled = (self.filled + 1).min(SLICES);
        }
    }

    /// The sum over the complete slices.
    pub(super) fn totals(&self) -> Totals {
        // The slices that were never filled are zero and change no sum.
        let mut t = self.ring.iter().fold(Totals::default(), |t, slice| Totals {
            packets: t.packets + f64::from(slice.packets),
            syns: t.syns + f64::from(slice.syns),
            fins: t.fins + f64::from(slice.fins),
            resets: t.resets + f64::from(slice.resets),
            retransmits: t.retransmits + f64::from(slice.retransmits),
            expected: t.expected + f64::from(slice.expected),
            active: t.active + f64::from(slice.active),
            seconds: 0.0,
        });
        let filled = u32::try_from(self.filled).unwrap_or_default();
        t.seconds = f64::from(filled) * SLICE.as_secs_f64();
        t.active /= f64::from(filled.max(1));
        t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_forgets_what_is_older_than_a_minute() {
        let mut window = Window::default();
        for n in 1..=20 {
            window.current.syns = n;
            window.turn(1);
        }
        let totals = window.totals();
        assert!((totals.syns - f64::from((9..=20).sum::<u32>())).abs() < 1e-9);
        assert!((totals.seconds - WINDOW.as_secs_f64()).abs() < 1e-9);
        window.current.syns = 7;
        window.turn(1_000_000);
        assert_eq!(window.totals(), Totals { seconds: 60.0, ..Totals::default() });
    }

    #[test]
    fn active_connections_are_an_average_over_what_was_seen() {
        let mut window = Window::default();
        for active in [10.0, 20.0] {
            window.current.active = active;
            window.turn(1);
        }
        assert!((window.totals().active - 15.0).abs() < 1e-9);
        assert!((window.totals().seconds - 10.0).abs() < 1e-9);
    }
}
