//! Services that are no single address and port, and whether an address is ours at all. Only packets that no single address, port and
//! protocol claimed come here.

use aya_ebpf::btf_maps::lpm_trie::Key;
use lb_common::{
    net::Wire16,
    reason::Reason,
    service::{IS_VIP, Key4, Key6, ServiceRef},
    shape::{MAX_ENTRIES, ShapeList},
};

use crate::{
    maps::{PREFIXES4, PREFIXES6, SETTINGS, SHAPES},
    service,
};

/// A destination address of either family, as its lookups need it.
pub trait Address: Copy {
    /// The service of exactly this address, port and protocol.
    fn exact(self, port: Wire16, proto: u8) -> Result<ServiceRef, Reason>;
    /// The list of the longest prefix that holds it.
    fn list(self) -> Option<ShapeList>;
}

/// Loaded little-endian.
#[derive(Clone, Copy)]
pub struct V4(pub u32);

/// Two halves, loaded little-endian.
#[derive(Clone, Copy)]
pub struct V6(pub [u64; 2]);

impl Address for V4 {
    #[inline(always)]
    fn exact(self, port: Wire16, proto: u8) -> Result<ServiceRef, Reason> {
        service::find4(Key4::new(self.0, port, proto))
    }
    #[inline(always)]
    fn list(self) -> Option<ShapeList> {
        if SETTINGS.get(0)?.prefixes4 == 0 {
            return None;
        }
        PREFIXES4.get(&Key::new(32, self.0)).copied()
    }
}

impl Address for V6 {
    #[inline(always)]
    fn exact(self, port: Wire16, proto: u8) -> Result<ServiceRef, Reason> {
        service::find6(Key6::new(self.0, port, proto))
    }
    #[inline(always)]
    fn list(self) -> Option<ShapeList> {
        if SETTINGS.get(0)?.prefixes6 == 0 {
            return None;
        }
        let [a, b] = self.0;
        PREFIXES6.get(&Key::new(128, [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32])).copied()
    }
}

/// The service of a destination, of whatever shape.
#[inline(always)]
pub fn find(to: impl Address, port: Wire16, proto: u8) -> Result<ServiceRef, Reason> {
    if let Ok(found) = to.exact(port, proto) {
        return Ok(found);
    }
    let list = to.list().ok_or(Reason::NotService)?;
    let number = u16::from_be_bytes(port.to_le_bytes());
    for i in 0..MAX_ENTRIES {
        if i >= list.len {
            break;
        }
        let entry = SHAPES.get(list.start.wrapping_add(i)).ok_or(Reason::BadTable)?;
        if entry.claims(proto, number) {
            return Ok(entry.value);
        }
    }
    Err(Reason::NotService)
}

/// There are no such services: what is no single address, port and protocol is nobody's.
#[inline(always)]
pub fn none() -> bool {
    SETTINGS.get(0).is_none_or(|s| s.prefixes4 | s.prefixes6 == 0)
}

/// Whether the address is one of ours.
#[inline(always)]
pub fn is_vip(to: impl Address) -> bool {
    to.exact(0, IS_VIP).is_ok() || to.list().is_some()
}
