//! Schedulers that hand out new connections in turn: who is next, and next, and next. Pure.
//!
//! The kernel program takes the next element of a sequence for each new connection; here the sequence is computed. `rr` and `wrr` depend on weights only. The
//! least-connection ones take the connections of the moment and add one for each turn, as if none ended; they are computed anew each second.

use std::{cmp::Ordering, collections::BinaryHeap};

use crate::model::Scheduler;

/// Longest sequence.
pub const MAX_TURNS: usize = 1024;

/// A backend that may get new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What stands for it in the sequence.
    pub index: u16,
    /// Relative share; 0 gets none.
    pub weight: u32,
    /// Established connections.
    pub active: u64,
    /// Those that begin or end.
    pub inactive: u64,
}

/// The next turns: whole rounds where there are rounds, [`MAX_TURNS`] at most. Empty if nobody may get any.
pub fn turns(scheduler: Scheduler, candidates: &[Candidate]) -> Vec<u16> {
    let able: Vec<Candidate> = candidates.iter().filter(|c| c.weight > 0).copied().collect();
    if able.is_empty() {
        return Vec::new();
    }
    match scheduler {
        Scheduler::Maglev => Vec::new(),
        Scheduler::Rr => {
            let round = able.iter().map(|c| c.index);
            let rounds = (MAX_TURNS / able.len()).max(1);
            round.cycle().take(rounds * able.len()).take(MAX_TURNS.max(able.len())).collect()
        }
        Scheduler::Wrr => smooth(&able),
        Scheduler::Lc => least(&able, |active, inactive, _| (active * 256 + inactive, 1)),
        Scheduler::Wlc => least(&able, |active, inactive, weight| (active * 256 + inactive, weight)),
        Scheduler::Sed => least(&able, |active, _, weight| (active + 1, weight)),
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Smooth weighted round robin (nginx's): each turn everybody gains its weight, the richest is chosen and pays the sum.
fn smooth(able: &[Candidate]) -> Vec<u16> {
    let divisor = able.iter().fold(0, |d, c| gcd(d, u64::from(c.weight))).max(1);
    let weights: Vec<i64> = able.iter().map(|c| (u64::from(c.weight) / divisor).cast_signed()).collect();
    let round: i64 = weights.iter().sum();
    let round = usize::try_from(round).unwrap_or(usize::MAX);
    let length = if round <= MAX_TURNS { MAX_TURNS / round * round } else { MAX_TURNS };
    let sum: i64 = weights.iter().sum();
    let mut credit = vec![0i64; able.len()];
    (0..length)
        .map(|_| {
            let mut best = 0;
            for (i, weight) in weights.iter().enumerate() {
                credit[i] += weight;
                if credit[i] > credit[best] {
                    best = i;
                }
            }
            credit[best] -= sum;
            able[best].index
        })
        .collect()
}

/// A backend's load, a fraction. The least one is the greatest, as a heap wants it; of equals the first.
#[derive(PartialEq, Eq)]
struct Load {
    above: u128,
    below: u128,
    /// Among the candidates.
    place: usize,
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_load = (other.above * self.below).cmp(&(self.above * other.below));
        by_load.then(other.place.cmp(&self.place))
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Each turn goes to the one with the least load, a fraction given by `load(active, inactive, weight)`; of equals to the first.
fn least(able: &[Candidate], load: impl Fn(u128, u128, u128) -> (u128, u128)) -> Vec<u16> {
    let mut active: Vec<u64> = able.iter().map(|c| c.active).collect();
    let of = |place: usize, active: u64| {
        let (above, below) = load(active.into(), able[place].inactive.into(), able[place].weight.into());
        Load { above, below, place }
    };
    let mut heap: BinaryHeap<Load> = active.iter().enumerate().map(|(place, n)| of(place, *n)).collect();
    (0..MAX_TURNS)
        .map_while(|_| {
            let mut next = heap.peek_mut()?;
            let place = next.place;
            active[place] += 1;
            *next = of(place, active[place]);
            Some(able[place].index)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let make =
            |(i, w): (usize, &u32)| Candidate { index: i as u16 + 1, weight: *w, active: 0, inactive: 0 };
        weights.iter().enumerate().map(make).collect()
    }

    fn count(turns: &[u16], who: u16) -> usize {
        turns.iter().filter(|t| **t == who).count()
    }

    #[test]
    fn rr_takes_everybody_in_turn_whatever_the_weights_and_skips_weight_0() {
        let turns = turns(Scheduler::Rr, &candidates(&[1, 0, 50]));
        assert_eq!(&turns[..4], [1, 3, 1, 3]);
        assert_eq!(turns.len() % 2, 0, "whole rounds");
    }

    #[test]
    fn wrr_keeps_the_shares_exactly_and_does_not_bunch() {
        let turns = turns(Scheduler::Wrr, &candidates(&[50, 10, 10]));
        assert_eq!(&turns[..7], [1, 1, 2, 1, 3, 1, 1]);
        assert_eq!(turns.len() % 7, 0, "whole rounds");
        assert_eq!(count(&turns, 1), 5 * count(&turns, 2));
    }

    #[test]
    fn wrr_with_coprime_large_weights_is_as_close_as_its_length_allows() {
        let turns = turns(Scheduler::Wrr, &candidates(&[9_999, 10_000]));
        assert_eq!(turns.len(), MAX_TURNS);
        assert!(count(&turns, 1).abs_diff(count(&turns, 2)) <= 1);
    }

    #[test]
    fn lc_fills_up_the_emptier_host_first_then_alternates() {
        let mut hosts = candidates(&[1, 1]);
        hosts[0].active = 3;
        let turns = turns(Scheduler::Lc, &hosts);
        assert_eq!(&turns[..6], [2, 2, 2, 1, 2, 1]);
    }

    #[test]
    fn wlc_divides_by_weight_and_counts_inactive_as_little() {
        let mut hosts = candidates(&[1, 3]);
        let turns_of = |hosts: &[Candidate]| turns(Scheduler::Wlc, hosts);
        let turns = turns_of(&hosts);
        assert_eq!(count(&turns, 2), 3 * count(&turns, 1));
        hosts[1].inactive = 255;
        assert_eq!(turns_of(&hosts)[0], 1, "inactive connections break a tie");
    }

    #[test]
    fn sed_gives_an_idle_strong_host_its_first_connections() {
        let turns = turns(Scheduler::Sed, &candidates(&[1, 10]));
        assert!(turns[..9].iter().all(|t| *t == 2), "{:?}", &turns[..12]);
    }

    #[test]
    fn every_turn_goes_to_the_least_load_of_the_moment() {
        let mut hosts = candidates(&[7, 1, 3, 3, 10, 2]);
        for (i, host) in hosts.iter_mut().enumerate() {
            (host.active, host.inactive) = (i as u64 * 5 % 7, i as u64 * 11 % 5);
        }
        let turns = turns(Scheduler::Wlc, &hosts);
        for (n, turn) in turns.iter().enumerate() {
            let load = |c: &Candidate| (c.active * 256 + c.inactive, u64::from(c.weight));
            let least = hosts.iter().fold(&hosts[0], |best, c| {
                let ((a, x), (b, y)) = (load(c), load(best));
                if a * y < b * x { c } else { best }
            });
            assert_eq!(*turn, least.index, "turn {n}");
            hosts.iter_mut().find(|c| c.index == *turn).unwrap().active += 1;
        }
    }

    #[test]
    fn nobody_able_is_no_turn() {
        for scheduler in [Scheduler::Rr, Scheduler::Wrr, Scheduler::Lc, Scheduler::Wlc, Scheduler::Sed] {
            assert!(turns(scheduler, &candidates(&[0, 0])).is_empty());
            assert!(turns(scheduler, &[]).is_empty());
        }
    }

    #[test]
    fn more_backends_than_turns_all_get_one_in_rr() {
        let many = candidates(&vec![1; 1500]);
        assert_eq!(turns(Scheduler::Rr, &many).len(), 1500);
    }
}
