//! What the benchmark's driver and its kernel half share. No part of the product.
//!
//! The harness program runs in the kernel's own loop (`BPF_PROG_TEST_RUN` with `repeat`), gives each iteration another flow, undoes what the last
//! one did to the frame, and tail-calls the program under test. Every [`WINDOW`] packets it stores how long they took, so that a preempted window is
//! one outlier among hundreds.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Packets in one measurement.
pub const WINDOW: u64 = 4096;
/// Measurements that are kept.
pub const SAMPLES: u32 = 4096;

/// State of the harness program; the driver writes the first six, the program the others.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Harness {
    /// Flows minus one (a power of two minus one): client address and port come from a number below that.
    pub flow_mask: u64,
    /// Services minus one: added to the destination address.
    pub service_mask: u64,
    /// Destination address (its last four bytes), host order.
    pub service_base: u64,
    /// 0: flows at random, 1: one after the other.
    pub sequential: u64,
    /// TTL or hop limit of each frame.
    pub ttl: u64,
    /// Destination port.
    pub port: u64,
    /// State of the generator.
    pub random: u64,
    /// Packets so far.
    pub iteration: u64,
    /// When the current window began, in ns.
    pub window_start: u64,
    /// Windows finished.
    pub windows: u64,
}
abi!(Harness, size = 80, align = 8);
