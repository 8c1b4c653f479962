//! What is known from outside: the checks' verdicts and the ways to the backends, each with the pools that want to know.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
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

/// An address somebody needs.
#[derive(Clone, Debug, Default)]
struct Way {
    found: Option<Result<NextHop, String>>,
    last: Option<NextHop>,
    pools: BTreeSet<PoolName>,
}

/// Verdicts and ways. What nobody needs is not kept, so a stale event finds nothing to change.
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
    pub(super) fn want(&mut self, wanted: Wanted) -> (bool, bool) {
        let targets = wanted.targets.len() != self.checks.len()
            || wanted.targets.keys().any(|target| !self.checks.contains_key(target));
        let addresses = wanted.addresses.len() != self.ways.len()
            || wanted.addresses.keys().any(|address| !self.ways.contains_key(address));
        let mut checks = std::mem::take(&mut self.checks);
        for (target, pools) in wanted.targets {
            let verdict = checks.remove(&target).and_then(|check| check.verdict);
            self.checks.insert(target, Check { verdict, pools });
        }
        let mut ways = std::mem::take(&mut self.ways);
        for (address, pools) in wanted.addresses {
            let way = ways.remove(&address).unwrap_or_default();
            self.ways.insert(address, Way { pools, ..way });
        }
        (targets, addresses)
    }

    /// All targets needed.
    pub(super) fn targets(&self) -> HashSet<CheckTarget> {
        self.checks.keys().cloned().collect()
    }

    /// All addresses needed.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.ways.keys().copied().collect()
    }
}

/// What is needed, and by which pools.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) targets: HashMap<CheckTarget, BTreeSet<PoolName>>,
    pub(super) addresses: BTreeMap<IpAddr, BTreeSet<PoolName>>,
}
