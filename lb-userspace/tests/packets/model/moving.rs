//! Slots in transition: a pin wins, a connection's first packet goes to `cur` and is pinned, anything else is older and stays.

use lb_common::{
    counter::PinEvent,
    explain::{BY_BASE, BY_FREEZE, BY_PIN},
};
use lb_userspace::model::UdpClass;

use super::Packet;
use super::{
    Effects, Model,
    memory::{Id, Mark},
};
use crate::view::{Place, Service, View};

/// Half the clock's range: what a pin lives if no daemon looks after it.
const FOREVER: u16 = 1 << 15;
/// Unknown flows of the class `flow` stay for so long.
const UDP_FLOW: u16 = 60;

/// Who gets a packet, and why.
pub(super) type Found = (u16, u32);

impl Model {
    pub(super) fn moving(
        &mut self,
        view: &View<'_>,
        service: &Service,
        packet: &Packet,
        place: &Place,
        effects: Option<&mut Effects>,
    ) -> Found {
        let mut events = Vec::new();
        let found = self.find(view, service, packet, place, effects.is_some(), &mut events);
        if let Some(effects) = effects {
            effects.events.extend(events);
        }
        found
    }

    fn find(
        &mut self,
        view: &View<'_>,
        service: &Service,
        packet: &Packet,
        place: &Place,
        live: bool,
        events: &mut Vec<PinEvent>,
    ) -> Found {
        let (cur, base, now) = (place.cur, place.base, view.now);
        let stay = |by: u32, events: &mut Vec<PinEvent>| {
            if base == 0 {
                return (cur, 0);
            }
            events.push(if by == BY_FREEZE { PinEvent::Frozen } else { PinEvent::Base });
            (base, by)
        };
        if packet.proto == 17 {
            match service.wanted.udp_class {
                UdpClass::Dns => return (cur, 0),
                UdpClass::Flow if now.wrapping_sub(place.begin) > UDP_FLOW => return (cur, 0),
                UdpClass::Flow => return stay(BY_BASE, events),
                UdpClass::Quic => {}
            }
        }
        let id: Id = (packet.flow, packet.proto);
        let (opens, closes) = (packet.opens(), packet.closes());
        // A pin that was last used before the slot left stability is about another connection.
        let predates = |mark: &Mark| mark.age(now) > now.wrapping_sub(place.begin);
        if let Some(mark) = self.pins.get_mut(&id).filter(|mark| mark.binds(now, FOREVER)) {
            if !predates(mark) && !(opens && mark.reopened(now)) {
                let to = mark.backend;
                if live && (mark.lives || !opens) {
                    if !mark.lives {
                        events.push(PinEvent::Promoted);
                    }
                    (mark.lives, mark.time, mark.closing) = (true, now, mark.closing || closes);
                }
                events.push(PinEvent::Hit);
                return (to, BY_PIN);
            }
            if live && opens {
                self.pins.remove(&id);
            }
        }
        if opens {
            if base != 0 && view.frozen {
                return stay(BY_FREEZE, events);
            }
            if cur != 0 {
                if live {
                    self.pins.insert(id, Mark::new(cur, now));
                }
                events.push(PinEvent::Pinned);
            }
            return (cur, 0);
        }
        stay(BY_BASE, events)
    }
}
