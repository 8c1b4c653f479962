//! Weights that are lowered because their backend stands out: by halves, no faster than what is judged, and never so that more weight is
//! concerned than the depool threshold would let go altogether.

use std::time::{Instant, SystemTime};

use tracing::Level;

use super::{
    effect::Line,
    event::Now,
    pool::{PoolState, Settled},
    threshold::Tally,
};
use crate::{
    model::{BackendName, Disposition, Pooled, Weight},
    outliers::{Report, WINDOW},
};

/// Halvings at most: an eighth of the weight stays, so that it can be seen whether it behaves.
const MOST: u8 = 3;

/// A lowered weight.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lowered {
    halvings: u8,
    /// When it was changed last.
    at: Instant,
    /// When it was lowered first.
    pub(super) since: SystemTime,
    /// How its backend stood out when it was lowered last.
    pub(super) why: String,
}

impl Lowered {
    /// What is left of a weight; at least an eighth, and at least 1 of more.
    pub(super) fn of(&self, weight: Weight) -> Weight {
        halved(weight, self.halvings)
    }
}

fn halved(weight: Weight, times: u8) -> Weight {
    let left = weight.get().div_ceil(1 << times.min(MOST));
    Weight::try_from(left).unwrap_or(weight)
}

impl PoolState {
    /// Lowers the weights of those that stand out, and raises those of lowered ones that behave, each a step in a window. Returns the lines
    /// to log; none: no weight changed.
    pub(super) fn weigh(&mut self, report: &Report, by_client: bool, now: Now) -> Vec<Line> {
        let mut lines = Vec::new();
        if !self.config.outliers.lower_weight {
            return lines;
        }
        let mut lower: Vec<(Instant, BackendName, String)> = Vec::new();
        let mut raise = Vec::new();
        for (name, member) in &self.members {
            let findings = report.backends.get(name).map_or(&[][..], |b| &b.findings);
            let blamed: Vec<_> = findings.iter().filter(|f| f.measure.blames_backend(by_client)).collect();
            let due =
                member.lowered.as_ref().is_none_or(|l| now.instant.saturating_duration_since(l.at) >= WINDOW);
            let first = blamed.iter().map(|f| f.since).min();
            match first {
                _ if !due => {}
                Some(since) => {
                    let why: Vec<_> = blamed.iter().map(ToString::to_string).collect();
                    lower.push((since, name.clone(), why.join("; ")));
                }
                None if member.lowered.is_some() => raise.push(name.clone()),
                None => {}
            }
        }
        // Who stands out longest is the first that the threshold lets go.
        lower.sort();
        for (_, name, why) in lower {
            lines.extend(self.lower(&name, why, now));
        }
        for name in raise {
            lines.extend(self.raise(&name, now));
        }
        lines
    }

    fn lower(&mut self, name: &BackendName, why: String, now: Now) -> Option<Line> {
        let member = self.members.get(name)?;
        let before = member.lowered.as_ref().map_or(0, |lowered| lowered.halvings);
        let weight = member.wish.weight;
        let after = before + 1;
        let wanted = after <= MOST && halved(weight, after) < halved(weight, before);
        if !wanted || !member.may_be_lowered() || (before == 0 && !self.may_lower(weight)) {
            return None;
        }
        let since = member.lowered.as_ref().map_or(now.wall, |lowered| lowered.since);
        let message = format!("weight of {name} lowered to {} of {weight}: {why}", halved(weight, after));
        let lowered = Lowered { halvings: after, at: now.instant, since, why };
        self.members.get_mut(name)?.lowered = Some(lowered);
        self.weights_lowered += 1;
        Some(self.line(Level::WARN, name, message))
    }

    fn raise(&mut self, name: &BackendName, now: Now) -> Option<Line> {
        let member = self.members.get_mut(name)?;
        let lowered = member.lowered.as_mut()?;
        lowered.halvings -= 1;
        lowered.at = now.instant;
        if lowered.halvings == 0 {
            member.lowered = None;
        }
        self.weights_raised += 1;
        let (weight, full) = (self.members.get(name)?.weight(), self.members.get(name)?.wish.weight);
        let message = format!("weight of {name} raised to {weight} of {full}: it is like the others");
        Some(self.line(Level::INFO, name, message))
    }

    /// Whether the threshold would let go this much weight, besides all that is lowered already.
    fn may_lower(&self, weight: Weight) -> bool {
        let lowered = self.members.values().filter(|m| m.lowered.is_some() && m.counts());
        let lost: u64 = lowered.map(|m| u64::from(m.wish.weight.get())).sum();
        self.by_weight().may_lose(lost + u64::from(weight.get()), self.config.threshold)
    }

    fn by_weight(&self) -> Tally {
        let mut tally = Tally::default();
        for member in self.members.values().filter(|m| m.wish.pooled != Pooled::Inactive) {
            let wished = member.wish.weight.get();
            let share = if wished == 0 { member.configured.weight.get() } else { wished };
            tally.add(share.into(), member.counts());
        }
        tally
    }

    /// Ends what may not be any more: an operator set a weight, the file forbids it, the backend does not serve, or the others cannot do
    /// without it.
    pub(super) fn settle_lowered(&mut self, settled: &mut Settled) {
        let allowed = self.config.outliers.lower_weight;
        let ended: Vec<_> = self
            .members
            .iter()
            .filter(|(_, m)| m.lowered.is_some() && !(allowed && m.may_be_lowered()))
            .map(|(name, m)| {
                let why = match () {
                    () if !allowed => "the file no longer lowers weights",
                    () if m.weight_overridden() => "an operator set it",
                    () => "it does not serve",
                };
                (name.clone(), why)
            })
            .collect();
        for (name, why) in ended {
            settled.lines.extend(self.restore(&name, why));
        }
        loop {
            let mut lowered: Vec<_> = self
                .members
                .iter()
                .filter(|(_, m)| m.lowered.is_some())
                .map(|(n, m)| (m, n.clone()))
                .collect();
            let lost: u64 = lowered.iter().map(|(m, _)| u64::from(m.wish.weight.get())).sum();
            if lowered.is_empty() || self.by_weight().may_lose(lost, self.config.threshold) {
                return;
            }
            // The latest first.
            lowered.sort_by_key(|(m, _)| m.lowered.as_ref().map(|l| l.since));
            let Some((_, latest)) = lowered.pop() else { return };
            settled.lines.extend(self.restore(&latest, "the depool threshold lets go no more"));
        }
    }

    fn restore(&mut self, name: &BackendName, why: &str) -> Option<Line> {
        let member = self.members.get_mut(name)?;
        member.lowered = None;
        let weight = member.wish.weight;
        self.weights_raised += 1;
        Some(self.line(Level::INFO, name, format!("weight of {name} is {weight} again: {why}")))
    }
}

impl super::member::Member {
    /// The weight in force.
    pub(super) fn weight(&self) -> Weight {
        self.lowered.as_ref().map_or(self.wish.weight, |lowered| lowered.of(self.wish.weight))
    }

    fn weight_overridden(&self) -> bool {
        self.overridden.as_ref().is_some_and(|o| o.weight.is_some())
    }

    /// Only of one that serves, as others have no share to lower; an operator's word stands.
    fn may_be_lowered(&self) -> bool {
        self.disposition == Disposition::Serving && self.counts() && !self.weight_overridden()
    }
}
