//! One backend of a pool: what is wished, what is known, and what follows from it.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use super::{facts::Facts, lowered::Lowered, overrides::Entry, snapshot::Override, targets::targets};
use crate::{
    health::Verdict,
    model::{Backend, CheckTarget, Combine, Disposition, NextHop, Pool, Pooled, Service, Weight},
};

/// What the operators want, by file and command together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) pooled: Pooled,
    pub(super) weight: Weight,
}

impl Wish {
    /// Whether it should get new connections while it is fit.
    pub(super) fn enabled(self) -> bool {
        self.pooled == Pooled::Yes && self.weight.get() > 0
    }
}

/// Whether a backend could serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fitness {
    /// Its checks say up and the way to it is known.
    Fit,
    /// Its checks say down; which, and why.
    Failing(String),
    /// There is no way to it; why.
    Unreachable(String),
    /// Not all has been heard yet; what is missing.
    Unknown(&'static str),
}

impl Fitness {
    pub(super) fn why_unfit(&self) -> Option<&str> {
        match self {
            Self::Failing(why) | Self::Unreachable(why) => Some(why),
            Self::Fit | Self::Unknown(_) => None,
        }
    }
}

/// A backend of a pool.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each true or not")]
pub(super) struct Member {
    pub(super) configured: Arc<Backend>,
    pub(super) targets: Vec<CheckTarget>,
    pub(super) wish: Wish,
    pub(super) overridden: Option<Override>,
    /// What the checks say together. Kept while changed checks have not spoken, so that changing them depools nobody.
    pub(super) up: Option<bool>,
    pub(super) partially_up: bool,
    pub(super) fitness: Fitness,
    pub(super) disposition: Disposition,
    pub(super) since: SystemTime,
    pub(super) why: String,
    /// The way to it is known.
    reachable: bool,
    /// Was up once since the daemon started.
    seen_up: bool,
    /// Was failing already when it was told to drain: that failure does not end the drain, a new one does.
    excused: bool,
    /// Its place in the order of failures, while it fails.
    pub(super) failure: Option<u64>,
    /// The file no longer wants it to serve, but it has to until others can: a reload must not empty a pool.
    pub(super) lingering: bool,
    /// Its weight is lowered because it stands out.
    pub(super) lowered: Option<Lowered>,
}

impl Member {
    /// A backend nothing is known of, except what the kernel's tables say the data plane was doing with it.
    pub(super) fn new(
        configured: Arc<Backend>,
        pool: &Pool,
        services: &[&Service],
        adopted: Option<Disposition>,
        now: SystemTime,
    ) -> Self {
        let wish = Wish { pooled: configured.pooled, weight: configured.weight };
        let disposition = match adopted {
            Some(Disposition::Serving | Disposition::Held) => Disposition::Serving,
            Some(Disposition::Draining) => Disposition::Draining,
            Some(Disposition::Down | Disposition::Out) | None => Disposition::Out,
        };
        Self {
            targets: targets(&configured, pool, services),
            configured,
            wish,
            overridden: None,
            up: None,
            partially_up: false,
            fitness: Fitness::Unknown("waiting for its first check"),
            disposition,
            since: now,
            why: String::new(),
            reachable: false,
            seen_up: false,
            excused: false,
            failure: None,
            lingering: false,
            lowered: None,
        }
    }

    /// Takes a new configuration of the same backend; what is known of it stays.
    pub(super) fn reconfigure(&mut self, configured: Arc<Backend>, pool: &Pool, services: &[&Service]) {
        self.targets = targets(&configured, pool, services);
        self.configured = configured;
    }

    pub(super) fn address(&self) -> IpAddr {
        self.configured.address
    }

    /// The wish in force, from file and override.
    pub(super) fn set_wish(&mut self, entry: Option<&Entry>) {
        let pooled = entry.and_then(|e| e.pooled.as_ref()).map(|s| s.value);
        let weight = entry.and_then(|e| e.weight.as_ref()).map(|s| s.value);
        self.wish = Wish {
            pooled: pooled.unwrap_or(self.configured.pooled),
            weight: weight.unwrap_or(self.configured.weight),
        };
        self.overridden = entry.and_then(Entry::view);
    }

    /// Whether checks and way are followed: not for one that is inactive, unless it has to serve on.
    pub(super) fn watched(&self) -> bool {
        self.wish.pooled != Pooled::Inactive || self.lingering
    }

    /// Where its frames go: the way as it is, else the last that worked; only such as its forwarding method can use.
    pub(super) fn next_hop(&self, facts: &Facts) -> Option<NextHop> {
        match facts.way(&self.configured) {
            Some(Ok(hop)) => Some(hop),
            _ => facts.last_hop(&self.configured),
        }
    }

    /// Judges from what is known; `order` gives a new failure its place.
    pub(super) fn judge(&mut self, facts: &Facts, combine: Combine, order: &mut u64) {
        let verdicts: Vec<_> = self.targets.iter().map(|target| facts.verdict(target)).collect();
        let ups = verdicts.iter().flatten().filter(|(verdict, _)| *verdict == Verdict::Up).count();
        let downs = verdicts.iter().flatten().count() - ups;
        let said = match combine {
            _ if verdicts.is_empty() => Some(true),
            Combine::All if downs > 0 => Some(false),
            Combine::All => (ups == verdicts.len()).then_some(true),
            Combine::Any if ups > 0 => Some(true),
            Combine::Any => (downs == verdicts.len()).then_some(false),
        };
        if !self.watched() {
            // Its checks are stopped: what they said once is no longer known.
            self.up = None;
        } else if said.is_some() {
            self.up = said;
        }
        self.seen_up |= self.up == Some(true);
        self.partially_up = self.up == Some(false) && ups > 0;

        let way = facts.way(&self.configured);
        self.reachable = matches!(way, Some(Ok(_)));
        self.fitness = match (self.up, way) {
            (Some(false), _) => Fitness::Failing(self.failing_check(facts)),
            (_, Some(Err(why))) => Fitness::Unreachable(why),
            (None, _) => Fitness::Unknown("waiting for its first check"),
            (Some(true), None) => Fitness::Unknown("waiting for its MAC address"),
            (Some(true), Some(Ok(_))) => Fitness::Fit,
        };
        if self.fitness.why_unfit().is_none() {
            (self.failure, self.excused) = (None, false);
        } else if self.failure.is_none() {
            *order += 1;
            self.failure = Some(*order);
        }
    }

    fn failing_check(&self, facts: &Facts) -> String {
        self.targets
            .iter()
            .find_map(|target| match facts.verdict(target) {
                Some((Verdict::Down, detail)) => Some(format!("{}: {detail}", target.spec.name)),
                _ => None,
            })
            .unwrap_or_else(|| "its checks failed before they were changed".into())
    }

    /// Up and enabled, as the threshold counts.
    pub(super) fn counts(&self) -> bool {
        self.wish.enabled() && self.fitness == Fitness::Fit
    }

    /// What should be done with it and why. `may_depool`: the threshold lets a failing backend go.
    pub(super) fn decide(&self, pool: &Pool, may_depool: bool) -> (Disposition, String) {
        let was = self.disposition;
        match self.wish.pooled {
            Pooled::Yes if self.wish.weight.get() == 0 => self.decide_disabled("weight 0"),
            Pooled::Yes => self.decide_enabled(pool, may_depool),
            Pooled::No => self.decide_disabled("pooled=no"),
            Pooled::Inactive if was.keeps_old() => (Disposition::Draining, "pooled=inactive".into()),
            Pooled::Inactive => (Disposition::Out, "pooled=inactive".into()),
        }
    }

    fn decide_enabled(&self, pool: &Pool, may_depool: bool) -> (Disposition, String) {
        let was = self.disposition;
        match &self.fitness {
            Fitness::Fit if pool.checks.is_empty() => (Disposition::Serving, "no checks".into()),
            Fitness::Fit => (Disposition::Serving, String::new()),
            Fitness::Failing(why) | Fitness::Unreachable(why) if was.takes_new() && !may_depool => {
                let why = format!("{why}; kept by the depool threshold, too many are down");
                (Disposition::Held, why)
            }
            Fitness::Failing(why) if self.seen_up || was != Disposition::Out => {
                (Disposition::Down, why.clone())
            }
            Fitness::Failing(why) | Fitness::Unreachable(why) => (Disposition::Out, why.clone()),
            Fitness::Unknown(missing) if was.takes_new() => {
                let why = format!("serving since before the daemon started; {missing}");
                (Disposition::Serving, if self.seen_up { (*missing).into() } else { why })
            }
            Fitness::Unknown(missing) if pool.optimistic && self.reachable => {
                (Disposition::Serving, format!("optimistic; {missing}"))
            }
            Fitness::Unknown(missing) if was == Disposition::Draining => (was, (*missing).into()),
            Fitness::Unknown(missing) => (Disposition::Out, (*missing).into()),
        }
    }

    fn decide_disabled(&self, wish: &str) -> (Disposition, String) {
        let was = self.disposition;
        match self.fitness.why_unfit() {
            Some(why) if was == Disposition::Draining && !self.excused => {
                (self.failed(), format!("{wish}; {why}"))
            }
            Some(why) if was == Disposition::Down => (was, format!("{wish}; {why}")),
            Some(why) if was.keeps_old() => (Disposition::Draining, format!("{wish}; {why}")),
            None if was.keeps_old() => (Disposition::Draining, wish.into()),
            _ => (Disposition::Out, wish.into()),
        }
    }

    fn failed(&self) -> Disposition {
        match self.fitness {
            Fitness::Failing(_) => Disposition::Down,
            _ => Disposition::Out,
        }
    }

    /// Enters a disposition; returns the one it left, if it did.
    pub(super) fn enter(
        &mut self,
        (disposition, why): (Disposition, String),
        now: SystemTime,
    ) -> Option<Disposition> {
        self.why = why;
        if disposition == self.disposition {
            return None;
        }
        if disposition == Disposition::Draining {
            self.excused = self.fitness.why_unfit().is_some();
        }
        self.since = now;
        Some(std::mem::replace(&mut self.disposition, disposition))
    }
}
