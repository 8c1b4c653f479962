//! Every map. Sizes here are those of a small set-up; the loader sets the configured ones.
//!
//! All but the per-CPU counters are mapped into the daemon, which writes them with plain stores.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, PerfEventByteArray},
    macros::btf_map,
};
use lb_common::{
    backend::Backend,
    counter::{Counters, Events, PinEvent},
    explain::Explain,
    frame::Facts,
    pin::PinBucket,
    probe::{self, Probe, ProbeEvent, ProbeFlow},
    reason::Reason,
    rules::Rules,
    service::{ServiceBucket4, ServiceBucket6},
    settings::{self, Rate, Settings},
    shape::{ShapeEntry, ShapeList},
    slot::{PoolRange, SlotLine},
};

const MAPPED: usize = BPF_F_MMAPABLE as usize;

/// IPv4 services. Daemon writes; a full table is refused by the daemon.
#[btf_map]
pub static SERVICES4: Array<ServiceBucket4, 1024, MAPPED> = Array::new();
/// IPv6 services. Daemon writes; as above.
#[btf_map]
pub static SERVICES6: Array<ServiceBucket6, 1024, MAPPED> = Array::new();
/// Pool → range of slots. Daemon writes.
#[btf_map]
pub static POOLS: Array<PoolRange, 1024, MAPPED> = Array::new();
/// Slots of all pools. Daemon writes.
#[btf_map]
pub static SLOTS: Array<SlotLine, 8192, MAPPED> = Array::new();
/// Bases of all slots; a base is written before its slot's transition bit is set. Daemon writes.
#[btf_map]
pub static BASES: Array<SlotLine, 8192, MAPPED> = Array::new();
/// Last use of anything but `cur`, per slot in transition. Daemon and program write; either may win.
#[btf_map]
pub static STAMPS: Array<SlotLine, 8192, MAPPED> = Array::new();
/// When each slot in transition left stability. Daemon writes, before the slot's transition bit.
#[btf_map]
pub static BEGINS: Array<SlotLine, 8192, MAPPED> = Array::new();
/// Backends. Daemon writes; index 0 is never used.
#[btf_map]
pub static BACKENDS: Array<Backend, 1024, MAPPED> = Array::new();
/// Pins of first packets. Program writes; a full bucket evicts its oldest pin. Daemon clears.
#[btf_map]
pub static PROBATION: Array<PinBucket, 1024, MAPPED> = Array::new();
/// Pins of flows that answered. Program writes; a full bucket takes no other: that flow stays on probation. Daemon clears.
#[btf_map]
pub static PROTECTED: Array<PinBucket, 1024, MAPPED> = Array::new();
/// Per service. Program writes.
#[btf_map]
pub static SERVICE_COUNT: PerCpuArray<Counters, 1024> = PerCpuArray::new();
/// Per backend. Program writes.
#[btf_map]
pub static BACKEND_COUNT: PerCpuArray<Counters, 1024> = PerCpuArray::new();
/// Per reason. Program writes.
#[btf_map]
pub static REASON_COUNT: PerCpuArray<u64, { Reason::ALL.len() }> = PerCpuArray::new();
/// Per event in slots in transition. Program writes.
#[btf_map]
pub static PIN_COUNT: PerCpuArray<u64, { PinEvent::ALL.len() }> = PerCpuArray::new();
/// First and last packets, per service. Program writes.
#[btf_map]
pub static SERVICE_EVENT: PerCpuArray<Events, 1024> = PerCpuArray::new();
/// The same per backend. Program writes.
#[btf_map]
pub static BACKEND_EVENT: PerCpuArray<Events, 1024> = PerCpuArray::new();
/// What a service asks for beyond the plain way. Daemon writes.
#[btf_map]
pub static RULES: Array<Rules, 1024, MAPPED> = Array::new();
/// Whose turn it is, per service with a scheduler. Daemon writes.
#[btf_map]
pub static SEQUENCES: Array<SlotLine, 1024, MAPPED> = Array::new();
/// How many turns a service has handed out. Program writes, all CPUs the same word; daemon reads.
#[btf_map]
pub static CURSORS: Array<u64, 1024, MAPPED> = Array::new();
/// New connections of a service in this tick. Program writes, all CPUs the same word.
#[btf_map]
pub static CEILINGS: Array<Rate, 1024, MAPPED> = Array::new();
/// Other numbers per tick. Program writes, all CPUs the same word.
#[btf_map]
pub static RATES: Array<Rate, { settings::RATES as usize }, MAPPED> = Array::new();
/// What the daemon may change at any time. Daemon writes.
#[btf_map]
pub static SETTINGS: Array<Settings, 1, MAPPED> = Array::new();
/// Tracked flows that have not gone on, or found no room among those that have. Program writes; a full bucket evicts its oldest. Daemon clears.
#[btf_map]
pub static FLOWS_NEW: Array<PinBucket, 1024, MAPPED> = Array::new();
/// Tracked flows that went on. Program writes; a full bucket takes no other. Daemon clears.
#[btf_map]
pub static FLOWS: Array<PinBucket, 1024, MAPPED> = Array::new();
/// Where sticky sources go. Program writes; a full bucket evicts its oldest. Daemon clears.
#[btf_map]
pub static SOURCES: Array<PinBucket, 1024, MAPPED> = Array::new();
/// Packets whose first fragment was seen. Program writes; a full bucket evicts its oldest. They expire by themselves.
#[btf_map]
pub static FRAGMENTS: Array<PinBucket, 1024, MAPPED> = Array::new();
/// Sources that may, or may not, use a service. Daemon writes; a full trie is refused by the daemon.
#[btf_map]
pub static ACCESS4: LpmTrie<[u32; 2], u32, 1024> = LpmTrie::new();
/// The same for IPv6.
#[btf_map]
pub static ACCESS6: LpmTrie<[u32; 5], u32, 1024> = LpmTrie::new();
/// VIP prefixes, and VIPs with port ranges. Daemon writes.
#[btf_map]
pub static PREFIXES4: LpmTrie<u32, ShapeList, 1024> = LpmTrie::new();
/// The same for IPv6.
#[btf_map]
pub static PREFIXES6: LpmTrie<[u32; 4], ShapeList, 1024> = LpmTrie::new();
/// The lists that prefixes lead to. Daemon writes.
#[btf_map]
pub static SHAPES: Array<ShapeEntry, 1024, MAPPED> = Array::new();
/// QUIC server numbers. Daemon writes.
#[btf_map]
pub static SERVER_IDS: HashMap<u32, u32, 1024> = HashMap::new();
/// A packet's facts, for the longer ways. Program only.
#[btf_map]
pub static FACTS: PerCpuArray<Facts, 1> = PerCpuArray::new();
/// Copies of dropped frames. Program writes, daemon reads; a full ring loses copies, never packets.
#[btf_map]
pub static CAPTURED: PerfEventByteArray = PerfEventByteArray::new();
/// Under which key the tables were filled. Daemon writes and reads; no program does.
#[btf_map]
pub static IDENTITY: Array<u64, 1, MAPPED> = Array::new();
/// What the dry run found. Program writes, daemon reads; one caller at a time.
#[btf_map]
pub static EXPLAIN: Array<Explain, 1, MAPPED> = Array::new();
/// The kernel's clock. Program writes.
#[btf_map]
pub static CLOCK: Array<u64, 1, MAPPED> = Array::new();

// Checks on the way of clients' packets: not pinned, as they end with the daemon's sockets.

/// Where the packets of a mark go. Daemon writes; a full table is refused by the daemon.
#[btf_map]
pub static PROBES: Array<Probe, { probe::PROBES as usize }, MAPPED> = Array::new();
/// The check behind a local port. Program writes, daemon clears.
#[btf_map]
pub static PROBE_FLOWS: Array<ProbeFlow, { probe::FLOWS as usize }, MAPPED> = Array::new();
/// Packets of checks, per event. Program writes.
#[btf_map]
pub static PROBE_COUNT: PerCpuArray<u64, { ProbeEvent::ALL.len() }> = PerCpuArray::new();
