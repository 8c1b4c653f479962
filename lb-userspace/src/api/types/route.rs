//! Questions about one packet.

use serde::{Deserialize, Serialize};

use super::Protocol;

/// Query of `GET /api/v1/where`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhereQuery {
    /// Source.
    pub src: std::net::SocketAddr,
    /// Destination.
    pub dst: std::net::SocketAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// A connection's first packet.
    pub first: bool,
}
