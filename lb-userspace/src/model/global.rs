//! What concerns the daemon and the host.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// How the program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// In the driver; if the driver cannot, starting fails.
    #[default]
    Native,
    /// In the kernel's stack: works everywhere, several times slower. Only when asked for.
    Generic,
}

/// Sizes of the kernel's tables. They are fixed when the tables are made: changing one needs a restart that rebuilds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// VIP × port × protocol entries per family. Default 16384, at most 65535.
    pub services: u32,
    /// Backends over all pools, those still draining included. Default 16384, at most 32767.
    pub backends: u32,
    /// Pools. Default 4096, at most 65535.
    pub pools: u32,
    /// Slots over all pools. Default 4194304 (64 full-size pools; 24 MiB).
    pub slots: u32,
    /// Flows that can be pinned while pools change. Default 1048576 (8 MiB).
    pub pins: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { services: 16_384, backends: 16_384, pools: 4_096, slots: 4 << 20, pins: 1 << 20 }
    }
}

/// The `[lbd]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Interfaces the program is attached to, at least one. Changing them needs a restart.
    pub interfaces: Vec<String>,
    /// How.
    pub xdp_mode: XdpMode,
    /// File with the 32 secret bytes (64 hex digits) of the flow hash; none: one is made and kept in `state_dir`.
    pub secret_file: Option<PathBuf>,
    /// Where HTTP (read-only) listens; empty: nowhere. Default 127.0.0.1:9090.
    pub http: Vec<SocketAddr>,
    /// Control socket. Default /run/lbd/lbd.sock.
    pub socket: PathBuf,
    /// Group that may use it. Default `lbd`; when it does not exist only root may.
    pub socket_group: String,
    /// Overrides and the generated secret. Default /var/lib/lbd.
    pub state_dir: PathBuf,
    /// Where maps and links are pinned. Default /sys/fs/bpf/lbd.
    pub bpf_dir: PathBuf,
    /// Also export PyBal's metric names.
    pub pybal_metrics: bool,
    /// Table sizes.
    pub limits: Limits,
}
