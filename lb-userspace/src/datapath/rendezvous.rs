//! Weighted rendezvous hashing: who of several gets a slot, so that taking one away moves only what was its own.
//!
//! Each candidate draws `u` in (0, 1) from a hash of slot and candidate and scores `-log2(u) / weight`; the lowest score wins
//! (Schindelhauer and Schomaker 2005). All in integers: the logarithm comes from a table made at compile time, scores are
//! compared by cross-multiplication, so every machine gets the same owner.

use std::{cmp::Reverse, ops::Range};

use super::{
    digest::mix,
    maglev::{NOBODY, Share, by_weight},
};

/// Binary digits of the fraction of a cost.
const FRACTION: u32 = 26;
/// The logarithm's table has `2^STEP_BITS` segments per octave; within one it is a straight line, off by at most 2^-21.
const STEP_BITS: u32 = 10;
const STEPS: usize = 1 << STEP_BITS;

/// `log2(1 + i / STEPS)`, scaled by `2^FRACTION`.
static LOG2: [u32; STEPS + 1] = log2_table();

const fn log2_table() -> [u32; STEPS + 1] {
    let mut table = [0; STEPS + 1];
    let mut i = 0;
    while i < STEPS {
        table[i] = log2_fraction((1 << 31) + ((i as u64) << (31 - STEP_BITS)));
        i += 1;
    }
    table[STEPS] = 1 << FRACTION;
    table
}

/// `log2(x / 2^31)` for x in `2^31..2^32`, a binary digit per squaring.
const fn log2_fraction(mut x: u64) -> u32 {
    let mut log = 0;
    let mut digit = 0;
    while digit < FRACTION {
        x = (x * x) >> 31;
        log <<= 1;
        if x >= 1 << 32 {
            x >>= 1;
            log |= 1;
        }
        digit += 1;
    }
    log
}

/// `-log2(draw / 2^64)`, scaled by `2^FRACTION`. Falls with `draw`, never rises.
#[inline]
fn cost(draw: u64) -> u32 {
    let draw = draw.max(1); // 0 has no logarithm; this costs 64 octaves, less the one unit that does not fit
    let octaves = draw.leading_zeros();
    let mantissa = draw << octaves << 1; // the digits behind the leading one
    let step = (mantissa >> (64 - STEP_BITS)) as usize;
    let within = (mantissa << STEP_BITS) >> 32;
    let (low, high) = (u64::from(LOG2[step]), u64::from(LOG2[step + 1]));
    let log = low + (((high - low) * within) >> 32);
    ((u64::from(octaves + 1) << FRACTION) - log).min(u64::from(u32::MAX)) as u32
}

/// One that may get slots of others.
struct Candidate {
    key: u64,
    weight: u32,
    position: u16,
    takes_new: bool,
}

/// The candidate with the lowest score so far.
struct Best {
    candidate: Option<usize>,
    draw: u64,
    weight: u32,
    cost: u32,
}

impl Best {
    /// Takes the candidate if its score is lower, or equal by a higher draw.
    #[inline]
    fn offer(&mut self, candidate: usize, draw: u64, weight: u32) {
        if self.candidate.is_some() && draw <= self.draw && weight <= self.weight {
            return; // costs no less and bears no more: no need to take the logarithm
        }
        let cost = cost(draw);
        let (mine, best) =
            (u64::from(cost) * u64::from(self.weight), u64::from(self.cost) * u64::from(weight));
        // cost / weight < self.cost / self.weight
        if self.candidate.is_none() || mine < best || (mine == best && draw > self.draw) {
            *self = Self { candidate: Some(candidate), draw, weight, cost };
        }
    }
}

/// Candidates in the order of their weights, and of their ids within a weight.
struct Field {
    candidates: Vec<Candidate>,
    groups: Vec<(u32, Range<usize>)>,
}

impl Field {
    /// The best of those that `open` admits. Among equal weights the highest draw is the lowest score, so the logarithm is taken once per
    /// weight and the inner loop has no branch to mispredict.
    #[inline]
    fn best(&self, slot_key: u64, open: impl Fn(usize, &Candidate) -> bool) -> Option<usize> {
        let mut best = Best { candidate: None, draw: 0, weight: 0, cost: 0 };
        for (weight, members) in &self.groups {
            let (mut draw, mut candidate) = (0, usize::MAX);
            for (i, c) in self.candidates[members.clone()].iter().enumerate() {
                let i = members.start + i;
                // 0 is left for those who may not.
                let d = if open(i, c) { mix(c.key.wrapping_add(slot_key)) | 1 } else { 0 };
                (draw, candidate) = if d > draw { (d, i) } else { (draw, candidate) };
            }
            if draw > 0 {
                best.offer(candidate, draw, *weight);
            }
        }
        best.candidate
    }
}

/// Gives every slot whose owner takes no new connections to one that does, [`NOBODY`] when none is left. `order` holds the
/// shares' positions in the order of their ids, which decides between equal scores.
///
/// A slot's heirs are a fixed sequence, whoever is up: first the *deputy*, the best of all configured others that has not yet got its
/// share of this owner's slots; then the others by their scores. The bound makes an owner's heirs as even as Maglev made the owners
/// (bare rendezvous hashing spreads like a draw of lots: the most loaded of 20 with 5 out is often above 1.02 of the mean).
pub(super) fn redeal(seed: u64, owners: &mut [u16], shares: &[Share], order: &[u16]) {
    let mut candidates: Vec<Candidate> = order
        .iter()
        .map(|position| (*position, &shares[usize::from(*position)]))
        .filter(|(_, share)| share.weight > 0)
        .map(|(position, share)| Candidate {
            key: mix(share.id ^ mix(seed ^ 0x7265_6465_616C_5F31)), // "redeal_1"
            weight: share.weight,
            position,
            takes_new: share.takes_new,
        })
        .collect();
    // Stable: by id within a weight. The heaviest first, as it is rarely beaten by a lower draw.
    candidates.sort_by_key(|c| Reverse(c.weight));
    let groups = by_weight(&candidates, |c| c.weight);
    let field = Field { candidates, groups };
    let weight: u64 = field.candidates.iter().map(|c| u64::from(c.weight)).sum();
    let slots_of = owners_slots(owners, shares.len());
    let mut room = vec![0u32; field.candidates.len()];
    for (out, owner) in field.candidates.iter().enumerate().filter(|(_, c)| !c.takes_new) {
        let slots = &slots_of[usize::from(owner.position)];
        let others = (weight - u64::from(owner.weight)).max(1);
        for (room, c) in room.iter_mut().zip(&field.candidates) {
            // Rounded up, and one more where it divides: the sum exceeds the number of slots, so that there is always room.
            *room = (slots.len() as u64 * u64::from(c.weight) / others + 1) as u32;
        }
        room[out] = 0;
        for slot in slots {
            let slot_key = mix(u64::from(*slot).wrapping_add(0x9E37_79B9_7F4A_7C15));
            let deputy = field.best(slot_key, |i, _| room[i] > 0);
            if let Some(deputy) = deputy {
                room[deputy] -= 1;
            }
            owners[*slot as usize] = deputy
                .filter(|deputy| field.candidates[*deputy].takes_new)
                .or_else(|| field.best(slot_key, |_, c| c.takes_new))
                .map_or(NOBODY, |heir| field.candidates[heir].position);
        }
    }
}

/// The slots of each owner, ascending.
fn owners_slots(owners: &[u16], shares: usize) -> Vec<Vec<u32>> {
    let mut slots = vec![Vec::new(); shares];
    for (slot, owner) in owners.iter().enumerate() {
        if let Some(list) = slots.get_mut(usize::from(*owner)) {
            list.push(slot as u32);
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "far below the tolerance")]
    fn the_logarithm_is_within_two_millionths() {
        for i in 1..4000u64 {
            let draw = (mix(i) >> (i % 60)).max(1);
            let exact = 64.0 - (draw as f64).log2();
            let got = f64::from(cost(draw)) / f64::from(1u32 << FRACTION);
            assert!((got - exact).abs() < 2e-6, "{draw}: {got} for {exact}");
        }
    }

    #[test]
    fn a_higher_draw_never_costs_more() {
        let mut last = u32::MAX;
        let octave =
            |e: u32| (0..2048u64).map(move |i| (1 << e) + (((1u128 << e) * u128::from(i)) >> 11) as u64);
        for draw in (0..64).flat_map(octave).chain([u64::MAX]) {
            let c = cost(draw);
            assert!(c <= last, "{draw}");
            last = c;
        }
        assert!(cost(u64::MAX) <= 1);
        assert!(cost(0) >= cost(1));
    }
}
