//! Frames the program makes itself, out of the one that asks for them: echo replies, "packet too big". Each kind has its limit.

use aya_ebpf::{
    bindings::xdp_md,
    helpers::{bpf_csum_diff, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len},
    programs::XdpContext,
};
use lb_common::{
    net::{
        ICMP, ICMPV6,
        cursor::Cursor,
        eth::{Macs, Tag},
        icmp::{self, QUOTE},
        ipv4::{self, Ipv4},
        ipv6::Ipv6,
    },
    reason::Reason,
    settings::RATE_TOO_BIG,
};

use crate::{
    forward::Inner,
    maps::{RATES, SETTINGS},
    rate,
    sink::Sink,
    track,
};

const TTL: u8 = 64;
/// Smallest MTU of IPv6 (RFC 8200, section 5): no message says less.
const MIN_MTU6: u16 = 1280;

/// Whether one more message of a kind ([`RATE_TOO_BIG`], `RATE_ECHO`) may be made in this tick. Asking does not use up what there is.
#[inline(always)]
pub fn may<S: Sink>(kind: u32) -> Result<(), Reason> {
    let (Some(settings), Some(rate)) = (SETTINGS.get(0), RATES.get_ptr_mut(kind)) else {
        return Err(Reason::BadTable);
    };
    let (now, limit) = (track::now(), settings.icmp_per_tick);
    let within = if S::LIVE { rate::within(rate, now, limit) } else { rate::left(rate, now, limit) };
    if within { Ok(()) } else { Err(Reason::IcmpRate) }
}

/// Turns the frame into the message that its packet is longer than `mtu`; the reason says what became of that.
#[inline(always)]
pub fn too_big<S: Sink>(ctx: &XdpContext, inner: Inner, mtu: u16) -> Reason {
    if let Err(why) = may::<S>(RATE_TOO_BIG) {
        return why;
    }
    if tell(ctx.ctx, inner.packed(), u32::from(mtu)) == 0 { Reason::TooBig } else { Reason::NoHeadroom }
}

/// Makes the message; 0 if that could be done. A global function (see `main::live_slow`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell(ctx: *mut xdp_md, inner: u64, mtu: u32) -> u32 {
    let inner = Inner::unpacked(inner);
    let tags = (u32::from(inner.l3).wrapping_sub(14) / 4).min(2);
    let room = if inner.six { 40 + 8 } else { 20 + 8 };
    // SAFETY: the context is the program's own.
    let len = unsafe { bpf_xdp_get_buff_len(ctx) };
    let cut = len as i32 - i32::from(inner.l3) - QUOTE as i32;
    if cut < 0 {
        return 1;
    }
    // SAFETY: the context is the program's own; the kernel checks both ends.
    if cut > 0 && unsafe { bpf_xdp_adjust_tail(ctx, -cut) } != 0 {
        return 1;
    }
    let whole = XdpContext::new(ctx);
    // SAFETY: the context's own bounds.
    let cursor = unsafe { Cursor::from_raw(whole.data() as *mut u8, whole.data_end() as *mut u8) };
    let Ok(link) = Link::read(cursor, tags) else { return 1 };
    // SAFETY: as above.
    if unsafe { bpf_xdp_adjust_head(ctx, -room) } != 0 {
        return 1;
    }
    let whole = XdpContext::new(ctx);
    // SAFETY: the context's own, new bounds.
    let cursor = unsafe { Cursor::from_raw(whole.data() as *mut u8, whole.data_end() as *mut u8) };
    let written = if inner.six { write6(cursor, &link, tags, mtu) } else { write4(cursor, &link, tags, mtu) };
    u32::from(written.is_err())
}

/// A link header, kept while its frame is changed.
struct Link {
    macs: Macs,
    /// Type, tag, tag.
    rest: [[u8; 2]; 5],
}

impl Link {
    #[inline(always)]
    fn read(mut cursor: Cursor<'_>, tags: u32) -> Result<Self, Reason> {
        let macs = *cursor.take::<Macs>()?;
        let mut rest = [[0; 2]; 5];
        rest[0] = *cursor.take::<[u8; 2]>()?;
        if tags > 0 {
            let tag = cursor.take::<Tag>()?;
            (rest[1], rest[2]) = (tag.tci, tag.inner);
        }
        if tags > 1 {
            let tag = cursor.take::<Tag>()?;
            (rest[3], rest[4]) = (tag.tci, tag.inner);
        }
        Ok(Self { macs, rest })
    }

    /// The same header, back to where the frame came from.
    #[inline(always)]
    fn write(&self, cursor: &mut Cursor<'_>, tags: u32) -> Result<(), Reason> {
        *cursor.take::<Macs>()? = Macs { dst: self.macs.src, src: self.macs.dst };
        *cursor.take::<[u8; 2]>()? = self.rest[0];
        if tags > 0 {
            *cursor.take::<Tag>()? = Tag { tci: self.rest[1], inner: self.rest[2] };
        }
        if tags > 1 {
            *cursor.take::<Tag>()? = Tag { tci: self.rest[3], inner: self.rest[4] };
        }
        Ok(())
    }
}

#[inline(always)]
fn fold(sum: i64) -> [u8; 2] {
    let sum = (sum as u64 & 0xffff) + (sum as u64 >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    // The sum is of words as they lie in memory, and so is the checksum.
    (!(sum as u16)).to_le_bytes()
}

/// The sum over a message's header and quote, begun with `seed`.
#[inline(always)]
fn sum(message: &mut [u8; 8 + QUOTE], seed: u32) -> [u8; 2] {
    const LEN: u32 = 8 + QUOTE as u32;
    // SAFETY: the pointer is to `LEN` bytes of the packet.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, message.as_mut_ptr().cast(), LEN, seed) };
    fold(sum)
}

#[inline(always)]
fn write4(mut cursor: Cursor<'_>, link: &Link, tags: u32, mtu: u32) -> Result<(), Reason> {
    const LEN: u16 = 20 + 8 + QUOTE as u16;
    link.write(&mut cursor, tags)?;
    let ip = cursor.take::<Ipv4>()?;
    let message = cursor.take::<[u8; 8 + QUOTE]>()?;
    // The packet is quoted behind the message's eight bytes.
    let (src, dst) = (
        [message[20], message[21], message[22], message[23]],
        [message[24], message[25], message[26], message[27]],
    );
    let [.., high, low] = mtu.to_be_bytes();
    message[..8].copy_from_slice(&[icmp::UNREACHABLE4, icmp::FRAGMENTATION_NEEDED, 0, 0, 0, 0, high, low]);
    let checksum = sum(message, 0);
    (message[2], message[3]) = (checksum[0], checksum[1]);
    *ip = Ipv4 {
        version_ihl: ipv4::PLAIN,
        tos: 0,
        total_len: LEN.to_be_bytes(),
        id: [0; 2],
        frag: [0; 2],
        ttl: TTL,
        proto: ICMP,
        csum: [0; 2],
        src: dst,
        dst: src,
    };
    // SAFETY: the pointer is to the 20 bytes of a header in the packet.
    let header = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, (&raw mut *ip).cast(), 20, 0) };
    ip.csum = fold(header);
    Ok(())
}

#[inline(always)]
fn write6(mut cursor: Cursor<'_>, link: &Link, tags: u32, mtu: u32) -> Result<(), Reason> {
    const LEN: u16 = 8 + QUOTE as u16;
    link.write(&mut cursor, tags)?;
    let ip = cursor.take::<Ipv6>()?;
    let message = cursor.take::<[u8; 8 + QUOTE]>()?;
    ip.version_class_flow = [0x60, 0, 0, 0];
    ip.payload_len = LEN.to_be_bytes();
    ip.next = ICMPV6;
    ip.hop_limit = TTL;
    // The packet is quoted behind the message's eight bytes.
    ip.dst.copy_from_slice(&message[16..32]);
    ip.src.copy_from_slice(&message[32..48]);
    let mtu = mtu.max(u32::from(MIN_MTU6)).to_be_bytes();
    message[..8].copy_from_slice(&[icmp::TOO_BIG6, 0, 0, 0, mtu[0], mtu[1], mtu[2], mtu[3]]);
    // RFC 8200, section 8.1: addresses, length and protocol belong to the sum.
    let pseudo = u32::from(LEN.to_be()) + u32::from(u16::from(ICMPV6).to_be());
    // SAFETY: the pointer is to both addresses of a header in the packet, 32 bytes.
    let seed = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, ip.src.as_mut_ptr().cast(), 32, pseudo) };
    let checksum = sum(message, seed as u32);
    (message[2], message[3]) = (checksum[0], checksum[1]);
    Ok(())
}
