//! What must become of a frame: the rules of the data plane once more, in plain Rust over byte offsets, without the product's parser,
//! tables of flows or verdicts. It looks at what is wanted, and at the slots and turns that the daemon wrote; who owns which flow it
//! remembers itself, in maps without buckets, tags or room to run out of.
//!
//! | file | rules of |
//! |---|---|
//! | `read` | headers |
//! | `find` | destination → service |
//! | `owner` | flow → backend: access, tracked flows, connection ids, sources, turns, slots |
//! | `moving` | slots in transition: pins and bases |
//! | `forward` | backend → frame: tags, addresses, tunnels, lengths |
//! | `icmp` | echo, errors about flows, "too big" |
//! | `memory` | what is remembered, for how long |

mod find;
mod forward;
mod icmp;
mod memory;
mod moving;
mod owner;
mod packet;
mod read;

use lb_common::{
    counter::PinEvent,
    explain::{Explain, FOLLOWS, FORWARDED},
    reason::Reason,
};

pub(crate) use self::{
    memory::Model,
    packet::Packet,
    read::{Part, Seen, read, seal, sum, transport},
};
use crate::{frame::Flow, view::View};

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not forwarded.
    Stopped(Reason),
    /// Turned into an answer.
    Answered { why: Reason, frame: Vec<u8> },
    /// Forwarded to a backend (`pool/name`), for a service if one can be told.
    Sent { service: Option<String>, backend: String, redirected: bool, frame: Vec<u8> },
}

impl Outcome {
    /// The backend's name without its pool, or the reason's label.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Stopped(why) | Self::Answered { why, .. } => why.as_str().to_owned(),
            Self::Sent { backend, .. } => backend.split('/').nth(1).unwrap().to_owned(),
        }
    }
}

/// What is counted besides the outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) events: Vec<PinEvent>,
    /// The backend that made a client ask twice.
    pub(crate) retransmit: Option<u16>,
    /// Service, backend, and the flags that count.
    pub(crate) forwarded: Option<(Option<u16>, u16, u8)>,
}

/// The model's whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) outcome: Outcome,
    pub(crate) told: Explain,
    pub(crate) effects: Effects,
}

/// One frame on its way.
pub(crate) struct Walk<'w> {
    pub(crate) view: &'w View<'w>,
    pub(crate) frame: &'w [u8],
    pub(crate) seen: Seen,
    pub(crate) told: Explain,
    pub(crate) effects: Effects,
}

/// Where and for whom a packet is sent.
struct Way {
    service: Option<u16>,
    backend: u16,
    hash: u64,
    flags: u8,
    /// Its sender may be told that it is too long.
    tell: bool,
}

/// Nobody: a first fragment that is not for a service. Its others are not either.
const NOT_OURS: u16 = 0;

impl Model {
    /// The answer for a frame; remembers what there is to remember of it.
    pub(crate) fn judge(&mut self, view: &View<'_>, frame: &[u8]) -> Judged {
        let mut told = Explain::default();
        let mut effects = Effects::default();
        let outcome = read(frame).and_then(|seen| {
            let mut walk = Walk { view, frame, seen, told, effects: Effects::default() };
            let outcome = self.walk(&mut walk);
            (told, effects) = (walk.told, walk.effects);
            outcome
        });
        let outcome = outcome.unwrap_or_else(Outcome::Stopped);
        match &outcome {
            Outcome::Stopped(why) | Outcome::Answered { why, .. } => told.reason = *why as u32,
            Outcome::Sent { .. } => told.flags |= FORWARDED,
        }
        Judged { outcome, told, effects }
    }

    fn walk(&mut self, walk: &mut Walk<'_>) -> Result<Outcome, Reason> {
        let seen = walk.seen;
        if let Part::Later(_) = seen.part {
            return self.later(walk);
        }
        let whole = seen.part == Part::Whole;
        // Of a fragment that is nobody's, it is only said that it is a fragment.
        let nobody = |why: Reason| if whole { why } else { Reason::Fragment };
        let icmp = if seen.six { 58 } else { 1 };
        match seen.proto {
            6 | 17 => {
                let (sport, dport, flags) = transport(walk.frame, seen.l4, seen.proto)?;
                let Some(service) = find::service(walk.view, seen.dst, dport, seen.proto) else {
                    self.teach(walk, NOT_OURS);
                    return Err(nobody(Reason::NotService));
                };
                let flow = Flow { src: (seen.src, sport).into(), dst: (seen.dst, dport).into() };
                let packet = Packet::of(flow, seen.proto, flags).with_payload(walk.frame, seen.l4, service);
                let owner = self.owner(walk, service, &packet, false)?;
                self.teach(walk, owner);
                let way = Way {
                    service: Some(service.index),
                    backend: owner,
                    hash: packet.hash,
                    flags: packet.flags,
                    tell: seen.tell,
                };
                forward::send(walk, &way)
            }
            proto if proto == icmp && whole && find::is_vip(walk.view, seen.dst) => self.icmp(walk),
            132 if find::is_vip(walk.view, seen.dst) => Err(Reason::Sctp),
            _ => Err(nobody(Reason::NotTcpUdp)),
        }
    }

    /// Fragments behind the first.
    fn later(&mut self, walk: &mut Walk<'_>) -> Result<Outcome, Reason> {
        let seen = walk.seen;
        let Some(backend) = self.fragment(walk.view, &seen) else {
            let ours = matches!(seen.proto, 6 | 17) && find::is_vip(walk.view, seen.dst);
            return Err(if ours { Reason::FragmentUnknown } else { Reason::Fragment });
        };
        if backend == NOT_OURS {
            return Err(Reason::Fragment);
        }
        let hash = crate::view::fragment_hash(&seen);
        walk.told.flags |= FOLLOWS;
        (walk.told.hash, walk.told.backend) = (hash, backend);
        // RFC 1122, section 3.2.2: no ICMP error about any but a first fragment. RFC 4443 has no such rule.
        let way = Way { service: None, backend, hash, flags: 0, tell: seen.tell && seen.six };
        let sent = forward::send(walk, &way)?;
        if let Outcome::Sent { .. } = sent {
            walk.effects.events.push(PinEvent::FragmentFollowed);
        }
        Ok(sent)
    }
}
