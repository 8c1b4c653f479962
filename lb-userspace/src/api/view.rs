//! What a [`Moment`] holds → JSON. Pure.

pub mod alerts;
pub mod outlier;
pub mod pool;
pub mod top;

use std::time::SystemTime;

use super::{
    moment::Moment,
    types::{
        Attachment, Backends, ConfigState, DatapathState, Drop, Drops, List, OverrideRow, PinCount, Service,
        Status, Traffic,
    },
};
use crate::{
    datapath::{Count, Counters},
    model::{Net, PoolName, Protocols},
};

/// Seconds since 1970; 0 for times before it.
pub fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl From<Count> for Traffic {
    fn from(count: Count) -> Self {
        let Count { packets, bytes, syns, closes, resets, retransmits } = count;
        Self { packets, bytes, connections: syns, closes, resets, retransmits }
    }
}

/// `GET /api/v1/status`.
pub fn status(moment: &Moment) -> Status {
    let Moment { snapshot, status, about, now, .. } = moment;
    let overrides = snapshot.pools.iter().flat_map(|(pool, view)| {
        view.backends.iter().filter_map(move |(backend, view)| {
            Some(OverrideRow {
                pool: pool.to_string(),
                backend: backend.to_string(),
                what: pool::override_info(view.overridden.as_ref()?),
            })
        })
    });
    Status {
        version: about.version.to_owned(),
        abi: about.abi,
        uptime: now.saturating_duration_since(about.started_at).as_secs(),
        ready: snapshot.ready,
        snapshot_age: moment.snapshot_age(),
        config: ConfigState {
            loaded: unix(snapshot.config_loaded),
            problem: snapshot.reload_problem.clone(),
            reloads_done: snapshot.reloads.0,
            reloads_refused: snapshot.reloads.1,
        },
        datapath: DatapathState {
            revision: status.revision,
            wanted_revision: snapshot.revision,
            attachments: status
                .attachments
                .iter()
                .map(|a| Attachment {
                    interface: a.interface.clone(),
                    mode: a.mode.to_owned(),
                    driver: a.driver.clone(),
                    frags: a.frags,
                })
                .collect(),
            drift_repaired: status.drift_repaired,
            pins: status.pins,
            flows: status.flows,
            frozen: status.frozen,
            problem: status.problem.clone(),
            check_path_problem: status.check_path_problem.clone(),
        },
        pools: snapshot.pools.values().map(|view| pool::summary(moment, view)).collect(),
        overrides: overrides.collect(),
        alerts: alerts::alerts(moment),
    }
}

/// `GET /api/v1/services`.
pub fn services(moment: &Moment) -> Vec<Service> {
    moment
        .snapshot
        .services
        .values()
        .map(|service| Service {
            name: service.name.to_string(),
            addresses: service.vips.iter().copied().map(Net).collect(),
            port: service.ports,
            protocol: Protocols::of(&service.protocols),
            pool: service.pool.to_string(),
            scheduler: service.rules.scheduler,
            udp_class: service.udp_class,
            idle: service.rules.idle.as_secs(),
            drain_timeout: service.rules.drain_timeout.as_secs(),
            traffic: moment
                .counters
                .as_ref()
                .map(|counters| counters.services.get(&service.name).copied().unwrap_or_default().into()),
        })
        .collect()
}

/// `GET /api/v1/list`.
pub fn list(moment: &Moment) -> List {
    List { services: services(moment), pools: pool::pools(moment) }
}

/// `GET /api/v1/backends/H`: every backend of that name, also in pools that only drain it; `None` when nobody has it.
pub fn backends(moment: &Moment, name: &str, only: Option<&PoolName>) -> Option<Backends> {
    let wanted = |pool: &PoolName| only.is_none_or(|only| only == pool);
    let counts = moment.backend_counts();
    let backends: Vec<_> = moment
        .snapshot
        .pools
        .iter()
        .filter(|(pool, _)| wanted(pool))
        .filter_map(|(_, view)| {
            Some(pool::backend(moment, view, view.backends.get_key_value(name)?, &counts))
        })
        .collect();
    let leaving: Vec<_> = moment
        .status
        .pools
        .keys()
        .filter(|pool| wanted(pool))
        .flat_map(|pool| pool::leaving(moment, pool))
        .filter(|leaving| leaving.name == name)
        .collect();
    (!backends.is_empty() || !leaving.is_empty()).then(|| Backends {
        revision: moment.status.revision,
        wanted_revision: moment.snapshot.revision,
        backends,
        leaving,
    })
}

/// `GET /api/v1/drops`.
pub fn drops(counters: &Counters) -> Drops {
    Drops {
        reasons: counters
            .reasons
            .iter()
            .map(|r| Drop {
                reason: r.reason.to_owned(),
                verdict: r.verdict.to_owned(),
                describe: r.describe.trim().to_owned(),
                packets: r.packets,
            })
            .collect(),
        pins: counters
            .pins
            .iter()
            .map(|(event, count)| PinCount { event: (*event).to_owned(), count: *count })
            .collect(),
    }
}
