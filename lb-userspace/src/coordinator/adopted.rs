//! What the kernel's tables held when the daemon started.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::model::{BackendId, Disposition, GUE_PORT, Method, Weight};

/// A backend found in the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptedBackend {
    /// Its address.
    pub address: IpAddr,
    /// Its weight; only used for a backend the configuration no longer has.
    pub weight: Weight,
    /// What the data plane was doing with it.
    pub disposition: Disposition,
    /// How packets reached it; only used for a backend the configuration no longer has, as the two below.
    #[serde(default)]
    pub method: Method,
    /// Port of GUE.
    #[serde(default = "gue_port")]
    pub gue_port: u16,
    /// Its number in the connection ids of QUIC.
    #[serde(default)]
    pub server_id: Option<u16>,
}

const fn gue_port() -> u16 {
    GUE_PORT
}

/// All of them: [`memory::load`](super::memory::load), if the kernel's tables were found; empty on a fresh start. They go on as they are until their checks have spoken: a restart must not empty a pool.
pub type Adopted = BTreeMap<BackendId, AdoptedBackend>;
