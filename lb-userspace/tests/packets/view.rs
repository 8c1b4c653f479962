//! What the model may look at: what is wanted, which index stands for whom, and the slots and turns that the daemon wrote.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use lb_common::{
    hash::HashKey,
    net::{ipv6::halves, l4},
    reason::Reason,
    slot::{self, Slot},
};
use lb_userspace::{
    datapath::{
        Desired, DesiredBackend, DesiredService,
        mapped::Mapped,
        tables::{Memory as _, Tables, U16Map, U64Map},
    },
    model::{BackendId, Disposition, Endpoint, PoolName, Protocol, ServiceName, Tunnel, UdpClass},
};

use crate::{
    clock::Dated,
    frame::Flow,
    model::{Part, Seen},
};

/// The interface test frames come in by: loopback.
pub(crate) const INGRESS: u32 = 1;
/// The cluster's secret.
pub(crate) const SECRET: [u8; 32] = [7; 32];

/// A service that has an index.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: ServiceName,
    pub(crate) index: u16,
    pub(crate) pool: u16,
    pub(crate) wanted: DesiredService,
}

impl Service {
    /// It has UDP of which nothing tells a flow's first packet.
    pub(crate) fn plain_udp(&self) -> bool {
        self.wanted.udp_class != UdpClass::Quic
            && self.wanted.endpoints.iter().any(|e| e.protocol == Protocol::Udp)
    }
}

/// A backend that has a record, and the outer sources that were wanted when that was last written.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: BackendId,
    pub(crate) backend: DesiredBackend,
    pub(crate) tunnel: Tunnel,
    pub(crate) fate: Fate,
    /// Ticks for which it may drain.
    pub(crate) drain: u32,
}

/// What a backend gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// New connections.
    Serves,
    /// Only those it had, since then.
    Drains(u32),
    Nothing,
}

impl Fate {
    /// What comes of what is wanted. Whoever gets nothing does not begin to drain.
    fn next(self, wanted: &DesiredBackend, now: u32) -> Self {
        match self {
            _ if !wanted.disposition.keeps_old() => Self::Nothing,
            _ if wanted.disposition.takes_new() && wanted.weight.get() > 0 => Self::Serves,
            Self::Serves => Self::Drains(now),
            Self::Drains(_) | Self::Nothing => self,
        }
    }
}

/// Who has which index. Backends that are no longer wanted stay: they may still drain.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    pub(crate) services: Vec<Service>,
    pub(crate) endpoints: Vec<(Endpoint, usize)>,
    pub(crate) known: BTreeMap<u16, Known>,
}

impl Placed {
    /// Whoever has drained for as long as it may gets nothing.
    pub(crate) fn give_up(&mut self, now: u32) {
        for known in self.known.values_mut() {
            if matches!(known.fate, Fate::Drains(since) if now - since >= known.drain) {
                known.fate = Fate::Nothing;
            }
        }
    }

    /// Follows a change; `ticks` says how many a duration has.
    pub(crate) fn follow(
        &mut self,
        desired: &Desired,
        tables: &Tables<Dated>,
        now: u32,
        ticks: impl Fn(Duration) -> u32,
    ) {
        let pools: BTreeMap<&PoolName, u16> = tables.pools().map(|(index, name)| (name, index)).collect();
        self.services = desired
            .services
            .iter()
            .map(|(name, wanted)| Service {
                name: name.clone(),
                index: tables.services()[name],
                pool: pools[&wanted.pool],
                wanted: wanted.clone(),
            })
            .collect();
        self.endpoints = (self.services.iter().enumerate())
            .flat_map(|(i, s)| s.wanted.endpoints.iter().map(move |e| (*e, i)))
            .collect();
        self.endpoints.sort_by_key(|(e, _)| *e);
        let before = std::mem::take(&mut self.known);
        for (index, id) in tables.backends() {
            let wanted = desired.pools.get(&id.pool).map(|pool| pool.backends.get(&id.backend).copied());
            let old = before.get(&index).filter(|known| known.id == *id);
            let kept = |disposition: Disposition| {
                old.map(|old| Known { backend: DesiredBackend { disposition, ..old.backend }, ..old.clone() })
            };
            let new = |backend| {
                let (fate, drain) = (Fate::Nothing, 0);
                Some(Known { id: id.clone(), backend, tunnel: desired.tunnel, fate, drain })
            };
            let known = match (wanted, old) {
                (None, _) => kept(Disposition::Down),
                (Some(None), _) => kept(Disposition::Draining),
                // With another address it is another backend: this is the one before it.
                (Some(Some(wanted)), Some(old)) if old.backend.address != wanted.address => {
                    kept(Disposition::Draining)
                }
                // Whoever had a way keeps it until there is another.
                (
                    Some(Some(DesiredBackend { next_hop: None, disposition, weight, server_id, .. })),
                    Some(old),
                ) => {
                    let backend = DesiredBackend { disposition, weight, server_id, ..old.backend };
                    Some(Known { backend, ..old.clone() })
                }
                (Some(Some(wanted)), _) => new(wanted),
            };
            let Some(mut known) = known else { continue };
            let here = |b: DesiredBackend| b.address == known.backend.address;
            if wanted.flatten().is_some_and(here) {
                known.drain = ticks(desired.pools[&id.pool].drain_timeout);
            }
            let before = old.map_or(Fate::Nothing, |old| old.fate);
            known.fate = before.next(&known.backend, now);
            self.known.insert(index, known);
        }
    }
}

/// See the module.
pub(crate) struct View<'w> {
    pub(crate) desired: &'w Desired,
    pub(crate) services: &'w [Service],
    pub(crate) endpoints: &'w [(Endpoint, usize)],
    pub(crate) known: &'w BTreeMap<u16, Known>,
    pub(crate) memory: &'w Mapped,
    /// Longest packet that may come in.
    pub(crate) ingress_mtu: u32,
    /// The kernel's clock, and how long one of its ticks is.
    pub(crate) now: u16,
    pub(crate) tick: Duration,
    /// The daemon wants nothing new pinned.
    pub(crate) frozen: bool,
}

/// A packet's slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) index: u32,
    pub(crate) moving: bool,
    pub(crate) cur: u16,
    pub(crate) base: u16,
    /// When it left stability.
    pub(crate) begin: u16,
}

/// Two halves of a word.
fn pair(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

impl View<'_> {
    pub(crate) fn service_name(&self, index: u16) -> String {
        self.services.iter().find(|s| s.index == index).map(|s| s.name.to_string()).unwrap_or_default()
    }

    /// A duration in ticks, rounded up.
    pub(crate) fn ticks(&self, time: Duration) -> u16 {
        time.as_nanos().div_ceil(self.tick.as_nanos()).min(1 << 15) as u16
    }

    /// Ticks after which a flow of a backend is over.
    pub(crate) fn idle(&self, backend: u16) -> u16 {
        let pool = self.known.get(&backend).and_then(|known| self.desired.pools.get(&known.id.pool));
        pool.map_or(1 << 15, |pool| self.ticks(pool.idle))
    }

    /// Whether frames for a backend lead anywhere.
    pub(crate) fn usable(&self, backend: u16) -> bool {
        self.known.get(&backend).is_some_and(|known| known.backend.next_hop.is_some())
    }

    /// The backend that a number in a connection id names: of two the last, as they are named; none that is no longer wanted.
    pub(crate) fn server(&self, service: &Service, id: u16) -> Option<u16> {
        let pool = &service.wanted.pool;
        let named = |b: &DesiredBackend| b.server_id == Some(id) && b.disposition.keeps_old();
        let (name, wanted) = self.desired.pools[pool].backends.iter().rfind(|(_, b)| named(b))?;
        self.known
            .iter()
            .find(|(_, Known { id, backend, .. })| {
                id.pool == *pool && id.backend == *name && backend.address == wanted.address
            })
            .map(|(index, _)| *index)
            .filter(|index| self.usable(*index))
    }

    /// Whose turn it is.
    pub(crate) fn turn(&self, service: &Service) -> Result<u16, Reason> {
        let index = usize::from(service.index);
        let (start, len) = pair(self.memory.load64(U64Map::Rules, index * 8 + 4));
        if len == 0 {
            return Err(Reason::NoBackend);
        }
        let turn = self.memory.load64(U64Map::Cursors, index) % u64::from(len);
        Ok(self.memory.load16(U16Map::Sequences, start as usize + turn as usize))
    }

    /// The slot of a hash; none if the pool has no slots.
    pub(crate) fn place(&self, service: &Service, hash: u64) -> Option<Place> {
        let (start, len) = pair(self.memory.load64(U64Map::Pools, usize::from(service.pool) * 2));
        if len == 0 {
            return None;
        }
        let index = slot::index(hash, len);
        let at = (start + index) as usize;
        let word = Slot(self.memory.load16(U16Map::Slots, at));
        Some(Place {
            index,
            moving: word.in_transition(),
            cur: word.cur(),
            base: self.memory.load16(U16Map::Bases, at),
            begin: self.memory.load16(U16Map::Begins, at),
        })
    }
}

/// The hash by which the fragments of a packet are told apart.
pub(crate) fn fragment_hash(seen: &Seen) -> u64 {
    let (Part::First(id) | Part::Later(id)) = seen.part else { panic!("no fragment: {seen:?}") };
    match (seen.src, seen.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let [src, dst] = [src, dst].map(|a| u64::from(u32::from_le_bytes(a.octets())));
            let id = u64::from((id as u16).swap_bytes());
            key().other(src | dst << 32, id, 4 << 32 | u64::from(seen.proto))
        }
        _ => key().v6(address(seen.src), address(seen.dst), id.swap_bytes(), 0x80),
    }
}

/// The key of the flow hash.
pub(crate) fn key() -> HashKey {
    HashKey::from_secret(&SECRET)
}

/// An address's bytes.
pub(crate) fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

/// An address as the flow hash takes it.
pub(crate) fn address(addr: IpAddr) -> [u64; 2] {
    match addr {
        IpAddr::V4(addr) => [u64::from(u32::from_le_bytes(addr.octets())), 0],
        IpAddr::V6(addr) => halves(&addr.octets()),
    }
}

/// The hash of a flow, by its definition.
pub(crate) fn hash(flow: &Flow, proto: u8) -> u64 {
    let ports = u32::from_le_bytes(l4::ports(flow.src.port(), flow.dst.port()));
    let [src, dst] = [flow.src.ip(), flow.dst.ip()].map(address);
    if flow.src.is_ipv4() {
        key().v4(src[0] as u32, dst[0] as u32, ports, proto)
    } else {
        key().v6(src, dst, ports, proto)
    }
}
