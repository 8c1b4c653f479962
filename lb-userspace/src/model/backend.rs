//! Backends: what the operator wishes, what the checks say, what the data plane does.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{BackendName, PoolName};

/// Relative share of new connections; 0 means drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u16);

impl Weight {
    /// Largest weight.
    pub const MAX: u32 = 10_000;

    /// The number.
    pub const fn get(self) -> u32 {
        self.0 as u32
    }
}

impl Default for Weight {
    /// PyBal's default.
    fn default() -> Self {
        Self(10)
    }
}

/// A number above [`Weight::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a weight is 0 to {max}, not {0}", max = Weight::MAX)]
pub struct WeightError(pub u32);

impl TryFrom<u32> for Weight {
    type Error = WeightError;
    fn try_from(n: u32) -> Result<Self, WeightError> {
        if n <= Self::MAX { Ok(Self(n as u16)) } else { Err(WeightError(n)) }
    }
}

impl From<Weight> for u32 {
    fn from(w: Weight) -> Self {
        w.get()
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The operator's wish, in conftool's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooled {
    /// Serve while up.
    #[default]
    Yes,
    /// No new connections; established ones finish; checks go on; counts in N of the threshold.
    No,
    /// As if it were not configured: no checks, does not count in N.
    Inactive,
}

impl fmt::Display for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Inactive => "inactive",
        })
    }
}

impl FromStr for Pooled {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "yes" => Ok(Self::Yes),
            "no" => Ok(Self::No),
            "inactive" => Ok(Self::Inactive),
            other => Err(format!("`{other}` is not one of yes, no, inactive")),
        }
    }
}

/// What the data plane does with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// Gets new connections.
    Serving,
    /// Gets new connections though it fails its checks: the depool threshold holds it.
    Held,
    /// Gets no new connections; keeps the established ones.
    Draining,
    /// Gets nothing: it failed. Its flows move at once.
    Down,
    /// Gets nothing: never seen up, inactive, or its next hop is unknown.
    Out,
}

impl Disposition {
    /// Whether new connections go there.
    pub const fn takes_new(self) -> bool {
        matches!(self, Self::Serving | Self::Held)
    }

    /// Whether established connections may stay there.
    pub const fn keeps_old(self) -> bool {
        matches!(self, Self::Serving | Self::Held | Self::Draining)
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Serving => "serving",
            Self::Held => "held",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Out => "out",
        })
    }
}

/// Port of GUE, as IANA assigned it.
pub const GUE_PORT: u16 = 6080;

/// How packets reach a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// With its MAC address, otherwise unchanged: it shares a network with this host (LVS: direct routing, gatewaying).
    #[default]
    Dr,
    /// In a plain IP packet, of any mix of families (LVS: `ipip`).
    Ipip,
    /// In Generic UDP Encapsulation, variant 0.
    Gue,
}

impl Method {
    /// Whether packets are wrapped.
    pub const fn is_tunnel(self) -> bool {
        matches!(self, Self::Ipip | Self::Gue)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dr => "dr",
            Self::Ipip => "ipip",
            Self::Gue => "gue",
        })
    }
}

/// A backend of a pool, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name.
    pub name: BackendName,
    /// Its own address: where checks go, whose neighbour entry gives the MAC address, and where tunnels end. One family suffices for
    /// VIPs of both.
    pub address: IpAddr,
    /// Weight.
    pub weight: Weight,
    /// Wish written in the file; an override by `lbctl` takes precedence.
    pub pooled: Pooled,
    /// How packets reach it.
    pub method: Method,
    /// Destination port of GUE, not 0; means something with [`Method::Gue`] only.
    pub gue_port: u16,
    /// Its number in the connection ids of QUIC; unique in its pool.
    pub server_id: Option<u16>,
}

impl Backend {
    /// A backend with every default.
    pub fn new(name: BackendName, address: IpAddr) -> Self {
        Self {
            name,
            address,
            weight: Weight::default(),
            pooled: Pooled::default(),
            method: Method::default(),
            gue_port: GUE_PORT,
            server_id: None,
        }
    }
}

/// A backend of a pool, named. Order: by pool, then backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BackendId {
    /// Its pool.
    pub pool: PoolName,
    /// Its name there.
    pub backend: BackendName,
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.backend)
    }
}
