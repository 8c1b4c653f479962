//! Who owns which slot: weighted Maglev over the configured backends, then a re-deal of the slots of those that take no new
//! connections.
//!
//! The first step (Eisenbud et al. 2016, section 3.4) does not know who is up, so a health flap moves no slot of a bystander; the
//! second ([`super::rendezvous`]) moves only slots of backends that are out. Pure and in integers: equal input gives
//! equal tables on every machine, in every release (golden vectors below).

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{digest::mix, rendezvous};

/// The owner of a slot that nobody may serve.
pub const NOBODY: u16 = u16::MAX;
/// Most shares one table can be dealt to: a position fits below [`NOBODY`], and below what a slot holds in the kernel.
pub const MAX_SHARES: usize = 32_767;

/// A configured backend's part in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Identity, the same on every balancer; unique within a table.
    pub id: u64,
    /// Relative share; 0 owns nothing.
    pub weight: u32,
    /// Whether new connections may go there.
    pub takes_new: bool,
}

/// Deals `slots` (a prime) and returns each slot's owner as a position in `shares`, or [`NOBODY`]. The order of `shares` changes
/// the positions only. Shares beyond [`MAX_SHARES`] own nothing.
pub fn build(seed: u64, shares: &[Share], slots: u32) -> Vec<u16> {
    let shares = &shares[..shares.len().min(MAX_SHARES)];
    let mut order: Vec<u16> = (0..shares.len() as u16).collect();
    order.sort_unstable_by_key(|position| shares[usize::from(*position)].id);
    let mut owners = deal(seed, shares, &order, slots);
    if shares.iter().any(|s| s.weight > 0 && !s.takes_new) {
        rendezvous::redeal(seed, &mut owners, shares, &order);
    }
    owners
}

/// Shares of one weight, as a range of positions in a list that is sorted by weight.
pub(super) fn by_weight<T>(sorted: &[T], weight: impl Fn(&T) -> u32) -> Vec<(u32, std::ops::Range<usize>)> {
    let mut groups: Vec<(u32, std::ops::Range<usize>)> = Vec::new();
    for (i, item) in sorted.iter().enumerate() {
        match groups.last_mut() {
            Some((w, range)) if *w == weight(item) => range.end = i + 1,
            _ => groups.push((weight(item), i..i + 1)),
        }
    }
    groups
}

/// A walk through all slots in an order of its own.
struct Walk {
    position: u16,
    weight: u32,
    at: u64,
    skip: u64,
}

/// Maglev's population: in turns, each takes the next free slot of its own permutation. With weights, a backend's turns come
/// `weight` times as often: it is due at 1/2, 3/2, 5/2 ... of its stride, so that its number of slots is its share rounded to the
/// nearest (Webster's method). With equal weights these are the paper's rounds.
fn deal(seed: u64, shares: &[Share], order: &[u16], slots: u32) -> Vec<u16> {
    let mut owners = vec![NOBODY; slots as usize];
    if slots == 0 {
        return owners;
    }
    let slots = u64::from(slots);
    let mut walks: Vec<Walk> = order
        .iter()
        .map(|position| (*position, &shares[usize::from(*position)]))
        .filter(|(_, share)| share.weight > 0)
        .map(|(position, share)| {
            let h = mix(share.id ^ mix(seed));
            Walk {
                position,
                weight: share.weight,
                at: h % slots,
                // Any step but 0 visits all slots, as their number is prime.
                skip: 1 + mix(h.wrapping_add(0x9E37_79B9_7F4A_7C15)) % (slots.max(2) - 1),
            }
        })
        .collect();
    walks.sort_by_key(|walk| Reverse(walk.weight)); // stable: by id within a weight
    // Those of one weight are due together; among weights that are due at once the largest goes first.
    let groups = by_weight(&walks, |walk| walk.weight);
    let stride = |weight: u32| ((1u64 << 40) / u64::from(weight)).max(2);
    let mut due: BinaryHeap<Reverse<(u64, usize)>> =
        groups.iter().enumerate().map(|(i, (weight, _))| Reverse((stride(*weight) / 2, i))).collect();
    // One bit a slot fits the first-level cache, the table of owners does not.
    let mut taken = vec![0u64; slots.div_ceil(64) as usize];
    let mut left = slots;
    while let Some(mut next) = due.peek_mut() {
        let Reverse((time, group)) = *next;
        let (weight, members) = groups[group].clone();
        *next = Reverse((time + stride(weight), group));
        for walk in &mut walks[members] {
            if left == 0 {
                return owners;
            }
            left -= 1;
            owners[walk.take(&mut taken, slots)] = walk.position;
        }
    }
    owners
}

impl Walk {
    /// Takes the next free slot; there is one.
    #[inline]
    fn take(&mut self, taken: &mut [u64], slots: u64) -> usize {
        let mut steps = 0;
        loop {
            let at = self.at;
            self.at += self.skip;
            if self.at >= slots {
                self.at -= slots;
            }
            let word = &mut taken[(at / 64) as usize];
            let bit = 1 << (at % 64);
            if *word & bit == 0 {
                *word |= bit;
                return at as usize;
            }
            steps += 1;
            if steps == slots {
                // Came round without finding the free slot that there is: the number of slots is no prime.
                self.skip = 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
