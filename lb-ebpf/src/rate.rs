//! How many of something in a tick, over all CPUs.

use lb_common::settings::Rate;

use crate::atomic;

/// Counts one more; whether it is among the first `limit` of this tick.
#[inline(always)]
pub fn within(rate: *mut Rate, tick: u16, limit: u64) -> bool {
    let word = rate.cast::<u64>();
    // SAFETY: a valid, aligned map value that is only ever used as one word.
    let seen = unsafe { word.read_volatile() };
    if (seen >> 32) as u16 != tick {
        // Two CPUs may both begin the tick: then one of the first two is not counted.
        // SAFETY: as above.
        unsafe { word.write_volatile(u64::from(tick) << 32 | 1) };
        return limit > 0;
    }
    // Far beyond the limit nothing needs to be counted, and the number cannot grow into the tick.
    if seen & 0xffff_ffff > limit {
        return false;
    }
    // SAFETY: as above.
    let before = unsafe { atomic::fetch_add(word, 1) };
    before & 0xffff_ffff < limit
}

/// Whether one more would be, without counting it.
#[inline(always)]
pub fn left(rate: *mut Rate, tick: u16, limit: u64) -> bool {
    // SAFETY: as above.
    let seen = unsafe { rate.cast::<u64>().read_volatile() };
    let number = if (seen >> 32) as u16 == tick { seen & 0xffff_ffff } else { 0 };
    number < limit
}
