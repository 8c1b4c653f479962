//! What the benchmark's driver and its kernel half share. No part of the product.
//!
//! The harness program runs in the kernel's own loop (`BPF_PROG_TEST_RUN` with `repeat`), gives each iteration another flow, undoes what the last
//! one did to the frame, and tail-calls the program under test. Every [`WINDOW`] packets it stores how long they took, so that a preempted window is
//! one outlier among hundreds. Its other form makes live frames, which leave by a veth, meet the program under test there and come back.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Packets in one measurement.
pub const WINDOW: u64 = 4096;
/// Measurements that are kept.
pub const SAMPLES: u32 = 4096;
/// A flood's flows: as many as fit client address and port, so that one seldom comes twice.
pub const FLOOD_FLOWS: u64 = 1 << 26;

/// What the driver writes before a run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Settings {
    /// Flows minus one (a power of two minus one): client address and port come from a number below that.
    pub flow_mask: u64,
    /// Services minus one (likewise): these bits of the flow's number are added to the destination address.
    pub service_mask: u64,
    /// Destination address (its last four bytes), host order.
    pub service_base: u64,
    /// 0: flows at random, 1: one after the other.
    pub sequential: u64,
    /// TTL or hop limit of each frame.
    pub ttl: u64,
    /// Destination port.
    pub port: u64,
    /// TCP flags of each frame.
    pub flags: u64,
    /// 0: no flood; else every packet whose number has none of these bits is an ordinary one, and the others open new connections.
    pub flood: u64,
    /// Bytes of the frame.
    pub len: u64,
    /// Its first eight bytes.
    pub link_low: u64,
    /// Its next six.
    pub link_high: u64,
    /// What becomes of a live frame: an XDP action.
    pub action: u64,
}

/// Settings and state of the harness program. The driver writes all of it before a run, the program the state.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Harness {
    /// The case.
    pub settings: Settings,
    /// State of the generator.
    pub random: u64,
    /// Packets so far.
    pub iteration: u64,
    /// When the current window began, in ns.
    pub window_start: u64,
    /// Windows finished.
    pub windows: u64,
    /// Live frames that came back.
    pub returned: u64,
}
abi!(Harness, size = 136, align = 8);
