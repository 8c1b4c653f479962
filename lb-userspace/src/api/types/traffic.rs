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
}
