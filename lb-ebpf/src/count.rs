//! Per-CPU counters: plain adds, as no other CPU touches ours.

use lb_common::{
    counter::{Counters, PinEvent},
    net::{
        l4::{FIN, RST, SYN},
        parse::Transport,
    },
    reason::Reason,
};

use crate::maps::{BACKEND_COUNT, PIN_COUNT, REASON_COUNT, SERVICE_COUNT};

/// A packet of `len` bytes goes to `backend` for `service`.
#[inline(always)]
pub fn forwarded(service: u16, backend: u16, len: u64, transport: &Transport) {
    let service = SERVICE_COUNT.get_ptr_mut(u32::from(service));
    let backend = BACKEND_COUNT.get_ptr_mut(u32::from(backend));
    bump(service, len);
    bump(backend, len);
    // Rare: one test on the way of all other packets.
    if transport.flags & (SYN | FIN | RST) != 0 {
        events(service, transport);
        events(backend, transport);
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
fn events(c: Option<*mut Counters>, transport: &Transport) {
    let Some(c) = c else { return };
    // SAFETY: a valid map value of this CPU.
    let c = unsafe { &mut *c };
    c.syns += u64::from(transport.opens());
    c.closes += u64::from(transport.closes());
}
