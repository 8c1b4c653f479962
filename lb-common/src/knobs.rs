//! Constants that the loader writes into the object before the kernel verifies it. The verifier knows their values and removes the code they switch off.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::hash::HashKey;

/// The loader's constants. They change only with the program, never while it runs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Knobs {
    /// Key of the flow hash; the same on every balancer of a cluster.
    pub key: HashKey,
    /// Buckets of `SERVICES4` minus one; a power of two minus one.
    pub services4_mask: u32,
    /// Buckets of `SERVICES6` minus one.
    pub services6_mask: u32,
    /// Buckets of `PROBATION` minus one.
    pub probation_mask: u32,
    /// Buckets of `PROTECTED` minus one.
    pub protected_mask: u32,
    /// Buckets of `FLOWS_NEW` minus one.
    pub flows_new_mask: u32,
    /// Buckets of `FLOWS` minus one.
    pub flows_mask: u32,
    /// Buckets of `SOURCES` minus one.
    pub sources_mask: u32,
    /// Buckets of `FRAGMENTS` minus one.
    pub fragments_mask: u32,
    /// Jiffies to ticks: a tick is `2^tick_shift` jiffies, about a second.
    pub tick_shift: u32,
    /// Ticks after which a pin no longer binds its flow: the longest `idle` of any service.
    pub pin_idle: u32,
}
abi!(Knobs, size = 72, align = 8);
