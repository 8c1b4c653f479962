//! Broken variants of good files: whatever stands there, the answer is problems and never a panic. `fuzz/` does the same without end.

use super::*;

const EXAMPLE: &str = include_str!("../../../../deploy/lbd.toml");

/// A generator that gives the same numbers each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Parses, and shows what is wrong: showing must not panic either.
fn survive(text: &str) {
    match parse_text(text) {
        Ok(loaded) => assert!(!print(&loaded.config).is_empty()),
        Err(problems) => assert!(!problems.to_string().is_empty(), "{text}"),
    }
}

#[test]
fn a_file_cut_at_any_byte_does_no_harm() {
    for end in 0..BASE.len() {
        survive(&BASE[..end]);
    }
    for end in (0..EXAMPLE.len()).step_by(37) {
        survive(&EXAMPLE[..end]);
    }
}

#[test]
fn changed_bytes_do_no_harm() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let interesting = b"\"[]{}=.#\n\r\0'\\,-+_019eaz \xff\xc3\xa9";
    for round in 0..1_500 {
        let file = if round % 10 == 0 { EXAMPLE } else { BASE };
        let mut bytes = file.as_bytes().to_vec();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(bytes.len());
            match numbers.below(4) {
                0 => bytes[at] ^= 1 << numbers.below(8),
                1 => bytes[at] = interesting[numbers.below(interesting.len())],
                2 => bytes.insert(at, interesting[numbers.below(interesting.len())]),
                _ => {
                    bytes.remove(at);
                }
            }
        }
        survive(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn deep_nesting_and_huge_tokens_do_no_harm() {
    survive(&format!("a = {}", "[".repeat(10_000)));
    survive(&format!("a = {}", "{a=".repeat(10_000)));
    survive(&format!("[{}a]", "a.".repeat(10_000)));
    survive(&"x".repeat(100_000));
    survive(&format!("{BASE}port = {}", "9".repeat(10_000)));
    survive(&format!("{BASE}{} = 1", "k".repeat(10_000)));
    survive("\u{feff}[lbd]\ninterfaces = [\"eth0\"]\n");
}
