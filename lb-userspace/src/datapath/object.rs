//! The eBPF object inside this binary: sizes, constants, pinned maps, programs.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, atomic::Ordering},
};

use aya::{
    Ebpf, EbpfLoader, TestRun, TestRunOptions,
    maps::{Map, MapData, PerCpuArray, PerCpuValues, PerfEventArray},
    programs::{SchedClassifier, Xdp},
};
use lb_common::{
    hash::HashKey,
    knobs::Knobs,
    names,
    pin::WAYS,
    service::{WAYS4, WAYS6},
    shape::MAX_ENTRIES,
    slot::SLOTS_PER_LINE,
};
use zerocopy::IntoBytes;

use super::{Error, clock::Clock, digest, kernel, region::Region, schedule::MAX_TURNS, tables::Settings};
use crate::model::Limits;

/// The object, built by the build script; empty when this binary was built without an eBPF toolchain.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb-ebpf"));

/// Entries of each map whose size the configuration decides.
pub type Sizes = BTreeMap<&'static str, u32>;

/// Services that can have a scheduler of turns: 2 KiB each.
const SCHEDULED: u32 = 1024;
/// Prefixes, and addresses with port ranges, that can have a list: 512 bytes each.
const SHAPED: u32 = 2048;
/// Buckets of packets whose first fragment was seen.
const FRAGMENT_BUCKETS: u32 = 1024;

/// Map sizes for the configured limits. Service tables are kept at most a third full, so that two buckets always suffice; each address may
/// have an entry of its own besides those of its services.
pub fn sizes(limits: &Limits) -> Sizes {
    let buckets =
        |entries: u32, ways: usize| (entries.saturating_mul(3) / ways as u32).max(16).next_power_of_two();
    let lines = limits.slots.div_ceil(SLOTS_PER_LINE).max(1);
    let buckets_of_pins = |pins: u32| (pins / WAYS as u32).max(16).next_power_of_two();
    let (pins, flows) = (buckets_of_pins(limits.pins), buckets_of_pins(limits.flows));
    let services = limits.services.max(1);
    let entries = services.saturating_mul(2);
    BTreeMap::from([
        (names::SERVICES4, buckets(entries, WAYS4)),
        (names::SERVICES6, buckets(entries, WAYS6)),
        (names::POOLS, limits.pools.max(1)),
        (names::SLOTS, lines),
        (names::BASES, lines),
        (names::STAMPS, lines),
        (names::BEGINS, lines),
        (names::BACKENDS, limits.backends + 1),
        (names::PROBATION, (pins / 4).max(16)),
        (names::PROTECTED, pins),
        (names::SERVICE_COUNTERS, services),
        (names::BACKEND_COUNTERS, limits.backends + 1),
        (names::SERVICE_EVENTS, services),
        (names::BACKEND_EVENTS, limits.backends + 1),
        (names::RULES, services),
        (names::CURSORS, services),
        (names::CEILINGS, services),
        (names::SEQUENCES, services.min(SCHEDULED) * (MAX_TURNS as u32 / SLOTS_PER_LINE)),
        (names::FLOWS_NEW, (flows / 4).max(16)),
        (names::FLOWS, flows),
        (names::SOURCES, buckets_of_pins(limits.sources)),
        (names::FRAGMENTS, FRAGMENT_BUCKETS),
        (names::ACCESS4, limits.prefixes),
        (names::ACCESS6, limits.prefixes),
        (names::PREFIXES4, services),
        (names::PREFIXES6, services),
        (names::SHAPES, services.clamp(64, SHAPED) * MAX_ENTRIES),
        (names::SERVER_IDS, limits.backends.max(1)),
    ])
}

/// A loaded object: programs verified, maps made or adopted.
#[derive(Debug)]
pub struct Object {
    /// Locked only to run or attach a program.
    ebpf: Mutex<Ebpf>,
    maps: BTreeMap<&'static str, MapHandle>,
    /// Where copies of dropped frames come out; locked only to open its rings.
    captured: Mutex<Captured>,
    /// Actual sizes, those of adopted maps included.
    pub sizes: Sizes,
    /// Maps were there already: the tables may hold a predecessor's state.
    pub adopted: bool,
    /// The program's clock.
    pub clock: Clock,
    /// The programs of checks are loaded; else why they are not.
    probes: Result<(), String>,
}

/// The map of the rings, with a descriptor of its own.
struct Captured {
    array: PerfEventArray<MapData>,
    fd: OwnedFd,
}

impl std::fmt::Debug for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Captured").field("fd", &self.fd).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct MapHandle {
    fd: OwnedFd,
    entries: u32,
    value_size: u32,
}

impl Object {
    /// Loads the object. With `pins`, maps found there are adopted with their sizes, others are made and pinned there.
    ///
    /// `pin_idle` is in ticks.
    pub fn load(limits: &Limits, key: HashKey, pins: Option<&Path>) -> Result<Self, Error> {
        Self::load_bytes(OBJECT, limits, key, pins)
    }

    /// The same with another build of the object: the benchmark compares two.
    pub fn load_bytes(
        object: &[u8],
        limits: &Limits,
        key: HashKey,
        pins: Option<&Path>,
    ) -> Result<Self, Error> {
        if object.is_empty() {
            return Err(kernel(
                "loading the eBPF object".into(),
                std::io::Error::other(
                    "this binary was built without it; build again where `cargo xtask setup` has been run",
                ),
            ));
        }
        super::kernel_check::check(OBJECT)?;
        let mut sizes = sizes(limits);
        let mut found = 0;
        if let Some(dir) = pins {
            for name in names::PINNED_MAPS {
                let path = dir.join(name);
                if !path.exists() {
                    continue;
                }
                let map =
                    MapData::from_pin(&path).map_err(|e| kernel(format!("opening {}", path.display()), e))?;
                let entries =
                    map.info().map_err(|e| kernel(format!("reading {}", path.display()), e))?.max_entries();
                if let Some(size) = sizes.get_mut(name) {
                    if *size != entries {
                        tracing::warn!(
                            map = name,
                            entries,
                            wanted = *size,
                            "a kernel table keeps its size: limits apply once the tables are made anew (lbctl shutdown --detach, then start lbd)"
                        );
                    }
                    *size = entries;
                }
                found += 1;
            }
        }
        let clock = Clock::measure()?;
        let knobs = Knobs {
            key,
            services4_mask: sizes[names::SERVICES4] - 1,
            services6_mask: sizes[names::SERVICES6] - 1,
            probation_mask: sizes[names::PROBATION] - 1,
            protected_mask: sizes[names::PROTECTED] - 1,
            flows_new_mask: sizes[names::FLOWS_NEW] - 1,
            flows_mask: sizes[names::FLOWS] - 1,
            sources_mask: sizes[names::SOURCES] - 1,
            fragments_mask: sizes[names::FRAGMENTS] - 1,
            tick_shift: clock.shift,
            pin_idle: MAX_PIN_IDLE,
        };
        let pin_paths: Vec<(&str, PathBuf)> = pins
            .map(|dir| names::PINNED_MAPS.iter().map(|n| (*n, dir.join(n))).collect())
            .unwrap_or_default();
        let mut loader = EbpfLoader::new();
        loader.override_global(names::KNOBS, knobs.as_bytes(), true);
        for (name, entries) in &sizes {
            loader.map_max_entries(name, *entries);
        }
        for (name, path) in &pin_paths {
            loader.map_pin_path(name, path);
        }
        let mut ebpf = loader.load(object).map_err(|e| kernel("loading the eBPF object".into(), e))?;
        for program in [names::PROG_LB, names::PROG_WHERE, names::PROG_CLOCK, names::PROG_PASS] {
            xdp(&mut ebpf, program)?
                .load()
                .map_err(|e| kernel(format!("verifying the program {program}"), e))?;
        }
        // What forwards does not depend on what checks.
        let probes = [names::PROG_PROBE_OUT, names::PROG_PROBE_IN].iter().try_for_each(|program| {
            let verified = classifier(&mut ebpf, program)
                .and_then(|p| p.load().map_err(|e| kernel(format!("verifying the program {program}"), e)));
            verified.map_err(|e| e.to_string())
        });
        let mut maps = BTreeMap::new();
        let own = [names::EXPLAIN, names::CLOCK, names::PROBES, names::PROBE_FLOWS, names::PROBE_COUNTERS];
        for name in names::PINNED_MAPS.iter().chain(&own).copied() {
            maps.insert(name, handle(&ebpf, name)?);
        }
        let captured = Mutex::new(captured(&mut ebpf)?);
        let object =
            Self { ebpf: Mutex::new(ebpf), maps, captured, sizes, adopted: found > 0, clock, probes };
        object.claim(key)?;
        Ok(object)
    }

    /// Marks the tables as filled under `key`, or finds that they are. Under another key every flow has another slot: taking such tables
    /// over would break nearly all established connections.
    fn claim(&self, key: HashKey) -> Result<(), Error> {
        let mark = self.region(names::IDENTITY)?;
        let found = mark.word(0).load(Ordering::Acquire);
        if found != 0 && found != key.fingerprint() {
            return Err(kernel(
                "adopting the tables in the kernel".into(),
                std::io::Error::other(
                    "they were filled under another secret: put the old `secret_file` (or `secret` in state_dir) back, or, if \
                     connections may break, `lbctl shutdown --detach` the running lbd, or remove what is below `bpf_dir`, first",
                ),
            ));
        }
        mark.word(0).store(key.fingerprint(), Ordering::Release);
        Ok(())
    }

    /// What the tables must know of this program.
    pub fn settings(&self, secret: &[u8; 32]) -> Settings {
        Settings {
            seed: digest::seed(secret),
            tick: self.clock.tick(),
            pin_idle: MAX_PIN_IDLE as u16,
            ingress_mtu: 0,
        }
    }

    /// The limits that the actual sizes allow.
    pub fn limits(&self) -> Limits {
        let of = |name| self.sizes.get(name).copied().unwrap_or_default();
        Limits {
            services: of(names::SERVICE_COUNTERS),
            backends: of(names::BACKENDS).saturating_sub(1),
            pools: of(names::POOLS),
            slots: of(names::SLOTS) * SLOTS_PER_LINE,
            pins: of(names::PROTECTED) * WAYS as u32,
            flows: of(names::FLOWS) * WAYS as u32,
            sources: of(names::SOURCES) * WAYS as u32,
            prefixes: of(names::ACCESS4),
        }
    }

    /// Has the kernel verify a program that is not always needed.
    pub fn ensure_loaded(&self, name: &str) -> Result<(), Error> {
        self.with_program(name, |program| {
            if program.fd().is_ok() {
                return Ok(());
            }
            program.load().map_err(|e| kernel(format!("verifying the program {name}"), e))
        })
    }

    /// Does something with the loaded program `name`, exclusively.
    pub fn with_program<T>(
        &self,
        name: &str,
        f: impl FnOnce(&mut Xdp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        f(xdp(&mut self.ebpf.lock().unwrap_or_else(PoisonError::into_inner), name)?)
    }

    /// Whether the programs of checks are there; else why not.
    pub fn probes(&self) -> Result<(), String> {
        self.probes.clone()
    }

    /// Does something with the loaded program of checks `name`, exclusively.
    pub fn with_classifier<T>(
        &self,
        name: &str,
        f: impl FnOnce(&mut SchedClassifier) -> Result<T, Error>,
    ) -> Result<T, Error> {
        f(classifier(&mut self.ebpf.lock().unwrap_or_else(PoisonError::into_inner), name)?)
    }

    /// Runs the program `name` once on `frame`; returns its action.
    pub fn run(&self, name: &str, frame: &[u8]) -> Result<u32, Error> {
        self.run_on(name, frame, None).map(|(action, _)| action)
    }

    /// Runs the program `name` once on `frame` as if received on `ifindex` (default: loopback); returns its action and the frame.
    pub fn run_on(&self, name: &str, frame: &[u8], ifindex: Option<u32>) -> Result<(u32, Vec<u8>), Error> {
        let mut out = vec![0; frame.len() + 256];
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Option<Vec<u8>> = ifindex
            .map(|i| [0, frame.len() as u32, 0, i, 0, 0].iter().flat_map(|w| w.to_ne_bytes()).collect());
        let result = self.with_program(name, |program| {
            program
                .test_run(TestRunOptions {
                    data_in: Some(frame),
                    data_out: Some(&mut out),
                    ctx_in: context.as_deref(),
                    ..TestRunOptions::default()
                })
                .map_err(|e| kernel(format!("running the program {name}"), e))
        })?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// The program's clock now, in ticks that wrap.
    pub fn now(&self) -> Result<u16, Error> {
        self.run(names::PROG_CLOCK, &[0; 64])?;
        let jiffies = self.region(names::CLOCK)?.word(0).load(Ordering::Relaxed);
        Ok((jiffies >> self.clock.shift) as u16)
    }

    /// Maps the memory of the array map `name`.
    pub fn region(&self, name: &str) -> Result<Region, Error> {
        let map = self.map(name)?;
        Region::map(name, &map.fd, map.entries, map.value_size)
    }

    /// Bytes of the array map `name`.
    pub(super) fn bytes(&self, name: &str) -> Result<usize, Error> {
        let map = self.map(name)?;
        Ok(map.entries as usize * map.value_size as usize)
    }

    /// Does something with the map of the rings for dropped frames, exclusively.
    pub(super) fn with_captured<T>(
        &self,
        f: impl FnOnce(&mut PerfEventArray<MapData>, BorrowedFd<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
        let Captured { array, fd } = &mut *captured;
        f(array, fd.as_fd())
    }

    /// The descriptor of the map `name`.
    pub fn map_fd(&self, name: &str) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.map(name)?.fd.as_fd())
    }

    /// Sets one element of a per-CPU map of counters, of `N` words, to zero on every CPU.
    pub(super) fn clear_counters<const N: usize>(&self, name: &str, index: u32) -> Result<(), Error> {
        let what = || format!("clearing the counters {name} of index {index}");
        let mut ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
        let map = ebpf.map_mut(name).ok_or_else(|| kernel(what(), std::io::Error::other("no such map")))?;
        let mut map = PerCpuArray::<_, [u64; N]>::try_from(map).map_err(|e| kernel(what(), e))?;
        let cpus = aya::util::nr_cpus().map_err(|(_, e)| kernel(what(), e))?;
        let zero = PerCpuValues::try_from(vec![[0; N]; cpus]).map_err(|e| kernel(what(), e))?;
        map.set(index, zero, 0).map_err(|e| kernel(what(), e))
    }

    fn map(&self, name: &str) -> Result<&MapHandle, Error> {
        self.maps
            .get(name)
            .ok_or_else(|| kernel(format!("finding the map {name}"), std::io::Error::other("no such map")))
    }
}

/// Takes the map of the rings out of the object, whose programs have it already.
fn captured(ebpf: &mut Ebpf) -> Result<Captured, Error> {
    let what = || format!("finding the map {}", names::CAPTURED);
    let Some(Map::PerfEventArray(data)) = ebpf.take_map(names::CAPTURED) else {
        return Err(kernel(what(), std::io::Error::other("the object has no such map")));
    };
    let fd = data.fd().as_fd().try_clone_to_owned().map_err(|e| kernel(what(), e))?;
    let array = PerfEventArray::try_from(Map::PerfEventArray(data)).map_err(|e| kernel(what(), e))?;
    Ok(Captured { array, fd })
}

fn handle(ebpf: &Ebpf, name: &str) -> Result<MapHandle, Error> {
    let what = || format!("finding the map {name}");
    let Some(Map::Array(data) | Map::PerCpuArray(data) | Map::LpmTrie(data) | Map::HashMap(data)) =
        ebpf.map(name)
    else {
        return Err(kernel(what(), std::io::Error::other("the object has no such map")));
    };
    let info = data.info().map_err(|e| kernel(what(), e))?;
    let fd = data.fd().as_fd().try_clone_to_owned().map_err(|e| kernel(what(), e))?;
    Ok(MapHandle { fd, entries: info.max_entries(), value_size: info.value_size() })
}

/// Ticks after which the program ignores a pin. Which pins still bind is the daemon's knowledge, per pool; it removes the others.
/// This only bounds what a daemon that is gone leaves behind: half the range of the 16-bit clock.
const MAX_PIN_IDLE: u32 = 1 << 15;

fn classifier<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut SchedClassifier, Error> {
    let what = || format!("finding the program {name}");
    ebpf.program_mut(name)
        .ok_or_else(|| kernel(what(), std::io::Error::other("the object has no such program")))?
        .try_into()
        .map_err(|e| kernel(what(), e))
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp, Error> {
    let what = || format!("finding the program {name}");
    ebpf.program_mut(name)
        .ok_or_else(|| kernel(what(), std::io::Error::other("the object has no such program")))?
        .try_into()
        .map_err(|e| kernel(what(), e))
}
