//! The rules of the product: events in, effects out. No I/O, no clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use tracing::Level;

use super::{
    adopted::Adopted,
    effect::{Effect, Line},
    event::{Event, Now},
    facts::{Facts, Wanted},
    member::Member,
    overrides::Overrides,
    pool::{PoolState, Settled},
    snapshot::PoolView,
};
use crate::{
    datapath::{Desired, Status},
    health::{HealthEvent, Verdict},
    model::{BackendId, BackendName, Config, Disposition, PoolName, Pooled, ServiceName},
};

/// The whole state of the daemon.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) config: Option<Arc<Config>>,
    pub(super) config_loaded: SystemTime,
    pub(super) reload_problem: Option<String>,
    pub(super) reloads: (u64, u64),
    pub(super) adopted: Adopted,
    pub(super) overrides: Overrides,
    pub(super) facts: Facts,
    pub(super) pools: BTreeMap<PoolName, PoolState>,
    /// Services whose new pool cannot serve yet, with the pool that goes on serving them.
    pub(super) detours: BTreeMap<ServiceName, PoolName>,
    /// Backends whose override is over but which the threshold keeps; said once.
    pub(super) overdue: BTreeSet<BackendId>,
    pub(super) ready: bool,
    /// The latest state handed to the data plane.
    pub(super) desired: Arc<Desired>,
    /// Views of pools that did not change since the last snapshot.
    pub(super) views: BTreeMap<PoolName, Arc<PoolView>>,
    pub(super) sequence: u64,
    /// The latest reading of the counters that was looked at.
    pub(super) sample: u64,
}

/// What one event led to.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each true or not")]
pub(super) struct Turn {
    lines: Vec<Line>,
    changed: bool,
    urgent: bool,
    save: bool,
    rewatch: bool,
}

impl Turn {
    pub(super) fn log(&mut self, line: Line) {
        self.lines.push(line);
    }

    pub(super) fn save(&mut self) {
        self.save = true;
    }

    /// Checks and addresses may have to be others.
    pub(super) fn rewatch(&mut self) {
        self.rewatch = true;
    }

    /// Weights changed, and nothing else.
    pub(super) fn reweighed(&mut self, lines: Vec<Line>) {
        self.lines.extend(lines);
        self.changed = true;
    }

    pub(super) fn take(&mut self, settled: Settled) {
        self.lines.extend(settled.lines);
        self.urgent |= settled.urgent;
        self.rewatch |= settled.gone;
        self.changed = true;
    }
}

impl State {
    /// Nothing configured yet. `overrides`: as saved; `adopted`: as found in the kernel.
    pub fn new(overrides: Overrides, adopted: Adopted, now: Now) -> Self {
        Self {
            config: None,
            config_loaded: now.wall,
            reload_problem: None,
            reloads: (0, 0),
            adopted,
            overrides,
            facts: Facts::default(),
            pools: BTreeMap::new(),
            detours: BTreeMap::new(),
            overdue: BTreeSet::new(),
            ready: false,
            desired: Arc::default(),
            views: BTreeMap::new(),
            sequence: 0,
            sample: 0,
        }
    }

    /// Applies one event; the effects are to be carried out in their order.
    pub fn apply(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut turn = Turn::default();
        match event {
            Event::Health(event) => self.health(event, now, &mut turn),
            Event::Neighbour(event) => {
                for pool in self.facts.neighbour(event) {
                    self.settle(&pool, now, &mut turn);
                }
            }
            Event::Datapath(status) => {
                self.datapath(&status, now);
                self.observe(&status, now, &mut turn);
            }
            Event::ReloadFailed(problem) => {
                let message = format!("the configuration was not reloaded, the old one stays: {problem}");
                turn.log(Line::general(Level::ERROR, message));
                self.reloads.1 += 1;
                self.reload_problem = Some(problem);
            }
            Event::Tick => {
                self.facts.forget(now.instant);
                self.tick(now, &mut turn);
            }
        }
        self.finish(turn, now)
    }

    fn health(&mut self, event: HealthEvent, now: Now, turn: &mut Turn) {
        let HealthEvent { target, verdict, detail } = event.clone();
        for name in self.facts.health(event) {
            let before = self.ups(&name);
            self.settle(&name, now, turn);
            let Some(pool) = self.pools.get(&name) else {
                continue;
            };
            for (backend, member) in pool.everyone().filter(|(_, m)| m.targets.contains(&target)) {
                let state = pybal_state(member);
                if verdict == Verdict::Down {
                    let check = &target.spec.name;
                    let message = format!(
                        "Monitoring instance {check} reports server {backend} ({state}) down: {detail}"
                    );
                    turn.log(pool.line(Level::ERROR, backend, message));
                } else if member.up == Some(true) && before.get(backend) != Some(&Some(true)) {
                    turn.log(pool.line(Level::INFO, backend, format!("Server {backend} ({state}) is up")));
                }
            }
        }
    }

    fn ups(&self, pool: &PoolName) -> BTreeMap<BackendName, Option<bool>> {
        let pool = self.pools.get(pool);
        pool.into_iter().flat_map(PoolState::everyone).map(|(name, m)| (name.clone(), m.up)).collect()
    }

    /// An inactive backend is out once the kernel has none of its connections left.
    fn datapath(&mut self, status: &Status, now: Now) {
        self.ready |= self.desired.revision > 0 && status.revision >= 1;
        let current = status.revision >= self.desired.revision;
        let drained = |pool: &PoolName, backend: &BackendName| {
            let there = status.pools.get(pool).and_then(|p| p.backends.get(backend));
            there.is_none_or(|b| b.draining_slots == 0 && b.slots == 0)
        };
        for (name, pool) in &mut self.pools {
            for (backend, member) in &mut pool.members {
                let leaving =
                    member.disposition == Disposition::Draining && member.wish.pooled == Pooled::Inactive;
                if current && leaving && drained(name, backend) {
                    member.enter((Disposition::Out, "pooled=inactive".into()), now.wall);
                    self.views.remove(name);
                }
            }
        }
    }

    /// Looks at a pool again after something about it changed.
    pub(super) fn settle(&mut self, pool: &PoolName, now: Now, turn: &mut Turn) {
        if let Some(state) = self.pools.get_mut(pool) {
            turn.take(state.settle(&self.facts, &self.overrides, now.wall));
            self.views.remove(pool);
        }
    }

    /// Turns what an event led to into effects.
    pub(super) fn finish(&mut self, mut turn: Turn, now: Now) -> Vec<Effect> {
        if turn.changed && self.end_detours(&mut turn) {
            turn.rewatch();
        }
        let mut effects = Vec::new();
        if turn.save {
            effects.push(Effect::Save(self.overrides.document(now.wall)));
        }
        if turn.rewatch {
            let (targets, addresses) = self.facts.want(self.wanted(), now.instant);
            if targets {
                effects.push(Effect::Targets(self.facts.targets()));
            }
            if addresses {
                effects.push(Effect::Addresses(self.facts.addresses()));
            }
        }
        if turn.changed {
            effects.push(Effect::Program { urgent: turn.urgent });
        }
        effects.extend(turn.lines.into_iter().map(Effect::Log));
        effects
    }

    /// The checks to run and the addresses to watch, with the pools that need them.
    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for (name, pool) in &self.pools {
            for (_, member) in pool.everyone().filter(|(_, m)| m.watched()) {
                for target in &member.targets {
                    wanted.targets.entry(target.clone()).or_insert_with(BTreeSet::new).insert(name.clone());
                }
                wanted.addresses.entry(member.address()).or_default().insert(name.clone());
            }
        }
        wanted
    }
}

/// PyBal's three words.
pub(super) fn pybal_state(member: &Member) -> String {
    let enabled = if member.wish.pooled == Pooled::Yes { "enabled" } else { "disabled" };
    let up = match member.up {
        Some(true) => "up",
        _ if member.partially_up => "partially up",
        _ => "down",
    };
    let pooled = if member.disposition.takes_new() { "pooled" } else { "not pooled" };
    format!("{enabled}/{up}/{pooled}")
}
