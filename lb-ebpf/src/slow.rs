//! Packets that the short way did not know: ICMP, fragments, services of other shapes. Each is parsed anew, here, so that the short way has
//! no byte of code for them.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lb_common::{
    counter::PinEvent,
    explain::{FOLLOWS, FORWARDED, QUOTED},
    flow::FRAGMENT_TICKS,
    net::{
        ICMP, ICMPV6, SCTP, TCP, UDP, csum,
        cursor::Cursor,
        eth::{Macs, Tag},
        icmp::{self, Icmp},
        ipv4::Ipv4,
        ipv6::{self, Extension, Ipv6, halves},
        l4::ACK,
        parse::{self, Network, Part, Tags, Transport},
    },
    pin::{self, Pin},
    reason::Reason,
};

use crate::{
    answer, count, forward, knobs,
    maps::{FACTS, FRAGMENTS},
    pins::{Life, find, insert},
    pipeline::{self, Frame, Packet},
    shape::{Address, V4, V6},
    sink::Sink,
    track,
};

/// Where a packet's headers are and what it is.
#[derive(Clone, Copy)]
struct Place {
    /// Where the IP header begins: 14, 18 or 22.
    l3: u16,
    /// Where what is behind the IP header and its extensions begins.
    l4: u16,
    proto: u8,
    six: bool,
    /// 0: whole; 1: first fragment; 2: later one.
    part: u8,
}

/// Longest way from the frame's beginning to its transport header.
const FAR: u16 = 0x3fff;

impl Place {
    #[inline(always)]
    fn packed(self) -> u64 {
        u64::from(self.l3)
            | u64::from(self.l4) << 16
            | u64::from(self.proto) << 32
            | u64::from(self.six) << 40
            | u64::from(self.part) << 48
    }

    #[inline(always)]
    fn unpacked(word: u64) -> Self {
        Self {
            l3: word as u16,
            l4: (word >> 16) as u16,
            proto: (word >> 32) as u8,
            six: word >> 40 & 1 != 0,
            part: (word >> 48) as u8,
        }
    }
}

/// Finds the headers; above all bits of a [`Place`], the reason for not finding them, plus one. A global function (see `main::live_slow`): what comes
/// behind it is verified for any packet at once, and not for each chain of extension headers anew.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn locate(ctx: *mut xdp_md) -> u64 {
    match look(ctx) {
        Ok(place) => place.packed(),
        Err(why) => (why as u64 + 1) << 56,
    }
}

#[inline(always)]
fn look(ctx: *mut xdp_md) -> Result<Place, Reason> {
    let ctx = XdpContext::new(ctx);
    // SAFETY: the context's own bounds.
    let mut cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    let link = parse::link(&mut cursor)?;
    let l3 = match link.tags {
        Tags::None => 14,
        Tags::One(_) => 18,
        Tags::Two(_) => 22,
    };
    // Lengths, not differences of addresses: the verifier follows only the former.
    let (proto, part, long) = match link.network {
        Network::V4 => {
            let (ip, part) = parse::v4_part(&mut cursor)?;
            (ip.proto, part, u16::from(ip.version_ihl & 0xf) * 4)
        }
        Network::V6 => {
            let (_, proto, part, long) = parse::v6_part(&mut cursor, true)?;
            (proto, part, long)
        }
    };
    let (part, id) = match part {
        Part::Whole => (0, 0),
        Part::First(id) => (1, id),
        Part::Later(id) => (2, id),
    };
    let place = FACTS.get_ptr_mut(0).ok_or(Reason::BadTable)?;
    // SAFETY: a valid map value of this CPU.
    unsafe { (*place).packet_id = id };
    let six = matches!(link.network, Network::V6);
    Ok(Place { l3, l4: l3.wrapping_add(long), proto, six, part })
}

/// Walks a frame that the short way gave up for a reason that has a second answer.
#[inline(always)]
pub fn walk<S: Sink>(ctx: &XdpContext, sink: &mut S, len: u64) -> Result<u32, Reason> {
    let word = locate(ctx.ctx);
    if word >> 56 != 0 {
        return Err(reason(word >> 56));
    }
    let place = Place::unpacked(word);
    let (start, end) = (ctx.data() as *mut u8, ctx.data_end() as *mut u8);
    // SAFETY: the context's own bounds. The two begin at different headers and never meet.
    let (mut cursor, mut behind) = unsafe { (Cursor::from_raw(start, end), Cursor::from_raw(start, end)) };
    let macs = cursor.take::<Macs>()?;
    let tags = match place.l3 {
        14 => Tags::None,
        18 => Tags::One(tag(&mut cursor)?),
        _ => Tags::Two(tag(&mut cursor)?),
    };
    // Up to the IP header: the type, or the inner tag and the type.
    cursor.skip(if place.l3 == 22 {
        4
    } else if place.l3 == 14 {
        2
    } else {
        0
    })?;
    behind.skip(usize::from(place.l4 & FAR))?;
    let frame = Frame { ctx, cursor: behind, macs, tags, len };
    if place.six {
        let ip = cursor.take::<Ipv6>()?;
        v6(frame, sink, ip, place)
    } else {
        let ip = cursor.take::<Ipv4>()?;
        v4(frame, sink, ip, place)
    }
}

/// The tag behind the addresses and the type that announces it.
#[inline(always)]
fn tag<'p>(cursor: &mut Cursor<'p>) -> Result<&'p mut Tag, Reason> {
    cursor.take::<[u8; 2]>()?;
    cursor.take::<Tag>()
}

/// The reason of which [`locate`] gave the number plus one: those that parsing has.
#[inline(always)]
fn reason(number: u64) -> Reason {
    const REASONS: [Reason; 7] = [
        Reason::NotIp,
        Reason::Truncated,
        Reason::Malformed,
        Reason::Fragment,
        Reason::TooManyExtensions,
        Reason::SourceRouted,
        Reason::TooManyTags,
    ];
    let mut found = Reason::BadTable;
    for known in REASONS {
        if known as u64 + 1 == number {
            found = known;
        }
    }
    found
}

/// What the fragments of a packet share.
#[inline(always)]
fn packet_id() -> u64 {
    FACTS.get(0).map_or(0, |f| u64::from(f.packet_id))
}

#[inline(always)]
fn v4<S: Sink>(mut frame: Frame<'_>, sink: &mut S, ip: &mut Ipv4, place: Place) -> Result<u32, Reason> {
    let (src, dst) = (u32::from_le_bytes(ip.src), u32::from_le_bytes(ip.dst));
    let ours = V4(dst);
    let of_packet = knobs::key().other(
        u64::from(src) | u64::from(dst) << 32,
        packet_id(),
        4 << 32 | u64::from(place.proto),
    );
    if place.part == 2 {
        return later(frame, sink, (ours, place.proto), of_packet, ip);
    }
    match place.proto {
        TCP | UDP => {
            let transport = parse::transport(&mut frame.cursor, place.proto)?;
            let hash = knobs::key().v4(src, dst, transport.ports, transport.proto);
            ports(frame, sink, ip, place, (ours, [u64::from(src), 0], false), (transport, hash, of_packet))
        }
        ICMP if place.part == 0 && ours.is_vip() => icmp4(frame, sink, ip),
        SCTP if ours.is_vip() => Err(Reason::Sctp),
        _ if place.part == 0 => Err(Reason::NotTcpUdp),
        _ => Err(Reason::Fragment),
    }
}

#[inline(always)]
fn v6<S: Sink>(mut frame: Frame<'_>, sink: &mut S, ip: &mut Ipv6, place: Place) -> Result<u32, Reason> {
    let (src, dst) = (halves(&ip.src), halves(&ip.dst));
    let ours = V6(dst);
    // RFC 8200, section 4.5: the protocol is no part of it, as only the first fragment has the headers behind the fragment header.
    let of_packet = knobs::key().v6(src, dst, packet_id() as u32, 0x80);
    if place.part == 2 {
        return later(frame, sink, (ours, place.proto), of_packet, ip);
    }
    match place.proto {
        TCP | UDP => {
            let transport = parse::transport(&mut frame.cursor, place.proto)?;
            let hash = knobs::key().v6(src, dst, transport.ports, transport.proto);
            ports(frame, sink, ip, place, (ours, src, true), (transport, hash, of_packet))
        }
        ICMPV6 if place.part == 0 && ours.is_vip() => icmp6(frame, sink, ip),
        SCTP if ours.is_vip() => Err(Reason::Sctp),
        _ if place.part == 0 => Err(Reason::NotTcpUdp),
        _ => Err(Reason::Fragment),
    }
}

/// A packet with ports, whole or the first fragment of one.
#[inline(always)]
fn ports<S: Sink>(
    mut frame: Frame<'_>,
    sink: &mut S,
    ip: &mut impl pipeline::Ip,
    place: Place,
    (ours, src, six): (impl Address, [u64; 2], bool),
    (transport, hash, of_packet): (Transport, u64, u64),
) -> Result<u32, Reason> {
    let service = match ours.service(transport.dport(), transport.proto) {
        Ok(service) => service,
        Err(why) => return Err(unserved::<S>(why, place, ours, of_packet)),
    };
    let packet = Packet { service, hash, src, six, quoted: false };
    let (backend, flags) = pipeline::owner(&mut frame, sink, packet, transport)?;
    if S::LIVE && place.part == 1 {
        teach(of_packet, u32::from(backend));
    }
    pipeline::send(frame, sink, (service.service, backend), hash, flags, ip)
}

/// A fragment that is nobody's is told apart from a packet that is nobody's. The other fragments of a packet to one of our addresses must
/// pass as this one does.
#[inline(always)]
fn unserved<S: Sink>(why: Reason, place: Place, ours: impl Address, of_packet: u64) -> Reason {
    if place.part == 0 {
        return why;
    }
    if S::LIVE && ours.is_vip() {
        teach(of_packet, NOBODY);
    }
    Reason::Fragment
}

/// In the place of a backend: the packet is not for a service.
const NOBODY: u32 = 0;
/// In the place of a backend: the packet's first fragment was not seen.
const UNSEEN: u32 = u32::MAX;

/// Notes where the other fragments of a packet go. A global function (see `main::live_slow`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn teach(hash: u64, backend: u32) -> u32 {
    let Some(bucket) = FRAGMENTS.get_ptr_mut(pin::bucket(hash) & knobs::fragments_mask()) else { return 1 };
    let now = track::now();
    let pin = Pin::new(pin::tag(hash), now, backend as u16);
    insert::<true>(bucket, pin, Life { now, idle: FRAGMENT_TICKS });
    0
}

/// Where the first fragment of a packet went: a backend, [`NOBODY`] or [`UNSEEN`]. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn taught(hash: u64) -> u32 {
    let Some(bucket) = FRAGMENTS.get_ptr_mut(pin::bucket(hash) & knobs::fragments_mask()) else {
        return UNSEEN;
    };
    match find(bucket, pin::tag(hash), Life { now: track::now(), idle: FRAGMENT_TICKS }) {
        Some((_, pin)) => u32::from(pin.backend()),
        None => UNSEEN,
    }
}

/// A fragment without ports goes where its packet's first one went.
#[inline(always)]
fn later<S: Sink>(
    frame: Frame<'_>,
    sink: &mut S,
    (ours, proto): (impl Address, u8),
    hash: u64,
    ip: &mut impl pipeline::Ip,
) -> Result<u32, Reason> {
    let backend = match taught(hash) {
        // What we would not forward whole, like ICMP, passes in parts too.
        UNSEEN if matches!(proto, TCP | UDP) && ours.is_vip() => return Err(Reason::FragmentUnknown),
        UNSEEN | NOBODY => return Err(Reason::Fragment),
        backend => backend as u16,
    };
    sink.note(|e| {
        e.flags |= FOLLOWS;
        (e.hash, e.backend) = (hash, backend);
    });
    deliver(frame, sink, PinEvent::FragmentFollowed, backend, hash, ip)
}

/// Sends what belongs to a backend but is no packet of a service's.
#[inline(always)]
fn deliver<S: Sink>(
    frame: Frame<'_>,
    sink: &mut S,
    event: PinEvent,
    backend: u16,
    hash: u64,
    ip: &mut impl pipeline::Ip,
) -> Result<u32, Reason> {
    if ip.hops() <= 1 {
        return Err(Reason::TtlExpired);
    }
    let to = forward::egress(backend)?;
    let mut inner = frame.inner(ip);
    // RFC 1122, section 3.2.2, and RFC 4443, section 2.4: no error about an error.
    inner.tell &= event as u32 != PinEvent::IcmpDelivered as u32;
    let plan = pipeline::ready::<S>(&frame, to, || inner)?;
    ip.take_hop();
    let sent = match forward::wrap(frame.ctx, (backend, to), hash, || inner) {
        Some(sent) => sent?,
        None => forward::send(frame.ctx, frame.macs, to, plan)?,
    };
    if S::LIVE {
        count::pin(event);
        count::followed(backend, frame.len);
    }
    sink.note(|e| e.flags |= FORWARDED);
    Ok(sent)
}

#[inline(always)]
fn icmp4<S: Sink>(mut frame: Frame<'_>, sink: &mut S, ip: &mut Ipv4) -> Result<u32, Reason> {
    let message = frame.cursor.take::<Icmp>()?;
    if message.kind == icmp::ECHO4 {
        answer::may::<S>()?;
        message.kind = icmp::REPLY4;
        // RFC 1624: the first word falls by 0x0800, so the checksum rises by it.
        message.csum = csum::raised(message.csum, 0x0800);
        core::mem::swap(&mut ip.src, &mut ip.dst);
        let old = u16::from(ip.ttl) << 8;
        ip.ttl = 64;
        ip.csum = csum::replace(ip.csum, old.to_be_bytes(), (64u16 << 8).to_be_bytes());
        core::mem::swap(&mut frame.macs.src, &mut frame.macs.dst);
        return Err(Reason::EchoReply);
    }
    if !icmp::quotes4(message.kind) {
        return Err(Reason::Icmp);
    }
    let (quoted, part) = parse::v4_part(&mut frame.cursor)?;
    // Only of a packet that one of our addresses sent, and only its first fragment has ports.
    if quoted.src != ip.dst || matches!(part, Part::Later(_)) || !matches!(quoted.proto, TCP | UDP) {
        return Err(Reason::Icmp);
    }
    let (src, dst) = (u32::from_le_bytes(quoted.dst), u32::from_le_bytes(quoted.src));
    let transport = turned(&mut frame.cursor, quoted.proto)?;
    let hash = knobs::key().v4(src, dst, transport.ports, transport.proto);
    let packet = (V4(dst), hash, [u64::from(src), 0], false);
    quoted_flow(frame, sink, packet, transport, ip)
}

#[inline(always)]
fn icmp6<S: Sink>(mut frame: Frame<'_>, sink: &mut S, ip: &mut Ipv6) -> Result<u32, Reason> {
    let message = frame.cursor.take::<Icmp>()?;
    if message.kind == icmp::ECHO6 {
        answer::may::<S>()?;
        message.kind = icmp::REPLY6;
        // The addresses change places, which a sum does not notice; the first word rises by 0x0100.
        message.csum = csum::raised(message.csum, 0xfeff);
        core::mem::swap(&mut ip.src, &mut ip.dst);
        ip.hop_limit = 64;
        core::mem::swap(&mut frame.macs.src, &mut frame.macs.dst);
        return Err(Reason::EchoReply);
    }
    if !icmp::quotes6(message.kind) {
        return Err(Reason::Icmp);
    }
    let quoted = frame.cursor.take::<Ipv6>()?;
    // Our backends' answers have no extension headers but that of a fragment.
    let mut proto = quoted.next;
    if proto == ipv6::FRAGMENT {
        let header = frame.cursor.take::<Extension>()?;
        if u16::from_be_bytes(header.body) & 0xfff8 != 0 {
            return Err(Reason::Icmp);
        }
        proto = header.next;
    }
    if quoted.src != ip.dst || !matches!(proto, TCP | UDP) {
        return Err(Reason::Icmp);
    }
    let (src, dst) = (halves(&quoted.dst), halves(&quoted.src));
    let transport = turned(&mut frame.cursor, proto)?;
    let hash = knobs::key().v6(src, dst, transport.ports, transport.proto);
    quoted_flow(frame, sink, (V6(dst), hash, src, true), transport, ip)
}

/// The client's direction of a quoted flow: eight bytes of its header suffice. What is quoted opens nothing and ends nothing.
#[inline(always)]
fn turned(cursor: &mut Cursor<'_>, proto: u8) -> Result<Transport, Reason> {
    let [a, b, c, d, ..] = *cursor.take::<[u8; 8]>()?;
    Ok(Transport { ports: u32::from_le_bytes([c, d, a, b]), proto, flags: ACK })
}

/// An error about a flow goes to whom the flow belongs, and changes nothing of what is remembered.
#[inline(always)]
fn quoted_flow<S: Sink>(
    mut frame: Frame<'_>,
    sink: &mut S,
    (ours, hash, src, six): (impl Address, u64, [u64; 2], bool),
    transport: Transport,
    ip: &mut impl pipeline::Ip,
) -> Result<u32, Reason> {
    let Ok(service) = ours.service(transport.dport(), transport.proto) else { return Err(Reason::Icmp) };
    let mut quiet = sink.quiet();
    let packet = Packet { service, hash, src, six, quoted: true };
    sink.note(|e| e.flags |= QUOTED);
    let (backend, _) = pipeline::owner(&mut frame, &mut quiet, packet, transport)?;
    deliver(frame, sink, PinEvent::IcmpDelivered, backend, hash, ip)
}

/// Whether a reason to give up has a second answer.
#[inline(always)]
pub const fn helps(why: Reason) -> bool {
    matches!(why, Reason::NotService | Reason::NotTcpUdp | Reason::Fragment)
}
