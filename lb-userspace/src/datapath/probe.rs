//! Checks on the way of clients' packets: the tc programs on their interfaces, the table of marks, and what became of a check's packets.
//!
//! A check's socket is connected to the backend's own address and carries a mark; the program gives its packets the VIP as their destination and
//! sends them as clients' packets are sent. Each way has a record of its own, made like the backend's: a check has to work before its backend
//! has one, and while one that leaves still has its name.
//!
//! | file | is |
//! |---|---|
//! | `places` | which way has which index (pure) |
//! | `path` | what a check asks: its mark, and what became of its packets |
//! | `attach` | the programs on an interface |

mod attach;
mod path;
mod places;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use lb_common::{
    backend::VALID,
    names,
    probe::{MARK, PROBES, Probe},
};
use zerocopy::IntoBytes;

use self::{attach::Attached, places::Places};
pub use self::{
    attach::sweep_out,
    path::{CheckPath, Fate, Marks, Way},
};
use super::{Desired, Error, digest, object::Object, region::Region, tables};
use crate::model::{NextHop, Production, Tunnel};

/// A way that a check takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DesiredProbe {
    /// The backend's address.
    pub address: IpAddr,
    /// The rest of it.
    pub production: Production,
}

/// Words of a [`Probe`], and those with a meaning of their own.
const WORDS: usize = size_of::<Probe>() / 8;
/// The source's MAC address, method and flags.
const WORD_FLAGS: usize = 1;
/// Words that one store each changes while packets flow.
const SINGLE: usize = 3;
const WORD_USED: usize = 10;
/// [`VALID`] in its word.
const VALID_BIT: u64 = (VALID as u64) << 56;

/// An interface of this host, as far as checks leave by it.
#[derive(Debug)]
struct Interface {
    name: String,
    /// The programs there, or why they are not.
    programs: Result<Attached, Arc<str>>,
}

/// The writing side.
#[derive(Debug)]
pub struct Probes {
    table: Region,
    places: Places<DesiredProbe>,
    /// What the table should have, by index.
    wanted: BTreeMap<u16, Probe>,
    interfaces: BTreeMap<u32, Interface>,
    /// Where attachments are pinned.
    dir: PathBuf,
    /// Why no check can go by its VIP, if so.
    problem: Option<Arc<str>>,
    /// That was logged.
    said: bool,
    /// [`Self::attach`] was called: the tables are whole.
    attaching: bool,
    path: Arc<CheckPath>,
}

impl Probes {
    /// With an empty table and nothing attached. `dir` is where attachments are pinned.
    pub fn open(object: &Object, dir: &Path) -> Result<Self, Error> {
        let problem = object.probes().map_err(Arc::from).err().or_else(|| may_mark().err().map(Arc::from));
        Ok(Self {
            table: object.region(names::PROBES)?,
            places: Places::new(PROBES as u16),
            wanted: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            dir: dir.to_owned(),
            problem,
            said: false,
            attaching: false,
            path: Arc::new(CheckPath::new(object.region(names::PROBE_FLOWS)?)),
        })
    }

    /// The asking side.
    pub fn path(&self) -> Arc<CheckPath> {
        self.path.clone()
    }

    /// Why checks do not take the way of clients' packets, or some do not; for status.
    pub fn problem(&self) -> Option<String> {
        let failed = || {
            self.interfaces
                .values()
                .find_map(|i| Some(format!("interface {}: {}", i.name, i.programs.as_ref().err()?)))
        };
        let problem = self.problem.as_ref().map(ToString::to_string).or_else(failed);
        problem.filter(|_| !self.wanted.is_empty())
    }

    /// Attaches the programs to the configured interfaces. What cannot be is no reason not to forward.
    pub fn attach(&mut self, object: &Object, interfaces: &[String]) {
        self.attaching = true;
        attach::forget_others(interfaces, &self.dir);
        for name in interfaces {
            if let Ok(index) = nix::net::if_::if_nametoindex(name.as_str()) {
                self.attach_to(object, index, name);
            }
        }
    }

    /// Makes the table have exactly these ways.
    pub fn apply(&mut self, object: &Object, desired: &Desired) {
        if let Some(why) = self.problem.as_ref().filter(|_| !self.said && !desired.probes.is_empty()) {
            tracing::warn!(%why, "checks with `via = \"vip\"` go to the backends' own addresses");
            self.said = true;
        }
        let mut ways = BTreeMap::new();
        for index in self.places.keep(|probe| desired.probes.contains_key(probe)) {
            self.wanted.remove(&index);
            self.word(index, WORD_USED).store(0, Ordering::Release);
        }
        for (probe, hop) in &desired.probes {
            let way = match self.places.place(*probe) {
                None => Way::Never("the table of marks is full".into()),
                Some(index) => {
                    let entry = entry(probe, *hop, desired.tunnel);
                    self.write(index, &entry);
                    self.wanted.insert(index, entry);
                    match hop {
                        None => Way::Unresolved(MARK | u32::from(index)),
                        Some(hop) => self.by(object, index, hop),
                    }
                }
            };
            ways.insert(*probe, way);
        }
        self.path.publish(Marks { problem: self.problem.clone(), ways });
    }

    /// A tick's work: entries that somebody else changed are written again, and interfaces that were made anew get their programs
    /// again. Returns how many entries that were.
    pub fn tend(&mut self, object: &Object) -> u64 {
        let drifted: Vec<u16> =
            self.wanted.iter().filter(|(i, p)| !self.holds(**i, p)).map(|(i, _)| *i).collect();
        for index in &drifted {
            if let Some(entry) = self.wanted.get(index).copied() {
                self.write(*index, &entry);
            }
        }
        let gone = |(index, i): (&u32, &Interface)| {
            (nix::net::if_::if_nametoindex(i.name.as_str()) != Ok(*index)).then(|| (*index, i.name.clone()))
        };
        let stale: Vec<(u32, String)> = self.interfaces.iter().filter_map(gone).collect();
        for (index, name) in stale {
            self.interfaces.remove(&index);
            if let Ok(index) = nix::net::if_::if_nametoindex(name.as_str()) {
                self.attach_to(object, index, &name);
            }
        }
        drifted.len() as u64
    }

    /// The way of a mark whose packets leave by this hop.
    fn by(&mut self, object: &Object, index: u16, hop: &NextHop) -> Way {
        if !self.interfaces.contains_key(&hop.ifindex) {
            let name = nix::net::if_::if_indextoname(hop.ifindex).ok();
            if let Some(name) = name.as_ref().and_then(|name| name.to_str().ok()) {
                self.attach_to(object, hop.ifindex, name);
            }
        }
        match self.interfaces.get(&hop.ifindex).map(|i| &i.programs) {
            Some(Ok(_)) => Way::Marked(MARK | u32::from(index)),
            Some(Err(why)) => Way::Never(why.clone()),
            None => Way::Never(format!("interface #{} is not there", hop.ifindex).into()),
        }
    }

    fn attach_to(&mut self, object: &Object, index: u32, name: &str) {
        if self.problem.is_some() || !self.attaching {
            return;
        }
        let programs = attach::attach(object, name, &self.dir).map_err(|e| Arc::from(e.to_string()));
        match &programs {
            Ok(attached) => tracing::debug!(interface = name, by = attached.how(), "checks may leave by it"),
            Err(why) => tracing::warn!(
                interface = name, %why,
                "checks with `via = \"vip\"` that leave by it go to the backends' own addresses"
            ),
        }
        self.interfaces.insert(index, Interface { name: name.to_owned(), programs });
    }

    fn word(&self, index: u16, word: usize) -> &std::sync::atomic::AtomicU64 {
        self.table.word(usize::from(index) * WORDS + word)
    }

    fn holds(&self, index: u16, entry: &Probe) -> bool {
        words(entry).iter().enumerate().all(|(i, word)| self.word(index, i).load(Ordering::Acquire) == *word)
    }

    /// Writes an entry so that no packet leaves by half of it: what one store cannot change is changed while the record is not valid.
    fn write(&self, index: u16, entry: &Probe) {
        let new = words(entry);
        let differs = |i: usize| self.word(index, i).load(Ordering::Acquire) != new[i];
        let single = (0..WORD_USED).filter(|i| *i >= SINGLE).all(|i| !differs(i));
        let valid = new[WORD_FLAGS] & VALID_BIT != 0;
        if !single || !valid {
            self.word(index, WORD_FLAGS).store(new[WORD_FLAGS] & !VALID_BIT, Ordering::Release);
        }
        for (i, word) in new.iter().enumerate() {
            if i != WORD_FLAGS && differs(i) {
                self.word(index, i).store(*word, Ordering::Release);
            }
        }
        self.word(index, WORD_FLAGS).store(new[WORD_FLAGS], Ordering::Release);
    }
}

fn words(entry: &Probe) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(entry.as_bytes().chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
    }
    words
}

fn entry(probe: &DesiredProbe, hop: Option<NextHop>, tunnel: Tunnel) -> Probe {
    let Production { vip, method, gue_port } = probe.production;
    Probe {
        to: tables::way(probe.address, method, gue_port, hop, tunnel),
        vip: digest::octets(vip),
        used: 1,
        reserved: 0,
    }
}

/// Whether this process may mark sockets.
fn may_mark() -> Result<(), String> {
    let marked = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)
        .and_then(|socket| socket.set_mark(MARK));
    marked.map_err(|e| format!("sockets cannot be marked ({e}): CAP_NET_ADMIN is needed"))
}
