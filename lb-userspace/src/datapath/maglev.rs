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

/// A walk through all slots in an order of its own.
struct Walk {
    position: u16,
    at: u32,
    skip: u32,
    /// Time between two turns: inverse to the weight.
    stride: u64,
}

/// Maglev's population: in turns, each takes the next free slot of its own permutation. With weights, a backend's turns come
/// `weight` times as often: it is due at 1/2, 3/2, 5/2 ... of its stride, so that its number of slots is its share rounded to the
/// nearest (Webster's method). With equal weights these are the paper's rounds.
fn deal(seed: u64, shares: &[Share], order: &[u16], slots: u32) -> Vec<u16> {
    let mut owners = vec![NOBODY; slots as usize];
    if slots == 0 {
        return owners;
    }
    let mut walks: Vec<Walk> = order
        .iter()
        .map(|position| (*position, &shares[usize::from(*position)]))
        .filter(|(_, share)| share.weight > 0)
        .map(|(position, share)| {
            let h = mix(share.id ^ mix(seed));
            Walk {
                position,
                at: (h % u64::from(slots)) as u32,
                // Any step but 0 visits all slots, as their number is prime.
                skip: 1 + (mix(h.wrapping_add(0x9E37_79B9_7F4A_7C15)) % u64::from(slots.max(2) - 1)) as u32,
                stride: ((1 << 40) / u64::from(share.weight)).max(2),
            }
        })
        .collect();
    if walks.is_empty() {
        return owners;
    }
    // (when due, index of the walk): the order of ids decides among those due at once.
    let mut due: BinaryHeap<Reverse<(u64, usize)>> =
        walks.iter().enumerate().map(|(i, w)| Reverse((w.stride / 2, i))).collect();
    for _ in 0..slots {
        let Some(mut next) = due.peek_mut() else { break };
        let Reverse((time, i)) = *next;
        let walk = &mut walks[i];
        *next = Reverse((time + walk.stride, i));
        let mut steps = 0;
        while owners[walk.at as usize] != NOBODY {
            walk.step(slots);
            steps += 1;
            if steps == slots {
                // Came round without finding the free slot that there is: `slots` is no prime.
                walk.skip = 1;
            }
        }
        owners[walk.at as usize] = walk.position;
        walk.step(slots);
    }
    owners
}

impl Walk {
    #[inline]
    fn step(&mut self, slots: u32) {
        // Both terms are below `slots`; u64 because `slots` may exceed half of u32.
        let at = u64::from(self.at) + u64::from(self.skip);
        self.at = (if at >= u64::from(slots) { at - u64::from(slots) } else { at }) as u32;
    }
}

#[cfg(test)]
mod tests;
