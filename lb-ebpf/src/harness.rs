//! The benchmark's kernel half: gives each packet another flow, then tail-calls the program under test. See `lb_common::harness`.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::{
        BPF_F_MMAPABLE,
        xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX},
    },
    btf_maps::{Array, ProgramArray},
    helpers::bpf_ktime_get_ns,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use lb_common::{
    harness::{Harness, SAMPLES, WINDOW},
    net::{cursor::Cursor, eth::Macs, ipv4::Ipv4, ipv6::Ipv6},
};

#[btf_map]
static HARNESS: Array<Harness, 1, { BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map]
static WINDOWS: Array<u64, { SAMPLES as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map]
static TARGET: ProgramArray<1> = ProgramArray::new();

/// IPv4 frames.
#[xdp]
pub fn bench_v4(ctx: XdpContext) -> u32 {
    let Some(h) = next() else { return XDP_ABORTED };
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    let (Ok(_), Ok(_)) = (cursor.take::<Macs>(), cursor.take::<[u8; 2]>()) else { return XDP_ABORTED };
    let (Ok(ip), Ok(l4)) = (cursor.take::<Ipv4>(), cursor.take::<[u8; 4]>()) else { return XDP_ABORTED };
    let (flow, service) = draw(h);
    ip.src = client(flow).to_be_bytes();
    ip.dst = (h.service_base as u32).wrapping_add(service as u32).to_be_bytes();
    ip.ttl = h.ttl as u8;
    *l4 = ports(h, flow);
    go(&ctx)
}

/// IPv6 frames.
#[xdp]
pub fn bench_v6(ctx: XdpContext) -> u32 {
    let Some(h) = next() else { return XDP_ABORTED };
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    let (Ok(_), Ok(_)) = (cursor.take::<Macs>(), cursor.take::<[u8; 2]>()) else { return XDP_ABORTED };
    let (Ok(ip), Ok(l4)) = (cursor.take::<Ipv6>(), cursor.take::<[u8; 4]>()) else { return XDP_ABORTED };
    let (flow, service) = draw(h);
    tail(&mut ip.src, client(flow));
    tail(&mut ip.dst, (h.service_base as u32).wrapping_add(service as u32));
    ip.hop_limit = h.ttl as u8;
    *l4 = ports(h, flow);
    go(&ctx)
}

/// The zero of all measurements.
#[xdp]
pub fn bench_pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// The least that forwarding can cost: swap the MAC addresses and send.
#[xdp]
pub fn bench_floor_tx(ctx: XdpContext) -> u32 {
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    let Ok(macs) = cursor.take::<Macs>() else {
        return XDP_ABORTED;
    };
    core::mem::swap(&mut macs.dst, &mut macs.src);
    XDP_TX
}

// Every field is written by a store as wide as the load that reads it under test: a narrower one would make the processor wait until
// the store has left its buffer, which no packet from a network card does.

/// The last eight bytes of an address: a number.
#[inline(always)]
fn tail(addr: &mut [u8; 16], value: u32) {
    addr[8..].copy_from_slice(&u64::from(value).to_be_bytes());
}

#[inline(always)]
fn client(flow: u64) -> u32 {
    0x0a00_0000 + (flow >> 12) as u32
}

#[inline(always)]
fn ports(h: &Harness, flow: u64) -> [u8; 4] {
    ((1024 + (flow as u32 & 0xfff)) << 16 | h.port as u32).to_be_bytes()
}

/// Counts the packet; at the end of a window stores its duration.
#[inline(always)]
fn next() -> Option<&'static mut Harness> {
    // SAFETY: a valid map value; one program instance at a time.
    let h = unsafe { &mut *HARNESS.get_ptr_mut(0)? };
    let i = h.iteration;
    h.iteration = i + 1;
    if i % WINDOW == 0 {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        if i != 0 {
            let sample = WINDOWS.get_ptr_mut(h.windows as u32 % SAMPLES)?;
            // SAFETY: a valid map value.
            unsafe { *sample = now.wrapping_sub(h.window_start) };
            h.windows += 1;
        }
        h.window_start = now;
    }
    Some(h)
}

/// Flow and service of this packet.
#[inline(always)]
fn draw(h: &mut Harness) -> (u64, u64) {
    if h.sequential != 0 {
        h.random = h.random.wrapping_add(1);
        return (h.random & h.flow_mask, h.random & h.service_mask);
    }
    // Knuth's MMIX generator; its upper bits are the good ones.
    h.random = h.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((h.random >> 33) & h.flow_mask, (h.random >> 40) & h.service_mask)
}

#[inline(always)]
fn go(ctx: &XdpContext) -> u32 {
    // SAFETY: the context is the program's own; on success this does not return.
    let _ = unsafe { TARGET.tail_call(ctx, 0) };
    XDP_ABORTED
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
