//! Slot → backend. A stable slot is one load; a slot in transition asks the pins (design: "pin only what is ambiguous").

use aya_ebpf::{btf_maps::Array, helpers::bpf_jiffies64};
use lb_common::{
    counter::PinEvent,
    explain::{BY_BASE, BY_PIN, HAS_SLOT, IN_TRANSITION},
    net::{UDP, parse::Transport},
    pin::{self, Pin, PinBucket},
    reason::Reason,
    service::{ServiceRef, UDP_FLOW},
    slot::{self, SLOTS_PER_LINE, Slot, SlotLine},
};

use crate::{
    count, knobs,
    maps::{BASES, POOLS, PROBATION, PROTECTED, SLOTS, STAMPS},
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
        moving(sink, service, hash, transport, at, slot.cur())?
    } else {
        slot.cur()
    };
    if backend == 0 { Err(Reason::NoBackend) } else { Ok(backend) }
}

/// A slot in transition: a pin wins; a first packet goes to `cur` and is pinned; anything else is older than the transition and stays
/// with `base`.
#[inline(always)]
fn moving<S: Sink>(
    sink: &mut S,
    service: ServiceRef,
    hash: u64,
    transport: &Transport,
    at: u32,
    cur: u16,
) -> Result<u16, Reason> {
    let base = load(&BASES, at)?;
    sink.note(|e| {
        e.flags |= IN_TRANSITION;
        e.base = base;
    });
    // SAFETY: the helper takes nothing and only reads a counter.
    let now = (unsafe { bpf_jiffies64() } >> knobs::tick_shift()) as u16;

    if transport.proto == UDP {
        if service.flags & UDP_FLOW == 0 || base == 0 {
            return Ok(cur);
        }
        return stay(sink, at, base, cur, now);
    }

    let idle = knobs::pin_idle() as u16;
    let (tag, bucket) = (pin::tag(hash), pin::bucket(hash));
    let protected = PROTECTED.get_ptr_mut(bucket & knobs::protected_mask()).ok_or(Reason::BadTable)?;
    let probation = PROBATION.get_ptr_mut(bucket & knobs::probation_mask()).ok_or(Reason::BadTable)?;
    let opens = transport.opens();

    if let Some((word, pin)) = find(protected, tag, now, idle)
        // A closed connection's ports may be used again: that is a new connection.
        && !(opens && pin.closing())
    {
        let touched = pin.touched(now, transport.closes());
        if S::LIVE && touched != pin {
            store(word, touched);
        }
        return pinned(sink, at, pin.backend(), cur, now);
    }
    if let Some((word, pin)) = find(probation, tag, now, idle) {
        if S::LIVE && !opens {
            insert(protected, pin.touched(now, transport.closes()), now, idle);
            store(word, Pin::default());
            count::pin(PinEvent::Promoted);
        }
        return pinned(sink, at, pin.backend(), cur, now);
    }
    if opens {
        if S::LIVE && cur != 0 {
            insert(probation, Pin::new(tag, now, cur), now, idle);
            count::pin(PinEvent::Pinned);
        }
        return Ok(cur);
    }
    if base == 0 {
        return Ok(cur);
    }
    stay(sink, at, base, cur, now)
}

/// The slot's old owner keeps the flow.
#[inline(always)]
fn stay<S: Sink>(sink: &mut S, at: u32, base: u16, cur: u16, now: u16) -> Result<u16, Reason> {
    sink.note(|e| e.flags |= BY_BASE);
    if S::LIVE {
        count::pin(PinEvent::Base);
        stamp(at, base, cur, now)?;
    }
    Ok(base)
}

/// A pin decided.
#[inline(always)]
fn pinned<S: Sink>(sink: &mut S, at: u32, backend: u16, cur: u16, now: u16) -> Result<u16, Reason> {
    sink.note(|e| e.flags |= BY_PIN);
    if S::LIVE {
        count::pin(PinEvent::Hit);
        stamp(at, backend, cur, now)?;
    }
    Ok(backend)
}

/// Notes that something else than `cur` was used, at most once a tick.
#[inline(always)]
fn stamp(at: u32, used: u16, cur: u16, now: u16) -> Result<(), Reason> {
    if used == cur {
        return Ok(());
    }
    let line = STAMPS.get_ptr_mut(at / SLOTS_PER_LINE).ok_or(Reason::BadTable)?;
    // SAFETY: a valid map value, and the index is below its length.
    unsafe {
        let word = (&raw mut (*line).0).cast::<u16>().add((at % SLOTS_PER_LINE) as usize);
        if word.read_volatile() != now {
            word.write_volatile(now);
        }
    }
    Ok(())
}

#[inline(always)]
fn load<const N: usize, const F: usize>(map: &Array<SlotLine, N, F>, at: u32) -> Result<u16, Reason> {
    let line = map.get(at / SLOTS_PER_LINE).ok_or(Reason::BadTable)?;
    Ok(line.0[(at % SLOTS_PER_LINE) as usize])
}

/// The live pin of a flow and where it lies.
#[inline(always)]
fn find(bucket: *mut PinBucket, tag: u32, now: u16, idle: u16) -> Option<(*mut u64, Pin)> {
    for way in 0..pin::WAYS {
        let word = at(bucket, way);
        // SAFETY: inside a valid map value; whole words are read and written.
        let pin = Pin(unsafe { word.read_volatile() });
        if pin.tag() == tag && !pin.expired(now, idle) {
            return Some((word, pin));
        }
    }
    None
}

/// Puts a pin in a free or expired word, else in place of the one used longest ago.
#[inline(always)]
fn insert(bucket: *mut PinBucket, new: Pin, now: u16, idle: u16) {
    let mut victim = at(bucket, 0);
    let mut oldest = 0u32;
    for way in 0..pin::WAYS {
        let word = at(bucket, way);
        // SAFETY: as in `find`.
        let pin = Pin(unsafe { word.read_volatile() });
        let rank = if pin.expired(now, idle) { 1 << 16 } else { u32::from(pin.age(now)) + 1 };
        if rank > oldest {
            (victim, oldest) = (word, rank);
        }
    }
    if oldest < 1 << 16 {
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
