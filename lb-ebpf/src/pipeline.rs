//! The walk of a packet: link → network → transport → service → hash → slot → backend → rewrite. Read this first.
//!
//! Every early exit is an `Err(Reason)`; nothing else ends a walk. What a packet of a stable slot does not need is a function of its own
//! that is not inlined, so that the compiler keeps this path short: moving slots ([`track::moving`]) and VLAN tags that change
//! ([`forward::retag`]).

use aya_ebpf::programs::XdpContext;
use lb_common::{
    explain::{FORWARDED, HAS_SERVICE},
    net::{
        cursor::Cursor,
        eth::Macs,
        ipv6::halves,
        parse::{self, Network, Tags, Transport},
    },
    reason::Reason,
    service::{Key4, Key6, ServiceRef},
};

use crate::{count, forward, knobs, service, sink::Sink, track};

/// A frame whose link layer is parsed.
struct Frame<'p> {
    ctx: &'p XdpContext,
    /// Behind the link layer.
    cursor: Cursor<'p>,
    macs: &'p mut Macs,
    tags: Tags<'p>,
    /// Bytes, from the Ethernet header on.
    len: u64,
}

/// Walks one frame; returns the XDP action if it is forwarded.
#[inline(always)]
pub fn walk<S: Sink>(ctx: &XdpContext, sink: &mut S) -> Result<u32, Reason> {
    let (start, end) = (ctx.data(), ctx.data_end());
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(start as *mut u8, end as *mut u8) };
    let len = (end - start) as u64;
    let link = parse::link(&mut cursor)?;
    let macs = link.macs;
    // Untagged frames get code of their own, in which every offset is a constant.
    match (link.tags, link.network) {
        (Tags::None, Network::V4) => v4(Frame { ctx, cursor, macs, tags: Tags::None, len }, sink),
        (Tags::None, Network::V6) => v6(Frame { ctx, cursor, macs, tags: Tags::None, len }, sink),
        (tags, Network::V4) => v4(Frame { ctx, cursor, macs, tags, len }, sink),
        (tags, Network::V6) => v6(Frame { ctx, cursor, macs, tags, len }, sink),
    }
}

#[inline(always)]
fn v4<S: Sink>(mut frame: Frame<'_>, sink: &mut S) -> Result<u32, Reason> {
    let ip = parse::v4(&mut frame.cursor)?;
    let transport = parse::transport(&mut frame.cursor, ip.proto)?;
    let (src, dst) = (u32::from_le_bytes(ip.src), u32::from_le_bytes(ip.dst));
    let service = service::find4(Key4::new(dst, transport.dport(), transport.proto))?;
    let hash = knobs::key().v4(src, dst, transport.ports, transport.proto);
    let backend = owner(sink, service, hash, &transport)?;
    if ip.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    send(frame, sink, service, backend, &transport, || ip.decrement_ttl())
}

#[inline(always)]
fn v6<S: Sink>(mut frame: Frame<'_>, sink: &mut S) -> Result<u32, Reason> {
    let (ip, proto) = parse::v6(&mut frame.cursor)?;
    let transport = parse::transport(&mut frame.cursor, proto)?;
    let (src, dst) = (halves(&ip.src), halves(&ip.dst));
    let service = service::find6(Key6::new(dst, transport.dport(), transport.proto))?;
    let hash = knobs::key().v6(src, dst, transport.ports, transport.proto);
    let backend = owner(sink, service, hash, &transport)?;
    if ip.hop_limit <= 1 {
        return Err(Reason::TtlExpired);
    }
    send(frame, sink, service, backend, &transport, || ip.hop_limit -= 1)
}

#[inline(always)]
fn owner<S: Sink>(
    sink: &mut S,
    service: ServiceRef,
    hash: u64,
    transport: &Transport,
) -> Result<u16, Reason> {
    sink.note(|e| {
        e.flags |= HAS_SERVICE;
        (e.hash, e.service, e.pool) = (hash, service.service, service.pool);
    });
    let backend = track::owner(sink, service, hash, transport)?;
    sink.note(|e| e.backend = backend);
    Ok(backend)
}

/// Counts and sends. `hop` takes one from the TTL, once nothing can go wrong any more.
#[inline(always)]
fn send<S: Sink>(
    frame: Frame<'_>,
    sink: &mut S,
    service: ServiceRef,
    backend: u16,
    transport: &Transport,
    hop: impl FnOnce(),
) -> Result<u32, Reason> {
    let to = forward::egress(backend)?;
    let plan = forward::plan(&frame.tags, to)?;
    hop();
    if S::LIVE {
        count::forwarded(service.service, backend, frame.len, transport);
    }
    sink.note(|e| e.flags |= FORWARDED);
    forward::send(frame.ctx, frame.macs, to, plan)
}
