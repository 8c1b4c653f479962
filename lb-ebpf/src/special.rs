//! Services that ask for more than a slot, and the sample of flows that is tracked for its numbers. Packets of others never come here.
//!
//! In this order: may the source use the service; does the flow have an owner already; if it is new, may there be another one in this
//! tick; does a connection id, its source or the scheduler's turn name its owner; else its slot does. Then the flow is remembered.

use aya_ebpf::btf_maps::lpm_trie::Key;
use lb_common::{
    backend::VALID,
    counter::PinEvent,
    explain::{BY_FLOW, BY_ID, BY_SEQUENCE, BY_SOURCE},
    frame::Facts,
    net::{
        UDP,
        l4::{ACK, FIN, RST, SYN},
    },
    pin::{self, Pin},
    reason::Reason,
    rules::{self, Rules},
    service::{SPECIAL, ServiceRef, UDP_QUIC},
};

use crate::{
    atomic, count, knobs,
    maps::{
        ACCESS4, ACCESS6, BACKENDS, CEILINGS, CURSORS, FACTS, FLOWS, FLOWS_NEW, RULES, SEQUENCES, SERVER_IDS,
        SOURCES,
    },
    pins::{Life, Put, find, insert, store},
    rate,
    sink::{Dry, Live, Quiet, Sink},
    track::{self, Flow},
};

/// Ticks after which a flow of the sample is over.
const SAMPLE_IDLE: u16 = 1 << 14;

/// The backend of a packet whose facts are written down, or why it has none.
#[inline(always)]
pub fn owner<S: Sink>(sink: &mut S, hash: u64, service: ServiceRef) -> Result<u16, Reason> {
    let word = u64::from(service.service) | u64::from(service.pool) << 16 | u64::from(service.flags) << 32;
    let found = if S::LIVE {
        special_live(hash, word)
    } else if S::TELLS {
        special_dry(hash, word)
    } else {
        special_quiet(hash, word)
    };
    let backend = match found >> 16 {
        0 => found as u16,
        NO_BACKEND => return Err(Reason::NoBackend),
        BLOCKED => return Err(Reason::Blocked),
        CEILING => return Err(Reason::Ceiling),
        BY_SLOT => {
            let facts = FACTS.get(0).ok_or(Reason::BadTable)?;
            let Facts { slot_hash, proto, flags, .. } = *facts;
            track::owner(sink, service, Flow { hash, slot_hash, proto, flags })?
        }
        _ => return Err(Reason::BadTable),
    };
    if S::LIVE {
        remember_live(hash, word, u32::from(backend));
    }
    Ok(backend)
}

/// What the functions below answer above a backend's 16 bits.
const NO_BACKEND: u64 = 1;
const BLOCKED: u64 = 2;
const CEILING: u64 = 3;
const BY_SLOT: u64 = 4;
const DEFECT: u64 = 5;

/// [`decide`] of the attached program: a global function, which the verifier looks at once (see `track`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn special_live(hash: u64, service: u64) -> u64 {
    answer(decide(&mut Live, hash, service))
}

/// The same where it only looks.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn special_quiet(hash: u64, service: u64) -> u64 {
    answer(decide(&mut Quiet, hash, service))
}

/// The same for the dry run.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn special_dry(hash: u64, service: u64) -> u64 {
    let Some(mut dry) = Dry::going_on() else { return DEFECT << 16 };
    answer(decide(&mut dry, hash, service))
}

#[inline(always)]
fn answer(found: Result<Option<u16>, Reason>) -> u64 {
    match found {
        Ok(Some(backend)) => u64::from(backend),
        Ok(None) => BY_SLOT << 16,
        Err(Reason::NoBackend) => NO_BACKEND << 16,
        Err(Reason::Blocked) => BLOCKED << 16,
        Err(Reason::Ceiling) => CEILING << 16,
        Err(_) => DEFECT << 16,
    }
}

#[inline(always)]
fn unpacked(service: u64) -> ServiceRef {
    ServiceRef { service: service as u16, pool: (service >> 16) as u16, flags: (service >> 32) as u32 }
}

/// In [`Facts::remember`]: the flow is to be remembered.
const FLOW: u64 = 1 << 0;
/// Its packet is its first.
const NEW: u64 = 1 << 1;
/// Its source sticks to its owner.
const STICK: u64 = 1 << 2;

/// Who owns the packet, if not its slot.
#[inline(always)]
fn decide<S: Sink>(sink: &mut S, hash: u64, service: u64) -> Result<Option<u16>, Reason> {
    let service = unpacked(service);
    let place = FACTS.get_ptr_mut(0).ok_or(Reason::BadTable)?;
    // SAFETY: a valid map value of this CPU.
    let facts = unsafe { &mut *place };
    let opens = facts.flags & (SYN | ACK) == SYN;
    facts.slot_hash = hash;
    if service.flags & SPECIAL == 0 {
        let flow = if lb_common::flow::sampled(hash) { FLOW } else { 0 };
        facts.remember = flow | if opens { NEW } else { 0 };
        return Ok(None);
    }
    let rules = RULES.get(u32::from(service.service)).ok_or(Reason::BadTable)?;
    let now = track::now();
    if rules.flags & rules::PREFIXES != 0 && !may_use(service.service, rules.flags, facts) {
        return Err(Reason::Blocked);
    }
    let tracked = rules.flags & rules::TRACK != 0;
    if tracked && let Some(backend) = follow::<S>(hash, facts, Life { now, idle: rules.idle }) {
        sink.note(|e| e.flags |= BY_FLOW);
        facts.remember = 0;
        if rules.flags & rules::STICKY != 0 && S::LIVE {
            stick::<false>(rules, service.service, facts, backend, now);
        }
        return Ok(Some(backend));
    }
    // A UDP flow that is tracked and not known is new, whatever its packet looks like; QUIC says so itself.
    let new = opens || (tracked && facts.proto == UDP && service.flags & UDP_QUIC == 0);
    if new && rules.flags & rules::CEILING != 0 && !below_ceiling::<S>(service.service, rules, now) {
        return Err(Reason::Ceiling);
    }
    facts.remember = if new { NEW } else { 0 }
        | if tracked || lb_common::flow::sampled(hash) { FLOW } else { 0 }
        | if new && rules.flags & rules::STICKY != 0 { STICK } else { 0 };
    if let Some(backend) = chosen(sink, service, rules, facts, new, now)? {
        return Ok(Some(backend));
    }
    facts.slot_hash = slot_hash(rules.flags, facts, hash);
    Ok(None)
}

/// Remembers what [`decide`] said should be, now that the owner is known. A global function (see `track`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn remember_live(hash: u64, service: u64, backend: u32) -> u32 {
    let Some(facts) = FACTS.get(0) else { return 1 };
    let what = facts.remember;
    if what & (FLOW | STICK) == 0 {
        return 0;
    }
    let (service, backend, now) = (unpacked(service), backend as u16, track::now());
    let rules = if service.flags & SPECIAL != 0 { RULES.get(u32::from(service.service)) } else { None };
    if what & FLOW != 0 {
        let idle = match rules {
            Some(rules) if rules.flags & rules::TRACK != 0 => rules.idle,
            _ => SAMPLE_IDLE,
        };
        remember(hash, backend, what & NEW != 0, facts.flags & (FIN | RST) != 0, Life { now, idle });
    }
    if what & STICK != 0
        && let Some(rules) = rules
    {
        stick::<true>(rules, service.service, facts, backend, now);
    }
    0
}

/// Whom something else than a slot names: a connection id, the source's last connection, the scheduler's turn.
#[inline(always)]
fn chosen<S: Sink>(
    sink: &mut S,
    service: ServiceRef,
    rules: &Rules,
    facts: &Facts,
    new: bool,
    now: u16,
) -> Result<Option<u16>, Reason> {
    if facts.has_id != 0
        && let Some(backend) = SERVER_IDS
            .get_ptr(rules::server_id(service.pool, facts.id))
            // SAFETY: a valid map value.
            .map(|b| unsafe { *b } as u16)
        && usable(backend)
    {
        sink.note(|e| e.flags |= BY_ID);
        if S::LIVE {
            count::pin(PinEvent::ById);
        }
        return Ok(Some(backend));
    }
    if !new {
        return Ok(None);
    }
    if rules.flags & rules::STICKY != 0
        && let Some(backend) = stuck(rules, service.service, facts, now)
    {
        sink.note(|e| e.flags |= BY_SOURCE);
        if S::LIVE {
            count::pin(PinEvent::Sticky);
        }
        return Ok(Some(backend));
    }
    if rules.flags & rules::SEQUENCE != 0 {
        sink.note(|e| e.flags |= BY_SEQUENCE);
        return turn::<S>(service.service, rules).map(Some);
    }
    Ok(None)
}

/// Whether frames for a backend lead anywhere.
#[inline(always)]
fn usable(backend: u16) -> bool {
    backend != 0 && BACKENDS.get(u32::from(backend)).is_some_and(|b| b.flags & VALID != 0)
}

#[inline(always)]
fn may_use(service: u16, flags: u32, facts: &mut Facts) -> bool {
    let place = &raw mut facts.access;
    let found = if facts.six != 0 {
        let key = Key::new(rules::PREFIX_OF_SERVICE + 128, rules::access6(service, facts.src));
        // SAFETY: six words, as the key, in a map value that nobody else uses now.
        ACCESS6.get(unsafe { put(place.cast(), key) }).copied()
    } else {
        let key = Key::new(rules::PREFIX_OF_SERVICE + 32, rules::access4(service, facts.src[0] as u32));
        // SAFETY: as above; the key has three words.
        ACCESS4.get(unsafe { put(place.cast(), key) }).copied()
    };
    match found {
        Some(rules::BLOCK) => false,
        Some(_) => true,
        None => flags & rules::ONLY_ALLOWED == 0,
    }
}

/// Writes a key down in memory that is not the stack: Linux 6.1 has 512 bytes of that for a chain of calls (tests/stack.rs).
///
/// # Safety
/// `place` is valid for a `K`, aligned, and nobody else's for as long as the key is used.
#[inline(always)]
unsafe fn put<'k, K>(place: *mut K, key: K) -> &'k K {
    // SAFETY: the caller's.
    unsafe {
        place.write(key);
        &*place
    }
}

#[inline(always)]
fn below_ceiling<S: Sink>(service: u16, rules: &Rules, now: u16) -> bool {
    // Asking must not use up what there is.
    !S::LIVE
        || CEILINGS
            .get_ptr_mut(u32::from(service))
            .is_none_or(|rate| rate::within(rate, now, u64::from(rules.ceiling)))
}

/// What the slot follows from, where it is not the whole flow.
#[inline(always)]
fn slot_hash(flags: u32, facts: &Facts, hash: u64) -> u64 {
    let ports = u64::from(facts.ports);
    let word = if flags & rules::HASH_SOURCE != 0 {
        0
    } else if flags & rules::HASH_SOURCE_PORT != 0 {
        (ports & 0xffff) | 1 << 32
    } else if flags & rules::HASH_DESTINATION_PORT != 0 {
        return knobs::key().other(ports >> 16, 0, 2);
    } else {
        return hash;
    };
    knobs::key().other(facts.src[0] ^ word.rotate_left(17), facts.src[1], word)
}

/// Takes the next turn.
#[inline(always)]
fn turn<S: Sink>(service: u16, rules: &Rules) -> Result<u16, Reason> {
    // SAFETY: a valid map value; start and length share a word and change with one store.
    let range = unsafe { core::ptr::read_volatile((&raw const rules.sequence_start).cast::<u64>()) };
    let (start, len) = (range as u32, range >> 32);
    if len == 0 {
        return Err(Reason::NoBackend);
    }
    let cursor = CURSORS.get_ptr_mut(u32::from(service)).ok_or(Reason::BadTable)?;
    // SAFETY: a valid, aligned map value.
    let turn = unsafe { if S::LIVE { atomic::fetch_add(cursor, 1) } else { cursor.read_volatile() } };
    let backend = track::load(&SEQUENCES, start.wrapping_add((turn % len) as u32))?;
    if backend == 0 { Err(Reason::NoBackend) } else { Ok(backend) }
}

/// A known flow's owner. A first packet of a connection that ended, or was silent for longer than any retransmission, is a new one.
#[inline(always)]
fn follow<S: Sink>(hash: u64, facts: &Facts, life: Life) -> Option<u16> {
    let (tag, bucket) = (pin::tag(hash), pin::bucket(hash));
    let opens = facts.flags & (SYN | ACK) == SYN;
    let closes = facts.flags & (FIN | RST) != 0;
    let known = FLOWS.get_ptr_mut(bucket & knobs::flows_mask())?;
    if let Some((word, pin)) = find(known, tag, life) {
        if !(opens && pin.reopened(life.now)) {
            let touched = pin.touched(life.now, closes);
            if S::LIVE && touched != pin {
                store(word, touched);
            }
            return Some(pin.backend());
        }
        if S::LIVE {
            store(word, Pin::default());
        }
        return None;
    }
    let new = FLOWS_NEW.get_ptr_mut(bucket & knobs::flows_new_mask())?;
    let (word, pin) = find(new, tag, life)?;
    if opens && pin.reopened(life.now) {
        return None;
    }
    if S::LIVE {
        if opens {
            count::retransmit(pin.backend());
            store(word, pin.touched(life.now, closes));
        } else {
            if insert::<true>(known, pin.touched(life.now, closes), life) == Put::Evicted {
                count::pin(PinEvent::TrackedEvicted);
            }
            store(word, Pin::default());
        }
    }
    Some(pin.backend())
}

/// Remembers a flow of which something else than its being known decided: it is new, or only counted.
#[inline(always)]
fn remember(hash: u64, backend: u16, new: bool, closes: bool, life: Life) {
    let (tag, bucket) = (pin::tag(hash), pin::bucket(hash));
    let (Some(known), Some(fresh)) = (
        FLOWS.get_ptr_mut(bucket & knobs::flows_mask()),
        FLOWS_NEW.get_ptr_mut(bucket & knobs::flows_new_mask()),
    ) else {
        return;
    };
    if let Some((word, pin)) = find(known, tag, life) {
        if new && pin.reopened(life.now) {
            store(word, Pin::default());
        } else {
            let closing = closes || pin.closing();
            let touched = Pin::new(tag, life.now, backend).touched(life.now, closing);
            if touched != pin {
                store(word, touched);
            }
            return;
        }
    }
    let before = find(fresh, tag, life);
    if new {
        if before.is_some_and(|(_, pin)| !pin.reopened(life.now)) {
            count::retransmit(backend);
        }
        if insert::<true>(fresh, Pin::new(tag, life.now, backend), life) == Put::Evicted {
            count::pin(PinEvent::TrackedEvicted);
        }
        if before.is_none() {
            count::pin(PinEvent::Tracked);
        }
        return;
    }
    if let Some((word, _)) = before {
        store(word, Pin::default());
    } else {
        count::pin(PinEvent::Tracked);
    }
    let pin = Pin::new(tag, life.now, backend).touched(life.now, closes);
    if insert::<true>(known, pin, life) == Put::Evicted {
        count::pin(PinEvent::TrackedEvicted);
    }
}

#[inline(always)]
fn source(rules: &Rules, service: u16, facts: &Facts) -> u64 {
    let (a, b) = if facts.six != 0 {
        (facts.src[0] & rules.mask6[0], facts.src[1] & rules.mask6[1])
    } else {
        (facts.src[0] & u64::from(rules.mask4), 0)
    };
    knobs::key().other(a, b, u64::from(service) | 3 << 32)
}

/// Where the source's last connection went.
#[inline(always)]
fn stuck(rules: &Rules, service: u16, facts: &Facts, now: u16) -> Option<u16> {
    let hash = source(rules, service, facts);
    let bucket = SOURCES.get_ptr_mut(pin::bucket(hash) & knobs::sources_mask())?;
    let (_, pin) = find(bucket, pin::tag(hash), Life { now, idle: rules.sticky })?;
    usable(pin.backend()).then(|| pin.backend())
}

/// Notes where a source's connections go; its time begins anew. With `NEWEST`, the source follows this connection from now on; an older
/// one's packets only keep alive what they agree with.
#[inline(always)]
fn stick<const NEWEST: bool>(rules: &Rules, service: u16, facts: &Facts, backend: u16, now: u16) {
    let hash = source(rules, service, facts);
    let Some(bucket) = SOURCES.get_ptr_mut(pin::bucket(hash) & knobs::sources_mask()) else { return };
    let (tag, life) = (pin::tag(hash), Life { now, idle: rules.sticky });
    let new = Pin::new(tag, now, backend);
    match find(bucket, tag, life) {
        Some((word, pin)) => {
            if pin != new && (NEWEST || pin.backend() == backend) {
                store(word, new);
            }
        }
        None if NEWEST => {
            insert::<true>(bucket, new, life);
        }
        None => {}
    }
}
