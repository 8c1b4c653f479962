//! The only place where a packet's bytes become a reference.

use core::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::reason::Reason;

/// Walks a packet front to back, never past its end.
///
/// Headers taken from one cursor never overlap, so they may all be borrowed mutably at once.
#[derive(Debug)]
pub struct Cursor<'p> {
    at: *mut u8,
    end: *mut u8,
    packet: PhantomData<&'p mut [u8]>,
}

impl<'p> Cursor<'p> {
    /// Starts at the first byte of `packet`.
    pub fn new(packet: &'p mut [u8]) -> Self {
        let range = packet.as_mut_ptr_range();
        Self { at: range.start, end: range.end, packet: PhantomData }
    }

    /// Starts at `start`.
    ///
    /// # Safety
    /// `start..end` is one readable and writable region that nothing else uses during `'p`. In the kernel the verifier
    /// checks that: the two must be the context's `data` and `data_end`.
    #[inline(always)]
    pub const unsafe fn from_raw(start: *mut u8, end: *mut u8) -> Self {
        Self { at: start, end, packet: PhantomData }
    }

    /// Returns the next header and moves past it, or says that the packet ends before it does.
    #[inline(always)]
    pub fn take<H: FromBytes + IntoBytes + Immutable + KnownLayout>(&mut self) -> Result<&'p mut H, Reason> {
        const { assert!(align_of::<H>() == 1, "packet headers are unaligned") };
        let header = self.at;
        self.skip(size_of::<H>())?;
        // SAFETY: in bounds (checked by `skip`), alignment 1, any bytes are a valid `H`, and as the cursor only moves
        // forward no two references overlap.
        Ok(unsafe { &mut *header.cast::<H>() })
    }

    /// Copies the next header and stays before it.
    #[inline(always)]
    pub fn peek<H: FromBytes + Immutable + KnownLayout + Copy>(&self) -> Result<H, Reason> {
        const { assert!(align_of::<H>() == 1, "packet headers are unaligned") };
        if self.at.wrapping_add(size_of::<H>()) > self.end {
            return Err(Reason::Truncated);
        }
        // SAFETY: in bounds (checked above), alignment 1, any bytes are a valid `H`; nobody else has a reference to what is ahead.
        Ok(unsafe { *self.at.cast::<H>() })
    }

    /// Moves past `bytes` bytes.
    #[inline(always)]
    pub fn skip(&mut self, bytes: usize) -> Result<(), Reason> {
        let next = self.at.wrapping_add(bytes);
        if next > self.end {
            return Err(Reason::Truncated);
        }
        self.at = next;
        Ok(())
    }

    /// Bytes left.
    #[inline(always)]
    pub fn remaining(&self) -> usize {
        (self.end as usize).saturating_sub(self.at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_exactly_what_is_there() {
        let mut bytes = [1u8, 2, 3, 4, 5];
        let mut cursor = Cursor::new(&mut bytes);
        let a = cursor.take::<[u8; 2]>().unwrap();
        let b = cursor.take::<[u8; 3]>().unwrap();
        a[0] = 9;
        assert_eq!((*a, *b, cursor.remaining()), ([9, 2], [3, 4, 5], 0));
        assert_eq!(cursor.take::<[u8; 1]>(), Err(Reason::Truncated));
        assert_eq!(cursor.take::<[u8; 0]>().map(|h| *h), Ok([]));
    }

    #[test]
    fn a_look_ahead_does_not_move() {
        let mut bytes = [1u8, 2];
        let mut cursor = Cursor::new(&mut bytes);
        assert_eq!(cursor.peek::<[u8; 2]>(), Ok([1, 2]));
        assert_eq!(cursor.peek::<[u8; 3]>(), Err(Reason::Truncated));
        assert_eq!(cursor.take::<[u8; 2]>().map(|h| *h), Ok([1, 2]));
    }

    #[test]
    fn a_failed_take_does_not_move() {
        let mut bytes = [1u8, 2];
        let mut cursor = Cursor::new(&mut bytes);
        assert!(cursor.take::<[u8; 3]>().is_err());
        assert_eq!(cursor.take::<[u8; 2]>().map(|h| *h), Ok([1, 2]));
    }
}
