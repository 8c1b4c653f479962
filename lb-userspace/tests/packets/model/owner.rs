//! Flow → backend: may the source use the service; does the flow have an owner; does a connection id, its source or the scheduler's turn
//! name one; else its slot does.

use std::net::IpAddr;

use lb_common::{
    counter::PinEvent,
    explain::{BY_FLOW, BY_ID, BY_SEQUENCE, BY_SOURCE, HAS_SERVICE, HAS_SLOT, IN_TRANSITION},
    reason::Reason,
};
use lb_userspace::model::{Rules, Scheduler, Tracking, UdpClass};

use super::{
    Model, Packet, Walk,
    memory::{Id, Mark, somebody},
};
use crate::view::Service;

/// So long a flow of the sample is remembered.
const SAMPLE: u16 = 1 << 14;

/// Whether a service remembers all its flows.
pub(super) fn tracks(service: &Service) -> bool {
    let rules: &Rules = &service.wanted.rules;
    rules.tracking == Tracking::Always
        || rules.scheduler != Scheduler::Maglev
        || rules.persistence.is_some()
        || rules.max_new_per_second.is_some() && service.plain_udp()
}

/// Whether a source may use a service: the longest prefix that holds it decides, and of two equal ones the one that blocks.
fn may_use(rules: &Rules, source: IpAddr) -> bool {
    let longest = |nets: &[ipnet::IpNet]| {
        nets.iter().filter(|net| net.contains(&source)).map(ipnet::IpNet::prefix_len).max()
    };
    match (longest(&rules.block), longest(&rules.allow)) {
        (Some(block), allow) => allow.is_some_and(|allow| allow > block),
        (None, Some(_)) => true,
        (None, None) => rules.allow.is_empty(),
    }
}

impl Model {
    /// The owner of a packet. One that is only `quoted` changes nothing.
    pub(super) fn owner(
        &mut self,
        walk: &mut Walk<'_>,
        service: &Service,
        packet: &Packet,
        quoted: bool,
    ) -> Result<u16, Reason> {
        walk.told.flags |= HAS_SERVICE;
        (walk.told.hash, walk.told.service, walk.told.pool) = (packet.hash, service.index, service.pool);
        let rules = &service.wanted.rules;
        let (id, now): (Id, u16) = ((packet.flow, packet.proto), walk.view.now);
        if !may_use(rules, packet.flow.src.ip()) {
            return Err(Reason::Blocked);
        }
        let tracked = tracks(service);
        if tracked && let Some(backend) = self.follow(walk, service, packet, quoted) {
            walk.told.flags |= BY_FLOW;
            walk.told.backend = backend;
            if !quoted {
                self.stick(walk, service, packet, backend, false);
            }
            return Ok(backend);
        }
        let plain = packet.proto == 17 && service.wanted.udp_class != UdpClass::Quic;
        let new = packet.opens() || tracked && plain;
        let chosen = self.chosen(walk, service, packet, new, quoted)?;
        let backend = match chosen {
            Some(backend) => backend,
            None => self.slot(walk, service, packet, quoted)?,
        };
        walk.told.backend = backend;
        if !quoted {
            if tracked || packet.sampled() {
                let idle = if tracked { walk.view.ticks(rules.idle) } else { SAMPLE };
                self.remember(walk, id, backend, (new, packet.closes()), (now, idle));
            }
            if new {
                self.stick(walk, service, packet, backend, true);
            }
        }
        Ok(backend)
    }

    /// The owner of a flow that is known.
    fn follow(
        &mut self,
        walk: &mut Walk<'_>,
        service: &Service,
        packet: &Packet,
        quoted: bool,
    ) -> Option<u16> {
        let (now, idle) = (walk.view.now, walk.view.ticks(service.wanted.rules.idle));
        let id = (packet.flow, packet.proto);
        let mark = self.flows.get_mut(&id).filter(|mark| mark.binds(now, idle))?;
        if packet.opens() && mark.reopened(now) {
            if mark.lives && !quoted {
                self.flows.remove(&id);
            }
            return None;
        }
        let backend = mark.backend;
        if !quoted {
            if !mark.lives && packet.opens() {
                walk.effects.retransmit = Some(backend);
            } else {
                mark.lives = true;
            }
            (mark.time, mark.closing) = (now, mark.closing || packet.closes());
        }
        Some(backend)
    }

    /// Remembers a flow of which something else decided.
    fn remember(
        &mut self,
        walk: &mut Walk<'_>,
        id: Id,
        backend: u16,
        (new, closes): (bool, bool),
        (now, idle): (u16, u16),
    ) {
        let before = self.flows.get(&id).copied().filter(|mark| mark.binds(now, idle));
        let again = before.is_some_and(|mark| mark.lives && !(new && mark.reopened(now)));
        let waiting = before.filter(|mark| !mark.lives);
        let mark = if again {
            Mark {
                lives: true,
                closing: closes || before.is_some_and(|m| m.closing),
                ..Mark::new(backend, now)
            }
        } else {
            if waiting.is_none() {
                walk.effects.events.push(PinEvent::Tracked);
            } else if new && waiting.is_some_and(|mark| !mark.reopened(now)) {
                walk.effects.retransmit = Some(backend);
            }
            Mark { lives: !new && waiting.is_some(), closing: !new && closes, ..Mark::new(backend, now) }
        };
        self.flows.insert(id, mark);
    }

    /// Whom something else than a slot names.
    fn chosen(
        &mut self,
        walk: &mut Walk<'_>,
        service: &Service,
        packet: &Packet,
        new: bool,
        quoted: bool,
    ) -> Result<Option<u16>, Reason> {
        let mut event = |event: PinEvent| {
            if !quoted {
                walk.effects.events.push(event);
            }
        };
        if let Some(backend) = packet.server.and_then(|id| walk.view.server(service, id)) {
            event(PinEvent::ById);
            walk.told.flags |= BY_ID;
            return Ok(Some(backend));
        }
        if !new {
            return Ok(None);
        }
        if let Some(timeout) = service.wanted.rules.persistence.map(|p| walk.view.ticks(p.timeout))
            && let Some((backend, time)) = self.sources.get(&source(service, packet)).copied()
            && walk.view.now.wrapping_sub(time) <= timeout
            && walk.view.usable(backend)
        {
            event(PinEvent::Sticky);
            walk.told.flags |= BY_SOURCE;
            return Ok(Some(backend));
        }
        if service.wanted.rules.scheduler != Scheduler::Maglev {
            walk.told.flags |= BY_SEQUENCE;
            return walk.view.turn(service).and_then(somebody).map(Some);
        }
        Ok(None)
    }

    /// Notes where a source's connections go.
    fn stick(&mut self, walk: &Walk<'_>, service: &Service, packet: &Packet, backend: u16, newest: bool) {
        let Some(timeout) = service.wanted.rules.persistence.map(|p| walk.view.ticks(p.timeout)) else {
            return;
        };
        let now = walk.view.now;
        let known =
            self.sources.get(&source(service, packet)).filter(|(_, time)| now.wrapping_sub(*time) <= timeout);
        if newest || known.is_some_and(|(to, _)| *to == backend) {
            self.sources.insert(source(service, packet), (backend, now));
        }
    }

    /// The slot's word.
    fn slot(
        &mut self,
        walk: &mut Walk<'_>,
        service: &Service,
        packet: &Packet,
        quoted: bool,
    ) -> Result<u16, Reason> {
        let hash = packet.slot_hash(service.wanted.rules.hash);
        let place = walk.view.place(service, hash).ok_or(Reason::NoBackend)?;
        walk.told.flags |= HAS_SLOT;
        (walk.told.slot, walk.told.cur) = (place.index, place.cur);
        if !place.moving {
            return somebody(place.cur);
        }
        let effects = (!quoted).then_some(&mut walk.effects);
        let (backend, by) = self.moving(walk.view, service, packet, &place, effects);
        walk.told.flags |= IN_TRANSITION | by;
        walk.told.base = place.base;
        somebody(backend)
    }
}

/// What tells sources of a service apart.
fn source(service: &Service, packet: &Packet) -> (u64, IpAddr) {
    let addr = packet.flow.src.ip();
    let prefix = service
        .wanted
        .rules
        .persistence
        .map_or(0, |sticky| if addr.is_ipv4() { sticky.prefix4 } else { sticky.prefix6 });
    let net = ipnet::IpNet::new(addr, prefix).unwrap().trunc();
    (u64::from(service.index) | u64::from(service.pool) << 16, net.addr())
}
