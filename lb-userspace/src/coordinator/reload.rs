//! A new configuration: an exact diff, which can never do to a pool what a failure may not.
//!
//! - What did not change keeps its health, disposition, age and place in the order of failures.
//! - Changed checks start anew; until they have spoken the backend counts as before.
//! - A backend that serves and that the file removes, moves to another address or disables goes on serving ("lingers") while no other
//!   backend of its pool can: so replacing all backends by others is smooth. Nothing that serves is left: the reload is refused.
//! - Apart from that the file is the operator's written wish, and is obeyed below the depool threshold as well.
//! - A service whose new pool cannot serve yet stays with its old one ("detour") until it can.

use std::{collections::BTreeSet, sync::Arc};

use tracing::Level;

use super::{
    effect::{Effect, Line},
    event::Now,
    member::Member,
    pool::PoolState,
    state::{State, Turn},
    targets::services,
};
use crate::{
    config::diff,
    model::{Backend, BackendId, Config, Pool, PoolName, Pooled, Service},
};

impl State {
    /// Puts a configuration in force, as a whole or not at all; the first one always. Returns what changed, or why it is refused.
    pub fn reload(&mut self, config: &Arc<Config>, now: Now) -> (Result<Vec<String>, String>, Vec<Effect>) {
        let (next, result, mut turn) = self.prepare(config, now);
        match result {
            Ok(changes) if changes.is_empty() && self.config.is_some() => {
                self.reloaded(now);
                (Ok(changes), Vec::new())
            }
            Ok(changes) => {
                let first = self.config.is_none();
                *self = next;
                if !first {
                    for change in &changes {
                        turn.log(Line::general(Level::INFO, change.clone()));
                    }
                }
                if first {
                    self.config_loaded = now.wall;
                    let backends: usize = config.pools.values().map(|pool| pool.backends.len()).sum();
                    let (services, pools) = (config.services.len(), config.pools.len());
                    let message =
                        format!("configured: {services} services, {pools} pools, {backends} backends");
                    turn.log(Line::general(Level::INFO, message));
                } else {
                    self.reloaded(now);
                }
                turn.rewatch();
                let effects = self.finish(turn, now);
                (Ok(changes), effects)
            }
            Err(problem) => {
                let effects = self.apply(super::event::Event::ReloadFailed(problem.clone()), now);
                (Err(problem), effects)
            }
        }
    }

    /// What [`State::reload`] would answer. Nothing changes.
    pub fn preview(&self, config: &Arc<Config>, now: Now) -> Result<Vec<String>, String> {
        self.prepare(config, now).1
    }

    fn reloaded(&mut self, now: Now) {
        self.config_loaded = now.wall;
        self.reload_problem = None;
        self.reloads.0 += 1;
    }

    fn prepare(&self, config: &Arc<Config>, now: Now) -> (Self, Result<Vec<String>, String>, Turn) {
        let mut turn = Turn::default();
        let mut next = self.clone();
        let changes = self.config.as_deref().map_or_else(Vec::new, |old| diff(old, config).lines());
        if changes.is_empty() && self.config.is_some() {
            return (next, Ok(changes), turn);
        }
        next.install(config, now, &mut turn);
        let problems = next.emptied(self, config);
        let result = if problems.is_empty() { Ok(changes) } else { Err(problems.join("; ")) };
        (next, result, turn)
    }

    fn install(&mut self, config: &Arc<Config>, now: Now, turn: &mut Turn) {
        self.facts.set_tunnel(config.global.tunnel);
        let mut old = std::mem::take(&mut self.pools);
        for (name, pool) in &config.pools {
            let state = old.remove(name).unwrap_or_else(|| PoolState::new(Arc::clone(pool)));
            let state = self.merge(state, pool, &services(config, name), now);
            self.pools.insert(name.clone(), state);
            self.settle(name, now, turn);
        }
        self.pools.extend(old);
        self.set_detours(config);
        self.config = Some(Arc::clone(config));
        self.drop_unused_pools(turn);
        self.adopted.clear();

        let pools = &config.pools;
        let present =
            |id: &BackendId| pools.get(&id.pool).is_some_and(|pool| pool.backends.contains_key(&id.backend));
        for id in self.overrides.note_absent(now.wall, present) {
            let message =
                format!("{id} has an override but is not in the configuration: it is kept for a day");
            turn.log(Line::general(Level::WARN, message));
            turn.save();
        }
    }

    /// The pool's backends as the file has them, each with what is known of it.
    fn merge(&self, mut state: PoolState, pool: &Arc<Pool>, services: &[&Service], now: Now) -> PoolState {
        let mut old = std::mem::take(&mut state.members);
        for (name, backend) in &pool.backends {
            let same = |member: &mut Member| member.address() == backend.address;
            let returned = state.leaving.extract_if(name..=name, |_, m| same(m)).next();
            let known = old.extract_if(name..=name, |_, m| same(m)).next();
            let mut member = if let Some((_, mut member)) = known.or(returned) {
                member.reconfigure(Arc::clone(backend), pool, services);
                member
            } else {
                let found = self.adopted.get(&state.id(name)).filter(|a| a.address == backend.address);
                Member::new(Arc::clone(backend), pool, services, found.map(|a| a.disposition), now.wall)
            };
            member.set_wish(self.overrides.get(&state.id(name)));
            member.lingering = member.disposition.takes_new() && !member.wish.enabled();
            state.members.insert(name.clone(), member);
        }
        let gone = old.into_iter().filter(|(_, member)| member.disposition.takes_new());
        state.leaving.extend(gone);
        for (id, found) in self.adopted.iter().filter(|(id, _)| id.pool == pool.name) {
            let member = state.members.get(&id.backend);
            if found.disposition.takes_new() && member.is_none_or(|m| m.address() != found.address) {
                let backend = Backend {
                    name: id.backend.clone(),
                    address: found.address,
                    weight: found.weight,
                    pooled: Pooled::Yes,
                    method: found.method,
                    gue_port: found.gue_port,
                    server_id: found.server_id,
                };
                let unchecked = Pool { checks: Vec::new(), ..(**pool).clone() };
                let member =
                    Member::new(Arc::new(backend), &unchecked, &[], Some(found.disposition), now.wall);
                state.leaving.insert(id.backend.clone(), member);
            }
        }
        state.config = Arc::clone(pool);
        state
    }

    /// Pools that serve now and in which, after this, nothing serves or could come up.
    fn emptied(&self, before: &Self, config: &Config) -> Vec<String> {
        let hopeless = |pool: &PoolState| pool.serving() + pool.pending() == 0;
        let empty_is_meant = |pool: &Pool| pool.allow_empty && pool.backends.is_empty();
        let mut problems = Vec::new();
        for (name, pool) in &self.pools {
            let Some(old) = before.pools.get(name).filter(|old| old.takes_new() > 0 && !hopeless(old)) else {
                continue;
            };
            if config.pools.contains_key(name) && hopeless(pool) && !empty_is_meant(&pool.config) {
                problems.push(format!(
                    "pool {name}: {} serve now, and none of the {} in the new file could: keep one that is up, or take \
                     them out first with `lbctl depool --force`",
                    old.takes_new(),
                    pool.config.backends.len(),
                ));
            }
        }
        for (service, old) in &self.detours {
            let new = config.services.get(service).and_then(|s| self.pools.get(&s.pool));
            if let Some(new) = new.filter(|new| hopeless(new) && !empty_is_meant(&new.config)) {
                problems.push(format!(
                    "service {service}: it would move from pool {old}, which serves, to pool {}, in which nothing can",
                    new.config.name
                ));
            }
        }
        problems
    }

    fn set_detours(&mut self, config: &Config) {
        let before = self.config.take();
        let mut detours = std::collections::BTreeMap::new();
        let serves = |pool: &PoolName| self.pools.get(pool).is_some_and(|p| p.takes_new() > 0);
        for (name, service) in &config.services {
            let was = before.as_ref().and_then(|config| config.services.get(name)).map(|s| &s.pool);
            let Some(was) = self.detours.get(name).or(was) else {
                continue;
            };
            let meant =
                self.pools.get(&service.pool).is_some_and(|p| p.config.allow_empty && p.members.is_empty());
            if *was != service.pool && serves(was) && !serves(&service.pool) && !meant {
                detours.insert(name.clone(), was.clone());
            }
        }
        self.detours = detours;
    }

    /// Ends detours whose pool can serve now, or whose old pool no longer does. Returns whether a pool was dropped.
    pub(super) fn end_detours(&mut self, turn: &mut Turn) -> bool {
        let serves = |pool: Option<&PoolName>| {
            pool.and_then(|name| self.pools.get(name)).is_some_and(|pool| pool.takes_new() > 0)
        };
        let services = self.config.as_ref().map(|config| &config.services);
        let new = |name: &str| services.and_then(|s| s.get(name)).map(|service| &service.pool);
        let ended: Vec<_> = self
            .detours
            .iter()
            .filter(|(service, old)| serves(new(service.as_str())) || !serves(Some(old)))
            .map(|(service, _)| service.clone())
            .collect();
        for service in ended {
            let old = self.detours.remove(&service);
            self.views.clear();
            let old = old.as_ref().map_or("", PoolName::as_str);
            turn.log(Line::general(Level::INFO, format!("service {service} leaves its old pool {old}")));
        }
        self.drop_unused_pools(turn)
    }

    fn drop_unused_pools(&mut self, turn: &mut Turn) -> bool {
        let Some(config) = &self.config else {
            return false;
        };
        let needed: BTreeSet<_> = self.detours.values().collect();
        let unused = |name: &PoolName| !config.pools.contains_key(name) && !needed.contains(name);
        let dropped: Vec<_> = self.pools.keys().filter(|name| unused(name)).cloned().collect();
        for name in &dropped {
            self.pools.remove(name);
            self.views.remove(name);
            turn.log(Line::general(Level::INFO, format!("pool {name} is gone")));
        }
        !dropped.is_empty()
    }
}
