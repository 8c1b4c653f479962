//! Questions to the kernel: tiny programs and maps that are gone again at once. Nothing is attached.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use super::needs::Kind;

/// Commands of bpf(2), from linux/bpf.h.
const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;

const PROG_TYPE_SCHED_CLS: u32 = 3;
const PROG_TYPE_XDP: u32 = 6;
const MAP_TYPE_ARRAY: u32 = 2;
const F_MMAPABLE: u32 = 1 << 10;
const F_XDP_HAS_FRAGS: u32 = 1 << 5;
const TCX_INGRESS: u32 = 46;
/// Every network namespace has it.
const LOOPBACK: u32 = 1;

/// One instruction: operation, registers (destination in the low half), offset, immediate value.
type Instruction = [u8; 8];
/// `r0 = 2` (`XDP_PASS`) and `exit`.
const PASS: [Instruction; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], EXIT];
const EXIT: Instruction = [0x95, 0, 0, 0, 0, 0, 0, 0];
const LICENSE: &[u8] = b"Dual MIT/GPL\0";

/// What the kernel said.
#[derive(Debug)]
pub(super) enum Answer {
    Yes,
    No,
    /// Neither: this process may not ask, or something unrelated failed.
    Unknown(io::Error),
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Answer {
    /// Of a command to which an old kernel answers EINVAL.
    fn of<T>(result: Result<T, io::Error>) -> Self {
        match result {
            Ok(_) => Self::Yes,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Self::No,
            Err(error) => Self::Unknown(error),
        }
    }
}

/// Whether a program can be loaded at all: `Yes` or `Unknown`.
pub(super) fn smallest() -> Answer {
    load(PROG_TYPE_XDP, &PASS, 0, None).map_or_else(Answer::Unknown, |_| Answer::Yes)
}

/// Programs are compiled to machine code.
pub(super) fn is_compiled() -> Answer {
    // struct bpf_prog_info, up to `jited_prog_len` at 16: type, id, tag (8 bytes), length.
    let mut info = [0_u8; 24];
    let asked = load(PROG_TYPE_XDP, &PASS, 0, None).and_then(|program| {
        let mut attributes = Attributes::default();
        attributes.put32(0, program.as_raw_fd().cast_unsigned());
        attributes.put32(4, info.len() as u32);
        attributes.put64(8, info.as_mut_ptr().expose_provenance() as u64);
        attributes.call(OBJ_GET_INFO_BY_FD)
    });
    match asked {
        Ok(_) if info[16..20] == [0; 4] => Answer::No,
        Ok(_) => Answer::Yes,
        Err(error) => Answer::Unknown(error),
    }
}

/// XDP programs for frames of several buffers.
pub(super) fn frags() -> Answer {
    Answer::of(load(PROG_TYPE_XDP, &PASS, F_XDP_HAS_FRAGS, None))
}

/// Links for tc programs: the kernel can be asked which there are.
pub(super) fn tcx() -> Answer {
    let mut attributes = Attributes::default();
    attributes.put32(0, LOOPBACK);
    attributes.put32(4, TCX_INGRESS);
    Answer::of(attributes.call(PROG_QUERY))
}

/// Arrays that a process can map into its memory.
pub(super) fn mapped_arrays() -> Answer {
    let mut attributes = Attributes::default();
    // map_type, key_size, value_size, max_entries, map_flags.
    for (index, value) in [MAP_TYPE_ARRAY, 4, 8, 1, F_MMAPABLE].into_iter().enumerate() {
        attributes.put32(4 * index, value);
    }
    Answer::of(attributes.call(MAP_CREATE).map(own))
}

/// Atomic operations that return the old value.
pub(super) fn atomics() -> Answer {
    let program = [
        [0xb7, 1, 0, 0, 0, 0, 0, 0],             // r1 = 0
        [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0],    // *(u64 *)(r10 - 8) = r1
        [0xdb, 0x1a, 0xf8, 0xff, 0x01, 0, 0, 0], // r1 = atomic_fetch_add((u64 *)(r10 - 8), r1)
        PASS[0],
        EXIT,
    ];
    Answer::of(load(PROG_TYPE_XDP, &program, 0, None))
}

/// Test runs of XDP programs may name the interface a frame came in by.
pub(super) fn test_run_context() -> Answer {
    let program = match load(PROG_TYPE_XDP, &PASS, 0, None) {
        Ok(program) => program,
        Err(error) => return Answer::Unknown(error),
    };
    let frame = [0_u8; 64];
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let context: [u32; 6] = [0, frame.len() as u32, 0, 0, 0, 0];
    let mut attributes = Attributes::default();
    attributes.put32(0, program.as_raw_fd().cast_unsigned());
    attributes.put32(8, frame.len() as u32);
    attributes.put64(16, frame.as_ptr().expose_provenance() as u64);
    attributes.put32(32, 1); // repeat
    attributes.put32(40, size_of_val(&context) as u32);
    attributes.put64(48, context.as_ptr().expose_provenance() as u64);
    Answer::of(attributes.call(PROG_TEST_RUN))
}

/// The helper of this number, in programs of this kind. The call alone is refused in any case, for want of arguments; the log says
/// whether the kernel knew whom.
pub(super) fn helper(kind: Kind, number: u32) -> Answer {
    let [a, b, c, d] = number.to_le_bytes();
    let program = [[0x85, 0, 0, 0, a, b, c, d], EXIT];
    let kind_of_program = match kind {
        Kind::Xdp | Kind::Shared => PROG_TYPE_XDP,
        Kind::Classifier => PROG_TYPE_SCHED_CLS,
    };
    let mut log = vec![0; 4096];
    let result = load(kind_of_program, &program, 0, Some(&mut log));
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let log = String::from_utf8_lossy(&log[..end]);
    // Whoever has no such helper at all, and whoever has it for other types of program.
    let elsewhere = kind != Kind::Shared
        && ["unknown func ", "program of this type cannot use helper"].iter().any(|said| log.contains(said));
    match result {
        _ if log.contains("invalid func ") || elsewhere => Answer::No,
        Err(error) if log.is_empty() => Answer::Unknown(error),
        _ => Answer::Yes,
    }
}

fn load(
    kind: u32,
    program: &[Instruction],
    flags: u32,
    log: Option<&mut [u8]>,
) -> Result<OwnedFd, io::Error> {
    let mut attributes = Attributes::default();
    attributes.put32(0, kind);
    attributes.put32(4, program.len() as u32);
    attributes.put64(8, program.as_ptr().expose_provenance() as u64);
    attributes.put64(16, LICENSE.as_ptr().expose_provenance() as u64);
    if let Some(log) = log {
        attributes.put32(24, 1); // log_level
        attributes.put32(28, log.len() as u32);
        attributes.put64(32, log.as_mut_ptr().expose_provenance() as u64);
    }
    attributes.put32(44, flags);
    attributes.call(PROG_LOAD).map(own)
}

/// What a command made.
fn own(descriptor: i32) -> OwnedFd {
    // SAFETY: the kernel has just returned it from a command that makes a descriptor; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// `union bpf_attr` of linux/bpf.h, zero where nothing is put. Old kernels accept what is longer than theirs as long as it is zero.
#[repr(C, align(8))]
#[derive(Default)]
struct Attributes([u64; 16]);

impl Attributes {
    fn put32(&mut self, at: usize, value: u32) {
        let word = &mut self.0[at / 8];
        let mut bytes = word.to_ne_bytes();
        bytes[at % 8..at % 8 + 4].copy_from_slice(&value.to_ne_bytes());
        *word = u64::from_ne_bytes(bytes);
    }

    fn put64(&mut self, at: usize, value: u64) {
        self.0[at / 8] = value;
    }

    fn call(&mut self, command: libc::c_int) -> Result<i32, io::Error> {
        // SAFETY: the union is zero but for what the command reads, and what its pointers lead to outlives the call, as do the
        // buffers that the kernel fills, which are as long as the union says.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), size_of_val(&self.0)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_ask() -> bool {
        let root = nix::unistd::geteuid().is_root();
        if !root {
            eprintln!("SKIPPED: asking the kernel needs root");
        }
        root
    }

    #[test]
    fn helpers_are_told_apart_by_number_and_by_type_of_program() {
        if !may_ask() {
            return;
        }
        assert_eq!(helper(Kind::Xdp, 1), Answer::Yes); // map_lookup_elem
        assert_eq!(helper(Kind::Xdp, 44), Answer::Yes); // xdp_adjust_head
        assert_eq!(helper(Kind::Classifier, 44), Answer::No);
        assert_eq!(helper(Kind::Shared, 50), Answer::Yes); // skb_adjust_room, which only tc has
        assert_eq!(helper(Kind::Xdp, 50), Answer::No);
        assert_eq!(helper(Kind::Xdp, 9999), Answer::No);
    }

    #[test]
    fn an_unknown_flag_is_a_clear_no() {
        if !may_ask() {
            return;
        }
        assert_eq!(Answer::of(load(PROG_TYPE_XDP, &PASS, 1 << 30, None)), Answer::No);
        assert_eq!(smallest(), Answer::Yes);
        assert_eq!(mapped_arrays(), Answer::Yes);
        assert_eq!(atomics(), Answer::Yes);
        assert_eq!(test_run_context(), Answer::Yes);
    }
}
