//! [`Reader`] and [`Inspect`]: counters, routes, status and tables of the running data plane, for any thread at any time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use lb_common::{
    backend::Backend,
    counter::{Counters as Raw, Events, PinEvent},
    explain::{self, Explain},
    hash::HashKey,
    names,
    probe::ProbeEvent,
    reason::Reason,
    slot::Slot,
};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    Count, Counters, Desired, Error, Inspect, Probe, Reader, ReasonCount, Route, Status,
    capture::{Batch, CaptureError, Captures, Started, Wish},
    counters, digest, frame,
    inspect::{
        flows::{self, FlowReport, Remembered},
        outcome::{self, Run},
        slots::{self, Found, TableReport},
        view::View,
    },
    kernel,
    object::Object,
    region::Region,
};
use crate::model::{BackendId, PoolName, ServiceName};

/// Flows are counted at most so often, however many ask.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Tries to read the slots of a pool whose table is laid elsewhere meanwhile.
const TRIES: u32 = 5;

/// Whose the indices in the kernel's tables are, as of the last change.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) services: BTreeMap<u16, ServiceName>,
    pub(super) pools: BTreeMap<u16, PoolName>,
    pub(super) backends: BTreeMap<u16, BackendId>,
    pub(super) slots: BTreeMap<PoolName, u32>,
}

/// The reading side of the data plane. The engine publishes names and status, everything else is read from the kernel.
#[derive(Debug)]
pub struct Live {
    object: Arc<Object>,
    key: HashKey,
    seed: u64,
    backends: View,
    pools: View,
    slots: View,
    bases: View,
    remembered: flows::Tables,
    captures: Captures,
    report: Region,
    /// The dry run has one report: one question at a time.
    asking: Mutex<()>,
    /// Whoever reads a whole table waits for whoever does.
    reading: Mutex<()>,
    counted: Mutex<Option<(Instant, Remembered)>>,
    names: RwLock<Arc<Names>>,
    status: RwLock<Arc<Status>>,
    wanted: RwLock<Arc<Desired>>,
}

impl Live {
    pub(super) fn new(object: Arc<Object>, secret: &[u8; 32]) -> Result<Self, Error> {
        let view = |name| View::of(&object, name);
        Ok(Self {
            key: HashKey::from_secret(secret),
            seed: digest::seed(secret),
            backends: view(names::BACKENDS)?,
            pools: view(names::POOLS)?,
            slots: view(names::SLOTS)?,
            bases: view(names::BASES)?,
            remembered: flows::Tables {
                probation: view(names::PROBATION)?,
                protected: view(names::PROTECTED)?,
                flows_new: view(names::FLOWS_NEW)?,
                flows: view(names::FLOWS)?,
                sources: view(names::SOURCES)?,
                rules: view(names::RULES)?,
            },
            captures: Captures::new(object.clone())?,
            report: object.region(names::EXPLAIN)?,
            object,
            asking: Mutex::default(),
            reading: Mutex::default(),
            counted: Mutex::default(),
            names: RwLock::default(),
            status: RwLock::default(),
            wanted: RwLock::default(),
        })
    }

    pub(super) fn publish(&self, names: Option<Names>, status: Arc<Status>) {
        if let Some(names) = names {
            *self.names.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
        }
        *self.status.write().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// What the tables are to be compared with.
    pub(super) fn want(&self, wanted: Arc<Desired>) {
        *self.wanted.write().unwrap_or_else(PoisonError::into_inner) = wanted;
    }

    /// The engine ends: nothing may go on in the kernel that only this process would end.
    pub(super) fn stop(&self) {
        self.captures.stop();
    }

    pub(super) fn names(&self) -> Arc<Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counters of each backend, by index.
    pub(super) fn backend_counts(&self, highest: u16) -> Result<Vec<Count>, Error> {
        self.count(names::BACKEND_COUNTERS, names::BACKEND_EVENTS, u32::from(highest) + 1)
    }

    fn read(&self, map: &str, wanted: u32) -> Result<Vec<Raw>, Error> {
        counters::read(map, &self.object.map_fd(map)?, wanted, |total: &mut Raw, cpu| {
            total.packets = total.packets.wrapping_add(cpu.packets);
            total.bytes = total.bytes.wrapping_add(cpu.bytes);
        })
    }

    fn read_events(&self, map: &str, wanted: u32) -> Result<Vec<Events>, Error> {
        counters::read(map, &self.object.map_fd(map)?, wanted, |total: &mut Events, cpu| {
            total.syns = total.syns.wrapping_add(cpu.syns);
            total.fins = total.fins.wrapping_add(cpu.fins);
            total.resets = total.resets.wrapping_add(cpu.resets);
            total.retransmits = total.retransmits.wrapping_add(cpu.retransmits);
        })
    }

    /// Counters of the first `wanted` services or backends.
    fn count(&self, counters: &str, events: &str, wanted: u32) -> Result<Vec<Count>, Error> {
        let (counters, events) = (self.read(counters, wanted)?, self.read_events(events, wanted)?);
        let one = |(c, e): (&Raw, &Events)| Count {
            packets: c.packets,
            bytes: c.bytes,
            syns: e.syns,
            closes: e.fins.wrapping_add(e.resets),
            resets: e.resets,
            retransmits: e.retransmits,
        };
        Ok(counters.iter().zip(&events).map(one).collect())
    }

    fn read_words(&self, map: &str, wanted: usize) -> Result<Vec<u64>, Error> {
        counters::read(map, &self.object.map_fd(map)?, wanted as u32, |total: &mut u64, cpu| {
            *total = total.wrapping_add(*cpu);
        })
    }

    fn backend(&self, index: u16) -> Option<Backend> {
        let words: [u64; 8] = self.backends.take(usize::from(index) * 8);
        Backend::read_from_bytes(words.as_bytes()).ok()
    }

    /// Runs the dry run on `frame`: its report and its frame.
    fn ask(&self, frame: &[u8]) -> Result<(Explain, Vec<u8>), Error> {
        let _one = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, out) = self.object.run_on(names::PROG_WHERE, frame, None)?;
        let words: [u64; size_of::<Explain>() / 8] =
            std::array::from_fn(|i| self.report.word(i).load(std::sync::atomic::Ordering::Acquire));
        let found = Explain::read_from_bytes(words.as_bytes()).map_err(|_| {
            kernel("reading the dry run's report".into(), std::io::Error::other("its size differs"))
        })?;
        Ok((found, out))
    }

    fn explain(&self, probe: &Probe) -> Result<(Explain, Route), Error> {
        let frame = frame::of(probe).map_err(Error::Probe)?;
        let (found, out) = self.ask(&frame)?;
        let backend = if found.backend == 0 { None } else { self.backend(found.backend) };
        let interface = backend.as_ref().map(|b| {
            nix::net::if_::if_indextoname(b.ifindex).map_or_else(
                |_| format!("interface #{}", b.ifindex),
                |name| name.to_string_lossy().into_owned(),
            )
        });
        let run = Run { found: &found, backend, interface, frame: &frame, out: &out };
        Ok((found, outcome::route(&self.names(), &run)))
    }

    /// First slot and number of slots of a pool.
    fn range(&self, index: u16) -> (usize, usize) {
        let [start, len] = zerocopy::transmute!(self.pools.word(usize::from(index) * 2));
        let (start, len): (u32, u32) = (start, len);
        (start as usize, len as usize)
    }

    /// Reads a pool's slots; a table that is laid elsewhere meanwhile is read again.
    fn slots(&self, index: u16, names: &Names) -> Found {
        let mut found = Found::default();
        for _ in 0..TRIES {
            let (start, len) = self.range(index);
            found = Found::default();
            for slot in 0..len {
                let word = Slot(self.slots.half(start + slot));
                found.slots.push(word);
                if word.in_transition() {
                    found.bases.push((slot as u32, self.bases.half(start + slot)));
                }
            }
            if self.range(index) == (start, len) {
                break;
            }
        }
        let indices = found.slots.iter().map(|slot| slot.cur()).chain(found.bases.iter().map(|(_, b)| *b));
        for index in indices.collect::<std::collections::BTreeSet<_>>() {
            if let Some(record) = self.backend(index) {
                found.ids.insert(index, record.id);
            }
            if let Some(id) = names.backends.get(&index) {
                found.others.insert(index, id.backend.to_string());
            }
        }
        found
    }

    fn table_of(&self, names: &Names, index: u16, pool: &PoolName, owners: bool) -> Option<TableReport> {
        let wanted = self.wanted.read().unwrap_or_else(PoisonError::into_inner).clone();
        let desired = wanted.pools.get(pool)?;
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let report = slots::report(pool, &self.slots(index, names), desired, self.seed, owners);
        Some(TableReport { drift_repaired: self.status().drift_repaired, ..report })
    }
}

impl Reader for Live {
    fn counters(&self) -> Result<Counters, Error> {
        let names = self.names();
        let highest = |last: Option<&u16>| last.map_or(0, |i| u32::from(*i) + 1);
        let highest_service = highest(names.services.keys().next_back());
        let highest_backend = highest(names.backends.keys().next_back());
        let services = self.count(names::SERVICE_COUNTERS, names::SERVICE_EVENTS, highest_service)?;
        let backends = self.count(names::BACKEND_COUNTERS, names::BACKEND_EVENTS, highest_backend)?;
        let reasons = self.read_words(names::REASON_COUNTERS, Reason::ALL.len())?;
        let pins = self.read_words(names::PIN_COUNTERS, PinEvent::ALL.len())?;
        let probes = self.read_words(names::PROBE_COUNTERS, ProbeEvent::ALL.len())?;
        Ok(Counters {
            services: names
                .services
                .iter()
                .filter_map(|(i, name)| Some((name.clone(), *services.get(usize::from(*i))?)))
                .collect(),
            backends: names
                .backends
                .iter()
                .filter_map(|(i, id)| Some((id.clone(), *backends.get(usize::from(*i))?)))
                .collect(),
            reasons: Reason::ALL
                .iter()
                .zip(reasons)
                .map(|(reason, packets)| ReasonCount {
                    reason: reason.as_str(),
                    verdict: outcome::word(reason.verdict()),
                    describe: reason.describe(),
                    packets,
                })
                .collect(),
            pins: PinEvent::ALL.iter().zip(pins).map(|(event, n)| (event.as_str(), n)).collect(),
            probes: ProbeEvent::ALL.iter().zip(probes).map(|(event, n)| (event.as_str(), n)).collect(),
        })
    }

    fn route(&self, probe: &Probe) -> Result<Route, Error> {
        self.explain(probe).map(|(_, route)| route)
    }

    fn status(&self) -> Arc<Status> {
        self.status.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inspect for Live {
    fn flows(&self) -> Result<Remembered, Error> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, known)) = &*counted
            && at.elapsed() < COUNT_EVERY
        {
            return Ok(known.clone());
        }
        let now = self.object.now()?;
        let known = self.remembered.count(&self.names(), now, self.object.clock.tick());
        *counted = Some((Instant::now(), known.clone()));
        Ok(known)
    }

    fn flow(&self, probe: &Probe) -> Result<FlowReport, Error> {
        let (found, route) = self.explain(probe)?;
        if found.flags & explain::HAS_SERVICE == 0 {
            return Ok(FlowReport { route, known: Vec::new() });
        }
        let source = match probe {
            Probe::Shape(shape) => self.remembered.source(&self.key, found.service, found.pool, shape),
            Probe::Frame(_) => None,
        };
        let now = self.object.now()?;
        let tick = self.object.clock.tick();
        let known = self.remembered.find(&self.names(), found.hash, source, now, tick);
        Ok(FlowReport { route, known })
    }

    fn table(&self, pool: &PoolName, owners: bool) -> Result<Option<TableReport>, Error> {
        let names = self.names();
        let index = names.pools.iter().find(|(_, name)| *name == pool).map(|(index, _)| *index);
        Ok(index.and_then(|index| self.table_of(&names, index, pool, owners)))
    }

    fn tables(&self, owners: bool) -> Result<Vec<TableReport>, Error> {
        let names = self.names();
        let mut all: Vec<_> = names
            .pools
            .iter()
            .filter_map(|(index, pool)| self.table_of(&names, *index, pool, owners))
            .collect();
        all.sort_by(|a, b| a.pool.cmp(&b.pool));
        Ok(all)
    }

    fn capture(&self, wish: &Wish) -> Result<Started, CaptureError> {
        self.captures.start(wish)
    }

    fn captured(&self, id: u64) -> Result<Batch, CaptureError> {
        self.captures.next(id)
    }

    fn end_capture(&self, id: u64) -> Result<(), CaptureError> {
        self.captures.end(id)
    }
}
