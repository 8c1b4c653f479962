//! Every map. Sizes here are those of a small set-up; the loader sets the configured ones.
//!
//! All but the per-CPU counters are mapped into the daemon, which writes them with plain stores.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, PerCpuArray},
    macros::btf_map,
};
use lb_common::{
    backend::Backend,
    counter::{Counters, PinEvent},
    explain::Explain,
    pin::PinBucket,
    reason::Reason,
    service::{ServiceBucket4, ServiceBucket6},
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
/// Pins of flows that answered. Program writes; a full bucket evicts its oldest pin. Daemon clears.
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
/// Under which key the tables were filled. Daemon writes and reads; no program does.
#[btf_map]
pub static IDENTITY: Array<u64, 1, MAPPED> = Array::new();
/// What the dry run found. Program writes, daemon reads; one caller at a time.
#[btf_map]
pub static EXPLAIN: Array<Explain, 1, MAPPED> = Array::new();
/// The kernel's clock. Program writes.
#[btf_map]
pub static CLOCK: Array<u64, 1, MAPPED> = Array::new();
