//! One pool: the rules that look at its backends together.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use tracing::Level;

use super::{
    effect::Line,
    facts::Facts,
    member::{Fitness, Member},
    overrides::Overrides,
    threshold::Tally,
};
use crate::{
    model::{BackendId, BackendName, Disposition, Pool},
    outliers::Watch,
};

/// A pool and its backends.
#[derive(Clone, Debug)]
pub(super) struct PoolState {
    pub(super) config: Arc<Pool>,
    /// The configured backends.
    pub(super) members: BTreeMap<BackendName, Member>,
    /// Backends that left the configuration, or changed their address, and have to serve on until others can.
    pub(super) leaving: BTreeMap<BackendName, Member>,
    /// As counted at the last look.
    pub(super) tally: Tally,
    /// How often the threshold kept a failing backend in, or refused a command.
    pub(super) could_not_depool: u64,
    /// The latest failure's place in the order of failures.
    pub(super) failures: u64,
    /// Follows its counters.
    pub(super) watch: Watch,
    /// Steps by which weights were lowered, and by which they were raised again.
    pub(super) weights_lowered: u64,
    pub(super) weights_raised: u64,
}

/// What a look at a pool changed.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) lines: Vec<Line>,
    /// A backend went down: the data plane should know at once.
    pub(super) urgent: bool,
    /// A backend left for good: its checks are no longer needed.
    pub(super) gone: bool,
}

impl PoolState {
    pub(super) fn new(config: Arc<Pool>) -> Self {
        Self {
            config,
            members: BTreeMap::new(),
            leaving: BTreeMap::new(),
            tally: Tally::default(),
            could_not_depool: 0,
            failures: 0,
            watch: Watch::default(),
            weights_lowered: 0,
            weights_raised: 0,
        }
    }

    pub(super) fn id(&self, backend: &BackendName) -> BackendId {
        BackendId { pool: self.config.name.clone(), backend: backend.clone() }
    }

    /// Members and those leaving.
    pub(super) fn everyone(&self) -> impl Iterator<Item = (&BackendName, &Member)> {
        self.members.iter().chain(&self.leaving)
    }

    /// How many get new connections, those only lingering not counted.
    pub(super) fn serving(&self) -> usize {
        let members = self.members.values();
        members.filter(|m| m.disposition.takes_new() && !m.lingering).count()
    }

    /// How many get new connections.
    pub(super) fn takes_new(&self) -> usize {
        self.everyone().filter(|(_, m)| m.disposition.takes_new()).count()
    }

    /// How many might still come up: wanted, not yet judged.
    pub(super) fn pending(&self) -> usize {
        let unknown = |m: &&Member| {
            m.wish.enabled() && matches!(m.fitness, Fitness::Unknown(_)) && !m.disposition.takes_new()
        };
        self.members.values().filter(unknown).count()
    }

    /// What a member counts in the threshold's formula. Weight 0 takes a backend out of service, not out of the total.
    pub(super) fn share(&self, member: &Member) -> u64 {
        if !self.config.threshold.by_weight {
            return 1;
        }
        match member.wish.weight.get() {
            0 => member.configured.weight.get().into(),
            weight => weight.into(),
        }
    }

    /// Looks at everything again and moves each backend to where it belongs. Looking twice changes nothing.
    pub(super) fn settle(&mut self, facts: &Facts, overrides: &Overrides, now: SystemTime) -> Settled {
        let mut settled = Settled::default();
        self.judge(facts, overrides);
        let may_depool = self.tally.may_depool(self.config.threshold);

        // Failing backends leave in the order in which they failed.
        let mut order: Vec<(u64, BackendName)> = self
            .members
            .iter()
            .filter(|(_, m)| !m.lingering)
            .map(|(name, m)| (m.failure.unwrap_or(0), name.clone()))
            .collect();
        order.sort_by_key(|(failure, _)| *failure);
        for (_, name) in order {
            if let Some(member) = self.members.get(&name) {
                let next = member.decide(&self.config, may_depool);
                self.enter(&name, next, now, &mut settled);
            }
        }
        self.settle_lingering(may_depool, now, &mut settled);
        self.settle_lowered(&mut settled);
        settled
    }

    fn judge(&mut self, facts: &Facts, overrides: &Overrides) {
        let combine = self.config.combine;
        for (backend, member) in &mut self.members {
            let id = BackendId { pool: self.config.name.clone(), backend: backend.clone() };
            member.set_wish(overrides.get(&id));
            member.lingering &= !member.wish.enabled();
            member.judge(facts, combine, &mut self.failures);
        }
        for member in self.leaving.values_mut() {
            member.judge(facts, combine, &mut self.failures);
        }
        let mut tally = Tally::default();
        for member in self.members.values() {
            if member.wish.pooled != crate::model::Pooled::Inactive {
                tally.add(self.share(member), member.counts());
            }
        }
        self.tally = tally;
    }

    /// Lets go of those the file no longer wants, once the others can do without them.
    fn settle_lingering(&mut self, may_depool: bool, now: SystemTime, settled: &mut Settled) {
        let serving = self.serving() > 0;
        let emptied = self.config.allow_empty && self.members.is_empty();
        let enough = emptied || (serving && (may_depool || self.pending() == 0));
        let stays = |m: &Member| !(enough || serving && m.fitness.why_unfit().is_some());

        let lingering: Vec<_> =
            self.members.iter().filter(|(_, m)| m.lingering).map(|(n, _)| n.clone()).collect();
        for name in lingering {
            let Some(member) = self.members.get_mut(&name) else {
                continue;
            };
            member.lingering = stays(member);
            let next = if member.lingering {
                let why = "the file no longer wants it; serves until enough others are up";
                (Disposition::Held, why.into())
            } else {
                settled.gone |= !member.watched();
                member.decide(&self.config, may_depool)
            };
            self.enter(&name, next, now, settled);
        }
        let done: Vec<_> = self.leaving.extract_if(.., |_, m| !stays(m)).collect();
        for (name, _) in done {
            settled.gone = true;
            let message = format!("{name} left the configuration and is drained now");
            settled.lines.push(self.line(Level::INFO, &name, message));
        }
        for member in self.leaving.values_mut() {
            let why = "left the configuration; serves until enough others are up";
            member.enter((Disposition::Held, why.into()), now);
        }
    }

    fn enter(
        &mut self,
        name: &BackendName,
        next: (Disposition, String),
        now: SystemTime,
        settled: &mut Settled,
    ) {
        let Some(member) = self.members.get_mut(name) else {
            return;
        };
        let to = next.0;
        let Some(from) = member.enter(next, now) else {
            return;
        };
        let failing = member.fitness.why_unfit().is_some();
        let why = member.why.clone();
        settled.urgent |= to == Disposition::Down || (to == Disposition::Out && from.keeps_old());
        let line = match (from, to) {
            (_, Disposition::Held) if failing => {
                self.could_not_depool += 1;
                let message = format!("Could not depool server {name} because of too many down!");
                self.line(Level::ERROR, name, message)
            }
            (Disposition::Held, Disposition::Serving) => {
                let message = format!("Leaving previously pooled but down server {name} pooled");
                self.line(Level::INFO, name, message)
            }
            _ => {
                let level = if failing { Level::WARN } else { Level::INFO };
                let why = if why.is_empty() { why } else { format!(": {why}") };
                self.line(level, name, format!("{name} {from} -> {to}{why}"))
            }
        };
        settled.lines.push(line);
    }

    pub(super) fn line(&self, level: Level, backend: &BackendName, message: String) -> Line {
        Line { level, message, pool: Some(self.config.name.clone()), backend: Some(backend.clone()) }
    }
}
