//! Per-CPU counters, many per system call.

use std::os::fd::{AsFd, AsRawFd};

use zerocopy::FromBytes;

use super::{Error, kernel};

/// `BPF_MAP_LOOKUP_BATCH` of bpf(2); per-CPU arrays since Linux 5.13.
const LOOKUP_BATCH: libc::c_long = 24;
/// Elements per call.
const BATCH: u32 = 4096;

/// The `batch` member of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The first `wanted` elements of a per-CPU array, each summed over CPUs word by word. `T` is made of `u64`s only.
pub fn read<T: FromBytes>(
    name: &str,
    fd: &impl AsFd,
    wanted: u32,
    sum: impl Fn(&mut T, &T),
) -> Result<Vec<T>, Error> {
    let cpus = aya::util::nr_cpus().map_err(|(what, e)| kernel(format!("counting CPUs ({what})"), e))?;
    let stride = size_of::<T>().next_multiple_of(8);
    let mut out = Vec::with_capacity(wanted as usize);
    let batch = BATCH.min(wanted).max(1);
    let mut keys = vec![0u32; batch as usize];
    let mut values = vec![0u8; batch as usize * stride * cpus];
    let (mut cursor, mut next) = (0u32, 0u32);
    while (out.len() as u32) < wanted {
        let mut attr = BatchAttr {
            in_batch: if out.is_empty() { 0 } else { &raw const cursor as u64 },
            out_batch: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: batch,
            map_fd: fd.as_fd().as_raw_fd().cast_unsigned(),
            ..BatchAttr::default()
        };
        // SAFETY: the attribute is laid out as the kernel's `union bpf_attr` begins, and every pointer in it is to a buffer that
        // outlives the call and holds `count` elements.
        let done =
            unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut attr, size_of::<BatchAttr>()) };
        let end = if done < 0 {
            let e = std::io::Error::last_os_error();
            if e.raw_os_error() != Some(libc::ENOENT) {
                return Err(kernel(format!("reading the counters {name} (needs Linux 5.13 or newer)"), e));
            }
            true
        } else {
            false
        };
        for element in values.chunks_exact(stride * cpus).take(attr.count as usize) {
            let mut total: Option<T> = None;
            for cpu in element.chunks_exact(stride) {
                let Ok((value, _)) = T::read_from_prefix(cpu) else {
                    continue;
                };
                match &mut total {
                    None => total = Some(value),
                    Some(t) => sum(t, &value),
                }
            }
            out.extend(total);
        }
        if end || attr.count == 0 {
            break;
        }
        cursor = next;
    }
    out.truncate(wanted as usize);
    Ok(out)
}
