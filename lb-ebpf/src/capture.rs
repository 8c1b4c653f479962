//! Copies of dropped frames for user space, when it asks for them.

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_CPU, xdp_md},
    helpers::{bpf_get_prandom_u32, bpf_perf_event_output, bpf_xdp_get_buff_len},
    programs::XdpContext,
};
use lb_common::reason::Reason;

use crate::maps::{CAPTURED, SETTINGS};

/// Bytes of a frame that are copied at most.
const SNAP: u64 = 256;

/// Copies the frame if its reason is wanted and its turn has come.
#[inline(always)]
pub fn dropped(ctx: &XdpContext, why: Reason) {
    if SETTINGS.get(0).is_some_and(|s| s.capture_every != 0) {
        copy(ctx.ctx, why as u32);
    }
}

/// A global function (see `main::live_slow`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy(ctx: *mut xdp_md, why: u32) -> u32 {
    let Some(settings) = SETTINGS.get(0) else { return 1 };
    if settings.capture_reasons >> (why & 63) & 1 == 0 {
        return 1;
    }
    // SAFETY: a helper without arguments.
    if settings.capture_every > 1 && u64::from(unsafe { bpf_get_prandom_u32() }) % settings.capture_every != 0
    {
        return 1;
    }
    // SAFETY: the context is the program's own.
    let len = unsafe { bpf_xdp_get_buff_len(ctx) };
    let mut head = [u64::from(why), len];
    let flags = len.min(SNAP) << 32 | BPF_F_CURRENT_CPU;
    // SAFETY: context, map and the sixteen bytes of the head are valid; the kernel copies that much of the frame behind them.
    unsafe {
        bpf_perf_event_output(
            ctx.cast(),
            (&raw const CAPTURED).cast_mut().cast(),
            flags,
            head.as_mut_ptr().cast(),
            size_of_val(&head) as u64,
        ) as u32
    }
}
