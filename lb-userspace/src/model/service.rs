//! Services.

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{PoolName, ServiceName};

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// What a UDP packet of an unknown flow does while its slot is in transition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UdpClass {
    /// Every packet is a conversation of its own: always to the slot's new owner.
    #[default]
    Dns,
    /// Packets belong together: for a minute after a slot changed hands, unknown flows stay with its old owner.
    Flow,
}

/// One address of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vip {
    /// The address.
    pub addr: IpAddr,
    /// Port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", std::net::SocketAddr::new(self.addr, self.port), self.protocol)
    }
}

/// A VIP set, a port and a protocol, and the pool that serves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its addresses, at least one, each unicast.
    pub vips: Vec<IpAddr>,
    /// Port, not 0.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Its pool.
    pub pool: PoolName,
    /// UDP only.
    pub udp_class: UdpClass,
    /// A flow without a packet for this long is over. Default 300 s.
    pub idle: Duration,
    /// A drained backend keeps its old flows no longer than this. Default 1 h.
    pub drain_timeout: Duration,
}

impl Service {
    /// Its addresses with port and protocol.
    pub fn endpoints(&self) -> impl Iterator<Item = Vip> + '_ {
        self.vips.iter().map(|addr| Vip { addr: *addr, port: self.port, protocol: self.protocol })
    }
}
