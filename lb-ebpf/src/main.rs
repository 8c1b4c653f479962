//! The XDP program: entry points, the verdict, the panic handler. The walk itself is in [`pipeline`].
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)] // one instruction, see `atomic`

mod answer;
mod atomic;
mod capture;
mod count;
mod forward;
mod knobs;
mod maps;
mod pins;
mod pipeline;
mod probe;
mod rate;
mod service;
mod shape;
mod sink;
mod slow;
mod special;
mod track;
mod tunnel;

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX},
        xdp_md,
    },
    helpers::{bpf_jiffies64, bpf_xdp_get_buff_len},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use lb_common::reason::{Reason, Verdict};

use crate::sink::{Dry, Live};

/// Forwards what belongs to a service and passes the rest, untouched, to the kernel.
#[xdp]
pub fn lb_xdp(ctx: XdpContext) -> u32 {
    live(&ctx, (ctx.data_end() - ctx.data()) as u64)
}

/// The same for frames of several buffers: headers are in the first one, and only the kernel knows the length.
#[xdp(frags)]
pub fn lb_xdp_frags(ctx: XdpContext) -> u32 {
    // SAFETY: the context is the program's own.
    let len = unsafe { bpf_xdp_get_buff_len(ctx.ctx) };
    live(&ctx, len)
}

#[inline(always)]
fn live(ctx: &XdpContext, len: u64) -> u32 {
    let why = match pipeline::walk(ctx, &mut Live, len) {
        Ok(action) => return action,
        Err(why) => why,
    };
    // Most of what is not ours on most sites: looked up once.
    if slow::helps(why) && !(why == Reason::NotService && shape::none()) {
        live_slow(ctx.ctx, len)
    } else {
        stopped(ctx, why)
    }
}

/// The second walk of the attached program: a function of its own, as its code would only lengthen the first. With a C name and the context as
/// its only pointer it is a *global* function to the verifier, which looks at it once and not in every state of its caller.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn live_slow(ctx: *mut xdp_md, len: u64) -> u32 {
    let ctx = XdpContext::new(ctx);
    match slow::walk(&ctx, &mut Live, len) {
        Ok(action) => action,
        Err(why) => stopped(&ctx, why),
    }
}

#[inline(always)]
fn stopped(ctx: &XdpContext, why: Reason) -> u32 {
    count::stopped(why);
    let action = verdict(why);
    if action == XDP_DROP {
        capture::dropped(ctx, why);
    }
    action
}

#[inline(always)]
fn verdict(why: Reason) -> u32 {
    match why.verdict() {
        Verdict::Pass => XDP_PASS,
        Verdict::Drop => XDP_DROP,
        Verdict::Answer => XDP_TX,
    }
}

/// The same walks without a side effect, for `lbctl where`: never attached, only run on a frame that user space made.
#[xdp]
pub fn lb_where(ctx: XdpContext) -> u32 {
    match dry_fast(ctx.ctx) {
        AGAIN => dry_slow(ctx.ctx),
        action => action,
    }
}

/// No action: the second walk has the answer.
const AGAIN: u32 = u32::MAX;

/// The first walk of the dry run. A function of its own, so that its stack is free again when the second begins.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dry_fast(ctx: *mut xdp_md) -> u32 {
    let Some(mut dry) = Dry::new() else { return XDP_ABORTED };
    let ctx = XdpContext::new(ctx);
    let len = (ctx.data_end() - ctx.data()) as u64;
    match pipeline::walk(&ctx, &mut dry, len) {
        Ok(action) => action,
        Err(why) if slow::helps(why) => AGAIN,
        Err(why) => dry_stopped(dry, why),
    }
}

/// The second walk of the dry run.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dry_slow(ctx: *mut xdp_md) -> u32 {
    let Some(mut dry) = Dry::new() else { return XDP_ABORTED };
    let ctx = XdpContext::new(ctx);
    let len = (ctx.data_end() - ctx.data()) as u64;
    match slow::walk(&ctx, &mut dry, len) {
        Ok(action) => action,
        Err(why) => dry_stopped(dry, why),
    }
}

#[inline(always)]
fn dry_stopped(mut dry: Dry, why: Reason) -> u32 {
    dry.stopped(why);
    verdict(why)
}

/// Tells user space the kernel's clock in the unit this program counts in.
#[xdp]
pub fn lb_clock(_ctx: XdpContext) -> u32 {
    let Some(clock) = maps::CLOCK.get_ptr_mut(0) else {
        return XDP_ABORTED;
    };
    // SAFETY: a valid map value; the helper takes nothing and only reads a counter.
    unsafe { *clock = bpf_jiffies64() };
    XDP_PASS
}

/// Passes everything: what the other end of a veth needs, so that the kernel delivers frames sent by `XDP_TX`.
#[xdp]
pub fn lb_pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// The same where frames may lie in several buffers.
#[xdp(frags)]
pub fn lb_pass_frags(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// Sends a check's packets the way of clients' packets; leaves all others alone. Attached to the egress of interfaces (tc).
#[classifier]
pub fn lb_probe_out(ctx: TcContext) -> i32 {
    probe::out(&ctx)
}

/// Gives the answers the address that the check asked; leaves all other packets alone. Attached to the ingress of interfaces (tc).
#[classifier]
pub fn lb_probe_in(ctx: TcContext) -> i32 {
    probe::back(&ctx)
}

/// Nothing here can panic; if something could, the verifier would refuse the endless loop.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
