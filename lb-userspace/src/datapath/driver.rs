//! What an interface says of itself: its driver and its MTU.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `SIOCETHTOOL` of linux/sockios.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// `ETHTOOL_GDRVINFO` of linux/ethtool.h.
const GDRVINFO: u32 = 3;

/// `struct ethtool_drvinfo` of linux/ethtool.h, as far as we read it; the rest is padding to its size of 196 bytes.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// `struct ifreq` of linux/if.h with the pointer member of its union.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut DriverInfo,
    rest: [u8; 16],
}

/// `struct ifreq` with the MTU of its union.
#[repr(C)]
struct MtuRequest {
    name: [u8; libc::IFNAMSIZ],
    mtu: libc::c_int,
    rest: [u8; 20],
}

/// The MTU of `interface`, in bytes of L3. Asked of the network namespace we are in: sysfs shows the one in which it was mounted.
pub(super) fn mtu(interface: &str) -> Option<u32> {
    let mut request = MtuRequest { name: name_of(interface)?, mtu: 0, rest: [0; 20] };
    let socket = any_socket()?;
    // SAFETY: the request is laid out as the kernel expects and outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) } != 0 {
        return None;
    }
    request.mtu.try_into().ok()
}

/// The driver of `interface` as `ethtool -i` names it, or `unknown`.
pub(super) fn name(interface: &str) -> String {
    read(interface).unwrap_or_else(|| "unknown".to_owned())
}

fn read(interface: &str) -> Option<String> {
    let mut info = DriverInfo { command: GDRVINFO, driver: [0; 32], rest: [0; 160] };
    let mut request = Request { name: name_of(interface)?, data: &raw mut info, rest: [0; 16] };
    let socket = any_socket()?;
    // SAFETY: the request and what it points to are laid out as the kernel expects and outlive the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } != 0 {
        return None;
    }
    let text = info.driver.split(|b| *b == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// A name as requests hold it, with a zero byte behind; none if no interface can have it.
fn name_of(interface: &str) -> Option<[u8; libc::IFNAMSIZ]> {
    let mut name = [0; libc::IFNAMSIZ];
    name[..libc::IFNAMSIZ - 1].get_mut(..interface.len())?.copy_from_slice(interface.as_bytes());
    Some(name)
}

/// Requests about interfaces take a socket of any kind.
fn any_socket() -> Option<OwnedFd> {
    socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_loopback_has_an_mtu() {
        assert!(super::mtu("lo").is_some_and(|mtu| mtu >= 1500));
        assert_eq!(super::mtu("no-such-if0"), None);
        assert_eq!(super::mtu("a-name-that-is-much-too-long-for-an-interface"), None);
    }

    #[test]
    fn what_does_not_exist_has_no_known_driver() {
        assert_eq!(super::name("no-such-if0"), "unknown");
        assert_eq!(super::name("a-name-that-is-much-too-long-for-an-interface"), "unknown");
    }
}
