//! A kernel map's memory, mapped for reading only: what looks cannot disturb, not even by a defect.

use std::{
    num::NonZeroUsize,
    ptr::NonNull,
    sync::atomic::{AtomicU16, AtomicU64, Ordering::Acquire},
};

use lb_common::pin::{PinBucket, WAYS};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::datapath::{Error, kernel, object::Object};

/// The memory of one map.
#[derive(Debug)]
pub(in crate::datapath) struct View {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is shared with the kernel anyway; every access is an atomic load.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// Maps the array map `name` of `object`.
    pub(in crate::datapath) fn of(object: &Object, name: &str) -> Result<Self, Error> {
        let what = || format!("mapping {name} for reading");
        let bytes = object.bytes(name)?;
        let length = NonZeroUsize::new(bytes)
            .ok_or_else(|| kernel(what(), std::io::Error::other("the map is empty")))?;
        // SAFETY: a fresh shared mapping at an address of the kernel's choice; the kernel refuses a length beyond the map.
        let start = unsafe {
            mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, object.map_fd(name)?, 0)
        }
        .map_err(|e| kernel(what(), e))?;
        Ok(Self { start: start.cast(), bytes })
    }

    /// Number of 64-bit words.
    pub(in crate::datapath) fn words(&self) -> usize {
        self.bytes / 8
    }

    /// The 64-bit word `index`; 0 outside.
    pub(in crate::datapath) fn word(&self, index: usize) -> u64 {
        if index >= self.bytes / 8 {
            return 0;
        }
        // SAFETY: in bounds, aligned (the mapping starts at a page), and only ever loaded atomically.
        unsafe { self.start.cast::<AtomicU64>().add(index).as_ref() }.load(Acquire)
    }

    /// The 16-bit half-word `index`; 0 outside.
    pub(in crate::datapath) fn half(&self, index: usize) -> u16 {
        if index >= self.bytes / 2 {
            return 0;
        }
        // SAFETY: as in `word`.
        unsafe { self.start.cast::<AtomicU16>().add(index).as_ref() }.load(Acquire)
    }

    /// `N` words from word `index` on.
    pub(in crate::datapath) fn take<const N: usize>(&self, index: usize) -> [u64; N] {
        std::array::from_fn(|i| self.word(index + i))
    }

    /// The words of the bucket that a hash leads to, in a table of buckets.
    pub(in crate::datapath) fn bucket(&self, hash: u64) -> [u64; WAYS] {
        let buckets = self.bytes / size_of::<PinBucket>();
        let mask = buckets.next_power_of_two().saturating_sub(1);
        self.take((lb_common::pin::bucket(hash) as usize & mask) * WAYS)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours and nothing borrows from it any more.
        if let Err(e) = unsafe { munmap(self.start.cast(), self.bytes) } {
            tracing::error!(error = %e, bytes = self.bytes, "unmapping a kernel table failed");
        }
    }
}
