//! Where frames for a backend leave and to whom.

use std::fmt;

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

/// The resolved way to a backend on its own L2 segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct NextHop {
    /// Its MAC address.
    pub dst_mac: Mac,
    /// The egress interface's MAC address.
    pub src_mac: Mac,
    /// The egress interface: for a VLAN device the one below it.
    pub ifindex: u32,
    /// VLAN id the frame leaves with; 0 for none.
    pub vlan: u16,
    /// MTU of the egress, in bytes of L3.
    pub mtu: u32,
}
