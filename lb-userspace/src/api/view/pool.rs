//! Pools and backends.

use std::collections::BTreeMap;

use super::{outlier, unix};
use crate::{
    api::{
        moment::Moment,
        types::{
            Backend, Check, CheckResult, Leaving, NextHop, OverrideInfo, Pool, PoolSummary, Share, Table,
        },
    },
    coordinator::snapshot::{BackendView, Override, PoolView},
    datapath::{BackendStatus, Count},
    health::Verdict,
    model::{BackendId, BackendName, CheckTarget, Disposition, PoolName},
};

/// Every pool in full.
pub fn pools(moment: &Moment) -> Vec<Pool> {
    let counts = moment.backend_counts();
    moment.snapshot.pools.values().map(|view| pool(moment, view, &counts)).collect()
}

/// One pool in full.
pub fn pool(moment: &Moment, view: &PoolView, counts: &BTreeMap<&BackendId, Count>) -> Pool {
    Pool {
        summary: summary(moment, view),
        threshold: view.threshold.fraction,
        threshold_by_weight: view.threshold.by_weight,
        combine: view.combine,
        checked: view.checked,
        could_not_depool_total: view.could_not_depool,
        weights_lowered_total: view.weights_lowered,
        weights_raised_total: view.weights_raised,
        table: moment.status.pools.get(&view.name).map(|status| Table {
            digest: status.digest.clone(),
            slots: status.slots,
            in_transition: status.in_transition,
        }),
        members: view.backends.iter().map(|entry| backend(moment, view, entry, counts)).collect(),
        leaving: leaving(moment, &view.name),
    }
}

/// The line of `status`.
pub fn summary(moment: &Moment, view: &PoolView) -> PoolSummary {
    let count = |state: Disposition| view.backends.values().filter(|b| b.disposition == state).count() as u64;
    PoolSummary {
        name: view.name.to_string(),
        services: view.services.iter().map(ToString::to_string).collect(),
        backends: view.backends.len() as u64,
        serving: count(Disposition::Serving),
        held: count(Disposition::Held),
        draining: count(Disposition::Draining),
        down: count(Disposition::Down),
        out: count(Disposition::Out),
        suspect: outlier::suspects(moment, &view.name),
        up_and_enabled: view.up_and_enabled,
        total: view.total,
        can_depool: view.can_depool,
    }
}

/// One backend.
pub fn backend(
    moment: &Moment,
    pool: &PoolView,
    (name, view): (&BackendName, &BackendView),
    counts: &BTreeMap<&BackendId, Count>,
) -> Backend {
    let id = BackendId { pool: pool.name.clone(), backend: name.clone() };
    let there =
        moment.status.pools.get(&pool.name).map(|s| s.backends.get(name).copied().unwrap_or_default());
    let (rates, outlier) = outlier::outlier(moment, &pool.name, name);
    Backend {
        pool: pool.name.to_string(),
        name: name.to_string(),
        address: view.address,
        method: view.method,
        weight: view.weight.get(),
        lowered: view.lowered.as_ref().map(outlier::lowered),
        configured_weight: view.configured_weight.get(),
        pooled: view.pooled,
        configured_pooled: view.configured_pooled,
        overridden: view.overridden.as_ref().map(override_info),
        up: view.up,
        partially_up: view.partially_up,
        state: view.disposition,
        why: view.why.clone(),
        since: unix(view.since),
        checks: view.checks.iter().map(|target| check(moment, target)).collect(),
        next_hop: view.next_hop.as_ref().ok().map(|hop| NextHop {
            mac: hop.dst_mac.to_string(),
            gateway: hop.gateway.map(|gateway| gateway.to_string()),
            ifindex: hop.ifindex,
            vlan: hop.vlan,
            mtu: hop.mtu,
        }),
        next_hop_problem: view.next_hop.as_ref().err().cloned(),
        table: there.map(Share::from),
        connections: there.map(|there| there.connections),
        rates,
        outlier,
        traffic: moment.counters.as_ref().map(|_| counts.get(&id).copied().unwrap_or_default().into()),
    }
}

/// Backends of a pool's table that the configuration no longer has.
pub fn leaving(moment: &Moment, pool: &PoolName) -> Vec<Leaving> {
    let Some(status) = moment.status.pools.get(pool) else {
        return Vec::new();
    };
    let known = moment.snapshot.pools.get(pool);
    status
        .backends
        .iter()
        .filter(|(name, _)| known.is_none_or(|view| !view.backends.contains_key(*name)))
        .map(|(name, share)| Leaving {
            pool: pool.to_string(),
            name: name.to_string(),
            table: (*share).into(),
            connections: share.connections,
        })
        .collect()
}

impl From<BackendStatus> for Share {
    fn from(status: BackendStatus) -> Self {
        let BackendStatus { slots, draining_slots, pins, quiet_for, .. } = status;
        Self { slots, draining_slots, pins, quiet_for }
    }
}

/// An override as JSON.
pub fn override_info(o: &Override) -> OverrideInfo {
    OverrideInfo {
        pooled: o.pooled,
        weight: o.weight.map(crate::model::Weight::get),
        by: o.by.clone(),
        reason: o.reason.clone(),
        since: unix(o.since),
        until: o.until.map(unix),
    }
}

fn check(moment: &Moment, target: &CheckTarget) -> Check {
    let status = moment.checks.get(target);
    Check {
        name: target.spec.name.to_string(),
        kind: target.spec.kind.as_str().to_owned(),
        port: target.spec.port,
        vip: target.production.map(|way| way.vip),
        note: target.detour().map(str::to_owned),
        up: status.as_ref().and_then(|status| status.verdict).map(|verdict| verdict == Verdict::Up),
        last: status.and_then(|s| {
            Some(CheckResult {
                ok: s.ok()?,
                detail: s.text(),
                latency: s.latency().map(|latency| latency.as_secs_f64()),
                age: s.at_instant.map_or(0.0, |at| moment.now.saturating_duration_since(at).as_secs_f64()),
                streak: s.streak,
                passes: s.passes,
                failures: s.failures,
                not_done: s.not_done,
                ups: s.ups,
                downs: s.downs,
            })
        }),
    }
}
