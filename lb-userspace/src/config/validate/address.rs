//! Which addresses can be a VIP or a backend.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

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

/// Prefixes that name no host others can reach, and what they are.
const SPECIAL: [(&str, &str); 10] = [
    ("0.0.0.0/8", "0.0.0.0/8, which names no host"),
    ("127.0.0.0/8", "loopback addresses"),
    ("169.254.0.0/16", "link-local addresses"),
    ("224.0.0.0/4", "multicast addresses"),
    ("240.0.0.0/4", "240.0.0.0/4, which is reserved"),
    ("::/128", "the address that names no host"),
    ("::1/128", "the loopback address"),
    ("::ffff:0:0/96", "IPv4 addresses written as IPv6"),
    ("fe80::/10", "link-local addresses"),
    ("ff00::/8", "multicast addresses"),
];

/// Why a prefix has addresses where no traffic can go.
pub(super) fn unusable_net(net: IpNet) -> Option<String> {
    if let Some(why) = unusable(net.addr()) {
        return Some(why.to_owned());
    }
    let special = SPECIAL.iter().filter_map(|(text, what)| Some((text.parse::<IpNet>().ok()?, what)));
    let within = |special: &IpNet| special.prefix_len() > net.prefix_len() && net.contains(special);
    special.filter(|(special, _)| within(special)).map(|(_, what)| format!("contains {what}")).next()
}

/// Why a prefix is wider than anybody means.
pub(super) fn too_wide(net: IpNet) -> Option<&'static str> {
    match net {
        IpNet::V4(net) if net.prefix_len() < 8 => Some("is wider than a /8"),
        IpNet::V6(net) if net.prefix_len() < 16 => Some("is wider than a /16"),
        IpNet::V4(_) | IpNet::V6(_) => None,
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
    fn a_prefix_is_usable_when_each_of_its_addresses_is() {
        for bad in [
            "169.254.3.0/24",
            "168.0.0.0/7",
            "224.0.0.0/24",
            "0.0.0.0/0",
            "fe80::/64",
            "fe00::/8",
            "::/64",
            "::/0",
        ] {
            assert!(unusable_net(bad.parse().expect(bad)).is_some(), "{bad}");
        }
        for good in ["203.0.113.0/28", "10.0.0.0/8", "100::/64", "2001:db8::/32", "192.0.2.1/32"] {
            assert_eq!(unusable_net(good.parse().expect(good)), None, "{good}");
        }
    }

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
