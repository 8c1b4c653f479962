//! State → what others see ([`Snapshot`]) and what the data plane should have ([`Desired`]).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    event::Now,
    member::Member,
    pool::PoolState,
    snapshot::{BackendView, LoweredWeight, PoolView, Snapshot},
    state::State,
};
use crate::{
    datapath::{Desired, DesiredBackend, DesiredPool, DesiredService, probe::DesiredProbe},
    model::{NextHop, PoolName, Service},
};

/// Of a pool without services.
const IDLE: Duration = Duration::from_mins(5);
/// Of a pool without services.
const DRAIN_TIMEOUT: Duration = Duration::from_hours(1);

impl State {
    /// What the data plane should have. The revision counts up only when something differs from the last time.
    pub fn desired(&mut self) -> Arc<Desired> {
        let users = self.users();
        let mut services = BTreeMap::new();
        for (pool, service) in users.iter().flat_map(|(pool, used)| used.iter().map(move |s| (*pool, *s))) {
            let desired = DesiredService {
                endpoints: service.endpoints().collect(),
                pool: pool.clone(),
                udp_class: service.udp_class,
                rules: service.rules.clone(),
            };
            services.insert(service.name.clone(), desired);
        }
        let pool = |name| users.get(name).map_or(&[][..], Vec::as_slice);
        let pools = self.pools.iter();
        let global = self.config.as_ref().map(|config| &config.global);
        let mut desired = Desired {
            revision: self.desired.revision,
            services,
            pools: pools.map(|(name, state)| (name.clone(), self.desired_pool(state, pool(name)))).collect(),
            tunnel: global.map(|global| global.tunnel).unwrap_or_default(),
            icmp_rate: global.map_or(0, |global| global.icmp_rate),
            probes: self.probes(),
        };
        if desired != *self.desired || desired.revision == 0 {
            desired.revision += 1;
            self.desired = Arc::new(desired);
        }
        Arc::clone(&self.desired)
    }

    /// The ways that checks take, with the next hop as it is.
    fn probes(&self) -> BTreeMap<DesiredProbe, Option<NextHop>> {
        let members = self.pools.values().flat_map(PoolState::everyone).map(|(_, member)| member);
        members
            .filter(|member| member.watched())
            .flat_map(|member| {
                let hop = self.facts.way(&member.configured).and_then(Result::ok);
                let ways = member.targets.iter().filter_map(|target| target.production);
                ways.map(move |production| (DesiredProbe { address: member.address(), production }, hop))
            })
            .collect()
    }

    /// Pools with the services they serve now.
    pub(super) fn users(&self) -> BTreeMap<&PoolName, Vec<&Service>> {
        let mut users = BTreeMap::<_, Vec<_>>::new();
        for (name, service) in self.config.iter().flat_map(|config| &config.services) {
            let pool = self.detours.get(name).unwrap_or(&service.pool);
            users.entry(pool).or_default().push(service.as_ref());
        }
        users
    }

    fn desired_pool(&self, pool: &PoolState, services: &[&Service]) -> DesiredPool {
        let backend = |member: &Member| DesiredBackend {
            address: member.address(),
            weight: member.weight(),
            disposition: member.disposition,
            next_hop: member.next_hop(&self.facts),
            method: member.configured.method,
            gue_port: member.configured.gue_port,
            server_id: member.configured.server_id,
        };
        // One that is leaving hides its successor of the same name: that one cannot serve yet.
        let members = pool.everyone().filter(|(_, member)| member.watched());
        DesiredPool {
            slots: pool.config.slots,
            idle: services.iter().map(|s| s.rules.idle).max().unwrap_or(IDLE),
            drain_timeout: services.iter().map(|s| s.rules.drain_timeout).max().unwrap_or(DRAIN_TIMEOUT),
            backends: members.map(|(name, member)| (name.clone(), backend(member))).collect(),
        }
    }

    /// What others may see, as of now.
    pub fn snapshot(&mut self, now: Now) -> Snapshot {
        self.sequence += 1;
        let users = self.users();
        let stale = self.pools.iter().filter(|(name, _)| !self.views.contains_key(*name));
        let fresh: Vec<_> = stale
            .map(|(name, pool)| {
                let services = users.get(name).map_or(&[][..], Vec::as_slice);
                (name.clone(), Arc::new(self.pool_view(pool, services)))
            })
            .collect();
        self.views.extend(fresh);
        Snapshot {
            published: now.instant,
            sequence: self.sequence,
            revision: self.desired.revision,
            ready: self.ready,
            config_loaded: self.config_loaded,
            reload_problem: self.reload_problem.clone(),
            reloads: self.reloads,
            services: self.config.as_ref().map(|config| config.services.clone()).unwrap_or_default(),
            pools: self.views.clone(),
            reports: self.pools.iter().map(|(name, pool)| (name.clone(), pool.watch.report())).collect(),
        }
    }

    fn pool_view(&self, pool: &PoolState, services: &[&Service]) -> PoolView {
        let lightest = pool.members.values().filter(|m| m.counts()).map(|m| pool.share(m)).min();
        let backends = pool.everyone();
        PoolView {
            name: pool.config.name.clone(),
            services: services.iter().map(|service| service.name.clone()).collect(),
            threshold: pool.config.threshold,
            combine: pool.config.combine,
            checked: !pool.config.checks.is_empty(),
            backends: backends.map(|(name, member)| (name.clone(), self.backend_view(member))).collect(),
            up_and_enabled: pool.tally.up_and_enabled,
            total: pool.tally.total,
            can_depool: lightest.is_some_and(|share| pool.tally.may_lose(share, pool.config.threshold)),
            could_not_depool: pool.could_not_depool,
            weights_lowered: pool.weights_lowered,
            weights_raised: pool.weights_raised,
        }
    }

    fn backend_view(&self, member: &Member) -> BackendView {
        let next_hop = match self.facts.way(&member.configured) {
            Some(way) => way,
            None if !member.watched() => Err("not watched while inactive".into()),
            None => Err("not known yet".into()),
        };
        BackendView {
            address: member.address(),
            method: member.configured.method,
            weight: member.weight(),
            lowered: member.lowered.as_ref().map(|lowered| LoweredWeight {
                from: member.wish.weight,
                since: lowered.since,
                why: lowered.why.clone(),
            }),
            configured_weight: member.configured.weight,
            pooled: member.wish.pooled,
            configured_pooled: member.configured.pooled,
            overridden: member.overridden.clone(),
            up: member.up,
            partially_up: member.partially_up,
            disposition: member.disposition,
            why: member.why.clone(),
            since: member.since,
            checks: member.targets.clone(),
            next_hop,
        }
    }
}
