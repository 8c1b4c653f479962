//! What is counted, per CPU, without atomics.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What every packet of one service or one backend adds to; short, so that the counters of thousands stay in the cache. They wrap like
/// any 64-bit counter, i.e. never.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Counters {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded, from the Ethernet header on.
    pub bytes: u64,
}
abi!(Counters, size = 16, align = 8);

/// What only a connection's first and last packets add to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Events {
    /// First packets (SYN without ACK; QUIC Initial and 0-RTT): connection attempts, retransmissions included.
    pub syns: u64,
    /// Packets with FIN and without RST.
    pub fins: u64,
    /// Packets with RST.
    pub resets: u64,
    /// First packets of a *tracked* flow that was there already and had not answered: its host is slow or refuses. Only flows that are tracked
    /// are seen: all of a service with `tracking = "always"`, else one in [`crate::flow::SAMPLE`].
    pub retransmits: u64,
}
abi!(Events, size = 32, align = 8);

labelled! {
    /// What happens to remembered flows. The number is the counter's index.
    PinEvent {
        /// A first packet was pinned to the slot's new backend.
        Pinned "pinned";
        /// A pinned flow answered and moved to the protected tier.
        Promoted "promoted";
        /// A pin decided.
        Hit "hit";
        /// No pin: an older flow stayed with the slot's base.
        Base "base";
        /// A pin of a flow that had not answered made room for another one.
        Evicted "evicted";
        /// More new flows than the probation tier holds: a first packet stayed with the slot's base, unpinned.
        Frozen "frozen";
        /// A bucket of flows that had answered was full of living ones: another flow stayed on probation.
        Crowded "crowded";
        /// A tracked flow was seen for the first time.
        Tracked "tracked";
        /// A living tracked flow was forgotten for want of room.
        TrackedEvicted "tracked_evicted";
        /// A source's stickiness decided.
        Sticky "sticky";
        /// A connection id decided.
        ById "connection_id";
        /// A fragment followed its first.
        FragmentFollowed "fragment_followed";
        /// An ICMP error was delivered to the owner of the flow it quotes.
        IcmpDelivered "icmp_delivered";
    }
}
