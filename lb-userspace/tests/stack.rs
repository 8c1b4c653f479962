//! The object's stack, counted as Linux 6.1 counts it: 32 bytes at a time, 512 for a function with all that it calls.
//!
//! Newer kernels count by 16, so an object may load here and be refused by one we serve. Needs no privilege and no such kernel.

use std::collections::BTreeMap;

use lb_userspace::datapath::object::OBJECT;

/// `MAX_BPF_STACK` of linux/filter.h.
const MOST: usize = 512;
const ROUNDED_TO: usize = 32;

/// ELF: a symbol table, relocations without addends, and the symbol type of a function.
const SYMTAB: usize = 2;
const REL: usize = 9;
const FUNCTION: usize = 2;

/// eBPF: the frame pointer, and the instructions that matter here.
const FRAME: u8 = 10;
const LOAD_64: u8 = 0x18;
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;
const CALL: u8 = 0x85;
const OWN_FUNCTION: u8 = 1;

/// A function: the deepest byte of its own frame that it touches, and whom it calls.
#[derive(Debug, Default)]
struct Function {
    stack: usize,
    calls: Vec<String>,
}

/// A little-endian number of up to 8 bytes.
fn number(at: usize, length: usize) -> usize {
    OBJECT[at..at + length].iter().rev().fold(0, |n, b| n << 8 | usize::from(*b))
}

fn name(at: usize) -> String {
    OBJECT[at..].iter().take_while(|b| **b != 0).map(|b| char::from(*b)).collect()
}

/// A section's header.
#[derive(Clone, Copy)]
struct Section(usize);

impl Section {
    fn all() -> Vec<Self> {
        (0..number(0x3c, 2)).map(|i| Self(number(0x28, 8) + i * number(0x3a, 2))).collect()
    }

    fn kind(self) -> usize {
        number(self.0 + 4, 4)
    }

    fn start(self) -> usize {
        number(self.0 + 0x18, 8)
    }

    /// Where its entries of `size` bytes begin in the file.
    fn entries(self, size: usize) -> impl Iterator<Item = usize> {
        (self.start()..self.start() + number(self.0 + 0x20, 8)).step_by(size)
    }

    /// The section it refers to, and the one it applies to.
    fn links(self) -> [usize; 2] {
        [number(self.0 + 0x28, 4), number(self.0 + 0x2c, 4)]
    }
}

/// Functions by section and offset: name and length.
fn symbols(sections: &[Section]) -> BTreeMap<(usize, usize), (String, usize)> {
    let mut functions = BTreeMap::new();
    for table in sections.iter().filter(|s| s.kind() == SYMTAB) {
        let names = sections[table.links()[0]].start();
        for symbol in table.entries(24).filter(|symbol| number(*symbol + 4, 1) & 15 == FUNCTION) {
            let place = (number(symbol + 6, 2), number(symbol + 8, 8));
            functions.insert(place, (name(names + number(symbol, 4)), number(symbol + 16, 8)));
        }
    }
    functions
}

/// Section and offset that the call at a place in a section means.
fn targets(sections: &[Section]) -> BTreeMap<(usize, usize), (usize, usize)> {
    let mut targets = BTreeMap::new();
    for table in sections.iter().filter(|s| s.kind() == REL) {
        let [symbols, code] = table.links();
        for entry in table.entries(16) {
            let symbol = sections[symbols].start() + 24 * number(entry + 12, 4);
            // What is added stands in the call itself, in instructions and less one.
            let at = number(entry, 8);
            let added =
                i32::from_le_bytes(OBJECT[sections[code].start() + at + 4..][..4].try_into().unwrap());
            let offset = moved(number(symbol + 8, 8), 8 * (added as isize + 1));
            targets.insert((code, at), (number(symbol + 6, 2), offset));
        }
    }
    targets
}

fn functions() -> BTreeMap<String, Function> {
    let sections = Section::all();
    let (symbols, targets) = (symbols(&sections), targets(&sections));
    let mut functions = BTreeMap::new();
    for (&(section, start), (name, length)) in &symbols {
        let mut function = Function::default();
        let mut at = start;
        while at < start + length {
            let code = &OBJECT[sections[section].start() + at..];
            let [operation, registers] = [code[0], code[1]];
            let (to, from) = (registers & 15, registers >> 4);
            let offset = i16::from_le_bytes([code[2], code[3]]);
            let immediate = |code: &[u8]| i32::from_le_bytes(code[4..8].try_into().unwrap());
            let stored = to == FRAME && matches!(operation & 7, 2 | 3);
            let loaded = from == FRAME && operation & 7 == 1;
            let mut deepest = if stored || loaded { i32::from(offset) } else { 0 };
            // An address on the stack is made of the frame pointer and a constant.
            if operation == MOVE && from == FRAME && code[8] == ADD && code[9] & 15 == to {
                deepest = immediate(&code[8..]);
            }
            function.stack = function.stack.max(deepest.min(0).unsigned_abs() as usize);
            if operation == CALL && from == OWN_FUNCTION {
                let own = (section, moved(at, 8 * (immediate(code) as isize + 1)));
                let target = targets.get(&(section, at)).copied().unwrap_or(own);
                function.calls.push(symbols[&target].0.clone());
            }
            at += if operation == LOAD_64 { 16 } else { 8 };
        }
        functions.insert(name.clone(), function);
    }
    functions
}

/// The deepest chain of calls that begins with a function: its stack, and the names.
fn deepest(functions: &BTreeMap<String, Function>, name: &str) -> (usize, Vec<String>) {
    let function = &functions[name];
    let own = function.stack.max(1).next_multiple_of(ROUNDED_TO);
    let below = function.calls.iter().map(|called| deepest(functions, called)).max().unwrap_or_default();
    let this = format!("{name} ({})", function.stack);
    (own + below.0, std::iter::once(this).chain(below.1).collect())
}

/// A place so many bytes further on, or back. One outside the object is found nowhere.
fn moved(at: usize, by: isize) -> usize {
    at.wrapping_add_signed(by)
}

#[test]
fn every_chain_of_calls_fits_the_stack_of_the_oldest_kernel() {
    let functions = functions();
    let programs: Vec<&String> = functions.keys().filter(|name| name.starts_with("lb_")).collect();
    assert!(programs.len() >= 4, "the object's programs: {programs:?}");
    for program in programs {
        let (stack, chain) = deepest(&functions, program);
        assert!(
            stack <= MOST,
            "{stack} bytes of stack, and old kernels have {MOST}: {}",
            chain.join(" calls ")
        );
    }
}

#[test]
fn a_stack_is_seen_where_there_is_one() {
    let functions = functions();
    let (stack, chain) = deepest(&functions, "lb_xdp");
    assert!(stack > ROUNDED_TO, "{chain:?}");
}
