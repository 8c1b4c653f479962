//! Checks on the way of clients' packets (tc): see [`lb_common::probe`].
//!
//! Out: by the mark of its socket a packet to a backend's own address gets the VIP as its destination, and leaves as the XDP program would have sent it
//! there: with the record's MAC addresses, tag and interface, or wrapped. Back: what comes from the VIP to the port of such a check gets the
//! backend's address as its source. So the check is an ordinary connection to an ordinary address: no route to the VIP is needed, and it may be an
//! address of this host as well.
//!
//! Unlike the XDP program's these packets are `sk_buff`s: their checksums may still have to be computed and their tag may be beside the frame, so
//! all is read and written through the kernel's helpers.

use aya_ebpf::{
    bindings::{
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
        BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM, TC_ACT_SHOT, TC_ACT_UNSPEC,
        bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    helpers::{bpf_csum_diff, bpf_redirect, bpf_skb_vlan_pop, bpf_skb_vlan_push},
    programs::TcContext,
};
use lb_common::{
    backend::{Backend, OUTER6, TUNNEL, VALID},
    net::{
        TCP, UDP,
        cursor::Cursor,
        eth::{self, Macs},
        ipv4,
    },
    probe::{self, INDEX, MARK, Probe, ProbeEvent, ProbeFlow},
};

use crate::{
    forward::Inner,
    maps::{PROBE_COUNT, PROBE_FLOWS, PROBES},
    tunnel,
};

/// Length of an Ethernet header: a tag is beside the frame, or was taken off.
const ETH: u32 = 14;
/// The packet goes on as if this program were not there; other programs of the interface see it.
const GO_ON: i32 = TC_ACT_UNSPEC;

/// Words on the stack, where the verifier wants what the compiler merges to be aligned.
#[repr(C, align(8))]
struct Aligned<const N: usize>([u32; N]);

/// An address, IPv6 or IPv4-mapped, as words in memory's order.
type Address = Aligned<4>;

/// What a packet says of itself.
#[repr(C, align(8))]
struct Head {
    src: Address,
    dst: Address,
    /// [`Inner::packed`]: as a struct its parts would be read together, at odd places.
    inner: u64,
    ports: u32,
    udp: bool,
}

impl Head {
    /// Source port, and destination port as it lies in the packet.
    #[inline(always)]
    fn ports(&self) -> ([u8; 2], [u8; 2]) {
        let [a, b, c, d] = self.ports.to_ne_bytes();
        ([a, b], [c, d])
    }

    #[inline(always)]
    fn inner(&self) -> Inner {
        Inner::unpacked(self.inner)
    }

    #[inline(always)]
    fn six(&self) -> bool {
        self.inner().six
    }
}

/// Egress.
#[inline(always)]
pub fn out(ctx: &TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    let mark = unsafe { (*skb).mark };
    if mark & !INDEX != MARK {
        return GO_ON;
    }
    let index = mark & INDEX;
    let Some(to) = PROBES.get(index).filter(|probe| probe.used != 0) else {
        return GO_ON;
    };
    // Whatever comes later on this packet's way has nothing to do with it any more.
    ctx.skb.set_mark(0);
    match send(ctx, index, to) {
        Ok(action) => {
            count(ProbeEvent::Sent);
            action
        }
        Err(why) => {
            count(why);
            TC_ACT_SHOT as i32
        }
    }
}

/// Ingress.
#[inline(always)]
pub fn back(ctx: &TcContext) -> i32 {
    let Some(head) = read(ctx) else { return GO_ON };
    let (theirs, ours) = head.ports();
    let Some(flow) = PROBE_FLOWS.get(probe::flow(u16::from_be_bytes(ours), head.udp)) else {
        return GO_ON;
    };
    // The usual case: nothing was ever sent from this port.
    if flow.last != ProbeEvent::Sent as u8 + 1 || flow.port != theirs {
        return GO_ON;
    }
    let Some(probe) = PROBES.get(u32::from(u16::from_ne_bytes(flow.probe))) else {
        return GO_ON;
    };
    if probe.used == 0 || address(&probe.vip).0 != head.src.0 || address(&flow.own).0 != head.dst.0 {
        return GO_ON;
    }
    let at = if head.six() { 8 } else { 12 };
    if rewrite(ctx, &head, at, &head.src, &address(&probe.to.addr)).is_err() {
        return GO_ON;
    }
    count(ProbeEvent::Answered);
    GO_ON
}

#[inline(always)]
fn send(ctx: &TcContext, index: u32, probe: &Probe) -> Result<i32, ProbeEvent> {
    let skb = ctx.skb.skb;
    let to = &probe.to;
    // The tag of a VLAN interface above this one. The record's comes instead.
    // SAFETY: the context is the program's own; a helper without memory arguments.
    if unsafe { (*skb).vlan_present } != 0 && unsafe { bpf_skb_vlan_pop(skb) } != 0 {
        return Err(ProbeEvent::Refused);
    }
    let head = read(ctx).ok_or(ProbeEvent::Malformed)?;
    let sent = change(ctx, &head, to, &address(&probe.vip));
    note(&head, index, *sent.as_ref().err().unwrap_or(&ProbeEvent::Sent));
    sent?;
    let vlan = u16::from_be_bytes(to.vlan);
    // SAFETY: a helper without memory arguments.
    if vlan != 0 && unsafe { bpf_skb_vlan_push(skb, eth::VLAN, vlan) } != 0 {
        return Err(ProbeEvent::Refused);
    }
    // SAFETY: the context is the program's own.
    if unsafe { (*skb).ifindex } == to.ifindex {
        return Ok(GO_ON);
    }
    // SAFETY: a helper without memory arguments.
    Ok(unsafe { bpf_redirect(to.ifindex, 0) } as i32)
}

/// Makes of it what the XDP program would have made of a client's packet.
#[inline(always)]
fn change(ctx: &TcContext, head: &Head, to: &Backend, vip: &Address) -> Result<(), ProbeEvent> {
    if address(&to.addr).0 != head.dst.0 {
        return Err(ProbeEvent::Mismatch);
    }
    if to.flags & VALID == 0 {
        return Err(ProbeEvent::Unresolved);
    }
    // Segments of a longer one get their size when they are cut.
    // SAFETY: the context is the program's own.
    let one = unsafe { (*ctx.skb.skb).gso_size } == 0;
    if one && to.mtu != 0 && head.inner().len > to.mtu.saturating_sub(to.overhead()) {
        return Err(ProbeEvent::TooBig);
    }
    let at = if head.six() { 24 } else { 16 };
    rewrite(ctx, head, at, &head.dst, vip)?;
    if to.flags & TUNNEL != 0 {
        wrap(ctx, head, to)?;
    }
    let (low, high) = to.macs();
    let mut macs = Macs { dst: [0; 6], src: [0; 6] };
    macs.write(low, high);
    ctx.skb.store(0, &macs, 0).map_err(|_| ProbeEvent::Refused)
}

/// Replaces an address, `at` bytes into the IP header, and keeps every checksum right.
#[inline(always)]
fn rewrite(ctx: &TcContext, head: &Head, at: u32, from: &Address, to: &Address) -> Result<(), ProbeEvent> {
    let refused = |_| ProbeEvent::Refused;
    let skb = &ctx.skb;
    let (ip, flags) = if head.six() { (40, 0) } else { (20, 4) };
    // A UDP checksum of 0 is none, and stays none.
    let flags =
        flags | u64::from(BPF_F_PSEUDO_HDR) | if head.udp { u64::from(BPF_F_MARK_MANGLED_0) } else { 0 };
    let sum = (ETH + ip + if head.udp { 6 } else { 16 }) as usize;
    let place = (ETH + at) as usize;
    if head.six() {
        // SAFETY: both arrays are 16 bytes, and the helper only reads them.
        let by = unsafe { bpf_csum_diff(from.0.as_ptr().cast_mut(), 16, to.0.as_ptr().cast_mut(), 16, 0) };
        skb.l4_csum_replace(sum, 0, u64::from(by as u32), flags).map_err(refused)?;
        // The sum over the whole packet that a card may have made: the helper above corrects it by what it took from the transport's checksum, as if
        // an IP header's checksum made up for the address; here nothing does but this flag.
        skb.store(place, &to.0, u64::from(BPF_F_RECOMPUTE_CSUM)).map_err(refused)
    } else {
        let (from, to) = (from.0[3], to.0[3]);
        skb.l4_csum_replace(sum, u64::from(from), u64::from(to), flags).map_err(refused)?;
        skb.l3_csum_replace((ETH + 10) as usize, u64::from(from), u64::from(to), 4).map_err(refused)?;
        skb.store(place, &to, 0).map_err(refused)
    }
}

/// Puts the outer header in front; one of the packet's own family, as the backend's address is.
#[inline(always)]
fn wrap(ctx: &TcContext, head: &Head, to: &Backend) -> Result<(), ProbeEvent> {
    if head.six() != (to.flags & OUTER6 != 0) {
        return Err(ProbeEvent::Mismatch);
    }
    let l3 = if head.six() { BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 } else { BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 };
    let l4 = if to.is_gue() { BPF_F_ADJ_ROOM_ENCAP_L4_UDP } else { 0 };
    let room = i32::from(to.overhead());
    ctx.skb.adjust_room(room, BPF_ADJ_ROOM_MAC, u64::from(l3 | l4)).map_err(|_| ProbeEvent::Refused)?;
    ctx.skb.pull_data(ETH + room as u32).map_err(|_| ProbeEvent::Refused)?;
    // SAFETY: the context's own bounds, read after everything that moves them.
    let mut cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    // Flows spread as clients' do, by other numbers.
    let hash = u64::from(head.ports).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let written = cursor
        .take::<Macs>()
        .map(|_| ())
        .and_then(|()| tunnel::outer(cursor, to, hash ^ hash >> 32, head.inner()));
    written.map_err(|_| ProbeEvent::Refused)
}

/// What the packet says of itself; `None` for one that no check sends or gets.
#[inline(always)]
fn read(ctx: &TcContext) -> Option<Head> {
    let l3 = ETH as usize;
    let kind = ctx.skb.protocol();
    if kind == u32::from(eth::IPV4) {
        let Aligned([w0, w1, w2, src, dst, ports]) = ctx.load::<Aligned<6>>(l3).ok()?;
        let ([version_ihl, tos, len @ ..], [_, proto, ..]) = (w0.to_ne_bytes(), w2.to_ne_bytes());
        let fragment = (w1 >> 16) as u16 & ipv4::FRAGMENT != 0;
        if version_ihl != ipv4::PLAIN || fragment || !(proto == TCP || proto == UDP) {
            return None;
        }
        let mapped = |a: u32| Aligned([0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), a]);
        let inner = Inner { l3: ETH as u8, six: false, tos, tell: true, len: u16::from_be_bytes(len) };
        Some(Head { src: mapped(src), dst: mapped(dst), ports, udp: proto == UDP, inner: inner.packed() })
    } else if kind == u32::from(eth::IPV6) {
        let Aligned([w0, w1, s0, s1, s2, s3, d0, d1, d2, d3, ports]) = ctx.load::<Aligned<11>>(l3).ok()?;
        let [len @ .., next, _] = w1.to_ne_bytes();
        if !(next == TCP || next == UDP) {
            return None;
        }
        let tos = (u32::from_be(w0) >> 20) as u8;
        let len = u16::from_be_bytes(len).wrapping_add(40);
        let inner = Inner { l3: ETH as u8, six: true, tos, tell: true, len };
        let (src, dst) = (Aligned([s0, s1, s2, s3]), Aligned([d0, d1, d2, d3]));
        Some(Head { src, dst, ports, udp: next == UDP, inner: inner.packed() })
    } else {
        None
    }
}

/// Leaves word for the way back, and for the daemon.
#[inline(always)]
fn note(head: &Head, index: u32, last: ProbeEvent) {
    let (ours, theirs) = head.ports();
    let Some(flow) = PROBE_FLOWS.get_ptr_mut(probe::flow(u16::from_be_bytes(ours), head.udp)) else {
        return;
    };
    let [a, b, c, d] = head.src.0;
    let halves = [u64::from(a) | u64::from(b) << 32, u64::from(c) | u64::from(d) << 32];
    let [[o0, o1, o2, o3, o4, o5, o6, o7], [p0, p1, p2, p3, p4, p5, p6, p7]] = halves.map(u64::to_le_bytes);
    let own = [o0, o1, o2, o3, o4, o5, o6, o7, p0, p1, p2, p3, p4, p5, p6, p7];
    let probe = (index as u16).to_ne_bytes();
    // SAFETY: a valid map value. A port's packets come from one socket, so nobody else writes here at the same time.
    unsafe { *flow = ProbeFlow { own, port: theirs, probe, last: last as u8 + 1, reserved: [0; 3] } };
}

#[inline(always)]
fn count(event: ProbeEvent) {
    if let Some(c) = PROBE_COUNT.get_ptr_mut(event as u32) {
        // SAFETY: a valid map value of this CPU.
        unsafe { *c += 1 };
    }
}

#[inline(always)]
fn address(a: &[u8; 16]) -> Address {
    Aligned([
        u32::from_ne_bytes([a[0], a[1], a[2], a[3]]),
        u32::from_ne_bytes([a[4], a[5], a[6], a[7]]),
        u32::from_ne_bytes([a[8], a[9], a[10], a[11]]),
        u32::from_ne_bytes([a[12], a[13], a[14], a[15]]),
    ])
}
