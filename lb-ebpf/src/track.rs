//! Slot → backend. A stable slot is one load; a slot in transition asks the pins (design: "pin only what is ambiguous").

use aya_ebpf::{btf_maps::Array, helpers::bpf_jiffies64};
use lb_common::{
    counter::PinEvent,
    explain::{BY_BASE, BY_PIN, HAS_SLOT, IN_TRANSITION},
    net::{
        UDP,
        l4::{ACK, FIN, RST, SYN},
        parse::Transport,
    },
    pin::{self, Pin, PinBucket},
    reason::Reason,
    service::{ServiceRef, UDP_FLOW},
    slot::{self, SLOTS_PER_LINE, Slot, SlotLine},
};

use crate::{
    count, knobs,
    maps::{BASES, BEGINS, POOLS, PROBATION, PROTECTED, SLOTS, STAMPS},
    sink::Sink,
};

/// The backend that gets this packet.
#[inline(always)]
pub fn owner<S: Sink>(
    sink: &mut S,
    service: ServiceRef,
    hash: u64,
    transport: &Transport,
) -> Result<u16, Reason> {
    let range = POOLS.get_ptr(u32::from(service.pool)).ok_or(Reason::BadTable)?;
    // SAFETY: a valid map value; start and length are its first word and are published by one store.
    let range = unsafe { core::ptr::read_volatile(range.cast::<u64>()) };
    let (start, len) = (range as u32, (range >> 32) as u32);
    // A pool without slots: index 0 of somebody else's range would be read otherwise.
    if len == 0 {
        return Err(Reason::NoBackend);
    }
    let index = slot::index(hash, len);
    let at = start.wrapping_add(index);
    let slot = Slot(load(&SLOTS, at)?);
    sink.note(|e| {
        e.flags |= HAS_SLOT;
        (e.slot, e.cur) = (index, slot.cur());
    });
    let backend = if slot.in_transition() {
        let facts = Facts { cur: slot.cur(), flags: transport.flags, kind: kind(service, transport) };
        let found = if S::LIVE {
            moving_live(hash, at, facts.packed())
        } else {
            moving_dry(hash, at, facts.packed())
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
    Tcp,
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
            0 => Kind::Tcp,
            1 => Kind::UdpFlow,
            _ => Kind::UdpDns,
        };
        Self { cur: word as u16, flags: (word >> 16) as u8, kind }
    }
}

#[inline(always)]
fn kind(service: ServiceRef, transport: &Transport) -> Kind {
    if transport.proto != UDP {
        Kind::Tcp
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

/// The same for the dry run.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn moving_dry(hash: u64, at: u32, facts: u64) -> u64 {
    moving::<false>(hash, at, Facts::unpacked(facts)).packed()
}

/// Who gets a packet of a slot in transition.
struct Found {
    backend: u16,
    base: u16,
    /// [`BY_PIN`], [`BY_BASE`] or neither: the slot's `cur`.
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
    // SAFETY: the helper takes nothing and only reads a counter.
    let now = (unsafe { bpf_jiffies64() } >> knobs::tick_shift()) as u16;
    let begin = load(&BEGINS, at).unwrap_or(now);
    let by_cur = Found { backend: cur, base, by: 0 };
    let stay = || {
        if base == 0 {
            return Found { backend: cur, base, by: 0 };
        }
        if LIVE {
            count::pin(PinEvent::Base);
            stamp(at, base, cur, now);
        }
        Found { backend: base, base, by: BY_BASE }
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
        Kind::UdpFlow => return stay(),
        Kind::Tcp => {}
    }

    let life = Life { now, begin, idle: knobs::pin_idle() as u16 };
    let (tag, bucket) = (pin::tag(hash), pin::bucket(hash));
    let (Some(protected), Some(probation)) = (
        PROTECTED.get_ptr_mut(bucket & knobs::protected_mask()),
        PROBATION.get_ptr_mut(bucket & knobs::probation_mask()),
    ) else {
        return stay();
    };
    let opens = flags & (SYN | ACK) == SYN;
    let closes = flags & (FIN | RST) != 0;

    if let Some((word, pin)) = find(protected, tag, life) {
        if !(opens && pin.reopened(now)) {
            let touched = pin.touched(now, closes);
            if LIVE && touched != pin {
                store(word, touched);
            }
            return pinned(pin.backend());
        }
        // This tier is asked first: the old connection's pin must not claim what follows the new one's SYN.
        if LIVE {
            store(word, Pin::default());
        }
    }
    if let Some((word, pin)) = find(probation, tag, life)
        && !(opens && pin.reopened(now))
    {
        if LIVE && !opens {
            insert(protected, pin.touched(now, closes), life);
            store(word, Pin::default());
            count::pin(PinEvent::Promoted);
        }
        return pinned(pin.backend());
    }
    if opens {
        if LIVE && cur != 0 {
            insert(probation, Pin::new(tag, now, cur), life);
            count::pin(PinEvent::Pinned);
        }
        return by_cur;
    }
    stay()
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

#[inline(always)]
fn load<const N: usize, const F: usize>(map: &Array<SlotLine, N, F>, at: u32) -> Result<u16, Reason> {
    let line = map.get(at / SLOTS_PER_LINE).ok_or(Reason::BadTable)?;
    Ok(line.0[(at % SLOTS_PER_LINE) as usize])
}

/// Rank of a word that holds nothing, above every age.
const FREE: u32 = 1 << 16;

/// What decides whether a pin binds.
#[derive(Clone, Copy)]
struct Life {
    now: u16,
    /// When the slot left stability.
    begin: u16,
    idle: u16,
}

impl Life {
    #[inline(always)]
    fn binds(self, pin: Pin) -> bool {
        !pin.expired(self.now, self.idle) && !pin.predates(self.now, self.begin)
    }
}

/// The live pin of a flow and where it lies.
#[inline(always)]
fn find(bucket: *mut PinBucket, tag: u32, life: Life) -> Option<(*mut u64, Pin)> {
    for way in 0..pin::WAYS {
        let word = at(bucket, way);
        // SAFETY: inside a valid map value; whole words are read and written.
        let pin = Pin(unsafe { word.read_volatile() });
        if pin.tag() == tag && life.binds(pin) {
            return Some((word, pin));
        }
    }
    None
}

/// Puts a pin in the place of an older one of the same flow, in a free or expired word, in that of a closing one, or else of the one used
/// longest ago.
#[inline(always)]
fn insert(bucket: *mut PinBucket, new: Pin, Life { now, idle, .. }: Life) {
    let mut victim = at(bucket, 0);
    let mut oldest = 0u32;
    for way in 0..pin::WAYS {
        let word = at(bucket, way);
        // SAFETY: as in `find`.
        let pin = Pin(unsafe { word.read_volatile() });
        let rank = if pin.tag() == new.tag() {
            FREE + 1
        } else if pin.expired(now, idle) {
            FREE
        } else if pin.closing() {
            FREE - 1
        } else {
            u32::from(pin.age(now)) + 1
        };
        if rank > oldest {
            (victim, oldest) = (word, rank);
        }
    }
    if oldest < FREE {
        count::pin(PinEvent::Evicted);
    }
    store(victim, new);
}

#[inline(always)]
fn at(bucket: *mut PinBucket, way: usize) -> *mut u64 {
    // SAFETY: `way` is below the number of words in a bucket.
    unsafe { (&raw mut (*bucket).0).cast::<u64>().add(way) }
}

#[inline(always)]
fn store(word: *mut u64, pin: Pin) {
    // SAFETY: inside a valid map value, aligned: one store, never torn.
    unsafe { word.write_volatile(pin.0) };
}
