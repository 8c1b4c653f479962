//! What was counted of a service or a backend.

use serde::{Deserialize, Serialize};

/// Counters since the tables were made; they survive restarts of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded.
    pub bytes: u64,
    /// TCP connection attempts (SYN).
    pub connections: u64,
    /// TCP packets with FIN or RST.
    pub closes: u64,
    /// Those of them with RST.
    #[serde(default)]
    pub resets: u64,
    /// Connection attempts that were repeated because nothing answered; of backends only, and only of tracked flows: all where
    /// connections are exact, else one in 64.
    #[serde(default)]
    pub retransmits: u64,
}
