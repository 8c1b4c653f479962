//! The object against `lb_common`: the same names, the same layout, byte for byte, and nothing else in it.
//!
//! The layout is read from the object's BTF, which the eBPF compiler wrote from its own view of the types. Needs no privilege.

use std::{collections::BTreeMap, mem::offset_of};

use lb_common::{
    backend::Backend,
    counter::{Counters, Events, PinEvent},
    explain::Explain,
    frame::Facts,
    hash::HashKey,
    knobs::Knobs,
    names,
    pin::PinBucket,
    probe::{self, Probe, ProbeEvent, ProbeFlow},
    reason::Reason,
    rules::{self, Rules},
    service::{ServiceBucket4, ServiceBucket6, ServiceEntry4, ServiceEntry6, ServiceRef},
    settings::{RATES, Rate, Settings},
    shape::{ShapeEntry, ShapeList},
    slot::{PoolRange, SlotLine},
};
use lb_userspace::datapath::object::OBJECT;

const HASH: u32 = 1;
const ARRAY: u32 = 2;
const PERF_EVENT_ARRAY: u32 = 4;
const PERCPU_ARRAY: u32 = 6;
const LPM_TRIE: u32 = 11;
const NO_PREALLOC: u32 = 1;
const MMAPABLE: u32 = 1 << 10;
/// ELF: a section without a body in the file.
const NOBITS: usize = 8;

/// A little-endian number of up to 8 bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |n, b| n << 8 | usize::from(*b))
}

/// A string that ends with a zero.
fn string(bytes: &[u8], at: usize) -> String {
    bytes[at..].iter().take_while(|b| **b != 0).map(|b| char::from(*b)).collect()
}

/// A section of a 64-bit ELF file.
#[derive(Clone, Copy)]
struct Section<'o> {
    header: &'o [u8],
    body: &'o [u8],
}

/// Sections by name, in the order of their index too.
fn sections(object: &[u8]) -> Vec<(String, Section<'_>)> {
    assert_eq!(object[..6], [0x7f, b'E', b'L', b'F', 2, 1], "a little-endian 64-bit ELF file");
    let (start, size) = (number(object, 0x28, 8), number(object, 0x3a, 2));
    let all: Vec<Section<'_>> = (0..number(object, 0x3c, 2))
        .map(|i| {
            let header = &object[start + i * size..][..size];
            let (offset, length) = (number(header, 0x18, 8), number(header, 0x20, 8));
            let body = if number(header, 4, 4) == NOBITS { &[][..] } else { &object[offset..][..length] };
            Section { header, body }
        })
        .collect();
    let names = all[number(object, 0x3e, 2)].body;
    all.into_iter().map(|s| (string(names, number(s.header, 0, 4)), s)).collect()
}

fn section<'o>(object: &'o [u8], name: &str) -> (usize, Section<'o>) {
    let found = sections(object).into_iter().enumerate().find(|(_, (n, _))| n == name);
    let (index, (_, section)) = found.unwrap_or_else(|| panic!("the object has no section {name}"));
    (index, section)
}

/// Global functions of a section.
fn functions(object: &[u8], of: &str) -> Vec<String> {
    const GLOBAL_FUNCTION: u8 = 1 << 4 | 2;
    let (index, _) = section(object, of);
    let (_, symbols) = section(object, ".symtab");
    let strings = sections(object)[number(symbols.header, 0x28, 4)].1.body;
    let mut found: Vec<String> = symbols
        .body
        .chunks_exact(24)
        .filter(|s| s[4] == GLOBAL_FUNCTION && number(s, 6, 2) == index)
        .map(|s| string(strings, number(s, 0, 4)))
        .collect();
    found.sort();
    found
}

/// One BTF type: its kind, its size or the type it refers to, and the words that follow.
#[derive(Clone, Debug)]
struct Type {
    name: String,
    kind: usize,
    extent: usize,
    more: Vec<usize>,
    /// Names of a struct's members.
    fields: Vec<String>,
}

/// BTF kinds (linux/btf.h).
mod kind {
    pub(crate) const INT: usize = 1;
    pub(crate) const PTR: usize = 2;
    pub(crate) const ARRAY: usize = 3;
    pub(crate) const STRUCT: usize = 4;
    pub(crate) const VAR: usize = 14;
    pub(crate) const DATASEC: usize = 15;
}

/// The types of an object.
struct Btf(Vec<Type>);

impl Btf {
    fn read(object: &[u8]) -> Self {
        let (_, section) = section(object, ".BTF");
        let b = section.body;
        assert_eq!(number(b, 0, 2), 0xeb9f, "BTF's magic number");
        let header = number(b, 4, 4);
        let part = |at: usize| &b[header + number(b, at, 4)..][..number(b, at + 4, 4)];
        let (types, strings) = (part(8), part(16));
        // Type 0 is `void`.
        let mut all =
            vec![Type { name: "void".to_owned(), kind: 0, extent: 0, more: vec![], fields: vec![] }];
        let mut at = 0;
        while at < types.len() {
            let info = number(types, at + 4, 4);
            let (kind, members) = (info >> 24 & 0x1f, info & 0xffff);
            let words = match kind {
                kind::INT | kind::VAR | 17 => 1,
                kind::ARRAY => 3,
                kind::STRUCT | 5 | kind::DATASEC | 19 => members * 3,
                6 | 13 => members * 2,
                _ => 0,
            };
            let more: Vec<usize> = (0..words).map(|w| number(types, at + 12 + w * 4, 4)).collect();
            let fields = match kind {
                kind::STRUCT => more.chunks_exact(3).map(|m| string(strings, m[0])).collect(),
                _ => Vec::new(),
            };
            all.push(Type {
                name: string(strings, number(types, at, 4)),
                kind,
                extent: number(types, at + 8, 4),
                more,
                fields,
            });
            at += 12 + words * 4;
        }
        Self(all)
    }

    fn named(&self, kind: usize, name: &str) -> &Type {
        let found: Vec<&Type> = self.0.iter().filter(|t| t.kind == kind && t.name == name).collect();
        assert_eq!(found.len(), 1, "types of kind {kind} named {name}");
        found[0]
    }

    /// Members of a struct with their type and offset in bytes.
    fn members(&self, of: &Type) -> Vec<(String, &Type, usize)> {
        assert_eq!(of.kind, kind::STRUCT, "{of:?}");
        let members = of.fields.iter().zip(of.more.chunks_exact(3));
        members.map(|(name, m)| (name.clone(), &self.0[m[1]], m[2] / 8)).collect()
    }

    fn size(&self, of: &Type) -> usize {
        match of.kind {
            kind::INT | kind::STRUCT => of.extent,
            kind::ARRAY => of.more[2] * self.size(&self.0[of.more[0]]),
            other => panic!("no size of kind {other}: {of:?}"),
        }
    }

    fn behind(&self, pointer: &Type) -> &Type {
        assert_eq!(pointer.kind, kind::PTR, "{pointer:?}");
        &self.0[pointer.extent]
    }

    /// Names of the variables in a section, with their types.
    fn variables(&self, section: &str) -> BTreeMap<String, &Type> {
        let section = self.named(kind::DATASEC, section);
        section
            .more
            .chunks_exact(3)
            .map(|v| (self.0[v[0]].name.clone(), &self.0[self.0[v[0]].extent]))
            .collect()
    }
}

/// A type as this side sees it.
struct Layout {
    name: &'static str,
    size: usize,
    fields: Vec<(&'static str, usize, usize)>,
}

fn width<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layout {
    ($t:ident { $($field:tt),* }) => {
        Layout {
            name: stringify!($t),
            size: size_of::<$t>(),
            fields: vec![$((stringify!($field), offset_of!($t, $field), width(|v: &$t| &v.$field))),*],
        }
    };
}

fn layouts() -> Vec<Layout> {
    vec![
        layout!(Backend {
            dst_mac,
            vlan,
            src_mac,
            method,
            flags,
            ifindex,
            mtu,
            gue_port,
            id,
            addr,
            outer_src
        }),
        layout!(Counters { packets, bytes }),
        layout!(Events { syns, fins, resets, retransmits }),
        layout!(Facts {
            src,
            ports,
            proto,
            flags,
            six,
            has_id,
            id,
            reserved,
            packet_id,
            slot_hash,
            remember,
            scratch,
            access
        }),
        layout!(Rate { word }),
        layout!(Rules {
            flags,
            idle,
            sticky,
            mask6,
            mask4,
            ceiling,
            sequence_start,
            sequence_len,
            id_offset,
            id_len,
            reserved
        }),
        layout!(Settings {
            icmp_per_tick,
            frozen,
            prefixes4,
            prefixes6,
            capture_every,
            capture_reasons,
            reserved
        }),
        layout!(ShapeEntry { first, last, proto, reserved, value }),
        layout!(ShapeList { start, len }),
        layout!(Explain { hash, flags, reason, slot, service, pool, cur, base, backend, reserved }),
        layout!(HashKey { add, mul }),
        layout!(Knobs {
            key,
            services4_mask,
            services6_mask,
            probation_mask,
            protected_mask,
            flows_new_mask,
            flows_mask,
            sources_mask,
            fragments_mask,
            tick_shift,
            pin_idle
        }),
        layout!(PinBucket { 0 }),
        layout!(PoolRange { start, len, id }),
        layout!(Probe { to, vip, used, reserved }),
        layout!(ProbeFlow { own, port, probe, last, reserved }),
        layout!(ServiceBucket4 { 0 }),
        layout!(ServiceBucket6 { 0 }),
        layout!(ServiceEntry4 { key, value }),
        layout!(ServiceEntry6 { key, value }),
        layout!(ServiceRef { service, pool, flags }),
        layout!(SlotLine { 0 }),
    ]
}

/// The value type of each map.
const MAPS: &[(&str, &str)] = &[
    (names::SERVICES4, "ServiceBucket4"),
    (names::SERVICES6, "ServiceBucket6"),
    (names::POOLS, "PoolRange"),
    (names::SLOTS, "SlotLine"),
    (names::BASES, "SlotLine"),
    (names::STAMPS, "SlotLine"),
    (names::BEGINS, "SlotLine"),
    (names::BACKENDS, "Backend"),
    (names::PROBATION, "PinBucket"),
    (names::PROTECTED, "PinBucket"),
    (names::SERVICE_COUNTERS, "Counters"),
    (names::BACKEND_COUNTERS, "Counters"),
    (names::REASON_COUNTERS, "u64"),
    (names::PIN_COUNTERS, "u64"),
    (names::SERVICE_EVENTS, "Events"),
    (names::BACKEND_EVENTS, "Events"),
    (names::RULES, "Rules"),
    (names::SEQUENCES, "SlotLine"),
    (names::CURSORS, "u64"),
    (names::CEILINGS, "Rate"),
    (names::RATES, "Rate"),
    (names::SETTINGS, "Settings"),
    (names::FLOWS_NEW, "PinBucket"),
    (names::FLOWS, "PinBucket"),
    (names::SOURCES, "PinBucket"),
    (names::FRAGMENTS, "PinBucket"),
    (names::ACCESS4, "u32"),
    (names::ACCESS6, "u32"),
    (names::PREFIXES4, "ShapeList"),
    (names::PREFIXES6, "ShapeList"),
    (names::SHAPES, "ShapeEntry"),
    (names::SERVER_IDS, "u32"),
    (names::FACTS, "Facts"),
    (names::CAPTURED, "u32"),
    (names::EXPLAIN, "Explain"),
    (names::CLOCK, "u64"),
    (names::IDENTITY, "u64"),
    (names::PROBES, "Probe"),
    (names::PROBE_FLOWS, "ProbeFlow"),
    (names::PROBE_COUNTERS, "u64"),
];

/// Type, flags and size of the key of each map.
fn shape(name: &str) -> (u32, u32, usize) {
    /// Length, then address (and service).
    const fn prefix(data: usize) -> (u32, u32, usize) {
        (LPM_TRIE, NO_PREALLOC, 4 + data)
    }
    match name {
        names::ACCESS4 => prefix(size_of_val(&rules::access4(0, 0))),
        names::ACCESS6 => prefix(size_of_val(&rules::access6(0, [0; 2]))),
        names::PREFIXES4 => prefix(4),
        names::PREFIXES6 => prefix(16),
        names::SERVER_IDS => (HASH, 0, size_of_val(&rules::server_id(0, 0))),
        names::CAPTURED => (PERF_EVENT_ARRAY, 0, 4),
        // Only the CPU's own program looks at these.
        names::FACTS => (PERCPU_ARRAY, 0, 4),
        _ if name.ends_with("_COUNT") || name.ends_with("_EVENT") => (PERCPU_ARRAY, 0, 4),
        _ => (ARRAY, MMAPABLE, 4),
    }
}

/// This binary may have been built where there is no eBPF toolchain; the tests of the data plane then fail for themselves.
fn object() -> Option<&'static [u8]> {
    if OBJECT.is_empty() {
        eprintln!("SKIPPED: this test was built without the eBPF object. Type: cargo xtask setup");
        return None;
    }
    Some(OBJECT)
}

#[test]
fn both_compilers_lay_out_every_shared_type_alike() {
    let Some(object) = object() else { return };
    let btf = Btf::read(object);
    for Layout { name, size, fields } in layouts() {
        let theirs = btf.named(kind::STRUCT, name);
        assert_eq!(btf.size(theirs), size, "size of {name}");
        let theirs: Vec<(String, usize, usize)> =
            btf.members(theirs).into_iter().map(|(n, t, at)| (n, at, btf.size(t))).collect();
        let ours: Vec<(String, usize, usize)> = fields
            .into_iter()
            .map(|(n, at, size)| (if n == "0" { "__0".to_owned() } else { n.to_owned() }, at, size))
            .collect();
        assert_eq!(theirs, ours, "fields of {name} (name, offset, size)");
    }
}

#[test]
fn the_object_has_the_maps_that_are_named_and_no_others() {
    let Some(object) = object() else { return };
    let btf = Btf::read(object);
    let maps = btf.variables(".maps");
    let expected: BTreeMap<&str, &str> = MAPS.iter().copied().collect();
    assert_eq!(maps.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for pinned in names::PINNED_MAPS {
        assert!(expected.contains_key(pinned), "{pinned} is pinned");
    }
    // Only what one process reads at once, or what ends with its sockets, is not pinned.
    let unpinned: Vec<&&str> = expected.keys().filter(|name| !names::PINNED_MAPS.contains(name)).collect();
    assert_eq!(
        unpinned,
        [
            &names::CAPTURED,
            &names::CLOCK,
            &names::EXPLAIN,
            &names::FACTS,
            &names::PROBES,
            &names::PROBE_COUNTERS,
            &names::PROBE_FLOWS
        ]
    );
    for (name, definition) in maps {
        let of: BTreeMap<String, &Type> = btf
            .members(definition)
            .into_iter()
            .map(|(field, pointer, _)| (field, btf.behind(pointer)))
            .collect();
        // A map's number is the length of an array that its definition points to.
        let value_of = |field: &str| of.get(field).map_or(0, |array| array.more[2] as u32);
        let (kind, flags, key) = shape(&name);
        assert_eq!(value_of("type"), kind, "type of {name}");
        assert_eq!(value_of("map_flags"), flags, "flags of {name}");
        assert_eq!(btf.size(of["key"]), key, "key of {name}");
        assert_eq!(of["value"].name, expected[name.as_str()], "value of {name}");
        match name.as_str() {
            names::REASON_COUNTERS => assert_eq!(value_of("max_entries") as usize, Reason::ALL.len()),
            names::PIN_COUNTERS => assert_eq!(value_of("max_entries") as usize, PinEvent::ALL.len()),
            names::EXPLAIN | names::CLOCK | names::IDENTITY | names::FACTS | names::SETTINGS => {
                assert_eq!(value_of("max_entries"), 1);
            }
            names::PROBE_COUNTERS => assert_eq!(value_of("max_entries") as usize, ProbeEvent::ALL.len()),
            names::PROBES => assert_eq!(value_of("max_entries"), probe::PROBES),
            names::PROBE_FLOWS => assert_eq!(value_of("max_entries"), probe::FLOWS),
            names::RATES => assert_eq!(value_of("max_entries"), RATES),
            // As many as there are CPUs.
            names::CAPTURED => assert_eq!(value_of("max_entries"), 0),
            _ => assert!(value_of("max_entries") > 0, "{name}"),
        }
    }
}

#[test]
fn the_object_has_the_programs_that_are_named_and_no_others() {
    let Some(object) = object() else { return };
    let mut expected = [names::PROG_LB, names::PROG_WHERE, names::PROG_CLOCK, names::PROG_PASS];
    expected.sort_unstable();
    assert_eq!(functions(object, "xdp"), expected);
    assert_eq!(functions(object, "xdp.frags"), [names::PROG_PASS_FRAGS, names::PROG_LB_FRAGS]);
    assert_eq!(functions(object, "classifier"), [names::PROG_PROBE_IN, names::PROG_PROBE_OUT]);
    let mut executable: Vec<String> = sections(object)
        .into_iter()
        .filter(|(_, s)| number(s.header, 8, 8) & 4 != 0 && !s.body.is_empty())
        .map(|(name, _)| name)
        .collect();
    // Their order is the linker's.
    executable.sort_unstable();
    assert_eq!(
        executable,
        [".text", "classifier", "xdp", "xdp.frags"],
        "subprograms, XDP programs and those of checks, nothing of another kind"
    );
}

#[test]
fn the_loaders_constants_are_the_objects_only_data() {
    let Some(object) = object() else { return };
    let btf = Btf::read(object);
    let constants = btf.variables(".rodata");
    assert_eq!(constants.keys().collect::<Vec<_>>(), [names::KNOBS]);
    assert_eq!(constants[names::KNOBS].name, "Knobs");
    let (_, data) = section(object, ".rodata");
    assert_eq!(data.body, [0; size_of::<Knobs>()], "no secret and no size is built in");
    for (name, section) in sections(object) {
        let writable = number(section.header, 8, 8) & 1 != 0;
        assert!(!writable || section.body.is_empty(), "{name}: the program has no variables but its maps");
    }
}

#[test]
fn the_licence_lets_the_program_use_the_kernels_helpers() {
    let Some(object) = object() else { return };
    assert_eq!(section(object, "license").1.body, b"Dual MIT/GPL\0");
}

#[test]
fn linux_keeps_every_name_whole() {
    let programs = [
        names::PROG_LB,
        names::PROG_LB_FRAGS,
        names::PROG_WHERE,
        names::PROG_CLOCK,
        names::PROG_PASS,
        names::PROG_PASS_FRAGS,
        names::PROG_PROBE_OUT,
        names::PROG_PROBE_IN,
    ];
    for name in MAPS.iter().map(|(name, _)| *name).chain(programs) {
        assert!(name.len() <= 15, "{name}");
    }
}
