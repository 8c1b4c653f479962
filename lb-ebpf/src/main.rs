//! The XDP program: entry points, the verdict, the panic handler. The walk itself is in [`pipeline`].
#![no_std]
#![no_main]

mod count;
mod forward;
mod knobs;
mod maps;
mod pipeline;
mod service;
mod sink;
mod track;

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
    helpers::bpf_jiffies64,
    macros::xdp,
    programs::XdpContext,
};
use lb_common::reason::Verdict;

use crate::sink::{Dry, Live};

/// Forwards what belongs to a service and passes the rest, untouched, to the kernel.
#[xdp]
pub fn lb_xdp(ctx: XdpContext) -> u32 {
    match pipeline::walk(&ctx, &mut Live) {
        Ok(action) => action,
        Err(why) => {
            count::stopped(why);
            match why.verdict() {
                Verdict::Pass => XDP_PASS,
                Verdict::Drop => XDP_DROP,
            }
        }
    }
}

/// The same walk without a side effect, for `lbctl where`: never attached, only run on a frame that user space made.
#[xdp]
pub fn lb_where(ctx: XdpContext) -> u32 {
    let Some(mut dry) = Dry::new() else {
        return XDP_ABORTED;
    };
    match pipeline::walk(&ctx, &mut dry) {
        Ok(action) => action,
        Err(why) => {
            dry.stopped(why);
            match why.verdict() {
                Verdict::Pass => XDP_PASS,
                Verdict::Drop => XDP_DROP,
            }
        }
    }
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

/// Nothing here can panic; if something could, the verifier would refuse the endless loop.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
