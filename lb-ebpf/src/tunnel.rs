//! Outer headers: IP in IP and GUE variant 1 (IP directly behind UDP).
//!
//! The frame's own tags go; the egress's comes. DSCP and ECN are copied outward (RFC 6040, normal mode). The outer TTL is 64, DF is set: what does not
//! fit was refused before. Receivers' queues spread by the outer source's low bits, the UDP source port and the IPv6 flow label, all from
//! the flow hash. UDP checksums are 0 (RFC 6935, RFC 6936): the inner packet's own protects it.

use aya_ebpf::{bindings::xdp_md, helpers::bpf_xdp_adjust_head, programs::XdpContext};
use lb_common::{
    backend::{Backend, OUTER6},
    net::{
        UDP,
        cursor::Cursor,
        eth::{self, Macs},
        ipv4::{self, Ipv4},
        ipv6::Ipv6,
        l4::Udp,
        tunnel::{IPIP, IPV6},
    },
    reason::Reason,
};

use crate::{forward::Inner, maps::BACKENDS};

/// TTL and hop limit of outer headers.
const TTL: u8 = 64;
/// Dynamic ports (RFC 6335), as RFC 6936 and GUE ask for.
const FIRST_PORT: u16 = 0xc000;

/// Puts the outer headers in front; 0 if there was room. A global function (see `main::live_slow`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn wrap(ctx: *mut xdp_md, backend: u32, hash: u64, inner: u64) -> u32 {
    let Some(to) = BACKENDS.get(backend) else { return 1 };
    let inner = Inner::unpacked(inner);
    let tag = if to.vlan == [0; 2] { 0 } else { 4 };
    // Where the new Ethernet header begins, seen from the old one.
    let by = i32::from(inner.l3) - 14 - tag - i32::from(to.overhead());
    // SAFETY: the context is the program's own; the kernel checks the new start.
    if unsafe { bpf_xdp_adjust_head(ctx, by) } != 0 {
        return 1;
    }
    let ctx = XdpContext::new(ctx);
    // SAFETY: the context's own, new bounds.
    let cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    u32::from(write(cursor, to, hash, inner).is_err())
}

#[inline(always)]
fn write(mut cursor: Cursor<'_>, to: &Backend, hash: u64, inner: Inner) -> Result<(), Reason> {
    let (low, high) = to.macs();
    cursor.take::<Macs>()?.write(low, high);
    if to.vlan != [0; 2] {
        *cursor.take::<[u8; 2]>()? = eth::VLAN.to_le_bytes();
        *cursor.take::<[u8; 2]>()? = to.vlan;
    }
    outer(cursor, to, hash, inner)
}

/// Writes everything between the addresses (and tag) and the packet inside.
#[inline(always)]
pub fn outer(mut cursor: Cursor<'_>, to: &Backend, hash: u64, inner: Inner) -> Result<(), Reason> {
    let gue = to.is_gue();
    let next = if gue {
        UDP
    } else if inner.six {
        IPV6
    } else {
        IPIP
    };
    let payload = inner.len.wrapping_add(if gue { 8 } else { 0 });
    if to.flags & OUTER6 == 0 {
        *cursor.take::<[u8; 2]>()? = eth::IPV4.to_le_bytes();
        outer4(cursor.take::<Ipv4>()?, to, hash, (inner.tos, payload, next));
    } else {
        *cursor.take::<[u8; 2]>()? = eth::IPV6.to_le_bytes();
        outer6(cursor.take::<Ipv6>()?, to, hash, (inner.tos, payload, next));
    }
    if gue {
        let port = FIRST_PORT | (hash >> 20) as u16 & !FIRST_PORT;
        let udp = cursor.take::<Udp>()?;
        let [a, b] = port.to_be_bytes();
        let [c, d] = to.gue_port;
        udp.ports = [a, b, c, d];
        udp.len = payload.to_be_bytes();
        udp.csum = [0; 2];
    }
    Ok(())
}

#[inline(always)]
fn outer4(ip: &mut Ipv4, to: &Backend, hash: u64, (tos, payload, next): (u8, u16, u8)) {
    let [.., s0, s1, s2, s3] = to.outer_src;
    let [.., d0, d1, d2, d3] = to.addr;
    let src = u32::from_be_bytes([s0, s1, s2, s3]) | hash as u32 & to.spread();
    let dst = u32::from_be_bytes([d0, d1, d2, d3]);
    let len = payload.wrapping_add(20);
    let sum = u32::from(u16::from_be_bytes([ipv4::PLAIN, tos]))
        + u32::from(len)
        + 0x4000
        + u32::from(u16::from_be_bytes([TTL, next]))
        + (src >> 16)
        + (src & 0xffff)
        + (dst >> 16)
        + (dst & 0xffff);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    *ip = Ipv4 {
        version_ihl: ipv4::PLAIN,
        tos,
        total_len: len.to_be_bytes(),
        id: [0; 2],
        frag: 0x4000u16.to_be_bytes(),
        ttl: TTL,
        proto: next,
        csum: (!(sum as u16)).to_be_bytes(),
        src: src.to_be_bytes(),
        dst: dst.to_be_bytes(),
    };
}

#[inline(always)]
fn outer6(ip: &mut Ipv6, to: &Backend, hash: u64, (tos, payload, next): (u8, u16, u8)) {
    let first = 6 << 28 | u32::from(tos) << 20 | (hash >> 16) as u32 & 0xf_ffff;
    ip.version_class_flow = first.to_be_bytes();
    ip.payload_len = payload.to_be_bytes();
    ip.next = next;
    ip.hop_limit = TTL;
    ip.src = to.outer_src;
    let [.., a, b, c, d] = to.outer_src;
    let low = u32::from_be_bytes([a, b, c, d]) | hash as u32 & to.spread();
    let [a, b, c, d] = low.to_be_bytes();
    (ip.src[12], ip.src[13], ip.src[14], ip.src[15]) = (a, b, c, d);
    ip.dst = to.addr;
}
