//! Slot → backend. A stable slot is one load; a slot in transition asks the pins (design: "pin only what is ambiguous").

use aya_ebpf::{btf_maps::Array, helpers::bpf_jiffies64};
use lb_common::{
    counter::PinEvent,
    explain::{BY_BASE, BY_FREEZE, BY_PIN, HAS_SLOT, IN_TRANSITION},
    net::l4::{ACK, FIN, RST, SYN},
    pin::{self, Pin},
    reason::Reason,
    service::{ServiceRef, UDP_FLOW, UDP_QUIC},
    settings::RATE_PINS,
    slot::{self, SLOTS_PER_LINE, Slot, SlotLine},
};

use crate::{
    count, knobs,
    maps::{BASES, BEGINS, POOLS, PROBATION, PROTECTED, RATES, SETTINGS, SLOTS, STAMPS},
    pins::{Life, Put, find, insert, store},
    rate,
    sink::Sink,
};

/// A flow as the slots see it.
#[derive(Clone, Copy)]
pub struct Flow {
    /// What it is told apart by: pins.
    pub hash: u64,
    /// What its slot follows from; the same unless the service names other fields.
    pub slot_hash: u64,
    /// Protocol number.
    pub proto: u8,
    /// TCP flags, or what stands for them.
    pub flags: u8,
}

/// The kernel's clock in ticks that wrap.
#[inline(always)]
pub fn now() -> u16 {
    // SAFETY: the helper takes nothing and only reads a counter.
    (unsafe { bpf_jiffies64() } >> knobs::tick_shift()) as u16
}

/// The backend that gets this packet.
#[inline(always)]
pub fn owner<S: Sink>(sink: &mut S, service: ServiceRef, flow: Flow) -> Result<u16, Reason> {
    let range = POOLS.get_ptr(u32::from(service.pool)).ok_or(Reason::BadTable)?;
    // SAFETY: a valid map value; start and length are its first word and are published by one store.
    let range = unsafe { core::ptr::read_volatile(range.cast::<u64>()) };
    let (start, len) = (range as u32, (range >> 32) as u32);
    // A pool without slots: index 0 of somebody else's range would be read otherwise.
    if len == 0 {
        return Err(Reason::NoBackend);
    }
    let index = slot::index(flow.slot_hash, len);
    let at = start.wrapping_add(index);
    let slot = Slot(load(&SLOTS, at)?);
    sink.note(|e| {
        e.flags |= HAS_SLOT;
        (e.slot, e.cur) = (index, slot.cur());
    });
    let backend = if slot.in_transition() {
        let facts = Facts { cur: slot.cur(), flags: flow.flags, kind: kind(service, flow.proto) };
        let found = if S::LIVE {
            moving_live(flow.hash, at, facts.packed())
        } else {
            moving_dry(flow.hash, at, facts.packed())
        };
        sink.note(|e| {
            e.flags |= IN_TRANSITION | (found >> 32) as u32;
            e.base = (found >> 16) as u16;
        });
        found as u16
    } else {
        slot.cur()
    };
    if backend == 0 { Err(Reason::NoBackend) } else { Ok(backend) }
}

/// What a moving slot's decision depends on, besides hash and slot.
#[derive(Clone, Copy)]
struct Facts {
    cur: u16,
    /// TCP flags.
    flags: u8,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Connections have a first packet: TCP, QUIC.
    Connections,
    /// UDP: an unknown flow stays.
    UdpFlow,
    /// UDP: every packet stands alone.
    UdpDns,
}

impl Facts {
    #[inline(always)]
    fn packed(self) -> u64 {
        u64::from(self.cur) | u64::from(self.flags) << 16 | (self.kind as u64) << 24
    }

    #[inline(always)]
    fn unpacked(word: u64) -> Self {
        let kind = match (word >> 24) as u8 {
            0 => Kind::Connections,
            1 => Kind::UdpFlow,
            _ => Kind::UdpDns,
        };
        Self { cur: word as u16, flags: (word >> 16) as u8, kind }
    }
}

#[inline(always)]
fn kind(service: ServiceRef, proto: u8) -> Kind {
    if proto != lb_common::net::UDP || service.flags & UDP_QUIC != 0 {
        Kind::Connections
    } else if service.flags & UDP_FLOW != 0 {
        Kind::UdpFlow
    } else {
        Kind::UdpDns
    }
}

/// [`moving`] of the attached program: a function of its own, as its code would only lengthen the way of a stable slot's packets. With
/// a C name and no pointer among its arguments it is a *global* function to the verifier, which looks at it once and not at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn moving_live(hash: u64, at: u32, facts: u64) -> u64 {
    moving::<true>(hash, at, Facts::unpacked(facts)).packed()
}

/// The same without effects.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn moving_dry(hash: u64, at: u32, facts: u64) -> u64 {
    moving::<false>(hash, at, Facts::unpacked(facts)).packed()
}

/// Who gets a packet of a slot in transition.
struct Found {
    backend: u16,
    base: u16,
    /// [`BY_PIN`], [`BY_BASE`], [`BY_FREEZE`] or neither: the slot's `cur`.
    by: u32,
}

impl Found {
    #[inline(always)]
    fn packed(self) -> u64 {
        u64::from(self.backend) | u64::from(self.base) << 16 | u64::from(self.by) << 32
    }
}

/// A slot in transition: a pin wins; a first packet goes to `cur` and is pinned; anything else is older than the transition and stays
/// with `base`.
#[inline(always)]
fn moving<const LIVE: bool>(hash: u64, at: u32, Facts { cur, flags, kind }: Facts) -> Found {
    let base = load(&BASES, at).unwrap_or(0);
    let now = now();
    let begin = load(&BEGINS, at).unwrap_or(now);
    let by_cur = Found { backend: cur, base, by: 0 };
    let stay = |by: u32| {
        if base == 0 {
            return Found { backend: cur, base, by: 0 };
        }
        if LIVE {
            count::pin(if by == BY_FREEZE { PinEvent::Frozen } else { PinEvent::Base });
            stamp(at, base, cur, now);
        }
        Found { backend: base, base, by }
    };
    let pinned = |backend: u16| {
        if LIVE {
            count::pin(PinEvent::Hit);
            stamp(at, backend, cur, now);
        }
        Found { backend, base, by: BY_PIN }
    };
    match kind {
        Kind::UdpDns => return by_cur,
        Kind::UdpFlow if now.wrapping_sub(begin) > pin::UDP_FLOW_TICKS => return by_cur,
        Kind::UdpFlow => return stay(BY_BASE),
        Kind::Connections => {}
    }

    let life = Life { now, idle: knobs::pin_idle() as u16 };
    let (tag, bucket) = (pin::tag(hash), pin::bucket(hash));
    let (Some(protected), Some(probation)) = (
        PROTECTED.get_ptr_mut(bucket & knobs::protected_mask()),
        PROBATION.get_ptr_mut(bucket & knobs::probation_mask()),
    ) else {
        return stay(BY_BASE);
    };
    let opens = flags & (SYN | ACK) == SYN;
    let closes = flags & (FIN | RST) != 0;

    // A first packet ends what a pin says of an older connection: where the flow's slot is another one tomorrow, or the new connection gets
    // no pin, it would bind again.
    let older = |pin: Pin| pin.predates(now, begin) || opens && pin.reopened(now);
    if let Some((word, pin)) = find(protected, tag, life) {
        if !older(pin) {
            let touched = pin.touched(now, closes);
            if LIVE && touched != pin {
                store(word, touched);
            }
            return pinned(pin.backend());
        }
        if LIVE && opens {
            store(word, Pin::default());
        }
    }
    if let Some((word, pin)) = find(probation, tag, life) {
        if !older(pin) {
            if LIVE && !opens {
                // No flow that answered is forgotten for the sake of another: rather this one stays where first packets may push it out.
                if insert::<false>(protected, pin.touched(now, closes), life) == Put::Refused {
                    store(word, pin.touched(now, closes));
                    count::pin(PinEvent::Crowded);
                } else {
                    store(word, Pin::default());
                    count::pin(PinEvent::Promoted);
                }
            }
            return pinned(pin.backend());
        }
        if LIVE && opens {
            store(word, Pin::default());
        }
    }
    if opens {
        if base != 0 && frozen::<LIVE>(now) {
            return stay(BY_FREEZE);
        }
        if LIVE && cur != 0 {
            if insert::<true>(probation, Pin::new(tag, now, cur), life) == Put::Evicted {
                count::pin(PinEvent::Evicted);
            }
            count::pin(PinEvent::Pinned);
        }
        return by_cur;
    }
    stay(BY_BASE)
}

/// Whether new flows come faster than the probation tier can hold them for a tick, or the daemon found the protected tier nearly full. What is
/// not pinned belongs to the base, also later: nothing that is established breaks, and nobody gains from flooding us.
#[inline(always)]
fn frozen<const LIVE: bool>(now: u16) -> bool {
    if SETTINGS.get(0).is_some_and(|s| s.frozen != 0) {
        return true;
    }
    // A bucket fills before the tier does: half of its words is what it holds for certain enough.
    let room = (u64::from(knobs::probation_mask()) + 1) * pin::WAYS as u64 / 2;
    LIVE && RATES.get_ptr_mut(RATE_PINS).is_some_and(|rate| !rate::within(rate, now, room))
}

/// Notes that something else than `cur` was used, at most once a tick.
#[inline(always)]
fn stamp(at: u32, used: u16, cur: u16, now: u16) {
    if used == cur {
        return;
    }
    let Some(line) = STAMPS.get_ptr_mut(at / SLOTS_PER_LINE) else { return };
    // SAFETY: a valid map value, and the index is below its length.
    unsafe {
        let word = (&raw mut (*line).0).cast::<u16>().add((at % SLOTS_PER_LINE) as usize);
        if word.read_volatile() != now {
            word.write_volatile(now);
        }
    }
}

/// An element of a table of slots.
#[inline(always)]
pub fn load<const N: usize, const F: usize>(map: &Array<SlotLine, N, F>, at: u32) -> Result<u16, Reason> {
    let line = map.get(at / SLOTS_PER_LINE).ok_or(Reason::BadTable)?;
    Ok(line.0[(at % SLOTS_PER_LINE) as usize])
}
