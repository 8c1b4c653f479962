//! Pins: flows that must not follow their slot while it is in transition.
//!
//! A bucket is one cache line of eight words; a word is `tag 32 | time 16 | closing 1 | backend 15`, read and written
//! whole, so that all CPUs share one table without a lock. 0 is a free word (backend 0 is nobody).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Words in a bucket.
pub const WAYS: usize = 8;
/// A pin that saw FIN or RST lives this many ticks more, as LVS keeps `FIN_WAIT`: a client may have closed its half of the connection and
/// wait for the answer. Its word is the first to be used for another flow all the same.
pub const CLOSING_TICKS: u16 = 120;
/// A SYN for a flow that was silent for longer is no retransmission (Linux gives up after 127 s) but a new connection from a port used
/// before.
pub const SYN_TICKS: u16 = 128;
/// UDP of the class `flow`: so long after a slot left stability its unknown flows stay with the base. Nothing tells a new flow from an old
/// one there, so this is also how long new ones may still go to a drained backend.
pub const UDP_FLOW_TICKS: u16 = 60;
const CLOSING: u64 = 1 << 15;

/// A cache line of pins.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct PinBucket(pub [u64; WAYS]);
abi!(PinBucket, size = 64, align = 8);

/// One pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pin(pub u64);

impl Pin {
    /// A pin of the flow `tag` to `backend`, last used at `now` (ticks).
    #[inline(always)]
    pub const fn new(tag: u32, now: u16, backend: u16) -> Self {
        Self((tag as u64) << 32 | (now as u64) << 16 | backend as u64)
    }

    /// The flow's tag.
    #[inline(always)]
    pub const fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// When it was last used, in ticks that wrap.
    #[inline(always)]
    pub const fn time(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The backend; 0 for a free word.
    #[inline(always)]
    pub const fn backend(self) -> u16 {
        self.0 as u16 & (CLOSING as u16 - 1)
    }

    /// Whether FIN or RST was seen.
    #[inline(always)]
    pub const fn closing(self) -> bool {
        self.0 & CLOSING != 0
    }

    /// The same pin used at `now`; `closing` is sticky.
    #[inline(always)]
    #[must_use]
    pub const fn touched(self, now: u16, closing: bool) -> Self {
        let closing = if closing { CLOSING } else { 0 };
        Self(self.0 & !(0xffff << 16) | (now as u64) << 16 | closing)
    }

    /// Ticks since it was last used.
    #[inline(always)]
    pub const fn age(self, now: u16) -> u16 {
        now.wrapping_sub(self.time())
    }

    /// Whether it was last used before its slot's present transition began: then its flow, if it lives, was the slot's base's when
    /// that began, and the ports may be another flow's by now.
    #[inline(always)]
    pub const fn predates(self, now: u16, begin: u16) -> bool {
        self.age(now) > now.wrapping_sub(begin)
    }

    /// Whether a packet that opens a connection is a new one, though the pin is of the same addresses and ports.
    #[inline(always)]
    pub const fn reopened(self, now: u16) -> bool {
        self.closing() || self.age(now) > SYN_TICKS
    }

    /// Whether it no longer binds its flow: free, closed for a while, or older than `idle` ticks.
    #[inline(always)]
    pub const fn expired(self, now: u16, idle: u16) -> bool {
        self.0 == 0 || self.age(now) > idle || (self.closing() && self.age(now) > CLOSING_TICKS)
    }
}

/// The bucket of a flow; reduce with the tier's mask. Uses bits that the slot's multiply-shift weighs least.
#[inline(always)]
pub const fn bucket(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// The tag of a flow: the hash's lower half, of which neither slot nor bucket use a bit.
#[inline(always)]
pub const fn tag(hash: u64) -> u32 {
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_overlap() {
        let pin = Pin::new(u32::MAX, 0, 0);
        assert_eq!((pin.tag(), pin.time(), pin.backend(), pin.closing()), (u32::MAX, 0, 0, false));
        let pin = Pin::new(7, u16::MAX, 0x7fff);
        assert_eq!((pin.tag(), pin.time(), pin.backend(), pin.closing()), (7, u16::MAX, 0x7fff, false));
    }

    #[test]
    fn touching_keeps_flow_and_backend_and_never_unsets_closing() {
        let pin = Pin::new(7, 1, 9).touched(5, true).touched(6, false);
        assert_eq!((pin.tag(), pin.time(), pin.backend(), pin.closing()), (7, 6, 9, true));
    }

    #[test]
    fn what_was_pinned_before_a_transition_began_predates_it() {
        let (begin, now) = (u16::MAX - 2, 5);
        assert!(Pin::new(7, begin.wrapping_sub(1), 9).predates(now, begin));
        assert!(!Pin::new(7, begin, 9).predates(now, begin));
        assert!(!Pin::new(7, now, 9).predates(now, begin));
    }

    #[test]
    fn a_first_packet_after_fin_or_long_silence_is_a_new_connection() {
        let pin = Pin::new(7, 100, 9);
        assert!(!pin.reopened(100 + SYN_TICKS));
        assert!(pin.reopened(101 + SYN_TICKS));
        assert!(pin.touched(100, true).reopened(100));
    }

    #[test]
    fn expiry_survives_the_wrap_of_the_clock() {
        let pin = Pin::new(7, u16::MAX - 1, 9);
        assert!(!pin.expired(3, 10));
        assert!(pin.expired(20, 10));
        assert!(pin.touched(u16::MAX - 1, true).expired(CLOSING_TICKS, 300));
        assert!(!pin.touched(u16::MAX - 1, true).expired(CLOSING_TICKS - 2, 300));
        assert!(Pin::default().expired(0, u16::MAX));
    }
}
