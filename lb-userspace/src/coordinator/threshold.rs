//! The depool threshold: PyBal's formula, to the letter.
//!
//! A backend that failed may be taken out only while `U >= N × fraction`, where `U` counts those up *and* enabled (the failing one is
//! already counted as down) and `N` all that are not inactive. Depooled ones (`pooled=no`) eat the allowance. The comparison is made in
//! floating point without rounding.

use crate::model::Threshold;

/// What the formula counts: backends, or their weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Up and enabled.
    pub up_and_enabled: u64,
    /// All that are not inactive.
    pub total: u64,
}

impl Tally {
    /// Counts one more that is not inactive; `share` is 1, or its weight.
    pub fn add(&mut self, share: u64, up_and_enabled: bool) {
        self.total += share;
        if up_and_enabled {
            self.up_and_enabled += share;
        }
    }

    /// Whether a backend that is no longer counted in `up_and_enabled` may leave.
    pub fn may_depool(self, threshold: Threshold) -> bool {
        as_float(self.up_and_enabled) >= as_float(self.total) * threshold.fraction
    }

    /// The smallest `up_and_enabled` with which something may leave.
    #[expect(clippy::cast_sign_loss, reason = "a count times 0.0 to 1.0")]
    pub fn must_stay(self, threshold: Threshold) -> u64 {
        (as_float(self.total) * threshold.fraction).ceil() as u64
    }

    /// Whether `share` of what is up and enabled could leave now.
    pub fn may_lose(self, share: u64, threshold: Threshold) -> bool {
        self.up_and_enabled >= share
            && Self { up_and_enabled: self.up_and_enabled - share, ..self }.may_depool(threshold)
    }
}

/// Exact: the largest sum of weights is 32767 × 10000.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `n` healthy backends failures can take out, one after the other.
    fn depooled_by_failures(n: u64, fraction: f64) -> u64 {
        let threshold = Threshold { fraction, by_weight: false };
        (1..=n).filter(|failed| Tally { up_and_enabled: n - failed, total: n }.may_depool(threshold)).count()
            as u64
    }

    #[test]
    fn the_examples_of_pybal_come_out_the_same() {
        for (n, fraction, expected) in [
            (2, 0.5, 1),
            (3, 0.5, 1),
            (2, 0.6, 0),
            (2, 0.9, 0),
            (8, 0.8, 1),
            (6, 0.66, 2),
            (10, 0.3, 7),
            (1, 0.5, 0),
            (4, 0.5, 2),
        ] {
            assert_eq!(depooled_by_failures(n, fraction), expected, "N={n} t={fraction}");
        }
    }

    #[test]
    fn one_never_depools_and_zero_always_may() {
        for n in 1..20 {
            assert_eq!(depooled_by_failures(n, 1.0), 0, "N={n}");
            assert_eq!(depooled_by_failures(n, 0.0), n, "N={n}");
        }
    }

    #[test]
    fn disabled_backends_eat_the_allowance() {
        // N=4, t=.5, two disabled: of the two others one has failed.
        let tally = Tally { up_and_enabled: 1, total: 4 };
        assert!(!tally.may_depool(Threshold::default()));
    }

    #[test]
    fn what_must_stay_is_the_smallest_count_that_may_depool() {
        for total in 1..40 {
            for fraction in [0.0, 0.1, 0.3, 0.5, 0.66, 0.8, 0.9, 1.0] {
                let threshold = Threshold { fraction, by_weight: false };
                let smallest = (0..=total)
                    .find(|up| Tally { up_and_enabled: *up, total }.may_depool(threshold))
                    .unwrap();
                assert_eq!(
                    Tally { up_and_enabled: 0, total }.must_stay(threshold),
                    smallest,
                    "N={total} t={fraction}"
                );
            }
        }
    }

    #[test]
    fn losing_a_share_is_depooling_after_it_is_gone() {
        let tally = Tally { up_and_enabled: 3, total: 4 };
        assert!(tally.may_lose(1, Threshold::default()));
        assert!(!tally.may_lose(2, Threshold::default()));
        assert!(!tally.may_lose(4, Threshold { fraction: 0.0, by_weight: false }), "there are only three");
    }
}
