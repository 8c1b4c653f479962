//! What is known from outside: the checks' verdicts and the ways to the backends, each with the pools that want to know.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::way::Way;
use crate::{
    health::{HealthEvent, Verdict},
    model::{Backend, CheckTarget, NextHop, PoolName, Tunnel},
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
struct Address {
    way: Way,
    pools: BTreeSet<PoolName>,
    unwanted_since: Option<Instant>,
}

/// Verdicts and ways. A stale event finds no pool to change.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    checks: HashMap<CheckTarget, Check>,
    addresses: BTreeMap<IpAddr, Address>,
    tunnel: Tunnel,
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
        let Some(address) = self.addresses.get_mut(&event.address) else {
            return BTreeSet::new();
        };
        address.way.found(event.next_hop);
        address.pools.clone()
    }

    /// The configured outer sources of tunnels, which decide whether a way without one will do.
    pub(super) fn set_tunnel(&mut self, tunnel: Tunnel) {
        self.tunnel = tunnel;
    }

    /// What a check said last, and why.
    pub(super) fn verdict(&self, target: &CheckTarget) -> Option<(Verdict, &str)> {
        let (verdict, detail) = self.checks.get(target)?.verdict.as_ref()?;
        Some((*verdict, detail))
    }

    /// The way to a backend by its forwarding method as it is now; `None` before the first answer.
    pub(super) fn way(&self, backend: &Backend) -> Option<Result<NextHop, String>> {
        self.addresses.get(&backend.address)?.way.now(backend, &self.tunnel)
    }

    /// The latest way that worked for its forwarding method.
    pub(super) fn last_hop(&self, backend: &Backend) -> Option<NextHop> {
        self.addresses.get(&backend.address)?.way.last(backend, &self.tunnel)
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
        for address in self.addresses.values_mut().filter(|address| address.unwanted_since.is_none()) {
            address.pools.clear();
            address.unwanted_since = Some(now);
        }
        for (address, pools) in wanted.addresses {
            let address = self.addresses.entry(address).or_default();
            (address.pools, address.unwanted_since) = (pools, None);
        }
        (targets, addresses)
    }

    /// All targets needed.
    pub(super) fn targets(&self) -> HashSet<CheckTarget> {
        self.checks.keys().cloned().collect()
    }

    /// All addresses needed.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        let needed = self.addresses.iter().filter(|(_, known)| known.unwanted_since.is_none());
        needed.map(|(address, _)| *address).collect()
    }

    /// Drops ways nobody has needed for a while.
    pub(super) fn forget(&mut self, now: Instant) {
        let old = |since: Instant| now.saturating_duration_since(since) >= KEPT_UNWANTED;
        self.addresses.retain(|_, address| !address.unwanted_since.is_some_and(old));
    }
}

/// What is needed, and by which pools.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) targets: HashMap<CheckTarget, BTreeSet<PoolName>>,
    pub(super) addresses: BTreeMap<IpAddr, BTreeSet<PoolName>>,
}
