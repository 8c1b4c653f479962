//! Program and map names: the only spelling of each. Linux keeps 15 characters of a name.

/// The program that forwards.
pub const PROG_LB: &str = "lb_xdp";
/// The same walk without a side effect; reports to [`EXPLAIN`].
pub const PROG_WHERE: &str = "lb_where";
/// Reports the kernel's clock to [`CLOCK`]; never attached.
pub const PROG_CLOCK: &str = "lb_clock";

/// Passes everything; for the other end of a veth.
pub const PROG_PASS: &str = "lb_pass";

/// `Array<ServiceBucket4>`: IPv4 services. Written by the daemon through its mapping.
pub const SERVICES4: &str = "SERVICES4";
/// `Array<ServiceBucket6>`: IPv6 services.
pub const SERVICES6: &str = "SERVICES6";
/// `Array<PoolRange>`: pool index → its range of slots.
pub const POOLS: &str = "POOLS";
/// `Array<SlotLine>`: who gets a slot's new connections.
pub const SLOTS: &str = "SLOTS";
/// `Array<SlotLine>`: who owned a slot when it was last stable; read only while it is in transition.
pub const BASES: &str = "BASES";
/// `Array<SlotLine>`: when a slot in transition last used anything but its `cur`, in ticks.
pub const STAMPS: &str = "STAMPS";
/// `Array<SlotLine>`: when a slot in transition left stability, in ticks: what was pinned before that binds nothing any more.
pub const BEGINS: &str = "BEGINS";
/// `Array<Backend>`: backend index → next hop.
pub const BACKENDS: &str = "BACKENDS";
/// `Array<PinBucket>`: flows seen by their first packet only.
pub const PROBATION: &str = "PROBATION";
/// `Array<PinBucket>`: flows that answered.
pub const PROTECTED: &str = "PROTECTED";
/// `PerCpuArray<Counters>`: one per service.
pub const SERVICE_COUNTERS: &str = "SERVICE_COUNT";
/// `PerCpuArray<Counters>`: one per backend.
pub const BACKEND_COUNTERS: &str = "BACKEND_COUNT";
/// `PerCpuArray<u64>`: packets per [`crate::reason::Reason`].
pub const REASON_COUNTERS: &str = "REASON_COUNT";
/// `PerCpuArray<u64>`: events of the transition machinery, by [`crate::counter::PinEvent`].
pub const PIN_COUNTERS: &str = "PIN_COUNT";
/// `Array<u64>` of one: fingerprint of the flow hash's key under which the tables were filled.
pub const IDENTITY: &str = "IDENTITY";
/// `Array<Explain>` of one: what [`PROG_WHERE`] found.
pub const EXPLAIN: &str = "EXPLAIN";
/// `Array<u64>` of one: what [`PROG_CLOCK`] read (jiffies).
pub const CLOCK: &str = "CLOCK";
/// The constants of [`crate::knobs::Knobs`], set by the loader.
pub const KNOBS: &str = "KNOBS";

/// Every map that is pinned, so that the next daemon finds it.
pub const PINNED_MAPS: &[&str] = &[
    SERVICES4,
    SERVICES6,
    POOLS,
    SLOTS,
    BASES,
    STAMPS,
    BEGINS,
    BACKENDS,
    PROBATION,
    PROTECTED,
    SERVICE_COUNTERS,
    BACKEND_COUNTERS,
    REASON_COUNTERS,
    PIN_COUNTERS,
    IDENTITY,
];
