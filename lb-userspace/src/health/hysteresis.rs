//! Results → verdict. One odd result does not move a backend: `rise` passes or `fall` failures in a row do.

use std::num::NonZeroU32;

use super::Verdict;

/// The rise/fall machine of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hysteresis {
    rise: NonZeroU32,
    fall: NonZeroU32,
    verdict: Option<Verdict>,
    last: Option<bool>,
    streak: u32,
}

impl Hysteresis {
    /// A machine that knows nothing yet.
    pub(super) const fn new(rise: NonZeroU32, fall: NonZeroU32) -> Self {
        Self { rise, fall, verdict: None, last: None, streak: 0 }
    }

    /// Records one result; returns the verdict only when it changes. The first result ever decides at once, so that a new backend
    /// waits for one check, not for `rise` of them.
    pub(super) fn record(&mut self, passed: bool) -> Option<Verdict> {
        self.streak = if self.last == Some(passed) { self.streak.saturating_add(1) } else { 1 };
        self.last = Some(passed);
        let (to, needed) = if passed { (Verdict::Up, self.rise) } else { (Verdict::Down, self.fall) };
        let decided = match self.verdict {
            None => true,
            Some(now) => now != to && self.streak >= needed.get(),
        };
        decided.then(|| {
            self.verdict = Some(to);
            to
        })
    }

    /// The verdict in force; `None` before the first result.
    pub(super) const fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// How many results in a row were like the last one.
    pub(super) const fn streak(&self) -> u32 {
        self.streak
    }

    /// Failures in a row since the one that brought the target down; 0 while it is up or passes.
    pub(super) const fn failures_while_down(&self) -> u32 {
        match (self.verdict, self.last) {
            (Some(Verdict::Down), Some(false)) => self.streak.saturating_sub(self.fall.get()),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn machine(rise: u32, fall: u32) -> Hysteresis {
        Hysteresis::new(NonZeroU32::new(rise).unwrap(), NonZeroU32::new(fall).unwrap())
    }

    /// `+` pass, `-` failure; the answer has `U`, `D` or `.` for each.
    fn walk(rise: u32, fall: u32, results: &str) -> String {
        let mut machine = machine(rise, fall);
        results
            .chars()
            .map(|c| match machine.record(c == '+') {
                Some(Verdict::Up) => 'U',
                Some(Verdict::Down) => 'D',
                None => '.',
            })
            .collect()
    }

    #[test]
    fn verdicts_change_only_after_enough_results_in_a_row() {
        for (rise, fall, results, verdicts) in [
            (1, 1, "+-+-", "UDUD"),
            (2, 3, "+---++", "U..D.U"),
            (2, 3, "+--+--+---", "U........D"),
            (2, 3, "-+-+-++", "D.....U"),
            (3, 1, "-+++-", "D..UD"),
            (1, 3, "++++---", "U.....D"),
            (5, 5, "-", "D"),
            (5, 5, "+", "U"),
        ] {
            assert_eq!(walk(rise, fall, results), verdicts, "rise {rise} fall {fall}: {results}");
        }
    }

    #[test]
    fn the_first_result_does_not_count_twice() {
        // Down at once, then `rise` passes are wanted in full.
        assert_eq!(walk(3, 3, "-++"), "D..");
        assert_eq!(walk(3, 3, "+--"), "U..");
    }

    #[test]
    fn failures_while_down_begin_after_the_fall() {
        let mut machine = machine(2, 2);
        let seen: Vec<u32> = [true, false, false, false, false, true, false]
            .into_iter()
            .map(|passed| {
                machine.record(passed);
                machine.failures_while_down()
            })
            .collect();
        assert_eq!(seen, [0, 0, 0, 1, 2, 0, 0]);
    }

    proptest! {
        /// The verdict is what a reader of the whole history would say: the last run long enough decides.
        #[test]
        fn the_machine_agrees_with_the_whole_history(
            rise in 1u32..6, fall in 1u32..6, results in prop::collection::vec(any::<bool>(), 1..60)
        ) {
            let mut machine = machine(rise, fall);
            for end in 1..=results.len() {
                let before = machine.verdict();
                let change = machine.record(results[end - 1]);
                let history = &results[..end];
                let mut expected = history[0];
                for i in 0..end {
                    let value = history[i];
                    let run = history[..=i].iter().rev().take_while(|x| **x == value).count();
                    if run as u64 >= u64::from(if value { rise } else { fall }) {
                        expected = value;
                    }
                }
                let expected = if expected { Verdict::Up } else { Verdict::Down };
                prop_assert_eq!(machine.verdict(), Some(expected));
                prop_assert_eq!(change, (before != Some(expected)).then_some(expected));
            }
        }
    }
}
