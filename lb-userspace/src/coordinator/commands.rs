//! Operators' commands: tried on a copy of the pools concerned, then carried out in all of them or in none.

use std::time::{Duration, SystemTime};

use tracing::Level;

use super::{
    command::{Change, Command, Outcome, Refusal},
    effect::{Effect, Line},
    event::Now,
    member::Member,
    near::near,
    overrides::{Entry, Overrides, Setting},
    pool::{PoolState, Settled},
    state::{State, Turn},
};
use crate::model::{BackendId, BackendName, Disposition, PoolName, Pooled, Weight};

/// A change tried on a copy.
struct Trial {
    id: BackendId,
    pool: PoolState,
    settled: Settled,
    outcome: Outcome,
}

impl State {
    /// Carries a command out. The effects contain the overrides to save when they changed; who asked should have his answer only after
    /// they are on disk.
    pub fn command(
        &mut self,
        command: &Command,
        by: &str,
        now: Now,
    ) -> (Result<Vec<Outcome>, Refusal>, Vec<Effect>) {
        let ids = match self.select(command) {
            Ok(ids) => ids,
            Err(refusal) => return (Err(refusal), Vec::new()),
        };
        let mut overrides = self.overrides.clone();
        let (mut trials, mut refusals) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(pool) = self.pools.get(&id.pool) else {
                continue;
            };
            if let Some(member) = pool.members.get(&id.backend) {
                let entry = overrides.get(&id).cloned().unwrap_or_default();
                overrides.put(&id, changed_entry(entry, member, command, by, now.wall));
            }
            let trial = self.attempt(pool, &id, &overrides, command, now);
            match policy(pool, &trial.pool, &id).filter(|_| !command.force) {
                Some(message) => refusals.push((id.pool, message)),
                None => trials.push(trial),
            }
        }
        if !refusals.is_empty() {
            return self.refuse(refusals, command, by);
        }
        let outcomes: Vec<_> = trials.iter().map(|trial| trial.outcome.clone()).collect();
        if command.dry_run || outcomes.iter().all(|outcome| !outcome.changed) {
            return (Ok(outcomes), Vec::new());
        }
        let mut turn = Turn::default();
        if overrides != self.overrides {
            self.overrides = overrides;
            turn.save();
        }
        turn.rewatch();
        for Trial { id, pool, settled, outcome } in trials {
            let reason = command.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
            let message = format!("{by} changed {id}: {}{reason}", outcome.summary);
            turn.log(pool.line(Level::INFO, &id.backend, message));
            turn.take(settled);
            self.views.remove(&id.pool);
            self.pools.insert(id.pool, pool);
        }
        let effects = self.finish(turn, now);
        (Ok(outcomes), effects)
    }

    fn select(&self, command: &Command) -> Result<Vec<BackendId>, Refusal> {
        let backend = &command.selector.backend;
        let pools: Vec<&PoolState> = if let Some(name) = &command.selector.pool {
            let Some(pool) = self.pools.get(name) else {
                let message = near("pool", name.as_str(), self.pools.keys().map(PoolName::as_str));
                return Err(Refusal::NotFound { message });
            };
            vec![pool]
        } else {
            self.pools.values().collect()
        };
        let has = |pool: &&&PoolState| pool.everyone().any(|(name, _)| name == backend);
        let ids: Vec<_> = pools.iter().filter(has).map(|pool| pool.id(backend)).collect();
        if ids.is_empty() {
            let names = pools.iter().flat_map(|pool| pool.members.keys()).map(BackendName::as_str);
            let what = match &command.selector.pool {
                Some(pool) => format!("backend of pool {pool}"),
                None => "backend".into(),
            };
            let message = near(&what, backend.as_str(), names);
            return Err(Refusal::NotFound { message });
        }
        Ok(ids)
    }

    fn attempt(
        &self,
        before: &PoolState,
        id: &BackendId,
        overrides: &Overrides,
        command: &Command,
        now: Now,
    ) -> Trial {
        let mut pool = before.clone();
        let takes_out = takes_out(&command.change);
        if let Some(member) = pool.members.get_mut(&id.backend) {
            member.lingering &= !takes_out;
        }
        let mut left = false;
        if takes_out {
            left = pool.leaving.remove(&id.backend).is_some();
        }
        let mut settled = pool.settle(&self.facts, overrides, now.wall);
        settled.gone |= left;
        let outcome = outcome(before, &pool, id, self.overrides.get(id) != overrides.get(id));
        Trial { id: id.clone(), pool, settled, outcome }
    }

    fn refuse(
        &mut self,
        refusals: Vec<(PoolName, String)>,
        command: &Command,
        by: &str,
    ) -> (Result<Vec<Outcome>, Refusal>, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut messages = Vec::new();
        for (name, message) in refusals {
            if let Some(pool) = self.pools.get_mut(&name).filter(|_| !command.dry_run) {
                pool.could_not_depool += 1;
                let text = format!("refused to {by}: {message}");
                effects.push(Effect::Log(pool.line(Level::WARN, &command.selector.backend, text)));
                self.views.remove(&name);
            }
            messages.push(message);
        }
        let message = format!("{}; add --force to do it anyway", messages.join("; "));
        (Err(Refusal::Policy { message }), effects)
    }

    /// Ends overrides whose time is over, unless that would take out what the threshold keeps; forgets those long absent.
    pub(super) fn tick(&mut self, now: Now, turn: &mut Turn) {
        for id in self.overrides.expired(now.wall) {
            let entry = self.overrides.get(&id).map(|entry| entry.unexpired(now.wall)).unwrap_or_default();
            let mut overrides = self.overrides.clone();
            overrides.put(&id, entry);
            if let Some(before) = self.pools.get(&id.pool) {
                let mut pool = before.clone();
                let settled = pool.settle(&self.facts, &overrides, now.wall);
                if let Some(message) = policy(before, &pool, &id) {
                    if self.overdue.insert(id.clone()) {
                        let text = format!("the override of {id} is over but stays for now: {message}");
                        turn.log(before.line(Level::WARN, &id.backend, text));
                    }
                    continue;
                }
                turn.take(settled);
                turn.log(pool.line(Level::INFO, &id.backend, format!("the override of {id} is over")));
                self.views.remove(&id.pool);
                self.pools.insert(id.pool.clone(), pool);
            }
            self.overdue.remove(&id);
            self.overrides = overrides;
            turn.save();
            turn.rewatch();
        }
        for id in self.overrides.forget_absent(now.wall) {
            let message = format!("forgot the override of {id}, which has not been configured for a day");
            turn.log(Line::general(Level::INFO, message));
            turn.save();
        }
    }
}

fn takes_out(change: &Change) -> bool {
    match change {
        Change::Pooled { pooled } => *pooled != Pooled::Yes,
        Change::Weight { weight } => weight.is_some_and(|weight| weight.get() == 0),
    }
}

/// Why the depool threshold forbids what happened to `id` between the two, if it does.
fn policy(before: &PoolState, after: &PoolState, id: &BackendId) -> Option<String> {
    let serves = |pool: &PoolState| {
        let member = pool.leaving.get(&id.backend).or_else(|| pool.members.get(&id.backend));
        member.is_some_and(|m| m.disposition.takes_new())
    };
    let lost = serves(before) && !serves(after);
    let shrunk = after.tally.up_and_enabled < before.tally.up_and_enabled;
    let threshold = after.config.threshold;
    let emptied = after.takes_new() == 0;
    if !(lost || shrunk) || (after.tally.may_depool(threshold) && !emptied) {
        return None;
    }
    let unit = if threshold.by_weight { " (by weight)" } else { "" };
    let stay =
        if emptied { after.tally.must_stay(threshold).max(1) } else { after.tally.must_stay(threshold) };
    Some(format!(
        "pool {}: {} of {} are up and enabled{unit}, {stay} must stay (threshold {})",
        id.pool, before.tally.up_and_enabled, before.tally.total, threshold.fraction
    ))
}

/// The entry after a command.
fn changed_entry(mut entry: Entry, member: &Member, command: &Command, by: &str, now: SystemTime) -> Entry {
    match command.change {
        Change::Pooled { pooled } => {
            // A wish for what the file says is no override, unless it says "out": that should last when the file changes.
            let file = member.configured.pooled;
            let drop = pooled == file && (pooled == Pooled::Yes || entry.pooled.is_none());
            entry.pooled = (!drop).then(|| setting(entry.pooled.take(), pooled, command, by, now));
        }
        Change::Weight { weight } => {
            // A wish for what the file says is no override, unless it is to end, or to go on keeping, a lowered weight from being in force.
            let keeps = |weight: Weight| {
                weight != member.configured.weight
                    || member.lowered.is_some()
                    || entry.weight.as_ref().is_some_and(|old| old.value == weight)
            };
            let weight = weight.filter(|weight| keeps(*weight));
            entry.weight =
                weight.map(|weight: Weight| setting(entry.weight.take(), weight, command, by, now));
        }
    }
    entry
}

/// A repeated wish keeps its author and start; only a new reason or end replaces the old.
fn setting<T: PartialEq>(
    old: Option<Setting<T>>,
    value: T,
    command: &Command,
    by: &str,
    now: SystemTime,
) -> Setting<T> {
    let until = command.lasts.and_then(|lasts: Duration| now.checked_add(lasts));
    match old.filter(|old| old.value == value) {
        Some(old) => {
            Setting { reason: command.reason.clone().or(old.reason), until: until.or(old.until), ..old }
        }
        None => Setting { value, by: by.to_owned(), reason: command.reason.clone(), since: now, until },
    }
}

fn outcome(before: &PoolState, after: &PoolState, id: &BackendId, recorded: bool) -> Outcome {
    let (old, new) = (before.members.get(&id.backend), after.members.get(&id.backend));
    let (Some(old), Some(new)) = (old, new) else {
        let changed = before.leaving.len() != after.leaving.len();
        let summary = if changed {
            "left the configuration; drained now"
        } else {
            "left the configuration; serves until enough others are up"
        };
        let summary = summary.into();
        return Outcome { backend: id.clone(), changed, summary };
    };
    let changed =
        recorded || old.disposition != new.disposition || before.leaving.len() != after.leaving.len();
    let mut parts = Vec::new();
    if old.wish.pooled != new.wish.pooled {
        parts.push(format!("pooled={} -> pooled={}", old.wish.pooled, new.wish.pooled));
    }
    if old.weight() != new.weight() {
        parts.push(format!("weight {} -> {}", old.weight(), new.weight()));
    }
    if parts.is_empty() {
        let already = if changed { "" } else { " already" };
        parts.push(format!("pooled={} weight {}{already}", new.wish.pooled, new.weight()));
    }
    parts.push(match (new.fitness.why_unfit(), new.disposition) {
        (Some(why), to) if new.wish.enabled() && !to.takes_new() => {
            format!("{to} ({why}): will serve once up")
        }
        (_, to @ Disposition::Out) if new.wish.enabled() => format!("{to} ({}): will serve once up", new.why),
        (_, to) => to.to_string(),
    });
    Outcome { backend: id.clone(), changed, summary: parts.join(", ") }
}
