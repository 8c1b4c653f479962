//! What is remembered of flows, and for how long. Times are the kernel's ticks.

use std::{collections::HashMap, net::IpAddr};

use lb_common::reason::Reason;

use super::{Part, Seen, Walk, owner::tracks};
use crate::{
    frame::Flow,
    view::{Fate, View, address, hash, key},
    world,
};

/// A flow with its protocol.
pub(super) type Id = (Flow, u8);

/// What is remembered of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) backend: u16,
    pub(super) time: u16,
    /// Something came behind its first packet.
    pub(super) lives: bool,
    /// FIN or RST was seen.
    pub(super) closing: bool,
}

/// A closing flow is remembered for so long.
const CLOSING: u16 = 120;
/// A first packet after so long a silence is another connection's.
const REOPENED: u16 = 128;
/// Fragments follow their first for so long.
const FRAGMENTS: u16 = 2;

impl Mark {
    pub(super) fn new(backend: u16, time: u16) -> Self {
        Self { backend, time, lives: false, closing: false }
    }

    pub(super) fn age(self, now: u16) -> u16 {
        now.wrapping_sub(self.time)
    }

    /// Whether it still says who owns its flow: used in the last `idle` ticks, and recently if it is closing.
    pub(super) fn binds(self, now: u16, idle: u16) -> bool {
        self.age(now) <= idle && !(self.closing && self.age(now) > CLOSING)
    }

    /// Whether a first packet is that of another connection with the same addresses and ports.
    pub(super) fn reopened(self, now: u16) -> bool {
        self.closing || self.age(now) > REOPENED
    }
}

/// The fragments of a packet.
type Whole = (IpAddr, IpAddr, u8, u32);

/// The model's memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(super) pins: HashMap<Id, Mark>,
    pub(super) flows: HashMap<Id, Mark>,
    /// By service with its pool and the part of the address that tells sources apart: backend, last use.
    pub(super) sources: HashMap<(u64, IpAddr), (u16, u16)>,
    fragments: HashMap<Whole, (u16, u16)>,
}

/// What the fragments of a packet share (RFC 791; RFC 8200, section 4.5).
fn whole(seen: &Seen) -> Option<Whole> {
    let (Part::First(id) | Part::Later(id)) = seen.part else { return None };
    Some((seen.src, seen.dst, if seen.six { 0 } else { seen.proto }, id))
}

impl Model {
    /// A first fragment teaches where its packet goes; nobody's too, if the address is one of ours.
    pub(super) fn teach(&mut self, walk: &Walk<'_>, backend: u16) {
        let ours = backend != super::NOT_OURS || super::find::is_vip(walk.view, walk.seen.dst);
        if let Some(key) = whole(&walk.seen)
            && ours
        {
            self.fragments.insert(key, (backend, walk.view.now));
        }
    }

    /// Where a later fragment goes.
    pub(super) fn fragment(&self, view: &View<'_>, seen: &Seen) -> Option<u16> {
        let (backend, time) = self.fragments.get(&whole(seen)?)?;
        (view.now.wrapping_sub(*time) <= FRAGMENTS).then_some(*backend)
    }

    /// Everything was used so much longer ago.
    pub(crate) fn pass(&mut self, ticks: u16) {
        for mark in self.pins.values_mut().chain(self.flows.values_mut()) {
            mark.time = mark.time.wrapping_sub(ticks);
        }
        for (_, time) in self.sources.values_mut().chain(self.fragments.values_mut()) {
            *time = time.wrapping_sub(ticks);
        }
    }

    /// What the daemon forgets once a second and with each change: flows that are over, or of backends that keep none; sources of backends
    /// that get no new connections. When it only `changed` something, the sample's flows stay if no service asks for more than its slots.
    pub(crate) fn tidy(&mut self, view: &View<'_>, changed: bool) {
        let keep = |mark: &mut Mark| {
            let Some(known) = view.known.get(&mark.backend) else { return false };
            known.fate != Fate::Nothing && mark.binds(view.now, view.idle(mark.backend))
        };
        self.pins.retain(|_, mark| keep(mark));
        if changed && !view.services.iter().any(tracks) {
            return;
        }
        self.flows.retain(|_, mark| keep(mark));
        self.sources.retain(|_, (backend, _)| {
            view.known.get(backend).is_some_and(|known| known.fate == Fate::Serves)
        });
    }

    /// What is remembered, by hash: pins, tracked flows (of each those on probation apart), sources.
    pub(crate) fn remembered(&self) -> [Vec<(u64, world::Mark)>; 5] {
        let all = |of: &HashMap<Id, Mark>, lives: bool| {
            of.iter()
                .filter(|(_, mark)| mark.lives == lives)
                .map(|((flow, proto), mark)| (hash(flow, *proto), (mark.backend, mark.time, mark.closing)))
                .collect()
        };
        let sources = self.sources.iter().map(|((service, source), (backend, time))| {
            let [a, b] = address(*source);
            (key().other(a, b, *service | 3 << 32), (*backend, *time, false))
        });
        [
            all(&self.pins, false),
            all(&self.pins, true),
            all(&self.flows, false),
            all(&self.flows, true),
            sources.collect(),
        ]
    }
}

/// A backend, or nobody.
pub(super) fn somebody(backend: u16) -> Result<u16, Reason> {
    if backend == 0 { Err(Reason::NoBackend) } else { Ok(backend) }
}
