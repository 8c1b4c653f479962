//! What the object's instructions ask of a kernel, read from the object itself, so that no list has to be kept up. Pure.

use std::collections::BTreeSet;

/// `BPF_JMP | BPF_CALL` of linux/bpf.h, and the source register that makes it a helper's number.
const CALL: u8 = 0x85;
const HELPER: u8 = 0;
/// `BPF_STX | BPF_ATOMIC`, with 8 and 4 bytes.
const ATOMIC: [u8; 2] = [0xdb, 0xc3];
/// The one atomic operation of old: add, without the old value.
const PLAIN_ADD: i32 = 0;
/// `BPF_LD | BPF_IMM | BPF_DW` takes two instructions' room.
const LOAD_64: u8 = 0x18;
const INSTRUCTION: usize = 8;

/// ELF: `SHT_PROGBITS` and `SHF_EXECINSTR`.
const PROGBITS: usize = 1;
const EXECUTABLE: usize = 4;

/// Where code runs. Each type of program has its own set of helpers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Xdp,
    Classifier,
    /// A function that programs of either type may call.
    Shared,
}

/// What code needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Helpers by number.
    pub(super) helpers: BTreeSet<(Kind, u32)>,
    /// Atomic operations other than a plain addition.
    pub(super) atomics: bool,
}

impl Needs {
    /// Of a 64-bit little-endian ELF file; `None` if it is not one.
    pub(super) fn of(object: &[u8]) -> Option<Self> {
        if object.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let (table, size) = (number(object, 0x28, 8)?, number(object, 0x3a, 2)?);
        let header = |index: usize| object.get(table.checked_add(index.checked_mul(size)?)?..)?.get(..size);
        let names = body(object, header(number(object, 0x3e, 2)?)?)?;
        let mut needs = Self::default();
        for index in 0..number(object, 0x3c, 2)? {
            let header = header(index)?;
            if number(header, 4, 4)? == PROGBITS && number(header, 8, 8)? & EXECUTABLE != 0 {
                let name = names.get(number(header, 0, 4)?..)?.split(|byte| *byte == 0).next()?;
                needs.add(kind(name), body(object, header)?);
            }
        }
        Some(needs)
    }

    fn add(&mut self, kind: Kind, code: &[u8]) {
        let mut instructions = code.chunks_exact(INSTRUCTION);
        while let Some(instruction) = instructions.next() {
            let (operation, source) = (instruction[0], instruction[1] >> 4);
            let immediate = i32::from_le_bytes([4, 5, 6, 7].map(|at| instruction[at]));
            match operation {
                CALL if source == HELPER => {
                    self.helpers.insert((kind, immediate.cast_unsigned()));
                }
                LOAD_64 => _ = instructions.next(),
                _ if ATOMIC.contains(&operation) => self.atomics |= immediate != PLAIN_ADD,
                _ => {}
            }
        }
    }
}

fn kind(section: &[u8]) -> Kind {
    if section.starts_with(b"xdp") {
        Kind::Xdp
    } else if section.starts_with(b"classifier") || section.starts_with(b"tc") {
        Kind::Classifier
    } else {
        Kind::Shared
    }
}

/// A little-endian number of up to 8 bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(field.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte)))
}

/// The content of the section with this header.
fn body<'o>(object: &'o [u8], header: &[u8]) -> Option<&'o [u8]> {
    object.get(number(header, 0x18, 8)?..)?.get(..number(header, 0x20, 8)?)
}

/// A helper's name and the version of Linux that brought it to XDP.
pub(super) fn helper(number: u32) -> (String, Option<(u32, u32)>) {
    let known = match number {
        1 => ("map_lookup_elem", (3, 18)),
        5 => ("ktime_get_ns", (4, 1)),
        7 => ("get_prandom_u32", (4, 1)),
        8 => ("get_smp_processor_id", (4, 1)),
        9 => ("skb_store_bytes", (4, 1)),
        10 => ("l3_csum_replace", (4, 1)),
        11 => ("l4_csum_replace", (4, 1)),
        12 => ("tail_call", (4, 2)),
        18 => ("skb_vlan_push", (4, 3)),
        19 => ("skb_vlan_pop", (4, 3)),
        23 => ("redirect", (4, 4)),
        25 => ("perf_event_output", (4, 4)),
        26 => ("skb_load_bytes", (4, 5)),
        28 => ("csum_diff", (4, 6)),
        39 => ("skb_pull_data", (4, 9)),
        44 => ("xdp_adjust_head", (4, 10)),
        50 => ("skb_adjust_room", (4, 13)),
        51 => ("redirect_map", (4, 14)),
        54 => ("xdp_adjust_meta", (4, 15)),
        65 => ("xdp_adjust_tail", (4, 18)),
        69 => ("fib_lookup", (4, 18)),
        118 => ("jiffies64", (5, 6)),
        125 => ("ktime_get_boot_ns", (5, 8)),
        130..=133 => ("ringbuf", (5, 8)),
        152 => ("redirect_neigh", (5, 10)),
        160 => ("ktime_get_coarse_ns", (5, 11)),
        163 => ("check_mtu", (5, 12)),
        181 => ("loop", (5, 17)),
        188 => ("xdp_get_buff_len", (5, 18)),
        189 => ("xdp_load_bytes", (5, 18)),
        190 => ("xdp_store_bytes", (5, 18)),
        195 => ("map_lookup_percpu_elem", (5, 19)),
        _ => return (format!("number {number}"), None),
    };
    (format!("bpf_{}", known.0), Some(known.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::object::OBJECT;

    #[test]
    fn the_objects_own_helpers_are_found() {
        let needs = Needs::of(OBJECT).expect("an ELF file");
        assert!(needs.helpers.contains(&(Kind::Xdp, 1)), "{needs:?}");
        for (_, number) in &needs.helpers {
            assert!(helper(*number).1.is_some(), "helper {number} needs a name and a version in this file");
        }
    }

    #[test]
    fn what_is_cut_or_something_else_is_refused_without_a_panic() {
        assert_eq!(Needs::of(b"\x7fELF\x02\x02"), None);
        for end in 0..OBJECT.len().min(4096) {
            assert_eq!(Needs::of(&OBJECT[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn calls_of_own_functions_and_the_halves_of_long_constants_are_no_helpers() {
        let mut needs = Needs::default();
        let code = [
            [CALL, 0x10, 0, 0, 9, 0, 0, 0],
            [LOAD_64, 0, 0, 0, 1, 0, 0, 0],
            [CALL, 0, 0, 0, 7, 0, 0, 0],
            [ATOMIC[0], 0, 0, 0, 0, 0, 0, 0],
            [CALL, 0, 0, 0, 5, 0, 0, 0],
        ];
        needs.add(Kind::Xdp, code.as_flattened());
        assert_eq!(needs, Needs { helpers: [(Kind::Xdp, 5)].into(), atomics: false });
        needs.add(Kind::Shared, &[ATOMIC[1], 0, 0, 0, 1, 0, 0, 0]);
        assert!(needs.atomics);
    }
}
