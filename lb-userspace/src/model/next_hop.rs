//! Where frames for a backend leave and to whom.

use std::{fmt, net::IpAddr};

use serde::Serialize;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(into = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// The resolved way to a backend: on its own L2 segment, or behind a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct NextHop {
    /// The MAC address of the backend, or of `gateway`.
    pub dst_mac: Mac,
    /// The egress interface's MAC address.
    pub src_mac: Mac,
    /// The egress interface: for a VLAN device the one below it; for a bond the bond itself, which chooses a member for each frame.
    pub ifindex: u32,
    /// VLAN id the frame leaves with; 0 for none.
    pub vlan: u16,
    /// The largest L3 packet, in bytes: of the route where it names one or the kernel has learned one, else of the egress.
    pub mtu: u32,
    /// The router whose MAC address `dst_mac` is, of either family; none: the backend is on the segment.
    pub gateway: Option<IpAddr>,
    /// The address from which this host itself would send to the backend, of the backend's family; none where it has no address to send
    /// from.
    pub source: Option<IpAddr>,
}
