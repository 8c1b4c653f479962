//! Takes a pinned attachment off its interface, at once.
//!
//! Removing the pin alone lets the kernel take the program off some time later, and until then nothing else can be attached there.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// Commands of bpf(2), linux/bpf.h.
const OBJ_GET: libc::c_int = 7;
const LINK_DETACH: libc::c_int = 34;

/// The part of `union bpf_attr` for `BPF_OBJ_GET`.
#[repr(C)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part for `BPF_LINK_DETACH`.
#[repr(C)]
struct LinkDetach {
    link: u32,
}

/// Detaches the link pinned at `pin` and removes the pin.
pub(crate) fn unlink(pin: &Path) -> io::Result<()> {
    let detached = open(pin).and_then(|link| {
        let attr = LinkDetach { link: link.as_raw_fd().cast_unsigned() };
        bpf(LINK_DETACH, &attr).map(drop)
    });
    if let Err(e) = detached {
        // No link, or one whose interface is gone: what matters is that the pin goes.
        tracing::debug!(pin = %pin.display(), error = %e, "not detached by name");
    }
    std::fs::remove_file(pin)
}

fn open(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let fd = bpf(OBJ_GET, &ObjGet { path: path.as_ptr() as u64, fd: 0, flags: 0 })?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<libc::c_int> {
    // SAFETY: the attribute is laid out as the kernel's `union bpf_attr` begins; it and what it points to outlive the call, which only
    // reads them.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attr, size_of::<T>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as libc::c_int) }
}
