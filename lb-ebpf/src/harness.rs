//! The benchmark's kernel half: gives each packet another flow, then tail-calls the program under test, or sends the packet through a
//! veth to it. See `lb_common::harness`.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::{
        BPF_F_MMAPABLE,
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX},
    },
    btf_maps::{Array, PerCpuArray, ProgramArray},
    helpers::{bpf_ktime_get_ns, bpf_xdp_adjust_head},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use lb_common::{
    harness::{FLOOD_FLOWS, Harness, SAMPLES, WINDOW},
    net::{
        cursor::Cursor,
        eth::Macs,
        ipv4::Ipv4,
        ipv6::Ipv6,
        l4::{SYN, Tcp},
    },
};

#[btf_map]
static HARNESS: Array<Harness, 1, { BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map]
static WINDOWS: Array<u64, { SAMPLES as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map]
static TARGET: ProgramArray<1> = ProgramArray::new();

/// Words in the yardstick's table: 8 KiB.
const YARD_LINES: u32 = 1024;
#[btf_map]
static YARD: Array<u64, { YARD_LINES as usize }> = Array::new();
#[btf_map]
static YARD_COUNT: PerCpuArray<u64, 2> = PerCpuArray::new();

/// Bytes of a tunnel's outer IPv4 header.
const OUTER: i32 = 20;

/// IPv4 frames.
#[xdp]
pub fn bench_v4(ctx: XdpContext) -> u32 {
    let Some(h) = next() else { return XDP_ABORTED };
    if undo(&ctx, h).is_none() || v4(&ctx, h).is_none() {
        return XDP_ABORTED;
    }
    go(&ctx)
}

/// IPv6 frames.
#[xdp]
pub fn bench_v6(ctx: XdpContext) -> u32 {
    let Some(h) = next() else { return XDP_ABORTED };
    if undo(&ctx, h).is_none() || v6(&ctx, h).is_none() {
        return XDP_ABORTED;
    }
    go(&ctx)
}

/// Live IPv4 frames. Their memory is used again as it came back, so all that forwarding changes is written.
#[xdp]
pub fn bench_live4(ctx: XdpContext) -> u32 {
    let Some(h) = next() else { return XDP_ABORTED };
    if link(&ctx, h).is_none() || v4(&ctx, h).is_none() {
        return XDP_ABORTED;
    }
    h.settings.action as u32
}

/// Where live frames come back to.
#[xdp]
pub fn bench_sink(_ctx: XdpContext) -> u32 {
    if let Some(h) = HARNESS.get_ptr_mut(0) {
        // SAFETY: a valid map value; the benchmark runs on one CPU.
        unsafe { (*h).returned += 1 };
    }
    XDP_DROP
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

/// Work of the kind that forwarding is, which never changes: a hash and four dependent reads of tables that stay in the cache, two
/// counters. Other rows in its terms mean the same on another day and, about, on another machine.
#[xdp]
pub fn bench_yardstick(ctx: XdpContext) -> u32 {
    if yardstick(&ctx).is_some() { XDP_TX } else { XDP_ABORTED }
}

#[inline(always)]
fn yardstick(ctx: &XdpContext) -> Option<()> {
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    let (macs, _) = (cursor.take::<Macs>().ok()?, cursor.take::<[u8; 2]>().ok()?);
    let (ip, l4) = (cursor.take::<Ipv4>().ok()?, cursor.take::<Tcp>().ok()?);
    let flow = u64::from(u32::from_le_bytes(ip.src)) | u64::from(u32::from_le_bytes(l4.ports)) << 32;
    let mut x = (flow ^ flow >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 32).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 29).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 32;
    for _ in 0..4 {
        x = x.wrapping_add(*YARD.get(x as u32 & (YARD_LINES - 1))?).wrapping_mul(5) >> 1;
    }
    macs.write(x, x as u32);
    for at in 0..2 {
        let counter = YARD_COUNT.get_ptr_mut(at)?;
        // SAFETY: a valid map value of this CPU.
        unsafe { *counter += 1 };
    }
    Some(())
}

/// Makes room for an outer header, and nothing else: the harness has to undo that.
#[xdp]
pub fn bench_grow(ctx: XdpContext) -> u32 {
    if grow(&ctx, OUTER) { XDP_PASS } else { XDP_ABORTED }
}

/// The same with two calls more: what one costs.
#[xdp]
pub fn bench_grow_thrice(ctx: XdpContext) -> u32 {
    if grow(&ctx, OUTER) && grow(&ctx, -OUTER) && grow(&ctx, OUTER) { XDP_PASS } else { XDP_ABORTED }
}

#[inline(always)]
fn grow(ctx: &XdpContext, by: i32) -> bool {
    // SAFETY: the context is the program's own; the kernel checks the new start.
    unsafe { bpf_xdp_adjust_head(ctx.ctx, -by) == 0 }
}

/// Takes away what the last packet's program put in front of it.
#[inline(always)]
fn undo(ctx: &XdpContext, h: &Harness) -> Option<()> {
    let grown = (ctx.data_end() - ctx.data()) as i32 - h.settings.len as i32;
    if grown == 0 {
        return Some(());
    }
    if grow(ctx, -grown) { link(ctx, h) } else { None }
}

// Every field is written by a store as wide as the load that reads it under test: a narrower one would make the processor wait until
// the store has left its buffer, which no packet from a network card does.

/// Writes the Ethernet header.
#[inline(always)]
fn link(ctx: &XdpContext, h: &Harness) -> Option<()> {
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    let macs = cursor.take::<Macs>().ok()?;
    macs.write(h.settings.link_low, h.settings.link_high as u32);
    *cursor.take::<[u8; 2]>().ok()? = ((h.settings.link_high >> 32) as u16).to_le_bytes();
    Some(())
}

#[inline(always)]
fn v4(ctx: &XdpContext, h: &mut Harness) -> Option<()> {
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    cursor.skip(size_of::<Macs>() + 2).ok()?;
    let (ip, l4) = (cursor.take::<Ipv4>().ok()?, cursor.take::<Tcp>().ok()?);
    let packet = draw(h);
    ip.src = client(packet.flow).to_be_bytes();
    ip.dst = service(h, &packet).to_be_bytes();
    ip.ttl = h.settings.ttl as u8;
    transport(l4, h, &packet);
    Some(())
}

#[inline(always)]
fn v6(ctx: &XdpContext, h: &mut Harness) -> Option<()> {
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    cursor.skip(size_of::<Macs>() + 2).ok()?;
    let (ip, l4) = (cursor.take::<Ipv6>().ok()?, cursor.take::<Tcp>().ok()?);
    let packet = draw(h);
    tail(&mut ip.src, client(packet.flow));
    tail(&mut ip.dst, service(h, &packet));
    ip.hop_limit = h.settings.ttl as u8;
    transport(l4, h, &packet);
    Some(())
}

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
fn service(h: &Harness, packet: &Packet) -> u32 {
    (h.settings.service_base as u32).wrapping_add((packet.flow & h.settings.service_mask) as u32)
}

/// Ports and flags. In a UDP frame the flags' place is payload.
#[inline(always)]
fn transport(l4: &mut Tcp, h: &Harness, packet: &Packet) {
    l4.ports = ((1024 + (packet.flow as u32 & 0xfff)) << 16 | h.settings.port as u32).to_be_bytes();
    l4.flags = packet.flags;
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

/// What differs between packets.
struct Packet {
    /// Its lower bits are also the service's number: a flow has one service.
    flow: u64,
    flags: u8,
}

#[inline(always)]
fn draw(h: &mut Harness) -> Packet {
    let flags = h.settings.flags as u8;
    if h.settings.sequential != 0 {
        h.random = h.random.wrapping_add(1);
        return Packet { flow: h.random & h.settings.flow_mask, flags };
    }
    // Knuth's MMIX generator; its upper bits are the good ones.
    h.random = h.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let number = h.random >> 33;
    if h.iteration & h.settings.flood != 0 {
        // Behind all others.
        return Packet { flow: FLOOD_FLOWS | number & (FLOOD_FLOWS - 1), flags: SYN };
    }
    Packet { flow: number & h.settings.flow_mask, flags }
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
