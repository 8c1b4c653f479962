//! Which addresses can be a VIP or a backend.

use std::net::{IpAddr, Ipv4Addr};

/// Why an address cannot be where traffic goes.
pub(super) fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("is in 0.0.0.0/8, which names no host"),
        IpAddr::V4(v4) if v4.is_loopback() => Some("is a loopback address"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("is a link-local address"),
        IpAddr::V4(v4) if v4.is_multicast() => Some("is a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("is the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] >= 240 => Some("is in 240.0.0.0/4, which is reserved"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("names no host"),
        IpAddr::V6(v6) if v6.is_loopback() => Some("is a loopback address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("is a link-local address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("is a multicast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("is an IPv4 address written as IPv6"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// What to write instead of an unusable address.
pub(super) fn instead(address: IpAddr, role: &str) -> String {
    match address {
        IpAddr::V6(v6) if let Some(v4) = v6.to_ipv4_mapped() => format!("write it as IPv4: `\"{v4}\"`"),
        IpAddr::V4(_) | IpAddr::V6(_) => {
            format!("write {role}: a unicast address that other hosts can reach")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unicast_addresses_that_others_can_reach_are_usable() {
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:192.0.2.1",
        ] {
            assert!(unusable(bad.parse().expect(bad)).is_some(), "{bad}");
        }
        for good in ["192.0.2.1", "10.0.0.1", "223.255.255.255", "2001:db8::1", "fd00::1"] {
            assert_eq!(unusable(good.parse().expect(good)), None, "{good}");
        }
    }
}
