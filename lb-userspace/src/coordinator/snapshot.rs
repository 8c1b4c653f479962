//! What others may see of the state: published on a watch channel after each event, read by API, metrics and status page without
//! disturbing anybody.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    model::{
        BackendName, CheckTarget, Combine, Disposition, Method, NextHop, PoolName, Pooled, Service,
        ServiceName, Threshold, Weight,
    },
    outliers::Report,
};

/// The state of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was published; `/livez` fails when it is old, because the coordinator publishes at least once a second.
    pub published: Instant,
    /// Counts up with each publication.
    pub sequence: u64,
    /// [`crate::datapath::Desired::revision`] of the state that the data plane has been handed or will be handed in a moment.
    pub revision: u64,
    /// The first configuration is in force and its first revision is in the kernel.
    pub ready: bool,
    /// When the configuration in force was loaded, and from where.
    pub config_loaded: SystemTime,
    /// Why the last reload was refused; `None` after a good one.
    pub reload_problem: Option<String>,
    /// Reloads that were done, and that were refused.
    pub reloads: (u64, u64),
    /// Services by name.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    /// Pools by name.
    pub pools: BTreeMap<PoolName, Arc<PoolView>>,
    /// Each pool's backends compared with each other.
    pub reports: BTreeMap<PoolName, Arc<Report>>,
}

/// A pool.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// Services that use it.
    pub services: Vec<ServiceName>,
    /// Threshold.
    pub threshold: Threshold,
    /// How checks combine.
    pub combine: Combine,
    /// Whether it has any check.
    pub checked: bool,
    /// Backends by name.
    pub backends: BTreeMap<BackendName, BackendView>,
    /// Up and enabled, as the threshold's formula counts (backends, or weight).
    pub up_and_enabled: u64,
    /// All that are not inactive, counted the same way.
    pub total: u64,
    /// Whether one more backend may be taken out now.
    pub can_depool: bool,
    /// How often the threshold kept a failing backend in, or refused a command.
    pub could_not_depool: u64,
    /// Steps by which weights of outliers were lowered …
    pub weights_lowered: u64,
    /// … and raised again.
    pub weights_raised: u64,
}

/// A backend.
#[derive(Clone, Debug)]
pub struct BackendView {
    /// Address.
    pub address: IpAddr,
    /// How packets reach it.
    pub method: Method,
    /// Weight in force.
    pub weight: Weight,
    /// Its weight is lowered because it stands out.
    pub lowered: Option<LoweredWeight>,
    /// Weight in the file.
    pub configured_weight: Weight,
    /// Wish in force.
    pub pooled: Pooled,
    /// Wish in the file.
    pub configured_pooled: Pooled,
    /// Override in force.
    pub overridden: Option<Override>,
    /// What the checks say together; `None` before the first verdict of all.
    pub up: Option<bool>,
    /// Some, but not all, checks say up (PyBal's "partially up").
    pub partially_up: bool,
    /// What the data plane does with it.
    pub disposition: Disposition,
    /// Why, in one sentence; empty for a backend that simply serves.
    pub why: String,
    /// Since when it has this disposition.
    pub since: SystemTime,
    /// Its checks.
    pub checks: Vec<CheckTarget>,
    /// Its way, or why there is none.
    pub next_hop: Result<NextHop, String>,
}

impl BackendView {
    /// PyBal's `enabled`: the operator wants it.
    pub fn enabled(&self) -> bool {
        self.pooled == Pooled::Yes
    }

    /// PyBal's `pooled`: it gets traffic.
    pub fn in_pool(&self) -> bool {
        self.disposition.takes_new()
    }
}

/// A weight that is lowered because its backend stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoweredWeight {
    /// What it would be.
    pub from: Weight,
    /// Since when.
    pub since: SystemTime,
    /// How the backend stands out, or did when the weight was lowered last.
    pub why: String,
}

/// What an operator changed by command: survives restarts and reloads, and is shown wherever the state is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Wish, if overridden.
    pub pooled: Option<Pooled>,
    /// Weight, if overridden.
    pub weight: Option<Weight>,
    /// Who asked: the login name behind the socket.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: SystemTime,
    /// Until when, if not for ever.
    pub until: Option<SystemTime>,
}
