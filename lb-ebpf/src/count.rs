//! Per-CPU counters: plain adds, as no other CPU touches ours.

use lb_common::{
    counter::{Counters, PinEvent},
    net::parse::Transport,
    reason::Reason,
};

use crate::maps::{BACKEND_COUNT, PIN_COUNT, REASON_COUNT, SERVICE_COUNT};

/// A packet of `len` bytes goes to `backend` for `service`.
#[inline(always)]
pub fn forwarded(service: u16, backend: u16, len: u64, transport: &Transport) {
    if let Some(c) = SERVICE_COUNT.get_ptr_mut(u32::from(service)) {
        bump(c, len, transport);
    }
    if let Some(c) = BACKEND_COUNT.get_ptr_mut(u32::from(backend)) {
        bump(c, len, transport);
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
fn bump(c: *mut Counters, len: u64, transport: &Transport) {
    // SAFETY: a valid map value of this CPU.
    let c = unsafe { &mut *c };
    c.packets += 1;
    c.bytes += len;
    if transport.opens() {
        c.syns += 1;
    }
    if transport.closes() {
        c.closes += 1;
    }
}
