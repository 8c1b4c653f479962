//! The state machine: facts and the time in, events and requests out.
//!
//! State is kept as a level, not as a history: each input updates what is known, marks the addresses it may concern, and
//! [`Table::pop_event`] compares what is true now with what was last said. A slow reader therefore gets the newest answer for an
//! address and never a queue of old ones.

mod entries;
mod links;
mod resync;
#[cfg(test)]
mod tests;
mod watch;
mod way;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    NeighbourEvent,
    facts::{LinkInfo, Neighbour, Request, Route},
};
use watch::Watch;

/// How long a new address may stay undecided. ARP answers within a millisecond; IPv6 waits up to two seconds for duplicate
/// address detection on a fresh link; the kernel itself gives up after three.
const GRACE: Duration = Duration::from_secs(4);
/// How long a MAC address outlives its deleted entry: three probes a second apart, and some room.
const GRACE_HELD: Duration = Duration::from_secs(5);
/// First and longest pause between attempts on an address that does not answer.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// How often an entry is used where the kernel cannot manage it: below the default 30 s after which it goes stale.
const REFRESH: Duration = Duration::from_secs(20);
/// Pause between a route change and the lookup, as changes come in bursts.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Every route is looked up again this often, in case a change was not announced.
const RECHECK: Duration = Duration::from_mins(1);
/// Timers handled in one [`Table::tick`].
const TIMERS_AT_ONCE: usize = 256;

/// What a kernel value was last confirmed by: the number of the dump.
#[derive(Debug)]
struct Seen<T> {
    value: T,
    dump: u64,
}

/// All watched addresses, and what the kernel says that may concern them.
#[derive(Debug)]
pub(super) struct Table {
    /// Whether the kernel keeps managed entries fresh by itself (5.16 and later).
    managed: bool,
    /// Whether any interface can send frames of our program: one in generic mode hands them to the kernel's stack.
    generic: bool,
    watches: BTreeMap<IpAddr, Watch>,
    /// Neighbour entries we keep, each with the watched addresses reached by it: many, where it is a gateway's.
    entries: BTreeMap<(u32, IpAddr), BTreeSet<IpAddr>>,
    links: BTreeMap<u32, Seen<LinkInfo>>,
    /// All of the host's neighbours, as an address may be watched later. The kernel bounds their number (`gc_thresh3`).
    neighbours: HashMap<(u32, IpAddr), Seen<Neighbour>>,
    /// Number of the current dump.
    dump: u64,
    /// Whether a dump is complete. Before, nothing is concluded from what is missing.
    synced: bool,
    /// Addresses whose answer may differ from the one last said.
    changed: BTreeSet<IpAddr>,
    /// One entry for each watch with something due.
    timers: BTreeSet<(Instant, IpAddr)>,
    /// A set: asking twice is asking once. At most two for each address, and one for each address dropped.
    requests: BTreeSet<Request>,
}

impl Table {
    /// An empty table, for a kernel that can manage neighbour entries or cannot, and a program in generic mode or not.
    pub(super) fn new(managed: bool, generic: bool) -> Self {
        Self {
            managed,
            generic,
            watches: BTreeMap::new(),
            entries: BTreeMap::new(),
            links: BTreeMap::new(),
            neighbours: HashMap::new(),
            dump: 0,
            synced: false,
            changed: BTreeSet::new(),
            timers: BTreeSet::new(),
            requests: BTreeSet::new(),
        }
    }

    /// Whether entries are managed by the kernel.
    pub(super) fn managed(&self) -> bool {
        self.managed
    }

    /// The kernel refused to manage an entry: use entries from time to time instead.
    pub(super) fn do_without_managed(&mut self, now: Instant) {
        self.managed = false;
        for address in self.watches.keys().copied().collect::<Vec<_>>() {
            self.keep(address);
            self.schedule(address, |w| w.set_neighbour_due(now + REFRESH));
        }
    }

    /// Replaces the set of watched addresses.
    pub(super) fn watch(&mut self, wanted: &BTreeSet<IpAddr>) {
        let dropped: Vec<IpAddr> =
            self.watches.keys().filter(|address| !wanted.contains(address)).copied().collect();
        for address in dropped {
            self.unwatch(address);
        }
        for &address in wanted {
            if self.watches.contains_key(&address) {
                continue;
            }
            let watch = Watch::new(address);
            if watch.is_refused() {
                self.changed.insert(address);
            } else {
                self.requests.insert(Request::Lookup { address });
            }
            self.watches.insert(address, watch);
        }
    }

    fn unwatch(&mut self, address: IpAddr) {
        let Some(watch) = self.watches.remove(&address) else {
            return;
        };
        if let Some(due) = watch.due() {
            self.timers.remove(&(due, address));
        }
        self.changed.remove(&address);
        self.requests.remove(&Request::Lookup { address });
        if let Some(entry) = watch.entry() {
            self.leave(entry, address);
        }
    }

    /// The answer to [`Request::Lookup`].
    pub(super) fn route(&mut self, address: IpAddr, route: Route, now: Instant) {
        let recheck = now + RECHECK;
        let Some(watch) = self.watches.get_mut(&address) else {
            return;
        };
        let before = watch.entry();
        let news = watch.set_route(route, now);
        let after = watch.entry();
        self.schedule(address, |w| w.set_route_due(recheck));
        if !news {
            return;
        }
        self.changed.insert(address);
        if before == after {
            return;
        }
        if let Some(entry) = before {
            self.leave(entry, address);
        }
        if let Some(entry) = after {
            self.join(entry, address, now);
        }
    }

    /// Something about the routes to this network changed.
    pub(super) fn network_changed(&mut self, first: IpAddr, last: IpAddr, now: Instant) {
        let due = now + DEBOUNCE;
        let gap = self.lookup_gap();
        for address in self.watches.range(first..=last).map(|(address, _)| *address).collect::<Vec<_>>() {
            self.schedule(address, |w| w.hasten_route(due, gap));
        }
    }

    /// Any route may have changed.
    pub(super) fn routes_changed(&mut self, now: Instant) {
        let due = now + DEBOUNCE;
        let gap = self.lookup_gap();
        for address in self.watches.keys().copied().collect::<Vec<_>>() {
            self.schedule(address, |w| w.hasten_route(due, gap));
        }
    }

    /// Shortest time between two lookups of one address: routes that flap may cost us a part of a CPU, never all of it.
    fn lookup_gap(&self) -> Duration {
        Duration::from_millis(500 + self.watches.len() as u64 / 2)
    }

    /// When [`Table::tick`] is next due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Handles timers that are due, a bounded number at once.
    pub(super) fn tick(&mut self, now: Instant) {
        for _ in 0..TIMERS_AT_ONCE {
            let Some(&(due, address)) = self.timers.first() else {
                return;
            };
            if due > now {
                return;
            }
            self.expire(address, now);
        }
    }

    fn expire(&mut self, address: IpAddr, now: Instant) {
        let usable = self.is_usable(address);
        let refresh = (!self.managed).then_some(REFRESH);
        let mut fired = watch::Fired::default();
        self.schedule(address, |w| fired = w.expire(now, usable, refresh));
        if fired.lookup {
            self.requests.insert(Request::Lookup { address });
        }
        if fired.keep {
            self.keep(address);
        }
        if fired.changed {
            self.changed.insert(address);
        }
    }

    /// The next request for the kernel.
    pub(super) fn pop_request(&mut self) -> Option<Request> {
        self.requests.pop_first()
    }

    /// Whether [`Table::pop_event`] may have something.
    pub(super) fn has_events(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The next address whose answer differs from the one last said.
    pub(super) fn pop_event(&mut self) -> Option<NeighbourEvent> {
        while let Some(address) = self.changed.pop_first() {
            let Some(next_hop) = self.way(address) else {
                continue;
            };
            let Some(watch) = self.watches.get_mut(&address) else {
                continue;
            };
            if watch.say(&next_hop) {
                return Some(NeighbourEvent { address, next_hop });
            }
        }
        None
    }

    /// Changes a watch and keeps its timer in step.
    fn schedule(&mut self, address: IpAddr, change: impl FnOnce(&mut Watch)) {
        let Some(watch) = self.watches.get_mut(&address) else {
            return;
        };
        let before = watch.due();
        change(watch);
        let after = watch.due();
        if before != after {
            if let Some(due) = before {
                self.timers.remove(&(due, address));
            }
            if let Some(due) = after {
                self.timers.insert((due, address));
            }
        }
    }
}
