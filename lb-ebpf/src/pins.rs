//! Buckets of remembered flows: find, insert. Shared by pins, tracked flows, sticky sources and fragments.

use lb_common::pin::{self, Pin, PinBucket};

use crate::maps::FACTS;

/// Rank of a word that holds nothing, above every age.
const FREE: u32 = 1 << 16;

/// What decides whether a pin is over.
#[derive(Clone, Copy)]
pub struct Life {
    pub now: u16,
    pub idle: u16,
}

/// What became of an insertion.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// There was room.
    Placed,
    /// A living pin had to go.
    Evicted,
    /// All words are living pins that may not go; nothing was written.
    Refused,
}

/// The pin of a flow that is not over, and where it lies.
#[inline(always)]
pub fn find(bucket: *mut PinBucket, tag: u32, life: Life) -> Option<(*mut u64, Pin)> {
    for way in 0..pin::WAYS {
        let word = at(bucket, way);
        // SAFETY: inside a valid map value; whole words are read and written.
        let pin = Pin(unsafe { word.read_volatile() });
        if pin.tag() == tag && !pin.expired(life.now, life.idle) {
            return Some((at(bucket, forgotten(way)?), pin));
        }
    }
    None
}

/// Puts a pin in the place of an older one of the same flow, in a free or expired word, in that of a closing one, or else, with `EVICT`, of
/// the one used longest ago.
#[inline(always)]
pub fn insert<const EVICT: bool>(bucket: *mut PinBucket, new: Pin, life: Life) -> Put {
    let Life { now, idle, .. } = life;
    let mut victim = 0;
    let mut oldest = 0u32;
    for way in 0..pin::WAYS {
        // SAFETY: as in `find`.
        let pin = Pin(unsafe { at(bucket, way).read_volatile() });
        let rank = if pin.tag() == new.tag() {
            FREE + 1
        } else if pin.expired(now, idle) {
            FREE
        } else if pin.closing() {
            FREE - 1
        } else {
            u32::from(pin.age(now)) + 1
        };
        if rank > oldest {
            (victim, oldest) = (way, rank);
        }
    }
    if !EVICT && oldest < FREE - 1 {
        return Put::Refused;
    }
    let Some(victim) = forgotten(victim) else { return Put::Refused };
    store(at(bucket, victim), new);
    if oldest < FREE { Put::Evicted } else { Put::Placed }
}

/// The same number, of which the verifier only knows that it is a way: it would go on with each of the eight on its own.
#[inline(always)]
fn forgotten(way: usize) -> Option<usize> {
    let facts = FACTS.get_ptr_mut(0)?;
    // SAFETY: a valid map value of this CPU.
    unsafe {
        let scratch = &raw mut (*facts).scratch;
        scratch.write_volatile(way as u64);
        Some(scratch.read_volatile() as usize & (pin::WAYS - 1))
    }
}

#[inline(always)]
fn at(bucket: *mut PinBucket, way: usize) -> *mut u64 {
    // SAFETY: `way` is below the number of words in a bucket.
    unsafe { (&raw mut (*bucket).0).cast::<u64>().add(way) }
}

/// Writes a word of a bucket.
#[inline(always)]
pub fn store(word: *mut u64, pin: Pin) {
    // SAFETY: inside a valid map value, aligned: one store, never torn.
    unsafe { word.write_volatile(pin.0) };
}
