//! The kernel's tables: what is in them, what should be, and how the one becomes the other without moving an established flow.
//!
//! [`Tables`] is their only writer. The kernel program reads them at any moment, and the daemon may be killed at any moment; so every change
//! is a sequence of single stores, each of which leaves tables that forward correctly:
//!
//! | order | what | before it is used by |
//! |---|---|---|
//! | 1 | backend records | slots |
//! | 2 | stamps, bases, slots (a changed slot: in this order) | the pool's range |
//! | 3 | a pool's range: one store | services |
//! | 4 | services: value, then key | packets |
//!
//! Removals go the other way, and what was freed rests for [`GRACE`] ticks before it is used again. Nothing is remembered elsewhere: after a
//! crash [`Tables::adopt`] finds pools and backends by the ids in their records, and services by their keys.

mod backends;
mod clock;
mod flows;
mod indices;
mod memory;
mod pins;
mod place;
mod pools;
mod ranges;
mod rules;
mod sequences;
mod services;
mod settings;
mod shapes;
mod slots;
mod sweep;
mod transitions;
mod tries;

use std::{collections::BTreeMap, time::Duration};

use lb_common::{service::ServiceRef, slot::MAX_BACKEND};

pub(super) use self::backends::way;
use self::{
    backends::{Backends, Surroundings},
    clock::{WideClock, short_ticks, ticks},
    flows::Flows,
    indices::Indices,
    pins::Scan,
    pools::{Moment, Pools, Wanted},
    rules::RuleTable,
    sequences::Sequences,
    services::ServiceTable,
    settings::SettingsTable,
    shapes::Shapes,
    slots::Slots,
    transitions::State,
};
pub use self::{
    memory::{Memory, Trie, TrieKey, U16Map, U64Map},
    sweep::Swept,
};
use super::{Desired, Error, PoolStatus};
use crate::model::{BackendId, Disposition, Limits, PoolName, ServiceName};

/// Ticks that a freed range or index rests: a packet takes microseconds.
const GRACE: u32 = 2;

/// Constants of the tables while the program runs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Seed of the slots, from the cluster's secret ([`super::digest::seed`]).
    pub seed: u64,
    /// Length of a tick of the kernel program's clock.
    pub tick: Duration,
    /// Ticks after which a pin binds nothing any more: the program's `Knobs::pin_idle`.
    pub pin_idle: u16,
    /// Longest packet that may come in, in bytes of L3: a narrower way out is looked after.
    pub ingress_mtu: u32,
}

/// Regions that cannot be tables of this version, whatever is in them.
#[derive(Debug, thiserror::Error)]
#[error("{what}: these are not tables of this version of lbd. Remove the pinned maps and restart lbd")]
pub struct Corrupt {
    what: &'static str,
}

/// What was found when the tables were adopted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Pools.
    pub pools: u32,
    /// Backends.
    pub backends: u32,
    /// VIP × port × protocol entries, and one for each VIP.
    pub services: u32,
    /// Entries that could not be right and were cleared or corrected; 0 unless somebody else wrote.
    pub repaired: u64,
}

/// What [`Tables::apply`] did.
#[derive(Debug, Default)]
pub struct Applied {
    /// Slots that changed.
    pub slots_changed: u32,
    /// Indices of services that were not in use before: their counters start anew.
    pub fresh_services: Vec<u16>,
    /// Indices of backends that were not in use before: their counters start anew.
    pub fresh_backends: Vec<u16>,
    /// The first thing that found no room. Everything else was done. What rests becomes free after [`GRACE`] ticks, so the same state may
    /// fit when it is applied again then.
    pub problem: Option<Error>,
}

/// The tables and their image. See the module.
#[derive(Debug)]
pub struct Tables<M> {
    memory: M,
    settings: Settings,
    clock: WideClock,
    services4: ServiceTable,
    services6: ServiceTable,
    service_indices: Indices,
    services: BTreeMap<ServiceName, u16>,
    shapes: Shapes,
    rules: RuleTable,
    sequences: Sequences,
    words: SettingsTable,
    pools: Pools,
    slots: Slots,
    backends: Backends,
    /// Who was alive when slots were last changed.
    alive: Vec<bool>,
    scan: Option<Scan>,
    flows: Option<Flows>,
    /// What was wanted last, for what has to be looked at again each second.
    wanted: Desired,
    /// Sweeps since the tries were compared.
    since_tries: u32,
    /// A first state has been applied: until then nobody is taken for dead, and nothing settles.
    applied: bool,
    /// The pool after which the next comparison of slots begins.
    verified: u64,
}

fn check(memory: &impl Memory) -> Result<(), Corrupt> {
    let slots = memory.len16(U16Map::Slots);
    let buckets = |map| memory.len64(map) / 8;
    let same = |map| memory.len16(map) == slots;
    let what = if !(same(U16Map::Bases) && same(U16Map::Stamps) && same(U16Map::Begins)) {
        "slots, bases, stamps and begins differ in size"
    } else if u32::try_from(slots).is_err() {
        "there are more slots than a range can name"
    } else if !buckets(U64Map::Services4).is_power_of_two() || !buckets(U64Map::Services6).is_power_of_two() {
        "the number of service buckets is not a power of two"
    } else if memory.len64(U64Map::Pools) < 2 || memory.len64(U64Map::Backends) < 16 {
        "there is no room for a pool or a backend"
    } else {
        return Ok(());
    };
    Err(Corrupt { what })
}

impl<M: Memory> Tables<M> {
    /// Takes over what is in the kernel: nothing for a first start, the tables of the daemon before this one otherwise. Entries
    /// that cannot be right are cleared or corrected and counted. `tick` is the kernel program's clock now.
    pub fn adopt(
        memory: M,
        limits: &Limits,
        settings: Settings,
        tick: u16,
    ) -> Result<(Self, Adopted), Corrupt> {
        check(&memory)?;
        let mut clock = WideClock::new();
        let now = clock.advance(tick);
        let backends = Backends::adopt(&memory, limits.backends, now);
        let slot_count = memory.len16(U16Map::Slots);
        let (mut pools, mut repaired) = Pools::adopt(&memory, limits.pools, slot_count as u32);
        let alive = backends.alive();
        let mut slots = Slots::new(slot_count);
        let somebody = |b: u16| b <= MAX_BACKEND && (b == 0 || alive[usize::from(b)]);
        for pool in pools.by_id.values_mut() {
            for slot in pool.range.slots() {
                let sound = |found: State| {
                    let found = if somebody(found.slot.cur()) {
                        found
                    } else if found.slot.in_transition() {
                        State { slot: lb_common::slot::Slot::moving(0), ..found }
                    } else {
                        State::stable(0)
                    };
                    State { base: if somebody(found.base) { found.base } else { found.slot.cur() }, ..found }
                };
                repaired += u64::from(slots.adopt(&memory, slot, (tick, now), sound));
                pool.in_transition += u32::from(slots.get(slot).slot.in_transition());
            }
        }
        let service_indices = Indices::new(limits.services);
        let sound = |value: ServiceRef| {
            pools.has_index(value.pool) && u32::from(value.service) < service_indices.capacity()
        };
        // Each address has an entry of its own besides those of its services.
        let entries = limits.services.saturating_mul(2);
        let (services4, cleared4) = ServiceTable::adopt(&memory, U64Map::Services4, entries, sound);
        let (services6, cleared6) = ServiceTable::adopt(&memory, U64Map::Services6, entries, sound);
        let shapes = Shapes::adopt(&memory);
        let rules = RuleTable::adopt(&memory);
        let known: Vec<u16> = (0..service_indices.capacity().min(u32::from(u16::MAX)) as u16).collect();
        let sequences = Sequences::adopt(&memory, &rules, &known);
        let words = SettingsTable::adopt(&memory);
        repaired += cleared4 + cleared6;
        let adopted = Adopted {
            pools: pools.by_id.len() as u32,
            backends: backends.known.len() as u32,
            services: services4.len() + services6.len(),
            repaired,
        };
        let tables = Self {
            memory,
            settings,
            clock,
            services4,
            services6,
            service_indices,
            services: BTreeMap::new(),
            shapes,
            rules,
            sequences,
            words,
            pools,
            slots,
            backends,
            alive,
            scan: None,
            flows: None,
            wanted: Desired::default(),
            since_tries: 0,
            applied: false,
            verified: 0,
        };
        Ok((tables, adopted))
    }

    /// Makes the tables equal to `desired` with as few stores as that takes. `tick` is the kernel program's clock now.
    pub fn apply(&mut self, desired: &Desired, tick: u16) -> Applied {
        let now = self.clock.advance(tick);
        let at = Moment { tick, now };
        let length = self.settings.tick;
        let memory = &self.memory;
        let mut applied = Applied::default();

        let drain = |pool: &super::DesiredPool| ticks(pool.drain_timeout, length);
        let around = Surroundings { tunnel: desired.tunnel, ingress_mtu: self.settings.ingress_mtu };
        let (placed, problem) = self.backends.apply(memory, &desired.pools, drain, around, now);
        applied.problem = problem;
        applied.fresh_backends = placed.fresh;

        // Pins are made in transition only, and those of slots that have settled bind nothing.
        let pinned = self.scan.as_ref().is_none_or(|scan| scan.live > 0)
            || self.pools.by_id.values().any(|pool| pool.in_transition > 0);
        let alive = self.backends.alive();
        let fates_changed = !self.applied || alive != self.alive;
        for (name, pool) in &desired.pools {
            let (shares, owners) = Wanted::shares(name, pool, &self.backends);
            let wanted = Wanted {
                seed: self.settings.seed,
                desired: pool,
                idle: short_ticks(pool.idle, length),
                drain: drain(pool),
                shares,
                owners,
                alive: &alive,
                fates_changed,
            };
            match self.pools.apply(memory, &mut self.slots, name, &wanted, at) {
                Ok(changed) => applied.slots_changed += changed,
                Err(full) => applied.problem = applied.problem.or(Some(full)),
            }
        }
        self.alive = alive;

        self.words.set_icmp_rate(&self.memory, rules::per_tick(desired.icmp_rate, length));
        self.place(desired, now, &mut applied);
        self.pools.retain(&self.memory, &mut self.slots, &desired.pools, now);

        if !self.applied {
            self.name_strangers();
        }
        // Only now does nothing lead to the dead any more, so no new pin to them comes into being.
        if !self.applied || placed.died && pinned {
            self.scan_pins(tick);
        }
        // Where no service asks what is remembered of a flow, the sample's flows can wait for the next sweep.
        if !self.applied || desired.services.values().any(rules::tracks) {
            self.scan_flows(tick);
        }
        self.applied = true;
        self.wanted = desired.clone();
        applied
    }

    /// Backends that an earlier daemon wrote and this configuration has not: named by their address, in the pool whose slots they
    /// have, so that status shows them while they drain.
    fn name_strangers(&mut self) {
        for pool in self.pools.by_id.values() {
            let Some(name) = &pool.name else { continue };
            for slot in pool.range.slots() {
                let state = self.slots.get(slot);
                if state.slot.in_transition() {
                    self.backends.name_stranger(state.base, name);
                }
            }
        }
    }

    /// Per backend index: ticks after which its pool takes a flow for over.
    fn idle_by_backend(&self) -> Vec<u16> {
        let mut idle = vec![self.settings.pin_idle; usize::from(MAX_BACKEND) + 1];
        for (index, known) in &self.backends.known {
            if let Some(ticks) = known.name.as_ref().and_then(|id| self.pools.idle(&id.pool)) {
                idle[usize::from(*index)] = ticks;
            }
        }
        idle
    }

    fn scan_pins(&mut self, tick: u16) -> u32 {
        let idle = self.idle_by_backend();
        let scan = Scan::run(&self.memory, tick, &idle, &self.alive);
        let cleared = scan.cleared;
        self.scan = Some(scan);
        cleared
    }

    fn scan_flows(&mut self, tick: u16) {
        let (idle, takes) = (self.idle_by_backend(), self.backends.takes());
        self.flows = Some(Flows::run(&self.memory, tick, &idle, &self.alive, &takes));
    }

    /// What the tables do with the backend of this id: new connections, only established ones, or nothing.
    pub fn disposition(&self, id: u64) -> Option<Disposition> {
        let index = self.backends.known.iter().find(|(_, known)| known.id == id).map(|(index, _)| *index)?;
        if self.slots.owned(index) > 0 {
            Some(Disposition::Serving)
        } else if self.slots.kept(index) > 0 {
            Some(Disposition::Draining)
        } else {
            Some(Disposition::Out)
        }
    }

    /// Longest packet that may come in, as it was last set.
    pub fn ingress_mtu(&self) -> u32 {
        self.settings.ingress_mtu
    }

    /// Sets it; the next [`Self::apply`] heeds it.
    pub fn set_ingress_mtu(&mut self, mtu: u32) {
        self.settings.ingress_mtu = mtu;
    }

    /// Indices of the services' counters.
    pub fn services(&self) -> &BTreeMap<ServiceName, u16> {
        &self.services
    }

    /// Backends with a record and a name, by index.
    pub fn backends(&self) -> impl Iterator<Item = (u16, &BackendId)> + '_ {
        self.backends.known.iter().filter_map(|(index, known)| Some((*index, known.name.as_ref()?)))
    }

    /// Pools by index.
    pub fn pools(&self) -> impl Iterator<Item = (u16, &PoolName)> + '_ {
        self.pools.by_id.values().filter_map(|pool| Some((pool.index, pool.name.as_ref()?)))
    }

    /// The memory, for reading.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// What the tables hold, per pool. `quiet_for` is left to whoever reads the counters.
    pub fn status(&self) -> BTreeMap<PoolName, PoolStatus> {
        sweep::status(self)
    }
}

#[cfg(test)]
mod rule;
#[cfg(test)]
mod tests;
