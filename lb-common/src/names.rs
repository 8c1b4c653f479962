//! Program and map names: the only spelling of each. Linux keeps 15 characters of a name.

/// The program that forwards.
pub const PROG_LB: &str = "lb_xdp";
/// The same walk without a side effect; reports to [`EXPLAIN`].
pub const PROG_WHERE: &str = "lb_where";
/// Reports the kernel's clock to [`CLOCK`]; never attached.
pub const PROG_CLOCK: &str = "lb_clock";

/// [`PROG_LB`] for frames of several buffers (jumbo).
pub const PROG_LB_FRAGS: &str = "lb_xdp_frags";

/// Passes everything; for the other end of a veth.
pub const PROG_PASS: &str = "lb_pass";
/// [`PROG_PASS`] for frames of several buffers (jumbo).
pub const PROG_PASS_FRAGS: &str = "lb_pass_frags";

/// Sends a check's packets the way of clients' packets (tc, egress).
pub const PROG_PROBE_OUT: &str = "lb_probe_out";
/// Gives the answers their address back (tc, ingress).
pub const PROG_PROBE_IN: &str = "lb_probe_in";

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
/// `PerCpuArray<Events>`: one per service.
pub const SERVICE_EVENTS: &str = "SERVICE_EVENT";
/// `PerCpuArray<Events>`: one per backend.
pub const BACKEND_EVENTS: &str = "BACKEND_EVENT";
/// `Array<Rules>`: one per service.
pub const RULES: &str = "RULES";
/// `Array<SlotLine>`: whose turn it is, per service with a scheduler.
pub const SEQUENCES: &str = "SEQUENCES";
/// `Array<u64>`: how many turns were taken, one per service.
pub const CURSORS: &str = "CURSORS";
/// `Array<Rate>`: new connections, one per service.
pub const CEILINGS: &str = "CEILINGS";
/// `Array<Rate>`: see [`crate::settings::RATES`].
pub const RATES: &str = "RATES";
/// `Array<Settings>` of one.
pub const SETTINGS: &str = "SETTINGS";
/// `Array<PinBucket>`: tracked flows seen by their first packet only.
pub const FLOWS_NEW: &str = "FLOWS_NEW";
/// `Array<PinBucket>`: tracked flows that went on.
pub const FLOWS: &str = "FLOWS";
/// `Array<PinBucket>`: where sticky sources' connections go.
pub const SOURCES: &str = "SOURCES";
/// `Array<PinBucket>`: where the packets go of which a first fragment was seen.
pub const FRAGMENTS: &str = "FRAGMENTS";
/// `LpmTrie<[u32; 2], u32>`: block and allow.
pub const ACCESS4: &str = "ACCESS4";
/// `LpmTrie<[u32; 5], u32>`: block and allow.
pub const ACCESS6: &str = "ACCESS6";
/// `LpmTrie<u32, ShapeList>`: VIP prefixes and VIPs with port ranges.
pub const PREFIXES4: &str = "PREFIXES4";
/// `LpmTrie<[u32; 4], ShapeList>`.
pub const PREFIXES6: &str = "PREFIXES6";
/// `Array<ShapeEntry>`: the lists of [`PREFIXES4`] and [`PREFIXES6`].
pub const SHAPES: &str = "SHAPES";
/// `HashMap<u32, u32>`: QUIC server number in a pool → backend.
pub const SERVER_IDS: &str = "SERVER_IDS";
/// `PerCpuArray<Facts>` of one: what the walk hands to its longer ways.
pub const FACTS: &str = "FACTS";
/// `PerfEventArray`: copies of dropped frames.
pub const CAPTURED: &str = "CAPTURED";
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
/// `Array<Probe>`: where the packets of a check's mark go.
pub const PROBES: &str = "PROBES";
/// `Array<ProbeFlow>`: the check behind a local port.
pub const PROBE_FLOWS: &str = "PROBE_FLOWS";
/// `PerCpuArray<u64>`: packets of checks, by [`crate::probe::ProbeEvent`].
pub const PROBE_COUNTERS: &str = "PROBE_COUNT";
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
    SERVICE_EVENTS,
    BACKEND_EVENTS,
    RULES,
    SEQUENCES,
    CURSORS,
    CEILINGS,
    RATES,
    SETTINGS,
    FLOWS_NEW,
    FLOWS,
    SOURCES,
    FRAGMENTS,
    ACCESS4,
    ACCESS6,
    PREFIXES4,
    PREFIXES6,
    SHAPES,
    SERVER_IDS,
    IDENTITY,
];
