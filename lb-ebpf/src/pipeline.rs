//! The walk of a packet: link → network → transport → service → hash → slot → backend → rewrite. Read this first.
//!
//! Every early exit is an `Err(Reason)`; nothing else ends a walk.

use aya_ebpf::programs::XdpContext;
use lb_common::{
    explain::{FORWARDED, HAS_SERVICE},
    net::{
        cursor::Cursor,
        ipv6::halves,
        parse::{self, Link, Network, Transport},
    },
    reason::Reason,
    service::{Key4, Key6, ServiceRef},
};

use crate::{
    count,
    forward::{self, Egress},
    knobs, service,
    sink::Sink,
    track,
};

/// Where a packet of a service goes.
struct Target {
    service: u16,
    backend: u16,
    egress: Egress,
}

/// Walks one frame; returns the XDP action if it is forwarded.
#[inline(always)]
pub fn walk<S: Sink>(ctx: &XdpContext, sink: &mut S) -> Result<u32, Reason> {
    let (start, end) = (ctx.data(), ctx.data_end());
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(start as *mut u8, end as *mut u8) };
    let len = (end - start) as u64;
    let link = parse::link(&mut cursor)?;
    match link.network {
        Network::V4 => v4(ctx, sink, cursor, link, len),
        Network::V6 => v6(ctx, sink, cursor, link, len),
    }
}

#[inline(always)]
fn v4<S: Sink>(
    ctx: &XdpContext,
    sink: &mut S,
    mut cursor: Cursor<'_>,
    link: Link<'_>,
    len: u64,
) -> Result<u32, Reason> {
    let ip = parse::v4(&mut cursor)?;
    let transport = parse::transport(&mut cursor, ip.proto)?;
    let (src, dst) = (u32::from_le_bytes(ip.src), u32::from_le_bytes(ip.dst));
    let service = service::find4(Key4::new(dst, transport.dport(), transport.proto))?;
    let hash = knobs::key().v4(src, dst, transport.ports, transport.proto);
    let target = select(sink, service, hash, &transport)?;
    if ip.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    let plan = forward::plan(&link.tags, &target.egress)?;
    ip.decrement_ttl();
    finish(ctx, sink, link, &target, plan, &transport, len)
}

#[inline(always)]
fn v6<S: Sink>(
    ctx: &XdpContext,
    sink: &mut S,
    mut cursor: Cursor<'_>,
    link: Link<'_>,
    len: u64,
) -> Result<u32, Reason> {
    let (ip, proto) = parse::v6(&mut cursor)?;
    let transport = parse::transport(&mut cursor, proto)?;
    let (src, dst) = (halves(&ip.src), halves(&ip.dst));
    let service = service::find6(Key6::new(dst, transport.dport(), transport.proto))?;
    let hash = knobs::key().v6(src, dst, transport.ports, transport.proto);
    let target = select(sink, service, hash, &transport)?;
    if ip.hop_limit <= 1 {
        return Err(Reason::TtlExpired);
    }
    let plan = forward::plan(&link.tags, &target.egress)?;
    ip.hop_limit -= 1;
    finish(ctx, sink, link, &target, plan, &transport, len)
}

#[inline(always)]
fn select<S: Sink>(
    sink: &mut S,
    service: ServiceRef,
    hash: u64,
    transport: &Transport,
) -> Result<Target, Reason> {
    sink.note(|e| {
        e.flags |= HAS_SERVICE;
        (e.hash, e.service, e.pool) = (hash, service.service, service.pool);
    });
    let backend = track::owner(sink, service, hash, transport)?;
    sink.note(|e| e.backend = backend);
    Ok(Target { service: service.service, backend, egress: forward::egress(backend)? })
}

#[inline(always)]
fn finish<S: Sink>(
    ctx: &XdpContext,
    sink: &mut S,
    link: Link<'_>,
    target: &Target,
    plan: forward::Plan,
    transport: &Transport,
    len: u64,
) -> Result<u32, Reason> {
    if S::LIVE {
        count::forwarded(target.service, target.backend, len, transport);
    }
    sink.note(|e| e.flags |= FORWARDED);
    forward::send(ctx, link, &target.egress, plan)
}
