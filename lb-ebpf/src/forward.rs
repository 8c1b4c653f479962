//! Backend → frame: VLAN tag, MAC addresses, and the interface it leaves by.

use aya_ebpf::{
    bindings::{xdp_action::XDP_TX, xdp_md},
    helpers::{bpf_redirect, bpf_xdp_adjust_head},
    programs::XdpContext,
};
use lb_common::{
    backend::{Backend, VALID},
    net::{
        Wire16,
        cursor::Cursor,
        eth::{self, Macs, Tag},
        parse::Tags,
    },
    reason::Reason,
};

use crate::maps::BACKENDS;

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

/// Rewrites and sends: back out of the interface it came in by, or out of the backend's.
#[inline(always)]
pub fn send(ctx: &XdpContext, macs: &mut Macs, to: &Backend, plan: Plan) -> Result<u32, Reason> {
    let (low, high) = to.macs();
    if plan == Plan::Keep {
        macs.write(low, high);
    } else if retag(ctx.ctx, low, high, u16::from_le_bytes(to.vlan), plan as u32) != 0 {
        return Err(Reason::VlanRewrite);
    }
    // SAFETY: the context is valid for the whole program.
    if unsafe { (*ctx.ctx).ingress_ifindex } == to.ifindex {
        return Ok(XDP_TX);
    }
    // SAFETY: a helper without memory arguments.
    Ok(unsafe { bpf_redirect(to.ifindex, 0) } as u32)
}

/// Changes the tag and writes the addresses; 0 if that could be done.
#[inline(never)]
fn retag(ctx: *mut xdp_md, low: u64, high: u32, vlan: Wire16, plan: u32) -> u32 {
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
