//! What is known from outside: the checks' verdicts and the ways to the backends, each with the pools that want to know.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    health::{HealthEvent, Verdict},
    model::{CheckTarget, NextHop, PoolName},
    neighbour::NeighbourEvent,
};

/// A check target somebody needs.
#[derive(Clone, Debug, Default)]
struct Check {
    verdict: Option<(Verdict, String)>,
    pools: BTreeSet<PoolName>,
}

/// A way nobody needs any more is followed so long, as its watcher may not have noticed: when it is needed again in that time, the
/// watcher has nothing new to say.
const KEPT_UNWANTED: Duration = Duration::from_secs(10);

/// An address somebody needs, or needed a moment ago.
#[derive(Clone, Debug, Default)]
struct Way {
    found: Option<Result<NextHop, String>>,
    last: Option<NextHop>,
    pools: BTreeSet<PoolName>,
    unwanted_since: Option<Instant>,
}

/// Verdicts and ways. A stale event finds no pool to change.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    checks: HashMap<CheckTarget, Check>,
    ways: BTreeMap<IpAddr, Way>,
}

impl Facts {
    /// Notes a verdict; returns the pools it concerns.
    pub(super) fn health(&mut self, event: HealthEvent) -> BTreeSet<PoolName> {
        let Some(check) = self.checks.get_mut(&event.target) else {
            return BTreeSet::new();
        };
        check.verdict = Some((event.verdict, event.detail));
        check.pools.clone()
    }

    /// Notes a way; returns the pools it concerns.
    pub(super) fn neighbour(&mut self, event: NeighbourEvent) -> BTreeSet<PoolName> {
        let Some(way) = self.ways.get_mut(&event.address) else {
            return BTreeSet::new();
        };
        if let Ok(hop) = event.next_hop {
            way.last = Some(hop);
        }
        way.found = Some(event.next_hop);
        way.pools.clone()
    }

    /// What a check said last, and why.
    pub(super) fn verdict(&self, target: &CheckTarget) -> Option<(Verdict, &str)> {
        let (verdict, detail) = self.checks.get(target)?.verdict.as_ref()?;
        Some((*verdict, detail))
    }

    /// The way to an address as it is now; `None` before the first answer.
    pub(super) fn way(&self, address: IpAddr) -> Option<&Result<NextHop, String>> {
        self.ways.get(&address)?.found.as_ref()
    }

    /// The latest way that worked.
    pub(super) fn last_hop(&self, address: IpAddr) -> Option<NextHop> {
        self.ways.get(&address)?.last
    }

    /// Makes `wanted` what is needed from here on. Returns whether the set of targets and that of addresses changed.
    pub(super) fn want(&mut self, wanted: Wanted, now: Instant) -> (bool, bool) {
        let targets = wanted.targets.len() != self.checks.len()
            || wanted.targets.keys().any(|target| !self.checks.contains_key(target));
        let addresses = !self.addresses().iter().eq(wanted.addresses.keys());
        let mut checks = std::mem::take(&mut self.checks);
        for (target, pools) in wanted.targets {
            let verdict = checks.remove(&target).and_then(|check| check.verdict);
            self.checks.insert(target, Check { verdict, pools });
        }
        for way in self.ways.values_mut().filter(|way| way.unwanted_since.is_none()) {
            way.pools.clear();
            way.unwanted_since = Some(now);
        }
        for (address, pools) in wanted.addresses {
            let way = self.ways.entry(address).or_default();
            (way.pools, way.unwanted_since) = (pools, None);
        }
        (targets, addresses)
    }

    /// All targets needed.
    pub(super) fn targets(&self) -> HashSet<CheckTarget> {
        self.checks.keys().cloned().collect()
    }

    /// All addresses needed.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        let needed = self.ways.iter().filter(|(_, way)| way.unwanted_since.is_none());
        needed.map(|(address, _)| *address).collect()
    }

    /// Drops ways nobody has needed for a while.
    pub(super) fn forget(&mut self, now: Instant) {
        let old = |since: Instant| now.saturating_duration_since(since) >= KEPT_UNWANTED;
        self.ways.retain(|_, way| !way.unwanted_since.is_some_and(old));
    }
}

/// What is needed, and by which pools.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) targets: HashMap<CheckTarget, BTreeSet<PoolName>>,
    pub(super) addresses: BTreeMap<IpAddr, BTreeSet<PoolName>>,
}
