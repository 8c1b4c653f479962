//! Tracked flows: who talks to whom, for counting connections and for services whose connections do not follow from a hash.
//!
//! The words and buckets are those of [`crate::pin`], in tables of their own: a flood of tracked services' flows cannot push out what keeps
//! a transition right. A flow is *on probation* until its second packet, then *established*; FIN or RST makes it *closing*.

/// One flow in so many is tracked where only numbers are wanted: those whose hash ends in zeros.
pub const SAMPLE: u64 = 64;

/// Whether a flow is one of the sample.
#[inline(always)]
pub const fn sampled(hash: u64) -> bool {
    hash & (SAMPLE - 1) == 0
}

/// Ticks for which the first fragment of a packet teaches the others.
pub const FRAGMENT_TICKS: u16 = 2;
