//! [`Reader`]: counters, routes and status of the running data plane, for any thread at any time.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use lb_common::{
    backend::Backend,
    counter::{Counters as Raw, Events, PinEvent},
    explain::{self, Explain},
    names,
    probe::ProbeEvent,
    reason::{Reason, Verdict},
};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    Count, Counters, Error, Probe, Reader, ReasonCount, Route, Status, counters, frame, kernel,
    object::Object, region::Region,
};
use crate::model::{BackendId, Mac, PoolName, ServiceName};

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
    backends: Region,
    report: Region,
    /// The dry run has one report: one question at a time.
    asking: Mutex<()>,
    names: RwLock<Arc<Names>>,
    status: RwLock<Arc<Status>>,
}

impl Live {
    pub(super) fn new(object: Arc<Object>) -> Result<Self, Error> {
        Ok(Self {
            backends: object.region(names::BACKENDS)?,
            report: object.region(names::EXPLAIN)?,
            object,
            asking: Mutex::new(()),
            names: RwLock::default(),
            status: RwLock::default(),
        })
    }

    pub(super) fn publish(&self, names: Option<Names>, status: Arc<Status>) {
        if let Some(names) = names {
            *self.names.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
        }
        *self.status.write().unwrap_or_else(PoisonError::into_inner) = status;
    }

    pub(super) fn names(&self) -> Arc<Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Packets sent to each backend, by index.
    pub(super) fn backend_packets(&self, highest: u16) -> Result<Vec<u64>, Error> {
        let all = self.read(names::BACKEND_COUNTERS, u32::from(highest) + 1)?;
        Ok(all.into_iter().map(|c| c.packets).collect())
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
        let first = usize::from(index) * 8;
        if first + 8 > self.backends.words() {
            return None;
        }
        let words: [u64; 8] =
            std::array::from_fn(|i| self.backends.word(first + i).load(std::sync::atomic::Ordering::Acquire));
        Backend::read_from_bytes(words.as_bytes()).ok()
    }

    fn explain(&self, names: &Names, found: &Explain) -> Route {
        let has = |flag| found.flags & flag != 0;
        let backend = |index: u16| match index {
            0 => "nobody".to_owned(),
            i => names.backends.get(&i).map_or_else(|| format!("backend #{i}"), ToString::to_string),
        };
        let pool = names.pools.get(&found.pool);
        let mut route = Route { verdict: "forward".to_owned(), ..Route::default() };
        if !has(explain::FORWARDED) {
            let reason = Reason::ALL.get(found.reason as usize).copied().unwrap_or(Reason::BadTable);
            word(reason.verdict()).clone_into(&mut route.verdict);
            route.reason = Some((reason.as_str().to_owned(), reason.describe().trim().to_owned()));
        }
        if has(explain::HAS_SERVICE) {
            route.service = names.services.get(&found.service).map(ToString::to_string);
            route.pool = pool.map(ToString::to_string);
        }
        if has(explain::HAS_SLOT) {
            let of = pool.and_then(|p| names.slots.get(p)).copied().unwrap_or_default();
            route.slot = Some((found.slot, of));
            route.cur = Some(backend(found.cur));
            let moving = has(explain::IN_TRANSITION);
            route.base = moving.then(|| backend(found.base));
            let by = match () {
                () if has(explain::BY_PIN) => "pin",
                () if has(explain::BY_BASE) => "base",
                () if has(explain::BY_FREEZE) => "freeze",
                () if has(explain::BY_FLOW) => "flow",
                () if has(explain::BY_ID) => "connection id",
                () if has(explain::BY_SOURCE) => "source",
                () if has(explain::BY_SEQUENCE) => "turn",
                () if moving => "cur",
                () => "slot",
            };
            route.decided_by = Some(by.to_owned());
        }
        if found.backend != 0 {
            route.backend = Some(backend(found.backend));
            if let Some(b) = self.backend(found.backend) {
                let addr = Ipv6Addr::from(b.addr);
                route.address = Some(addr.to_ipv4_mapped().map_or(IpAddr::V6(addr), IpAddr::V4));
                let interface = nix::net::if_::if_indextoname(b.ifindex).map_or_else(
                    |_| format!("interface #{}", b.ifindex),
                    |n| n.to_string_lossy().into_owned(),
                );
                route.via = Some(format!("{} on {interface}", Mac(b.dst_mac)));
            }
        }
        route
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
                    verdict: word(reason.verdict()),
                    describe: reason.describe(),
                    packets,
                })
                .collect(),
            pins: PinEvent::ALL.iter().zip(pins).map(|(event, n)| (event.as_str(), n)).collect(),
            probes: ProbeEvent::ALL.iter().zip(probes).map(|(event, n)| (event.as_str(), n)).collect(),
        })
    }

    fn route(&self, probe: &Probe) -> Result<Route, Error> {
        let Some(frame) = frame::of(probe) else {
            return Err(kernel(
                format!("asking for {} -> {}", probe.src, probe.dst),
                std::io::Error::other("source and destination are of different address families"),
            ));
        };
        let found = {
            let _one = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            self.object.run(names::PROG_WHERE, &frame)?;
            let words: [u64; size_of::<Explain>() / 8] =
                std::array::from_fn(|i| self.report.word(i).load(std::sync::atomic::Ordering::Acquire));
            Explain::read_from_bytes(words.as_bytes()).map_err(|_| {
                kernel("reading the dry run's report".into(), std::io::Error::other("its size differs"))
            })?
        };
        Ok(self.explain(&self.names(), &found))
    }

    fn status(&self) -> Arc<Status> {
        self.status.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Drop => "drop",
        Verdict::Answer => "answer",
    }
}
