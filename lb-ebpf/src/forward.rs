//! Backend → frame: VLAN tag, MAC addresses, and the interface it leaves by.

use aya_ebpf::{
    bindings::xdp_action::XDP_TX,
    helpers::{bpf_redirect, bpf_xdp_adjust_head},
    programs::XdpContext,
};
use lb_common::{
    backend::{Backend, VALID},
    net::{
        Wire16,
        cursor::Cursor,
        eth::{self, Macs, Tag},
        parse::{Link, Tags},
    },
    reason::Reason,
};

use crate::maps::BACKENDS;

/// What of a backend's record a frame needs.
pub struct Egress {
    macs: (u64, u32),
    vlan: Wire16,
    ifindex: u32,
}

/// What happens to the frame's VLAN tag.
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
pub fn egress(backend: u16) -> Result<Egress, Reason> {
    let b: &Backend = BACKENDS.get(u32::from(backend)).ok_or(Reason::BadTable)?;
    if b.flags & VALID == 0 {
        return Err(Reason::Unresolved);
    }
    Ok(Egress { macs: b.macs(), vlan: u16::from_le_bytes(b.vlan), ifindex: b.ifindex })
}

/// Chooses before anything is written, so that a frame is either whole and old or whole and new.
#[inline(always)]
pub fn plan(tags: &Tags<'_>, to: &Egress) -> Result<Plan, Reason> {
    let tagged = to.vlan != 0;
    match tags {
        Tags::None if !tagged => Ok(Plan::Keep),
        Tags::None => Ok(Plan::Push),
        Tags::One(_) if !tagged => Ok(Plan::Pop),
        Tags::One(tag) | Tags::Two(tag) if tagged => {
            Ok(if tag.id() == to.vlan { Plan::Keep } else { Plan::Rewrite })
        }
        Tags::One(_) | Tags::Two(_) => Err(Reason::VlanRewrite),
    }
}

/// Rewrites and sends: back out of the interface it came in by, or out of the backend's.
#[inline(always)]
pub fn send(ctx: &XdpContext, link: Link<'_>, to: &Egress, plan: Plan) -> Result<u32, Reason> {
    match plan {
        Plan::Keep => address(link.macs, to),
        Plan::Rewrite => {
            if let Tags::One(tag) | Tags::Two(tag) = link.tags {
                tag.set_id(to.vlan);
            }
            address(link.macs, to);
        }
        Plan::Push => {
            let mut cursor = moved(ctx, -(size_of::<Tag>() as i32))?;
            address(cursor.take::<Macs>()?, to);
            *cursor.take::<[u8; 2]>()? = eth::VLAN.to_le_bytes();
            // The frame's own type stands behind this already.
            *cursor.take::<[u8; 2]>()? = to.vlan.to_le_bytes();
        }
        Plan::Pop => {
            let mut cursor = moved(ctx, size_of::<Tag>() as i32)?;
            address(cursor.take::<Macs>()?, to);
        }
    }
    // SAFETY: the context is valid for the whole program.
    if unsafe { (*ctx.ctx).ingress_ifindex } == to.ifindex {
        return Ok(XDP_TX);
    }
    // SAFETY: a helper without memory arguments.
    Ok(unsafe { bpf_redirect(to.ifindex, 0) } as u32)
}

#[inline(always)]
fn address(macs: &mut Macs, to: &Egress) {
    macs.write(to.macs.0, to.macs.1);
}

/// Moves the start of the frame; what was taken from it before is void.
#[inline(always)]
fn moved(ctx: &XdpContext, by: i32) -> Result<Cursor<'static>, Reason> {
    // SAFETY: the context is the program's own; the kernel checks the new start.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, by) } != 0 {
        return Err(Reason::VlanRewrite);
    }
    // SAFETY: the context's own, new bounds.
    Ok(unsafe { Cursor::from_raw(ctx.data() as *mut u8, ctx.data_end() as *mut u8) })
}
