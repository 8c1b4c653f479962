//! Services.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Endpoint, PoolName, Ports, Rules, ServiceName};

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

/// The protocols of a service in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocols {
    /// TCP.
    #[default]
    #[serde(rename = "tcp")]
    Tcp,
    /// UDP.
    #[serde(rename = "udp")]
    Udp,
    /// Both.
    #[serde(rename = "tcp+udp")]
    Both,
}

impl Protocols {
    /// The word for a service's protocols.
    pub fn of(protocols: &[Protocol]) -> Self {
        match (protocols.contains(&Protocol::Tcp), protocols.contains(&Protocol::Udp)) {
            (true, true) => Self::Both,
            (false, true) => Self::Udp,
            (_, false) => Self::Tcp,
        }
    }

    /// They themselves.
    pub const fn list(self) -> &'static [Protocol] {
        match self {
            Self::Tcp => &[Protocol::Tcp],
            Self::Udp => &[Protocol::Udp],
            Self::Both => &[Protocol::Tcp, Protocol::Udp],
        }
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Both => "tcp+udp",
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
    /// QUIC: its long headers tell a connection's first packet from later ones, so nothing needs to be guessed.
    Quic,
}

/// Addresses, ports and protocols, and the pool that serves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its addresses, at least one, each unicast, without bits beyond the prefix.
    pub vips: Vec<IpNet>,
    /// Its ports.
    pub ports: Ports,
    /// One protocol, or both.
    pub protocols: Vec<Protocol>,
    /// Its pool.
    pub pool: PoolName,
    /// UDP only.
    pub udp_class: UdpClass,
    /// What it does with flows.
    pub rules: Rules,
}

impl Service {
    /// Its addresses with ports and protocols.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint> + '_ {
        self.vips.iter().flat_map(move |net| {
            let ports = self.ports;
            self.protocols.iter().map(move |protocol| Endpoint { net: *net, ports, protocol: *protocol })
        })
    }
}
