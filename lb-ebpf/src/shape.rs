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

/// A destination address of either family. Its searches are global functions (see `main::live_slow`): keys and the walk through a list lie on
/// their own stack, and the verifier looks at them once.
pub trait Address: Copy {
    /// The service of a destination, of whatever shape.
    fn service(self, port: Wire16, proto: u8) -> Result<ServiceRef, Reason>;
    /// Whether the address is one of ours.
    fn is_vip(self) -> bool;
}

/// How a family's tables are searched.
trait Tables: Copy {
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

impl Tables for V4 {
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

impl Tables for V6 {
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

impl Address for V4 {
    #[inline(always)]
    fn service(self, port: Wire16, proto: u8) -> Result<ServiceRef, Reason> {
        unpacked(shape4(self.0, u32::from(port), u32::from(proto)))
    }
    #[inline(always)]
    fn is_vip(self) -> bool {
        vip4(self.0) != 0
    }
}

impl Address for V6 {
    #[inline(always)]
    fn service(self, port: Wire16, proto: u8) -> Result<ServiceRef, Reason> {
        let [a, b] = self.0;
        unpacked(shape6(a, b, u32::from(port), u32::from(proto)))
    }
    #[inline(always)]
    fn is_vip(self) -> bool {
        let [a, b] = self.0;
        vip6(a, b) != 0
    }
}

/// [`find`] for IPv4, its answer [`packed`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn shape4(dst: u32, port: u32, proto: u32) -> u64 {
    packed(find(V4(dst), port as Wire16, proto as u8))
}

/// [`find`] for IPv6, its answer [`packed`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn shape6(a: u64, b: u64, port: u32, proto: u32) -> u64 {
    packed(find(V6([a, b]), port as Wire16, proto as u8))
}

/// Whether an IPv4 address is one of ours: 1.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vip4(dst: u32) -> u32 {
    u32::from(ours(V4(dst)))
}

/// Whether an IPv6 address is one of ours: 1.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vip6(a: u64, b: u64) -> u32 {
    u32::from(ours(V6([a, b])))
}

/// No service; no service has all flags.
const NONE: u64 = u64::MAX;
/// A table had no such entry.
const DEFECT: u64 = u64::MAX - 1;

#[inline(always)]
fn packed(found: Result<ServiceRef, Reason>) -> u64 {
    match found {
        Ok(ServiceRef { service, pool, flags }) => {
            u64::from(service) | u64::from(pool) << 16 | u64::from(flags) << 32
        }
        Err(Reason::BadTable) => DEFECT,
        Err(_) => NONE,
    }
}

#[inline(always)]
fn unpacked(found: u64) -> Result<ServiceRef, Reason> {
    match found {
        NONE => Err(Reason::NotService),
        DEFECT => Err(Reason::BadTable),
        _ => {
            Ok(ServiceRef { service: found as u16, pool: (found >> 16) as u16, flags: (found >> 32) as u32 })
        }
    }
}

#[inline(always)]
fn find(to: impl Tables, port: Wire16, proto: u8) -> Result<ServiceRef, Reason> {
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

#[inline(always)]
fn ours(to: impl Tables) -> bool {
    to.exact(0, IS_VIP).is_ok() || to.list().is_some()
}

/// There are no such services: what is no single address, port and protocol is nobody's.
#[inline(always)]
pub fn none() -> bool {
    SETTINGS.get(0).is_none_or(|s| s.prefixes4 | s.prefixes6 == 0)
}
