//! The decapsulator of receiving hosts: takes the outer header off what a balancer tunnelled here, and hands the inner packet to the
//! kernel as if it had come without one. For kernels without tunnel devices, and cheaper than those. See `lb_common::decap`.
//!
//! A frame is either handed on unchanged or wholly stripped: everything is decided before the first byte moves.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::{
        BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6, TC_ACT_SHOT, TC_ACT_UNSPEC,
        bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, lpm_trie::Key},
    helpers::bpf_xdp_adjust_head,
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};
use lb_common::{
    decap::{ADDRESSES, Config, Fate, Outcome, SOURCES},
    net::{
        UDP,
        cursor::Cursor,
        ecn,
        eth::{self, Macs},
        ipv4::Ipv4,
        ipv6::Ipv6,
        l4::Udp,
        parse::{self, Network, Tags},
        tunnel::{self, Gue, GueWord},
    },
};

/// This host's addresses. Written before the program is attached, like all but the counters.
#[btf_map]
static ADDRESSES4: HashMap<[u8; 4], u8, ADDRESSES> = HashMap::new();
#[btf_map]
static ADDRESSES6: HashMap<[u8; 16], u8, ADDRESSES> = HashMap::new();
/// Prefixes that tunnels may come from.
#[btf_map]
static SOURCES4: LpmTrie<[u8; 4], u8, SOURCES> = LpmTrie::new();
#[btf_map]
static SOURCES6: LpmTrie<[u8; 16], u8, SOURCES> = LpmTrie::new();
#[btf_map]
static CONFIG: Array<Config, 1> = Array::new();
#[btf_map]
static COUNT: PerCpuArray<u64, { Outcome::ALL.len() }> = PerCpuArray::new();

/// Bytes of a frame that tc sees as one piece: link header, an outer IPv6 header with some extensions, UDP, GUE, an inner IPv6 header.
const HEADERS: u32 = 192;

/// At the driver, or generic.
#[xdp]
pub fn lb_decap(ctx: XdpContext) -> u32 {
    at_driver(&ctx)
}

/// The same where frames may lie in several buffers.
#[xdp(frags)]
pub fn lb_decap_frags(ctx: XdpContext) -> u32 {
    at_driver(&ctx)
}

/// At tc ingress. What it does not keep goes to the next program there.
#[classifier]
pub fn lb_decap_tc(ctx: TcContext) -> i32 {
    match counted(tc(&ctx)) {
        Fate::Stripped | Fate::Pass => TC_ACT_UNSPEC,
        Fate::Drop => TC_ACT_SHOT,
    }
}

#[inline(always)]
fn at_driver(ctx: &XdpContext) -> u32 {
    match counted(driver(ctx)) {
        Fate::Stripped | Fate::Pass => XDP_PASS,
        Fate::Drop => XDP_DROP,
    }
}

#[inline(always)]
fn counted(outcome: Result<Outcome, Outcome>) -> Fate {
    let (Ok(outcome) | Err(outcome)) = outcome;
    if let Some(c) = COUNT.get_ptr_mut(outcome as u32) {
        // SAFETY: a valid map value of this CPU.
        unsafe { *c += 1 };
    }
    outcome.fate()
}

/// A tunnelled packet that is to be taken out.
struct Tunnelled {
    /// Number of VLAN tags before the outer header.
    tags: u32,
    /// Bytes from the outer header's begin to the inner one's.
    strip: usize,
    /// Families differ: the Ethernet type changes.
    mixed: bool,
    inner: Network,
    /// The inner traffic class to be, if it changes.
    class: Option<u8>,
    how: Outcome,
}

/// Decides; writes nothing.
#[inline(always)]
fn look(mut cursor: Cursor<'_>) -> Result<Tunnelled, Outcome> {
    let link = parse::link(&mut cursor)?;
    let behind_link = cursor.remaining();
    let config = CONFIG.get(0).ok_or(Outcome::Defect)?;
    let (inside, outer_class) = match link.network {
        Network::V4 => {
            let ip = parse::v4(&mut cursor)?;
            let inside = inside(&mut cursor, config, Network::V4, ip.proto)?;
            accept(ours4(ip.dst), || permitted4(config, ip.src))?;
            (inside, ip.tos)
        }
        Network::V6 => {
            let (ip, proto) = parse::v6(&mut cursor)?;
            let inside = inside(&mut cursor, config, Network::V6, proto)?;
            accept(ours6(ip.dst), || permitted6(config, ip.src))?;
            (inside, ecn::class6(ip))
        }
    };
    let (inner, how) = inside.ok_or(Outcome::GueUnsupported)?;
    let strip = behind_link.wrapping_sub(cursor.remaining());
    let class = match inner {
        Network::V4 => {
            let ip = cursor.take::<Ipv4>()?;
            if ip.version_ihl >> 4 != 4 {
                return Err(Outcome::Malformed);
            }
            ip.tos
        }
        Network::V6 => {
            let ip = cursor.take::<Ipv6>()?;
            if ip.version_class_flow[0] >> 4 != 6 {
                return Err(Outcome::Malformed);
            }
            ecn::class6(ip)
        }
    };
    let after = ecn::decap(outer_class, class).ok_or(Outcome::Congestion)?;
    Ok(Tunnelled {
        tags: match link.tags {
            Tags::None => 0,
            Tags::One(_) => 1,
            Tags::Two(_) => 2,
        },
        strip,
        mixed: link.network != inner,
        inner,
        class: if after == class { None } else { Some(after) },
        how,
    })
}

/// What is behind an outer header: a packet, its family and how it is wrapped. `None`: a tunnel that is not handled here.
type Inside = Option<(Network, Outcome)>;

/// Moves to the inner packet.
#[inline(always)]
fn inside(cursor: &mut Cursor<'_>, config: &Config, outer: Network, proto: u8) -> Result<Inside, Outcome> {
    if let Some(inner) = tunnel::inner(proto) {
        let how = match (outer, inner) {
            (Network::V4, Network::V4) => Outcome::V4InV4,
            (Network::V4, Network::V6) => Outcome::V6InV4,
            (Network::V6, Network::V4) => Outcome::V4InV6,
            (Network::V6, Network::V6) => Outcome::V6InV6,
        };
        return Ok(Some((inner, how)));
    }
    if proto != UDP || config.gue_port == [0; 2] {
        return Err(Outcome::NotTunnel);
    }
    let udp = cursor.take::<Udp>()?;
    if [udp.ports[2], udp.ports[3]] != config.gue_port {
        return Err(Outcome::NotTunnel);
    }
    Ok(match tunnel::gue(cursor.peek::<GueWord>()?) {
        Gue::Direct(inner) => Some((inner, Outcome::GueDirect)),
        Gue::Header(inner) => {
            cursor.skip(size_of::<GueWord>())?;
            Some((inner, Outcome::GueHeader))
        }
        Gue::Other => None,
    })
}

/// The host's rules for a tunnel. Whose it is comes first: what is not ours is not ours to judge.
#[inline(always)]
fn accept(ours: bool, permitted: impl FnOnce() -> bool) -> Result<(), Outcome> {
    if !ours {
        Err(Outcome::NotOurs)
    } else if permitted() {
        Ok(())
    } else {
        Err(Outcome::SourceRefused)
    }
}

#[inline(always)]
fn ours4(dst: [u8; 4]) -> bool {
    ADDRESSES4.get_ptr(dst).is_some()
}

#[inline(always)]
fn ours6(dst: [u8; 16]) -> bool {
    ADDRESSES6.get_ptr(dst).is_some()
}

#[inline(always)]
fn permitted4(config: &Config, src: [u8; 4]) -> bool {
    config.restricted == 0 || SOURCES4.get(&Key::new(32, src)).is_some()
}

#[inline(always)]
fn permitted6(config: &Config, src: [u8; 16]) -> bool {
    config.restricted == 0 || SOURCES6.get(&Key::new(128, src)).is_some()
}

#[inline(always)]
fn driver(ctx: &XdpContext) -> Result<Outcome, Outcome> {
    let found = look(frame(ctx))?;
    match found.tags {
        0 => strip::<14>(ctx, &found),
        1 => strip::<18>(ctx, &found),
        _ => strip::<22>(ctx, &found),
    }
}

/// Moves the link header of `LINK` bytes up to the inner packet.
#[inline(always)]
fn strip<const LINK: usize>(ctx: &XdpContext, found: &Tunnelled) -> Result<Outcome, Outcome> {
    let mut link = *frame(ctx).take::<[u8; LINK]>()?;
    link[LINK - 2..].copy_from_slice(&ethertype(found.inner).to_le_bytes());
    // SAFETY: the context is the program's own; the kernel checks the new begin. What was taken from the frame before is void.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, found.strip as i32) } != 0 {
        return Err(Outcome::CannotStrip);
    }
    let mut cursor = frame(ctx);
    *cursor.take().map_err(|_| Outcome::Defect)? = link;
    mark(cursor, found)
}

#[inline(always)]
fn tc(ctx: &TcContext) -> Result<Outcome, Outcome> {
    // Headers may lie outside of the linear part; those of small frames cannot.
    let linear = ctx.data_end().wrapping_sub(ctx.data());
    if linear < HEADERS as usize && ctx.len() as usize > linear {
        // A failure leaves less to see; the parser then says so.
        let _ = ctx.pull_data(if ctx.len() < HEADERS { ctx.len() } else { HEADERS });
    }
    let found = look(buffer(ctx))?;
    if found.tags != 0 {
        // The kernel removes room behind the link header of plain frames only; a tag it took off itself is not seen here.
        return Err(Outcome::Unusual);
    }
    let flags = match found.inner {
        _ if !found.mixed => 0,
        Network::V4 => BPF_F_ADJ_ROOM_DECAP_L3_IPV4,
        Network::V6 => BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
    };
    ctx.adjust_room(-(found.strip as i32), BPF_ADJ_ROOM_MAC, u64::from(flags))
        .map_err(|_| Outcome::CannotStrip)?;
    let mut cursor = buffer(ctx);
    cursor.skip(size_of::<Macs>()).map_err(|_| Outcome::Defect)?;
    let kind = cursor.take::<[u8; 2]>().map_err(|_| Outcome::Defect)?;
    if found.mixed {
        *kind = ethertype(found.inner).to_le_bytes();
    }
    mark(cursor, &found)
}

/// Carries the congestion mark over to the inner header, on which the cursor stands.
#[inline(always)]
fn mark(mut cursor: Cursor<'_>, found: &Tunnelled) -> Result<Outcome, Outcome> {
    if let Some(class) = found.class {
        match found.inner {
            Network::V4 => ecn::set4(cursor.take::<Ipv4>().map_err(|_| Outcome::Defect)?, class),
            Network::V6 => ecn::set6(cursor.take::<Ipv6>().map_err(|_| Outcome::Defect)?, class),
        }
    }
    Ok(found.how)
}

#[inline(always)]
const fn ethertype(network: Network) -> u16 {
    match network {
        Network::V4 => eth::IPV4,
        Network::V6 => eth::IPV6,
    }
}

#[inline(always)]
fn frame(ctx: &XdpContext) -> Cursor<'_> {
    // SAFETY: the context's own bounds.
    unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) }
}

#[inline(always)]
fn buffer(ctx: &TcContext) -> Cursor<'_> {
    // SAFETY: the context's own bounds.
    unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) }
}

/// Nothing here can panic; if something could, the verifier would refuse the endless loop.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
