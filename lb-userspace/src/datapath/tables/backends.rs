//! Backend records: indices, next hops, and who keeps established flows.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lb_common::{
    backend::{Backend, METHOD_BITS, METHOD_DR, METHOD_GUE, METHOD_IPIP, NARROW, OUTER6, TUNNEL, VALID},
    slot::MAX_BACKEND,
};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    GRACE,
    memory::{Image, Memory, U64Map},
};
use crate::{
    datapath::{DesiredBackend, DesiredPool, Error, digest},
    model::{BackendId, Disposition, Method, NextHop, PoolName, Tunnel, Weight},
};

/// Words of a record, and those with a meaning of their own.
const RECORD: usize = 8;
const WORD_DST: usize = 0;
const WORD_SRC: usize = 1;
const WORD_EGRESS: usize = 2;
const WORD_ID: usize = 3;

/// What a backend's established flows may expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It gets new connections.
    Serves,
    /// It keeps what it has. Since when, in wide ticks.
    Drains(u32),
    /// It gets nothing.
    Dead,
}

/// A backend with a record.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: u64,
    pub(super) address: IpAddr,
    /// Its name; unknown for one that an earlier daemon wrote and the configuration no longer has.
    pub(super) name: Option<BackendId>,
    pub(super) fate: Fate,
    /// How long it may drain, in ticks.
    drain: u32,
    /// Whether the configuration has it.
    wanted: bool,
    /// Since when nothing refers to it.
    idle_since: Option<u32>,
}

/// All records.
#[derive(Debug)]
pub(super) struct Backends {
    image: Image,
    capacity: u32,
    pub(super) known: BTreeMap<u16, Known>,
    by_id: HashMap<u64, u16>,
}

/// What a change of the backends leads to.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// Indices that were not in use before: their counters are not theirs yet.
    pub(super) fresh: Vec<u16>,
    /// Somebody died: pins to it have to go.
    pub(super) died: bool,
}

fn words(record: &Backend) -> [u64; RECORD] {
    let mut words = [0; RECORD];
    for (word, bytes) in words.iter_mut().zip(record.as_bytes().chunks_exact(8)) {
        let mut b = [0; 8];
        b.copy_from_slice(bytes);
        *word = u64::from_ne_bytes(b);
    }
    words
}

/// What the records of all backends depend on besides the backends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    /// Outer sources of tunnels.
    pub(super) tunnel: Tunnel,
    /// Longest packet that may come in, in bytes of L3.
    pub(super) ingress_mtu: u32,
}

/// The record of a backend; without a next hop it is not valid.
fn record(id: u64, backend: &DesiredBackend, around: Surroundings) -> Backend {
    let base = Backend { id, addr: digest::octets(backend.address), ..Backend::default() };
    let Some(hop) = backend.next_hop else { return base };
    let (source, spread) = outer_source(backend, around.tunnel);
    let method = match backend.method {
        Method::Dr => METHOD_DR,
        Method::Ipip => METHOD_IPIP | spread << METHOD_BITS,
        Method::Gue => METHOD_GUE | spread << METHOD_BITS,
    };
    let set = |flag: u8, on: bool| if on { flag } else { 0 };
    let tunnel = backend.method != Method::Dr;
    Backend {
        dst_mac: hop.dst_mac.0,
        vlan: hop.vlan.to_be_bytes(),
        src_mac: hop.src_mac.0,
        method,
        flags: VALID
            | set(TUNNEL, tunnel)
            | set(OUTER6, tunnel && backend.address.is_ipv6())
            | set(NARROW, !tunnel && hop.mtu < around.ingress_mtu),
        ifindex: hop.ifindex,
        mtu: u16::try_from(hop.mtu).unwrap_or(u16::MAX),
        gue_port: backend.gue_port.to_be_bytes(),
        outer_src: if tunnel { digest::octets(source) } else { [0; 16] },
        ..base
    }
}

/// The record of a way that no table of backends has: a check's.
pub(in crate::datapath) fn way(
    address: IpAddr,
    method: Method,
    gue_port: u16,
    next_hop: Option<NextHop>,
    tunnel: Tunnel,
) -> Backend {
    let backend = DesiredBackend {
        address,
        weight: Weight::default(),
        disposition: Disposition::Serving,
        next_hop,
        method,
        gue_port,
        server_id: None,
    };
    // Too long a packet is its sender's trouble: there is nobody else to tell.
    record(0, &backend, Surroundings { tunnel, ingress_mtu: 0 })
}

/// A tunnel's outer source, and how many of its low bits come from the flow hash: the configured prefix, or the host's own address on that
/// way.
fn outer_source(backend: &DesiredBackend, tunnel: Tunnel) -> (IpAddr, u8) {
    // The kernel program fills 32 bits at most.
    let spread = |max: u8, len: u8| (max - len).min(32);
    let own =
        backend.next_hop.and_then(|hop| hop.source).filter(|s| s.is_ipv6() == backend.address.is_ipv6());
    match (backend.address, tunnel.source4, tunnel.source6) {
        (IpAddr::V4(_), Some(net), _) => (net.network().into(), spread(32, net.prefix_len())),
        (IpAddr::V6(_), _, Some(net)) => (net.network().into(), spread(128, net.prefix_len())),
        (IpAddr::V4(_), None, _) => (own.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), 0),
        (IpAddr::V6(_), _, None) => (own.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), 0),
    }
}

impl Backends {
    /// Takes over the records that are there. Two of one id cannot both be found again, so the second one only drains.
    pub(super) fn adopt(memory: &impl Memory, limit: u32, now: u32) -> Self {
        let image = Image::read(memory, U64Map::Backends);
        // Index 0 is nobody.
        let records = (image.len() / RECORD).min(usize::from(MAX_BACKEND) + 1) as u32;
        let capacity = records.saturating_sub(1).min(limit);
        let mut backends = Self { image, capacity, known: BTreeMap::new(), by_id: HashMap::new() };
        for index in 1..records as u16 {
            let at = usize::from(index) * RECORD;
            let bytes: Vec<u8> = (0..RECORD).flat_map(|w| backends.image.get(at + w).to_ne_bytes()).collect();
            let record = Backend::read_from_bytes(&bytes).unwrap_or_default();
            if record.id == 0 {
                continue;
            }
            backends.by_id.entry(record.id).or_insert(index);
            backends.known.insert(
                index,
                Known {
                    id: record.id,
                    address: Ipv6Addr::from(record.addr).to_canonical(),
                    name: None,
                    fate: Fate::Drains(now),
                    drain: u32::MAX,
                    wanted: false,
                    idle_since: None,
                },
            );
        }
        backends
    }

    pub(super) fn index(&self, id: u64) -> Option<u16> {
        self.by_id.get(&id).copied()
    }

    /// Names a backend of `pool` that has no name by its address.
    pub(super) fn name_stranger(&mut self, index: u16, pool: &PoolName) {
        if let Some(known) = self.known.get_mut(&index)
            && known.name.is_none()
            && let Ok(backend) = known.address.to_string().parse()
        {
            known.name = Some(BackendId { pool: pool.clone(), backend });
        }
    }

    /// Per index, whether the backend keeps its established flows.
    pub(super) fn alive(&self) -> Vec<bool> {
        let mut alive = vec![false; usize::from(MAX_BACKEND) + 1];
        for (index, known) in &self.known {
            alive[usize::from(*index)] = known.fate != Fate::Dead;
        }
        alive
    }

    /// Per index, whether the backend gets new connections.
    pub(super) fn takes(&self) -> Vec<bool> {
        let mut takes = vec![false; usize::from(MAX_BACKEND) + 1];
        for (index, known) in &self.known {
            takes[usize::from(*index)] = known.fate == Fate::Serves;
        }
        takes
    }

    /// Gives every wanted backend its record and every other one its fate.
    pub(super) fn apply(
        &mut self,
        memory: &impl Memory,
        pools: &BTreeMap<PoolName, DesiredPool>,
        drain: impl Fn(&DesiredPool) -> u32,
        around: Surroundings,
        now: u32,
    ) -> (Placed, Option<Error>) {
        let mut placed = Placed::default();
        for known in self.known.values_mut() {
            known.wanted = false;
        }
        let mut without = 0;
        // Nothing becomes free while records are given out.
        let mut free: Option<std::vec::IntoIter<u16>> = None;
        for (pool_name, pool) in pools {
            for (name, backend) in &pool.backends {
                let id = digest::backend_id(pool_name, name, backend.address);
                let known = self.index(id);
                let fresh = || free.get_or_insert_with(|| self.free().into_iter()).next();
                let Some(index) = known.or_else(fresh) else {
                    without += 1;
                    continue;
                };
                if known.is_none() {
                    placed.fresh.push(index);
                }
                self.write(memory, index, id, backend, around);
                let known = self.known.entry(index).or_insert_with(|| Known {
                    id,
                    address: backend.address,
                    name: None,
                    fate: Fate::Dead,
                    drain: 0,
                    wanted: true,
                    idle_since: None,
                });
                if known.name.is_none() {
                    known.name = Some(BackendId { pool: pool_name.clone(), backend: name.clone() });
                }
                known.wanted = true;
                known.drain = drain(pool);
                placed.died |= known.meet(fate(backend), now);
            }
        }
        for known in self.known.values_mut().filter(|known| !known.wanted) {
            // Removed from its pool: its flows may finish. Its pool is gone too: nothing leads to it any more.
            let pool = known.name.as_ref().map(|name| pools.get(&name.pool));
            let fate = match pool {
                Some(None) => Disposition::Down,
                Some(Some(_)) | None => Disposition::Draining,
            };
            if known.name.is_none() && known.drain == u32::MAX {
                known.drain = pools.values().map(&drain).max().unwrap_or(0);
            }
            placed.died |= known.meet(fate, now);
        }
        let problem = (without > 0).then(|| Error::Full {
            table: "the table of backends",
            need: self.known.len() as u64 + without,
            have: u64::from(self.capacity),
            limit: "backends",
        });
        (placed, problem)
    }

    /// All indices without a record.
    fn free(&self) -> Vec<u16> {
        let mut used = self.known.keys().copied().peekable();
        (1..=self.capacity as u16).filter(|index| used.next_if_eq(index).is_none()).collect()
    }

    /// Writes a record. A new one becomes valid with its last store; in an old one only words that differ are stored, so that a changed
    /// MAC address is one store.
    fn write(
        &mut self,
        memory: &impl Memory,
        index: u16,
        id: u64,
        backend: &DesiredBackend,
        around: Surroundings,
    ) {
        let at = usize::from(index) * RECORD;
        let known = self.by_id.insert(id, index).is_some();
        let new = words(&record(id, backend, around));
        let order: &[usize] = if known && backend.next_hop.is_none() {
            // The old way is better than none; its outer source belongs to it.
            &[4, 5]
        } else if known {
            &[4, 5, 6, 7, WORD_EGRESS, WORD_DST, WORD_SRC]
        } else {
            &[4, 5, 6, 7, WORD_EGRESS, WORD_DST, WORD_ID, WORD_SRC]
        };
        for word in order {
            self.image.set(memory, at + word, new[*word]);
        }
    }

    /// Those that have drained for as long as they may are dead from now on; whether there are any.
    pub(super) fn cut_overdue(&mut self, now: u32) -> u32 {
        let mut cut = 0;
        for known in self.known.values_mut() {
            if matches!(known.fate, Fate::Drains(since) if now.saturating_sub(since) >= known.drain) {
                known.fate = Fate::Dead;
                cut += 1;
            }
        }
        cut
    }

    /// Frees the records that are neither wanted nor referred to for [`GRACE`] ticks; their indices.
    pub(super) fn release(
        &mut self,
        memory: &impl Memory,
        now: u32,
        referred: impl Fn(u16) -> bool,
    ) -> Vec<u16> {
        let mut released = Vec::new();
        for (index, known) in &mut self.known {
            if known.wanted || referred(*index) {
                known.idle_since = None;
            } else if now.saturating_sub(*known.idle_since.get_or_insert(now)) >= GRACE {
                released.push(*index);
            }
        }
        for index in &released {
            let at = usize::from(*index) * RECORD;
            for word in [WORD_SRC, WORD_ID, WORD_DST, WORD_EGRESS] {
                self.image.set(memory, at + word, 0);
            }
            if let Some(known) = self.known.remove(index)
                && self.by_id.get(&known.id) == Some(index)
            {
                self.by_id.remove(&known.id);
            }
        }
        released
    }

    pub(super) fn repair(&self, memory: &impl Memory) -> u64 {
        self.image.repair(memory)
    }
}

/// A weight of 0 drains, whatever the disposition.
fn fate(backend: &DesiredBackend) -> Disposition {
    if backend.disposition.takes_new() && backend.weight.get() == 0 {
        Disposition::Draining
    } else {
        backend.disposition
    }
}

impl Known {
    /// Meets a fate; whether it died of it. A drain that goes on keeps its beginning, also when it has been cut.
    fn meet(&mut self, disposition: Disposition, now: u32) -> bool {
        let alive = self.fate != Fate::Dead;
        self.fate = match (disposition, self.fate) {
            (Disposition::Serving | Disposition::Held, _) => Fate::Serves,
            (Disposition::Draining, Fate::Drains(since)) => Fate::Drains(since),
            (Disposition::Draining, Fate::Serves) => Fate::Drains(now),
            (Disposition::Draining, Fate::Dead) | (Disposition::Down | Disposition::Out, _) => Fate::Dead,
        };
        alive && self.fate == Fate::Dead
    }
}
