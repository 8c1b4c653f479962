//! What the kernel's tables held when the daemon started.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::model::{BackendId, Disposition, Weight};

/// A backend found in the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptedBackend {
    /// Its address.
    pub address: IpAddr,
    /// Its weight; only used for a backend the configuration no longer has.
    pub weight: Weight,
    /// What the data plane was doing with it.
    pub disposition: Disposition,
}

/// All of them: [`memory::load`](super::memory::load), if the kernel's tables were found; empty on a fresh start. They go on as they are until their checks have spoken: a restart must not empty a pool.
pub type Adopted = BTreeMap<BackendId, AdoptedBackend>;
