//! Per-CPU counters: plain adds, as no other CPU touches ours.

use lb_common::{
    counter::{Counters, Events, PinEvent},
    net::l4::{ACK, FIN, RST, SYN},
    reason::Reason,
};

use crate::maps::{BACKEND_COUNT, BACKEND_EVENT, PIN_COUNT, REASON_COUNT, SERVICE_COUNT, SERVICE_EVENT};

/// A packet of `len` bytes goes to `backend` for `service`. `flags` are TCP's, or what stands for them.
#[inline(always)]
pub fn forwarded(service: u16, backend: u16, len: u64, flags: u8) {
    bump(SERVICE_COUNT.get_ptr_mut(u32::from(service)), len);
    bump(BACKEND_COUNT.get_ptr_mut(u32::from(backend)), len);
    // Rare: one test on the way of all other packets.
    if flags & (SYN | FIN | RST) != 0 {
        events(SERVICE_EVENT.get_ptr_mut(u32::from(service)), flags);
        events(BACKEND_EVENT.get_ptr_mut(u32::from(backend)), flags);
    }
}

/// A packet that belongs to `backend`, of a service that cannot be told any more.
#[inline(always)]
pub fn followed(backend: u16, len: u64) {
    bump(BACKEND_COUNT.get_ptr_mut(u32::from(backend)), len);
}

/// A flow's first packet came again though nothing answered the last one.
#[inline(always)]
pub fn retransmit(backend: u16) {
    if let Some(e) = BACKEND_EVENT.get_ptr_mut(u32::from(backend)) {
        // SAFETY: a valid map value of this CPU.
        unsafe { (*e).retransmits += 1 };
    }
}

/// A packet left the walk early.
#[inline(always)]
pub fn stopped(why: Reason) {
    if let Some(c) = REASON_COUNT.get_ptr_mut(why as u32) {
        // SAFETY: a valid map value of this CPU.
        unsafe { *c += 1 };
    }
}

/// Something happened in a slot in transition.
#[inline(always)]
pub fn pin(event: PinEvent) {
    if let Some(c) = PIN_COUNT.get_ptr_mut(event as u32) {
        // SAFETY: a valid map value of this CPU.
        unsafe { *c += 1 };
    }
}

#[inline(always)]
fn bump(c: Option<*mut Counters>, len: u64) {
    let Some(c) = c else { return };
    // SAFETY: a valid map value of this CPU.
    let c = unsafe { &mut *c };
    c.packets += 1;
    c.bytes += len;
}

#[inline(always)]
fn events(e: Option<*mut Events>, flags: u8) {
    let Some(e) = e else { return };
    // SAFETY: a valid map value of this CPU.
    let e = unsafe { &mut *e };
    e.syns += u64::from(flags & (SYN | ACK) == SYN);
    e.fins += u64::from(flags & (FIN | RST) == FIN);
    e.resets += u64::from(flags & RST != 0);
}
