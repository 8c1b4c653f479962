//! The smallest XDP program: `XDP_PASS`, as an ELF file for `ip link`.
//!
//! The kernel hands frames that a program sends back out of a veth (`XDP_TX`) to the peer only if the peer has a program, too
//! (`veth_xdp_flush` in drivers/net/veth.c). The switch's port towards the balancer gets this one.

/// Section with the program, for `ip link set … xdp obj FILE sec SECTION`.
pub(crate) const SECTION: &str = "xdp";

/// `r0 = XDP_PASS; exit`.
const PROGRAM: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const LICENSE: &[u8] = b"Dual MIT/GPL\0";
const EM_BPF: u16 = 247;

/// The file.
pub(crate) fn object() -> Vec<u8> {
    // Names, at the offsets the section and symbol headers below use: 1 xdp, 5 license, 13 .symtab, 21 .strtab, 29 lab_pass.
    let names = b"\0xdp\0license\0.symtab\0.strtab\0lab_pass\0";
    let mut symbols = vec![0; 24]; // the first symbol is the null one
    symbols.extend(29_u32.to_le_bytes()); // lab_pass
    symbols.extend([0x12, 0]); // STB_GLOBAL, STT_FUNC
    symbols.extend(1_u16.to_le_bytes()); // in section 1
    symbols.extend(0_u64.to_le_bytes()); // at its start
    symbols.extend((PROGRAM.len() as u64).to_le_bytes());

    let mut file = vec![0; 64]; // the header is written last
    let mut place = |content: &[u8]| {
        file.resize(file.len().next_multiple_of(8), 0);
        let offset = file.len() as u64;
        file.extend_from_slice(content);
        (offset, content.len() as u64)
    };
    let program = place(&PROGRAM);
    let license = place(LICENSE);
    let symbols = place(&symbols);
    let strings = place(names);
    let sections = [
        Section::default(),
        Section { name: 1, kind: 1, flags: 6, at: program, ..Section::default() }, // PROGBITS, ALLOC | EXECINSTR
        Section { name: 5, kind: 1, flags: 3, at: license, ..Section::default() }, // PROGBITS, WRITE | ALLOC
        // SYMTAB: names in section 4, one local symbol, entries of 24 bytes.
        Section { name: 13, kind: 2, flags: 0, at: symbols, link: 4, info: 1, entry: 24 },
        Section { name: 21, kind: 3, flags: 0, at: strings, ..Section::default() }, // STRTAB
    ];
    file.resize(file.len().next_multiple_of(8), 0);
    let table = file.len() as u64;
    for section in &sections {
        section.write(&mut file);
    }
    header(table, sections.len() as u16, &mut file);
    file
}

#[derive(Default)]
struct Section {
    name: u32,
    kind: u32,
    flags: u64,
    /// Offset and size in the file.
    at: (u64, u64),
    link: u32,
    info: u32,
    entry: u64,
}

impl Section {
    fn write(&self, file: &mut Vec<u8>) {
        file.extend(self.name.to_le_bytes());
        file.extend(self.kind.to_le_bytes());
        for number in [self.flags, 0, self.at.0, self.at.1] {
            file.extend(number.to_le_bytes());
        }
        file.extend(self.link.to_le_bytes());
        file.extend(self.info.to_le_bytes());
        file.extend(8_u64.to_le_bytes()); // alignment
        file.extend(self.entry.to_le_bytes());
    }
}

/// ELF, 64 bits, little-endian, relocatable, for BPF; sections at `table`, their names in the last one.
fn header(table: u64, sections: u16, file: &mut [u8]) {
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(16, &1_u16.to_le_bytes()); // ET_REL
    put(18, &EM_BPF.to_le_bytes());
    put(20, &1_u32.to_le_bytes());
    put(40, &table.to_le_bytes());
    put(52, &64_u16.to_le_bytes()); // this header
    put(58, &64_u16.to_le_bytes()); // a section's
    put(60, &sections.to_le_bytes());
    put(62, &(sections - 1).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_point_at_program_and_names() {
        let file = object();
        let long = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes")) as usize;
        let table = long(40);
        assert_eq!(file.len(), table + 5 * 64);
        let program = long(table + 64 + 24);
        assert_eq!(file[program..program + 16], PROGRAM);
        let strings = long(table + 4 * 64 + 24);
        assert_eq!(&file[strings + 29..strings + 37], b"lab_pass");
    }
}
