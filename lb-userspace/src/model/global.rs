//! What concerns the daemon and the host.

use std::{net::SocketAddr, path::PathBuf};

use ipnet::{Ipv4Net, Ipv6Net};
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
    /// In the network card; hardly any can.
    Offload,
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
    /// Flows that services with `tracking = "always"` remember. Default 1048576, 1024 to 268435456.
    pub flows: u32,
    /// Clients that services with `persistence` remember. Default 65536, 1024 to 16777216.
    pub sources: u32,
    /// Prefixes of `block` and `allow` over all services, per family. Default 65536, 1 to 16777216.
    pub prefixes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 16_384,
            backends: 16_384,
            pools: 4_096,
            slots: 4 << 20,
            pins: 1 << 20,
            flows: 1 << 20,
            sources: 1 << 16,
            prefixes: 1 << 16,
        }
    }
}

/// Outer source addresses of tunnelled packets. A single address: that one for all. A prefix: its host bits come from the flow's hash, so
/// that receivers spread flows over their queues. None: the egress interface's own address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// For IPv4 outside.
    pub source4: Option<Ipv4Net>,
    /// For IPv6 outside.
    pub source6: Option<Ipv6Net>,
}

/// ICMP answers a second that the program makes unless told otherwise.
pub const ICMP_RATE: u32 = 1_000;

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
    /// ICMP answers (echo replies, packet too big) that the program may make, per second; 0: none. Default [`ICMP_RATE`].
    pub icmp_rate: u32,
    /// Outer sources of tunnels.
    pub tunnel: Tunnel,
    /// Table sizes.
    pub limits: Limits,
}
