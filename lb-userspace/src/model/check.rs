//! Health checks, as configured.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Backend, Method};

/// One check, written once for a pool and run against each of its backends. Equal specs against one address run once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckSpec {
    /// Its name in status, metrics and logs; unique in its pool. Default: the kind's name.
    pub name: Arc<str>,
    /// What is done.
    pub kind: CheckKind,
    /// Port of the backend; always set after validation.
    pub port: u16,
    /// The way it takes.
    pub via: Via,
    /// From one check's start to the next one's. 100 ms to 1 h; default 10 s, idle: 3 s.
    pub interval: Duration,
    /// For the whole check, connecting included. At most the interval. Default 5 s, capped by the interval.
    pub timeout: Duration,
    /// Each interval is lengthened or shortened by up to this part of it. 0.0 to 0.5 as per mille (0..=500); default 100.
    pub jitter_per_mille: u16,
    /// Passes in a row that make a failing backend up.
    pub rise: NonZeroU32,
    /// Failures in a row that make a passing backend down.
    pub fall: NonZeroU32,
}

/// The way a check takes to its backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// To the backend's own address.
    Backend,
    /// To the VIP, by the backend's forwarding method, as clients' packets go: finds a host that lost the VIP.
    #[default]
    Vip,
}

/// The kinds of checks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// A TCP connection can be opened.
    Tcp,
    /// A TCP connection is kept open; its unclean loss is a failure at once (PyBal's `IdleConnection`).
    Idle,
    /// An HTTP/1.1 request is answered as expected (PyBal's `ProxyFetch`).
    Http(HttpCheck),
    /// The same over TLS.
    Https(HttpCheck, TlsCheck),
}

impl CheckKind {
    /// The word of the config file.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Idle => "idle",
            Self::Http(_) => "http",
            Self::Https(..) => "https",
        }
    }
}

/// Request and expectation of an HTTP check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpCheck {
    /// `GET`, `HEAD` or `OPTIONS`.
    pub method: HttpMethod,
    /// Value of the `Host` header.
    pub host: String,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Further request headers.
    pub headers: Vec<(String, String)>,
    /// Accepted status codes, inclusive ranges; default 200–299 … or exactly what `status` lists.
    pub status: Vec<(u16, u16)>,
    /// A text the first 64 KiB of the body must contain.
    pub body_contains: Option<String>,
}

/// Methods an HTTP check may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpMethod {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

/// TLS of an HTTPS check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsCheck {
    /// Server name sent and, with `verify`, compared; default: the `Host` without port.
    pub sni: String,
    /// Verify the certificate; off by default, as PyBal and most balancers do for backends.
    pub verify: bool,
    /// PEM file of the authorities to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
}

/// The way of clients' packets to a backend: all that decides how they get there, besides the backend's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Production {
    /// The VIP, of the family of the backend's address.
    pub vip: IpAddr,
    /// How packets reach the backend.
    pub method: Method,
    /// Destination port of GUE; 0 with any other method, so that equal ways compare equal.
    pub gue_port: u16,
}

impl Production {
    /// The way to `backend` for packets to `vip`; `None` when the two are of different families: a check's connection cannot be both.
    pub fn to(backend: &Backend, vip: IpAddr) -> Option<Self> {
        let gue_port = if backend.method == Method::Gue { backend.gue_port } else { 0 };
        (vip.is_ipv4() == backend.address.is_ipv4()).then_some(Self { vip, method: backend.method, gue_port })
    }
}

/// One check against one address: the identity under which it runs and is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckTarget {
    /// The backend's address.
    pub address: IpAddr,
    /// What to do there.
    pub spec: Arc<CheckSpec>,
    /// The way of clients' packets, if it takes that. `None` with [`Via::Vip`]: no service of the pool has a VIP of the family of the
    /// backend's address, so it is checked on its own address.
    pub production: Option<Production>,
}

impl CheckTarget {
    /// Address and port.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.spec.port)
    }

    /// Why it takes another way than it was told to, if it does.
    pub fn detour(&self) -> Option<&'static str> {
        (self.spec.via == Via::Vip && self.production.is_none())
            .then_some("checked on its own address: no VIP of its family")
    }
}
