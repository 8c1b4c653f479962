//! The walk of a packet: link → network → transport → service → hash → slot → backend → rewrite. Read this first.
//!
//! Every early exit is an `Err(Reason)`; nothing else ends a walk. What a packet of a plain service's stable slot does not need is a
//! function of its own that is not inlined, so that the compiler keeps this path short: moving slots (`track::moving`), services with rules
//! and the tracked sample (`special`), VLAN tags that change (`forward::retag`), tunnels (`tunnel`). What is no plain TCP or UDP packet of
//! a service on one address and port walks again in `slow`.

use aya_ebpf::programs::XdpContext;
use lb_common::{
    backend::{Backend, TUNNEL, VALID},
    explain::{FORWARDED, HAS_SERVICE},
    flow,
    net::{
        cursor::Cursor,
        eth::Macs,
        ipv4::Ipv4,
        ipv6::{Ipv6, halves},
        l4::{ACK, SYN},
        parse::{self, Network, Tags, Transport},
        quic,
    },
    reason::Reason,
    rules,
    service::{Key4, Key6, SPECIAL, ServiceRef, UDP_QUIC},
};

use crate::{
    count,
    forward::{self, Inner, Plan},
    knobs,
    maps::{FACTS, RULES},
    service,
    sink::Sink,
    special,
    track::{self, Flow},
};

/// A frame whose link layer is parsed.
pub struct Frame<'p> {
    pub ctx: &'p XdpContext,
    /// Behind what was parsed.
    pub cursor: Cursor<'p>,
    pub macs: &'p mut Macs,
    pub tags: Tags<'p>,
    /// Bytes, from the Ethernet header on.
    pub len: u64,
}

/// A packet and its service.
#[derive(Clone, Copy)]
pub struct Packet {
    pub service: ServiceRef,
    pub hash: u64,
    /// Source; IPv4 in the first word.
    pub src: [u64; 2],
    pub six: bool,
    /// It is only quoted: what is behind its transport header says nothing.
    pub quoted: bool,
}

/// The header of either family, as far as forwarding needs it.
pub trait Ip {
    /// IPv6.
    const SIX: bool;
    /// TTL, hop limit.
    fn hops(&self) -> u8;
    /// Takes one.
    fn take_hop(&mut self);
    /// DSCP and ECN.
    fn tos(&self) -> u8;
    /// Length of the packet, header included.
    fn total(&self) -> u16;
    /// Whether its sender wants to know of a packet that is too long.
    fn tell(&self) -> bool;
}

impl Ip for Ipv4 {
    const SIX: bool = false;
    #[inline(always)]
    fn hops(&self) -> u8 {
        self.ttl
    }
    #[inline(always)]
    fn take_hop(&mut self) {
        self.decrement_ttl();
    }
    #[inline(always)]
    fn tos(&self) -> u8 {
        self.tos
    }
    #[inline(always)]
    fn total(&self) -> u16 {
        u16::from_be_bytes(self.total_len)
    }
    #[inline(always)]
    fn tell(&self) -> bool {
        // RFC 1122, section 3.2.2: no error about any but a first fragment.
        self.dont_fragment() && self.is_first()
    }
}

impl Ip for Ipv6 {
    const SIX: bool = true;
    #[inline(always)]
    fn hops(&self) -> u8 {
        self.hop_limit
    }
    #[inline(always)]
    fn take_hop(&mut self) {
        self.hop_limit -= 1;
    }
    #[inline(always)]
    fn tos(&self) -> u8 {
        self.version_class_flow[0] << 4 | self.version_class_flow[1] >> 4
    }
    #[inline(always)]
    fn total(&self) -> u16 {
        u16::from_be_bytes(self.payload_len).saturating_add(size_of::<Self>() as u16)
    }
    #[inline(always)]
    fn tell(&self) -> bool {
        true
    }
}

impl Frame<'_> {
    /// Where the IP header begins.
    #[inline(always)]
    fn l3(&self) -> u8 {
        match self.tags {
            Tags::None => 14,
            Tags::One(_) => 18,
            Tags::Two(_) => 22,
        }
    }

    /// What a tunnel has to know.
    #[inline(always)]
    pub fn inner<I: Ip>(&self, ip: &I) -> Inner {
        Inner { l3: self.l3(), six: I::SIX, tos: ip.tos(), tell: ip.tell(), len: ip.total() }
    }
}

/// Walks one frame of `len` bytes; returns the XDP action if it is forwarded.
#[inline(always)]
pub fn walk<S: Sink>(ctx: &XdpContext, sink: &mut S, len: u64) -> Result<u32, Reason> {
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
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
    let packet = Packet { service, hash, src: [u64::from(src), 0], six: false, quoted: false };
    let (backend, flags) = owner(&mut frame, sink, packet, transport)?;
    send(frame, sink, (service.service, backend), hash, flags, ip)
}

#[inline(always)]
fn v6<S: Sink>(mut frame: Frame<'_>, sink: &mut S) -> Result<u32, Reason> {
    let (ip, proto) = parse::v6(&mut frame.cursor)?;
    let transport = parse::transport(&mut frame.cursor, proto)?;
    let (src, dst) = (halves(&ip.src), halves(&ip.dst));
    let service = service::find6(Key6::new(dst, transport.dport(), transport.proto))?;
    let hash = knobs::key().v6(src, dst, transport.ports, transport.proto);
    let packet = Packet { service, hash, src, six: true, quoted: false };
    let (backend, flags) = owner(&mut frame, sink, packet, transport)?;
    send(frame, sink, (service.service, backend), hash, flags, ip)
}

/// Whose the packet is, and what its flags say: for QUIC those that TCP would have.
#[inline(always)]
pub fn owner<S: Sink>(
    frame: &mut Frame<'_>,
    sink: &mut S,
    packet: Packet,
    transport: Transport,
) -> Result<(u16, u8), Reason> {
    let Packet { service, hash, .. } = packet;
    sink.note(|e| {
        e.flags |= HAS_SERVICE;
        (e.hash, e.service, e.pool) = (hash, service.service, service.pool);
    });
    let found = if service.flags & (SPECIAL | UDP_QUIC) == 0 && !flow::sampled(hash) {
        let Transport { proto, flags, .. } = transport;
        (track::owner(sink, service, Flow { hash, slot_hash: hash, proto, flags })?, flags)
    } else {
        // What comes next is verified once, as a function without pointers; the packet's facts lie in a map.
        let flags = write_down(frame, packet, transport)?;
        (special::owner(sink, hash, service)?, flags)
    };
    sink.note(|e| e.backend = found.0);
    Ok(found)
}

#[inline(always)]
fn write_down(frame: &mut Frame<'_>, packet: Packet, transport: Transport) -> Result<u8, Reason> {
    let place = FACTS.get_ptr_mut(0).ok_or(Reason::BadTable)?;
    // SAFETY: a valid map value of this CPU.
    let facts = unsafe { &mut *place };
    // Field by field: a whole record of zeros would be written by a call. The other fields are written before they are read.
    let Transport { ports, proto, mut flags } = transport;
    (facts.src, facts.ports, facts.proto) = (packet.src, ports, proto);
    (facts.six, facts.has_id) = (u8::from(packet.six), 0);
    if packet.service.flags & UDP_QUIC != 0 && !packet.quoted {
        let rules = RULES.get(u32::from(packet.service.service)).ok_or(Reason::BadTable)?;
        let len = if rules.flags & rules::QUIC_ID != 0 { rules.id_len } else { 0 };
        let seen = quic::look(&mut frame.cursor, rules.id_offset, len);
        flags = if seen.opens { SYN } else { ACK };
        if let Some(id) = seen.id {
            (facts.has_id, facts.id) = (1, id);
        }
    }
    facts.flags = flags;
    Ok(flags)
}

/// What must hold before anything is written.
#[inline(always)]
pub fn ready<S: Sink>(
    frame: &Frame<'_>,
    to: &Backend,
    inner: impl FnOnce() -> Inner,
) -> Result<Plan, Reason> {
    if to.flags != VALID {
        forward::fits::<S>(frame.ctx, to, inner(), frame.len.wrapping_sub(u64::from(frame.l3())))?;
        if to.flags & TUNNEL != 0 {
            // The frame's tags go with its Ethernet header.
            return Ok(Plan::Keep);
        }
    }
    forward::plan(&frame.tags, to)
}

/// Sends, and counts what was sent.
#[inline(always)]
pub fn send<S: Sink, I: Ip>(
    frame: Frame<'_>,
    sink: &mut S,
    (service, backend): (u16, u16),
    hash: u64,
    flags: u8,
    ip: &mut I,
) -> Result<u32, Reason> {
    if ip.hops() <= 1 {
        return Err(Reason::TtlExpired);
    }
    let to = forward::egress(backend)?;
    let plan = ready::<S>(&frame, to, || frame.inner(ip))?;
    ip.take_hop();
    let sent = match forward::wrap(frame.ctx, (backend, to), hash, || frame.inner(ip)) {
        Some(sent) => sent?,
        None => forward::send(frame.ctx, frame.macs, to, plan)?,
    };
    if S::LIVE {
        count::forwarded(service, backend, frame.len, flags);
    }
    sink.note(|e| e.flags |= FORWARDED);
    Ok(sent)
}
