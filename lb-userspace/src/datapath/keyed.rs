//! bpf(2) on maps with keys: list, add, remove. aya offers these for key types known at compile time only.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd},
};

/// Commands of bpf(2).
const LOOKUP: libc::c_long = 1;
const UPDATE: libc::c_long = 2;
const DELETE: libc::c_long = 3;
const NEXT_KEY: libc::c_long = 4;

/// The members of `union bpf_attr` that these commands use.
#[repr(C)]
struct Attr {
    map_fd: u32,
    _pad: u32,
    key: u64,
    /// Value, or next key.
    value: u64,
    flags: u64,
}

fn call(command: libc::c_long, fd: &impl AsFd, key: Option<&[u8]>, value: *mut u8) -> io::Result<()> {
    let mut attr = Attr {
        map_fd: fd.as_fd().as_raw_fd().cast_unsigned(),
        _pad: 0,
        key: key.map_or(0, |key| key.as_ptr() as u64),
        value: value as u64,
        flags: 0,
    };
    // SAFETY: the attribute is laid out as the kernel's `union bpf_attr` begins for these commands; `key` is borrowed, and every caller below
    // hands over a `value` that outlives the call and is as large as the map's values or keys.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<Attr>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// All entries of a map with keys of `key` and values of `value` (at most 8) bytes, as numbers.
pub(super) fn entries(fd: &impl AsFd, key: usize, value: usize) -> io::Result<BTreeMap<Vec<u8>, u64>> {
    let mut found = BTreeMap::new();
    let mut at: Option<Vec<u8>> = None;
    loop {
        let mut next = vec![0; key];
        match call(NEXT_KEY, fd, at.as_deref(), next.as_mut_ptr()) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(found),
            other => other?,
        }
        let mut bytes = [0; 8];
        debug_assert!(value <= bytes.len());
        match call(LOOKUP, fd, Some(&next), bytes.as_mut_ptr()) {
            // Gone in between.
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
            other => {
                other?;
                // A walk that comes back to where it was has been overtaken by somebody else's changes.
                if found.insert(next.clone(), u64::from_le_bytes(bytes)).is_some() {
                    return Ok(found);
                }
            }
        }
        at = Some(next);
    }
}

/// Adds or changes an entry.
pub(super) fn put(fd: &impl AsFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut value = value.to_vec();
    call(UPDATE, fd, Some(key), value.as_mut_ptr())
}

/// Removes an entry; one that is not there is no error.
pub(super) fn remove(fd: &impl AsFd, key: &[u8]) -> io::Result<()> {
    match call(DELETE, fd, Some(key), std::ptr::null_mut()) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}
