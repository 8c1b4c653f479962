//! Where clients connect to: prefixes, ports, protocols.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Protocol;

/// A prefix as people write it: one of a single address is written as that address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Net(pub IpNet);

impl Net {
    /// The address, when it is only one.
    pub fn single(&self) -> Option<IpAddr> {
        (self.0.prefix_len() == self.0.max_prefix_len()).then(|| self.0.addr())
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(addr) => addr.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Neither an address nor a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an IP address nor a prefix")]
pub struct NetError(pub String);

impl FromStr for Net {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_| NetError(text.chars().take(60).collect()))
    }
}

impl Serialize for Net {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Ports of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// This one; not 0.
    One(u16),
    /// From the first to the last, both included; the first is not 0 and smaller than the last.
    Range(u16, u16),
    /// Every port.
    All,
}

impl Ports {
    /// First and last port.
    pub const fn bounds(self) -> (u16, u16) {
        match self {
            Self::One(port) => (port, port),
            Self::Range(first, last) => (first, last),
            Self::All => (0, u16::MAX),
        }
    }

    /// Whether a port is one of them.
    pub const fn contains(self, port: u16) -> bool {
        let (first, last) = self.bounds();
        first <= port && port <= last
    }

    /// The port, when it is only one.
    pub const fn single(self) -> Option<u16> {
        match self {
            Self::One(port) => Some(port),
            Self::Range(..) | Self::All => None,
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(port) => port.fmt(f),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::All => f.write_str("all"),
        }
    }
}

/// Neither a port, nor a range of ports, nor all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a port from 1 to 65535, nor a range such as `8000-8099`, nor `all`")]
pub struct PortsError(pub String);

impl FromStr for Ports {
    type Err = PortsError;
    fn from_str(text: &str) -> Result<Self, PortsError> {
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
        let ports = match text.split_once('-') {
            _ if text == "all" => Some(Self::All),
            None => port(text).map(Self::One),
            Some((first, last)) => {
                let range = port(first).zip(port(last)).filter(|(first, last)| first < last);
                range.map(|(first, last)| Self::Range(first, last))
            }
        };
        ports.ok_or_else(|| PortsError(text.chars().take(60).collect()))
    }
}

/// One port as a number, several as a text.
impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(port) => serializer.serialize_u16(*port),
            Self::Range(..) | Self::All => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u16),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(port) => Ok(Self::One(port)),
            Written::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

/// One way into a service. Of several that a packet fits, the longest prefix wins, and of those one port before a range before all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The addresses; no bits beyond the prefix.
    pub net: IpNet,
    /// The ports.
    pub ports: Ports,
    /// The protocol.
    pub protocol: Protocol,
}

impl Endpoint {
    /// Whether a packet to this address, port and protocol fits.
    pub fn contains(&self, vip: &Vip) -> bool {
        self.protocol == vip.protocol && self.ports.contains(vip.port) && self.net.contains(&vip.addr)
    }

    /// The address, port and protocol, when it is only one of each.
    pub fn single(&self) -> Option<Vip> {
        let (addr, port) = Net(self.net).single().zip(self.ports.single())?;
        Some(Vip { addr, port, protocol: self.protocol })
    }
}

impl From<Vip> for Endpoint {
    fn from(vip: Vip) -> Self {
        Self { net: vip.addr.into(), ports: Ports::One(vip.port), protocol: vip.protocol }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", place(&Net(self.net), self.ports), self.protocol)
    }
}

/// Addresses and ports as one text: `203.0.113.10:80`, `[2001:db8::/64]:8000-8099`.
pub fn place(net: &Net, ports: Ports) -> String {
    match net.0 {
        IpNet::V4(_) => format!("{net}:{ports}"),
        IpNet::V6(_) => format!("[{net}]:{ports}"),
    }
}

/// One address, port and protocol.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(net: &str, ports: &str, protocol: Protocol) -> Endpoint {
        Endpoint { net: net.parse::<Net>().unwrap().0, ports: ports.parse().unwrap(), protocol }
    }

    #[test]
    fn endpoints_are_shown_as_people_write_them() {
        let shown = |net, ports, protocol| endpoint(net, ports, protocol).to_string();
        assert_eq!(shown("203.0.113.10", "80", Protocol::Tcp), "203.0.113.10:80/tcp");
        assert_eq!(shown("2001:db8::10", "80", Protocol::Udp), "[2001:db8::10]:80/udp");
        assert_eq!(shown("203.0.113.0/28", "8000-8099", Protocol::Tcp), "203.0.113.0/28:8000-8099/tcp");
        assert_eq!(shown("2001:db8::/64", "all", Protocol::Tcp), "[2001:db8::/64]:all/tcp");
    }

    #[test]
    fn only_one_address_and_port_make_a_vip() {
        let vip = Vip { addr: [203, 0, 113, 10].into(), port: 80, protocol: Protocol::Tcp };
        assert_eq!(Endpoint::from(vip).single(), Some(vip));
        assert_eq!(Endpoint::from(vip).to_string(), vip.to_string());
        assert_eq!(endpoint("203.0.113.10/31", "80", Protocol::Tcp).single(), None);
        assert_eq!(endpoint("203.0.113.10", "80-81", Protocol::Tcp).single(), None);
        assert_eq!(endpoint("203.0.113.10", "all", Protocol::Tcp).single(), None);
    }

    #[test]
    fn an_endpoint_has_what_lies_within_its_prefix_and_ports() {
        let endpoint = endpoint("203.0.113.0/28", "8000-8099", Protocol::Tcp);
        let has = |last, port, protocol| {
            endpoint.contains(&Vip { addr: [203, 0, 113, last].into(), port, protocol })
        };
        assert!(has(0, 8000, Protocol::Tcp) && has(15, 8099, Protocol::Tcp));
        assert!(
            !has(16, 8000, Protocol::Tcp) && !has(0, 8100, Protocol::Tcp) && !has(0, 7999, Protocol::Tcp)
        );
        assert!(!has(0, 8000, Protocol::Udp));
    }

    #[test]
    fn ports_are_read_as_they_are_shown_and_anything_else_is_refused() {
        for text in ["1", "80", "65535", "8000-8099", "all"] {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), text);
        }
        for bad in ["", "0", "65536", "0-5", "5-5", "9-5", "5-", "-5", "ALL", "1-2-3"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_port_stays_a_number_in_json() {
        let json = |ports| serde_json::to_string(&ports).unwrap();
        assert_eq!(json(Ports::One(80)), "80");
        assert_eq!(json(Ports::Range(1, 9)), "\"1-9\"");
        for ports in [Ports::One(80), Ports::Range(1, 9), Ports::All] {
            assert_eq!(serde_json::from_str::<Ports>(&json(ports)).unwrap(), ports);
        }
    }
}
