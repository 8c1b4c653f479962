//! `GET /api/v1/kernel`: what this kernel has and lacks, as far as lbd profits from it.

use serde::{Deserialize, Serialize};

/// A feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFeature {
    /// Name.
    pub name: String,
    /// It is there.
    pub present: bool,
    /// What it means to lack it.
    pub lack: String,
}

/// The kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// Features.
    pub features: Vec<KernelFeature>,
}
