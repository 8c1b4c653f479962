//! A kernel map's memory, mapped into this process: plain atomic loads and stores, no system calls.

use std::{
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU16, AtomicU64},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::{Error, kernel};

/// The memory of one `BPF_F_MMAPABLE` array map.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is shared with the kernel anyway; every access is atomic.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `entries` values of `value_size` bytes (a multiple of 8) of the map `fd`.
    pub fn map(name: &str, fd: impl AsFd, entries: u32, value_size: u32) -> Result<Self, Error> {
        let bytes = entries as usize * value_size as usize;
        let Some(length) = NonZeroUsize::new(bytes) else {
            return Err(kernel(format!("mapping {name}"), std::io::Error::other("the map is empty")));
        };
        // SAFETY: a fresh shared mapping at an address of the kernel's choice; the kernel refuses a length beyond the map.
        let start = unsafe {
            mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, fd, 0)
        }
        .map_err(|e| kernel(format!("mapping {name}"), e))?;
        Ok(Self { start: start.cast(), bytes })
    }

    /// The 64-bit word `index`.
    ///
    /// # Panics
    /// If it lies outside; callers compute indices from the map's own size.
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.bytes / 8, "word {index} of a region of {} bytes", self.bytes);
        // SAFETY: in bounds, aligned (the mapping starts at a page), and only ever accessed atomically.
        unsafe { self.start.cast::<AtomicU64>().add(index).as_ref() }
    }

    /// The 16-bit half-word `index`.
    ///
    /// # Panics
    /// As [`Self::word`].
    pub fn half(&self, index: usize) -> &AtomicU16 {
        assert!(index < self.bytes / 2, "half-word {index} of a region of {} bytes", self.bytes);
        // SAFETY: as in `word`.
        unsafe { self.start.cast::<AtomicU16>().add(index).as_ref() }
    }

    /// All of it as 64-bit words.
    pub fn all(&self) -> &[AtomicU64] {
        // SAFETY: as in `word`; the mapping lives as long as the borrow.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / 8) }
    }

    /// Number of 64-bit words.
    pub fn words(&self) -> usize {
        self.bytes / 8
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours and nothing borrows from it any more.
        if let Err(e) = unsafe { munmap(self.start.cast(), self.bytes) } {
            tracing::error!(error = %e, bytes = self.bytes, "unmapping a kernel table failed");
        }
    }
}
