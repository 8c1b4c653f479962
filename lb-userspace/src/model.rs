//! The domain, validated: what a configuration means, what a backend's state is. No I/O, no clock, no lock.

pub mod backend;
pub mod check;
pub mod endpoint;
pub mod global;
pub mod name;
pub mod next_hop;
pub mod pool;
pub mod rules;
pub mod service;

pub use backend::{Backend, BackendId, Disposition, GUE_PORT, Method, Pooled, Weight};
pub use check::{CheckKind, CheckSpec, CheckTarget, Production, Via};
pub use endpoint::{Endpoint, Net, Ports, Vip};
pub use global::{Global, Limits, Tunnel, XdpMode};
pub use name::{BackendName, PoolName, ServiceName};
pub use next_hop::{Mac, NextHop};
pub use pool::{Combine, Outliers, Pool, Threshold};
pub use rules::{HashFields, Persistence, QuicId, Rules, Scheduler, Tracking};
pub use service::{Protocol, Protocols, Service, UdpClass};

use std::{collections::BTreeMap, sync::Arc};

/// A whole configuration. Every service's pool exists; every name is valid; every number is in range.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What concerns the daemon and the host.
    pub global: Global,
    /// Services by name.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    /// Pools by name.
    pub pools: BTreeMap<PoolName, Arc<Pool>>,
}
