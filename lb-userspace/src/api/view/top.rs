//! `GET /api/v1/top`. Pure.

use crate::{
    api::{
        moment::Moment,
        types::{Top, TopBackend, TopService},
    },
    model::BackendId,
};

/// The counters of this moment; `None` if they could not be read.
pub fn top(moment: &Moment) -> Option<Top> {
    let counters = moment.counters.as_ref()?;
    let services = moment
        .snapshot
        .services
        .values()
        .map(|service| TopService {
            name: service.name.to_string(),
            pool: service.pool.to_string(),
            traffic: counters.services.get(&service.name).copied().unwrap_or_default().into(),
        })
        .collect();
    let counts = moment.backend_counts();
    let mut backends: Vec<TopBackend> = Vec::new();
    for (pool, table) in &moment.status.pools {
        let view = moment.snapshot.pools.get(pool);
        for (name, share) in &table.backends {
            let count = counts.get(&BackendId { pool: pool.clone(), backend: name.clone() });
            backends.push(TopBackend {
                pool: pool.to_string(),
                name: name.to_string(),
                state: view.and_then(|view| view.backends.get(name)).map(|backend| backend.disposition),
                share: if table.slots == 0 { 0.0 } else { f64::from(share.slots) / f64::from(table.slots) },
                traffic: count.copied().unwrap_or_default().into(),
                connections: share.connections,
            });
        }
    }
    let dropped = counters.reasons.iter().filter(|reason| reason.verdict == "drop").map(|r| r.packets).sum();
    let at = moment.now.saturating_duration_since(moment.about.started_at).as_secs_f64();
    Some(Top { at, services, backends, dropped })
}
