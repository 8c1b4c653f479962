//! Backend → frame: VLAN tag, MAC addresses, a tunnel's header, and the interface it leaves by.

use aya_ebpf::{
    bindings::{xdp_action::XDP_TX, xdp_md},
    helpers::{bpf_redirect, bpf_xdp_adjust_head},
    programs::XdpContext,
};
use lb_common::{
    backend::{Backend, TUNNEL, VALID},
    net::{
        Wire16,
        cursor::Cursor,
        eth::{self, Macs, Tag},
        ipv4::Ipv4,
        ipv6::Ipv6,
        parse::Tags,
    },
    reason::Reason,
};

use crate::{answer, maps::BACKENDS, sink::Sink, tunnel};

/// What happens to the frame's VLAN tag.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Stays as it is.
    Keep,
    /// Gets another id.
    Rewrite,
    /// One is inserted.
    Push,
    /// The only one is removed.
    Pop,
}

/// What a tunnel has to know of the packet inside; as numbers, because functions that are not inlined take no more than five words.
#[derive(Clone, Copy)]
pub struct Inner {
    /// Where the IP header begins.
    pub l3: u8,
    /// IPv6.
    pub six: bool,
    /// DSCP and ECN.
    pub tos: u8,
    /// The sender wants to be told that a packet is too long: IPv6, or IPv4 with DF.
    pub tell: bool,
    /// Length of the packet, as its header says.
    pub len: u16,
}

impl Inner {
    /// One word.
    #[inline(always)]
    pub const fn packed(self) -> u64 {
        self.l3 as u64
            | (self.six as u64) << 8
            | (self.tell as u64) << 9
            | (self.tos as u64) << 16
            | (self.len as u64) << 32
    }

    /// From one word.
    #[inline(always)]
    pub const fn unpacked(word: u64) -> Self {
        Self {
            l3: word as u8,
            six: word >> 8 & 1 != 0,
            tell: word >> 9 & 1 != 0,
            tos: (word >> 16) as u8,
            len: (word >> 32) as u16,
        }
    }
}

/// The record of `backend`.
#[inline(always)]
pub fn egress(backend: u16) -> Result<&'static Backend, Reason> {
    let b = BACKENDS.get(u32::from(backend)).ok_or(Reason::BadTable)?;
    if b.flags & VALID == 0 { Err(Reason::Unresolved) } else { Ok(b) }
}

/// Chooses before anything is written, so that a frame is either whole and old or whole and new.
#[inline(always)]
pub fn plan(tags: &Tags<'_>, to: &Backend) -> Result<Plan, Reason> {
    let vlan = u16::from_le_bytes(to.vlan);
    match tags {
        Tags::None if vlan == 0 => Ok(Plan::Keep),
        Tags::None => Ok(Plan::Push),
        Tags::One(_) if vlan == 0 => Ok(Plan::Pop),
        Tags::Two(_) if vlan == 0 => Err(Reason::VlanRewrite),
        Tags::One(tag) | Tags::Two(tag) => Ok(if tag.id() == vlan { Plan::Keep } else { Plan::Rewrite }),
    }
}

/// Refuses a packet that the way to its backend does not take, before anything of it is changed; the sender is told if it wants to be. Only for
/// ways that may be too narrow. `room` is what the frame has from its IP header on, in bytes.
#[inline(always)]
pub fn fits<S: Sink>(ctx: &XdpContext, to: &Backend, inner: Inner, room: u64) -> Result<(), Reason> {
    let header = if inner.six { size_of::<Ipv6>() } else { size_of::<Ipv4>() } as u16;
    if u64::from(inner.len) > room || inner.len < header {
        return Err(Reason::BadLength);
    }
    // An unknown MTU is no limit but that of the outer header's own length.
    let mtu = if to.mtu == 0 { u16::MAX } else { to.mtu };
    let takes = mtu.saturating_sub(to.overhead());
    if inner.len <= takes {
        return Ok(());
    }
    if !inner.tell {
        return Err(Reason::TooBigSilent);
    }
    Err(answer::too_big::<S>(ctx, inner, takes))
}

/// Rewrites and sends: back out of the interface it came in by, or out of the backend's.
#[inline(always)]
pub fn send(ctx: &XdpContext, macs: &mut Macs, to: &Backend, plan: Plan) -> Result<u32, Reason> {
    let (low, high) = to.macs();
    if plan == Plan::Keep {
        macs.write(low, high);
    } else if retag(ctx.ctx, low, high, u32::from(u16::from_le_bytes(to.vlan)), plan as u32) != 0 {
        return Err(Reason::VlanRewrite);
    }
    leave(ctx, to)
}

/// Wraps and sends, if the backend is behind a tunnel; `None` if it is not.
#[inline(always)]
pub fn wrap(
    ctx: &XdpContext,
    (backend, to): (u16, &Backend),
    hash: u64,
    inner: impl FnOnce() -> Inner,
) -> Option<Result<u32, Reason>> {
    if to.flags & TUNNEL == 0 {
        return None;
    }
    Some(if tunnel::wrap(ctx.ctx, u32::from(backend), hash, inner().packed()) == 0 {
        leave(ctx, to)
    } else {
        Err(Reason::NoHeadroom)
    })
}

/// The way out.
#[inline(always)]
fn leave(ctx: &XdpContext, to: &Backend) -> Result<u32, Reason> {
    // SAFETY: the context is valid for the whole program.
    if unsafe { (*ctx.ctx).ingress_ifindex } == to.ifindex {
        return Ok(XDP_TX);
    }
    // SAFETY: a helper without memory arguments.
    Ok(unsafe { bpf_redirect(to.ifindex, 0) } as u32)
}

/// Changes the tag and writes the addresses; 0 if that could be done. A global function (see `main::live_slow`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn retag(ctx: *mut xdp_md, low: u64, high: u32, vlan: u32, plan: u32) -> u32 {
    let vlan = vlan as Wire16;
    const TAG: i32 = size_of::<Tag>() as i32;
    let by = match plan {
        p if p == Plan::Push as u32 => -TAG,
        p if p == Plan::Pop as u32 => TAG,
        _ => 0,
    };
    // SAFETY: the context is the program's own; the kernel checks the new start. What was taken from the frame before is void.
    if by != 0 && unsafe { bpf_xdp_adjust_head(ctx, by) } != 0 {
        return 1;
    }
    let ctx = XdpContext::new(ctx);
    // SAFETY: the context's own, new bounds.
    let cursor = unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    u32::from(rewrite(cursor, low, high, vlan, plan).is_err())
}

#[inline(always)]
fn rewrite(mut cursor: Cursor<'_>, low: u64, high: u32, vlan: Wire16, plan: u32) -> Result<(), Reason> {
    cursor.take::<Macs>()?.write(low, high);
    if plan == Plan::Push as u32 {
        // The frame's own type stands behind the tag already.
        *cursor.take::<[u8; 2]>()? = eth::VLAN.to_le_bytes();
        *cursor.take::<[u8; 2]>()? = vlan.to_le_bytes();
    } else if plan == Plan::Rewrite as u32 {
        cursor.take::<[u8; 2]>()?;
        cursor.take::<Tag>()?.set_id(vlan);
    }
    Ok(())
}
