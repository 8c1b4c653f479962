//! What a service does with the flows that come to it.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// How a service chooses backends, remembers flows and protects itself. The default is plain Maglev.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What flows that go together have in common.
    pub hash: HashFields,
    /// Which flows are remembered.
    pub tracking: Tracking,
    /// Who gets a new connection. All but Maglev come with [`Tracking::Always`] and the default `hash`.
    pub scheduler: Scheduler,
    /// A flow without a packet for this long is over. 1 s to 4 h, default 5 min.
    pub idle: Duration,
    /// A drained backend keeps its old flows no longer than this. 1 s to 8 h, default 1 h.
    pub drain_timeout: Duration,
    /// Clients come back to the backend that they had.
    pub persistence: Option<Persistence>,
    /// Clients that are refused. A longer prefix in `allow` beats a shorter one here.
    pub block: Vec<IpNet>,
    /// Clients that are served; empty: all.
    pub allow: Vec<IpNet>,
    /// New connections a second, on this host, beyond which further ones are dropped; at least 1. None: no ceiling.
    pub max_new_per_second: Option<u32>,
    /// Where QUIC connection ids name the backend. Only with [`super::UdpClass::Quic`].
    pub quic_id: Option<QuicId>,
}

impl Rules {
    /// Whether all flows of a service with these rules are remembered; `plain_udp`: it has UDP endpoints, and not QUIC. A turn and a source's
    /// stickiness bind a connection, not a slot; and only what is tracked tells a new flow of plain UDP from an old one.
    pub fn tracks(&self, plain_udp: bool) -> bool {
        self.tracking == Tracking::Always
            || self.scheduler != Scheduler::Maglev
            || self.persistence.is_some()
            || (self.max_new_per_second.is_some() && plain_udp)
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            hash: HashFields::default(),
            tracking: Tracking::default(),
            scheduler: Scheduler::default(),
            idle: Duration::from_mins(5),
            drain_timeout: Duration::from_hours(1),
            persistence: None,
            block: Vec::new(),
            allow: Vec::new(),
            max_new_per_second: None,
            quic_id: None,
        }
    }
}

/// The fields of a packet that choose its slot: flows that agree in them go to one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HashFields {
    /// Addresses, ports and protocol: every connection for itself.
    #[default]
    #[serde(rename = "5-tuple")]
    FiveTuple,
    /// The client's address (LVS: `sh`, `mh`).
    #[serde(rename = "source")]
    Source,
    /// The client's address and port (LVS: `sh-port`, `mh-port`).
    #[serde(rename = "source-port")]
    SourcePort,
    /// The destination port alone.
    #[serde(rename = "destination-port")]
    DestinationPort,
}

/// Which flows are remembered one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tracking {
    /// Those that a change of the pool would move, and a sample for the connection counts.
    #[default]
    Auto,
    /// All: exact connection counts, at the price of an entry for each flow.
    Always,
}

/// Who gets a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// The owner of the flow's slot in the pool's table.
    #[default]
    Maglev,
    /// One after the other, whatever their weights.
    Rr,
    /// One after the other, by weight.
    Wrr,
    /// The one with the fewest connections.
    Lc,
    /// The one with the fewest connections for its weight.
    Wlc,
    /// The one that would have the fewest active connections for its weight with this one (shortest expected delay).
    Sed,
}

impl Scheduler {
    /// The word of the config file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Maglev => "maglev",
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Sed => "sed",
        }
    }
}

/// Sticky source: a client's new connections go where its last ones went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Persistence {
    /// How long after its last packet a client is remembered. 1 s to 4 h.
    pub timeout: Duration,
    /// IPv4 clients that share so many leading bits are one. 1 to 32, default 32.
    pub prefix4: u8,
    /// IPv6 clients that share so many leading bits are one. 1 to 128, default 128.
    pub prefix6: u8,
}

/// Where a backend's `server_id` stands in the connection ids that it gives its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QuicId {
    /// Bytes of the connection id before it. 0 to 18.
    pub offset: u8,
    /// Its bytes, the most significant first. 1 or 2.
    pub len: u8,
}
