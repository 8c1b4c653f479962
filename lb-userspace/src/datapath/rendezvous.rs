//! Weighted rendezvous hashing: who of several gets a slot, so that taking one away moves only what was its own.
//!
//! Each candidate draws `u` in (0, 1) from a hash of slot and candidate and scores `-log2(u) / weight`; the lowest score wins
//! (Schindelhauer and Schomaker 2005). All in integers: the logarithm comes from a table made at compile time, scores are
//! compared by cross-multiplication, so every machine gets the same owner.

use super::{
    digest::mix,
    maglev::{NOBODY, Share},
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
#[derive(Clone, Copy)]
struct Best {
    candidate: usize,
    draw: u64,
    weight: u32,
    cost: u32,
}

impl Best {
    /// Loses to every candidate.
    const NONE: Self = Self { candidate: usize::MAX, draw: 0, weight: 0, cost: u32::MAX };

    /// Takes the candidate if its score is lower. A lower draw costs no less and a lower weight bears no more: then there is no
    /// need to take the logarithm.
    #[inline]
    fn offer(&mut self, candidate: usize, draw: u64, weight: u32) {
        if draw <= self.draw && weight <= self.weight {
            return;
        }
        let cost = cost(draw);
        // cost / weight < self.cost / self.weight
        if u64::from(cost) * u64::from(self.weight) < u64::from(self.cost.max(1)) * u64::from(weight) {
            *self = Self { candidate, draw, weight, cost };
        }
    }
}

/// Gives every slot whose owner takes no new connections to one that does, [`NOBODY`] when none is left. `order` holds the
/// shares' positions in the order of their ids, which decides between equal scores.
///
/// A slot's heirs are a fixed sequence, whoever is up: first the *deputy*, the best of all configured others that has not yet got its
/// share of this owner's slots; then the others by their scores. The bound makes an owner's heirs as even as Maglev made the owners
/// (bare rendezvous hashing spreads like a draw of lots: the most loaded of 20 with 5 out is often above 1.02 of the mean).
pub(super) fn redeal(seed: u64, owners: &mut [u16], shares: &[Share], order: &[u16]) {
    let candidates: Vec<Candidate> = order
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
    let weight: u64 = candidates.iter().map(|c| u64::from(c.weight)).sum();
    let slots_of = owners_slots(owners, shares.len());
    let mut room = vec![0u32; candidates.len()];
    for out in candidates.iter().filter(|c| !c.takes_new) {
        let slots = &slots_of[usize::from(out.position)];
        let others = (weight - u64::from(out.weight)).max(1);
        for (room, c) in room.iter_mut().zip(&candidates) {
            // Rounded up, and one more where it divides: the sum exceeds the number of slots, so that there is always room.
            *room = (slots.len() as u64 * u64::from(c.weight) / others + 1) as u32;
        }
        for slot in slots {
            let slot_key = mix(u64::from(*slot).wrapping_add(0x9E37_79B9_7F4A_7C15));
            let (mut deputy, mut heir) = (Best::NONE, Best::NONE);
            for (i, c) in candidates.iter().enumerate() {
                if c.position == out.position {
                    continue;
                }
                let draw = mix(c.key.wrapping_add(slot_key));
                if room[i] > 0 {
                    deputy.offer(i, draw, c.weight);
                }
                if c.takes_new {
                    heir.offer(i, draw, c.weight);
                }
            }
            if let Some(room) = room.get_mut(deputy.candidate) {
                *room -= 1;
            }
            owners[*slot as usize] = [deputy, heir]
                .iter()
                .filter_map(|best| candidates.get(best.candidate))
                .find(|c| c.takes_new)
                .map_or(NOBODY, |c| c.position);
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
