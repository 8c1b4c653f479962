//! Services → entries: indices, records, table of services, lists, turns.

use std::collections::BTreeMap;

use lb_common::service::{IS_VIP, ServiceRef};

use super::{
    Applied, Memory, Tables, TrieKey, rules,
    services::{self, Key},
    shapes::{self, Shaped},
};
use crate::{
    datapath::{Desired, DesiredService, Error, digest, schedule::Candidate},
    model::{Endpoint, PoolName, Scheduler, ServiceName},
};

impl<M: Memory> Tables<M> {
    /// Makes everything that leads to services what it should be. What a service's entries lead to is written before them.
    pub(super) fn place(&mut self, desired: &Desired, now: u32, applied: &mut Applied) {
        self.forget_services(desired, now);
        if !self.applied {
            self.recognize_services(desired);
        }
        let placed = self.indexed(desired, now, applied);
        let tick = self.settings.tick;
        let (mut four, mut six) = (BTreeMap::new(), BTreeMap::new());
        let mut shaped = Shaped::new();
        for (index, pool, service) in &placed {
            for endpoint in &service.endpoints {
                let flags = rules::service_flags(service, endpoint.protocol);
                let value = ServiceRef { service: *index, pool: *pool, flags };
                let Some((addr, port)) = simple(endpoint) else {
                    shaped.insert(*endpoint, value);
                    continue;
                };
                for (port, protocol, value) in [
                    (port, services::number(endpoint.protocol), value),
                    // That the address is ours, for what has no port.
                    (0, IS_VIP, ServiceRef { flags: 0, ..value }),
                ] {
                    let (is_six, key) = services::key(addr, port, protocol);
                    let table: &mut BTreeMap<Key, ServiceRef> = if is_six { &mut six } else { &mut four };
                    if protocol == IS_VIP {
                        table.entry(key).or_insert(value);
                    } else {
                        table.insert(key, value);
                    }
                }
            }
        }
        let listed = placed.iter().map(|(index, _, service)| (*index, &service.rules));
        let lists = rules::Lists::of(listed, self.server_ids(desired));
        // What a record speaks of is there before it, and goes after it: in between, nobody is refused for a list that is half there.
        let mut problems = vec![self.rules.add(&self.memory, &lists)];
        problems
            .extend(placed.iter().map(|(index, _, service)| self.take_turns(*index, service, desired, now)));
        for (index, _, service) in &placed {
            self.rules.write(&self.memory, *index, service, tick);
        }

        // The kernel program searches only where there is something to be found.
        let there = |(a, b): (u64, u64), more: bool| (a.max(u64::from(more)), b.max(u64::from(more)));
        self.words.set_prefixes(&self.memory, there(self.shapes.counts(), !shaped.is_empty()));
        problems.push(self.shapes.apply(&self.memory, &shaped, now));
        self.words.set_prefixes(&self.memory, self.shapes.counts());

        problems.push(self.services4.apply(&self.memory, &four));
        problems.push(self.services6.apply(&self.memory, &six));
        let turns: Vec<u16> = placed
            .iter()
            .filter(|(_, _, service)| service.rules.scheduler != Scheduler::Maglev)
            .map(|(index, ..)| *index)
            .collect();
        self.sequences.retain(&self.memory, &mut self.rules, |index| turns.contains(&index), now);
        self.rules.prune(&self.memory, &lists);
        for problem in problems {
            applied.problem = applied.problem.take().or(problem.err());
        }
    }

    fn forget_services(&mut self, desired: &Desired, now: u32) {
        let gone: Vec<ServiceName> =
            self.services.keys().filter(|name| !desired.services.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(index) = self.services.remove(&name) {
                self.service_indices.give(index, now);
            }
        }
    }

    /// After a start: a service's index is the one its entries have already, if there are any.
    fn recognize_services(&mut self, desired: &Desired) {
        for (name, service) in &desired.services {
            let index = service.endpoints.iter().find_map(|endpoint| {
                let Some((addr, port)) = simple(endpoint) else { return self.shapes.service(endpoint) };
                let (six, key) = services::key(addr, port, services::number(endpoint.protocol));
                let table = if six { &self.services6 } else { &self.services4 };
                table.get(&key).map(|value| value.service)
            });
            if let Some(index) = index
                && self.service_indices.claim(index)
            {
                self.services.insert(name.clone(), index);
            }
        }
    }

    /// Services with their indices and those of their pools.
    fn indexed<'d>(
        &mut self,
        desired: &'d Desired,
        now: u32,
        applied: &mut Applied,
    ) -> Vec<(u16, u16, &'d DesiredService)> {
        let mut placed = Vec::new();
        for (name, service) in &desired.services {
            // A pool that found no room serves nobody; packets for its services pass to the host.
            let Some(pool) = self.pools.index(&service.pool) else {
                continue;
            };
            let index = self.services.get(name).copied().or_else(|| {
                let index = self.service_indices.take(now)?;
                applied.fresh_services.push(index);
                self.services.insert(name.clone(), index);
                Some(index)
            });
            let Some(index) = index else {
                applied.problem = applied.problem.take().or(Some(Error::Full {
                    table: "the table of services' counters",
                    need: desired.services.len() as u64,
                    have: u64::from(self.service_indices.capacity()),
                    limit: "services",
                }));
                continue;
            };
            placed.push((index, pool, service));
        }
        placed
    }

    /// Numbers of backends that may keep flows, by pool.
    fn server_ids(&self, desired: &Desired) -> BTreeMap<TrieKey, u64> {
        let mut ids = BTreeMap::new();
        for (name, pool) in &desired.pools {
            let Some(pool_index) = self.pools.index(name) else { continue };
            for (backend, wanted) in pool.backends.iter().filter(|(_, b)| b.disposition.keeps_old()) {
                let index = self.backends.index(digest::backend_id(name, backend, wanted.address));
                if let (Some(id), Some(index)) = (wanted.server_id, index) {
                    ids.insert(rules::id_key(pool_index, id), u64::from(index));
                }
            }
        }
        ids
    }

    /// Computes a service's turns, if it has any.
    fn take_turns(
        &mut self,
        index: u16,
        service: &DesiredService,
        desired: &Desired,
        now: u32,
    ) -> Result<(), Error> {
        let scheduler = service.rules.scheduler;
        if scheduler == Scheduler::Maglev {
            return Ok(());
        }
        let candidates = self.candidates(&service.pool, desired, scheduler);
        self.sequences.apply(&self.memory, &mut self.rules, index, (scheduler, candidates), now)
    }

    /// Who may get new connections of a pool, with what they have now where that matters.
    fn candidates(&self, pool: &PoolName, desired: &Desired, scheduler: Scheduler) -> Vec<Candidate> {
        let counted = matches!(scheduler, Scheduler::Lc | Scheduler::Wlc | Scheduler::Sed);
        let Some(wanted) = desired.pools.get(pool) else { return Vec::new() };
        let exact = desired.services.values().filter(|s| s.pool == *pool).all(rules::tracks);
        wanted
            .backends
            .iter()
            .filter(|(_, b)| b.disposition.takes_new())
            .filter_map(|(name, b)| {
                let index = self.backends.index(digest::backend_id(pool, name, b.address))?;
                let has =
                    self.flows.as_ref().filter(|_| counted).map(|flows| flows.connections(index, exact));
                let has = has.unwrap_or_default();
                Some(Candidate { index, weight: b.weight.get(), active: has.active, inactive: has.inactive })
            })
            .collect()
    }

    /// Once a second: the least-connection schedulers look at the connections of the moment.
    pub(super) fn refresh_turns(&mut self, now: u32) {
        let wanted = std::mem::take(&mut self.wanted);
        for (name, service) in &wanted.services {
            if let Some(index) = self.services.get(name).copied()
                && matches!(service.rules.scheduler, Scheduler::Lc | Scheduler::Wlc | Scheduler::Sed)
            {
                // A lack of room was reported when the state was applied.
                _ = self.take_turns(index, service, &wanted, now);
            }
        }
        self.wanted = wanted;
    }
}

/// Address and port of an endpoint that has an entry of its own.
fn simple(endpoint: &Endpoint) -> Option<(std::net::IpAddr, u16)> {
    if !shapes::is_simple(endpoint) {
        return None;
    }
    Some((endpoint.net.addr(), endpoint.ports.single()?))
}
