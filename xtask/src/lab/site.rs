//! The edge site on paper: names, addresses, ports, weights.
//!
//! ```text
//!   client ──── router ──── sw (bridge) ──── lb          lbd
//!  10.8.0.2    10.8.0.1  10.9.0.0/24     10.9.0.10
//!  fd08::2     10.9.0.1  fd09::/64           ├── b1 … b3    HAProxy → Varnish → nginx,
//!                 │                      10.9.0.21 … 23     the VIPs on lo
//!                 └── b4    10.7.0.24, fd07::24: behind the router, reached by a tunnel
//! ```
//!
//! The router sends the VIPs to `lb`; the hosts answer the client through the router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What every namespace of the lab begins with.
pub(super) const PREFIX: &str = "lbd-lab-";

pub(super) const CLIENT: &str = "lbd-lab-client";
pub(super) const ROUTER: &str = "lbd-lab-router";
pub(super) const SWITCH: &str = "lbd-lab-sw";
pub(super) const BALANCER: &str = "lbd-lab-lb";

/// The pool, its services and the name on the certificate.
pub(super) const POOL: &str = "cache";
pub(super) const SERVER_NAME: &str = "cache.example.org";
pub(super) const HTTP: u16 = 80;
pub(super) const HTTPS: u16 = 443;
/// lbd's read-only HTTP.
pub(super) const METRICS: &str = "127.0.0.1:9090";

/// The health check's numbers, in milliseconds.
pub(super) const INTERVAL: u64 = 300;
pub(super) const TIMEOUT: u64 = 200;
pub(super) const FALL: u64 = 2;
/// MTU of the site's own links: room for a tunnel's header around a client's packet of 1500 bytes.
pub(super) const MTU: u32 = 1600;
/// MTU of the way to the far host when it has become narrow.
pub(super) const NARROW: u32 = 1400;
/// Sources of a SYN flood: nobody's.
pub(super) const FLOOD4: &str = "198.18.0.0/15";
pub(super) const FLOOD6: &str = "fd66::/16";
/// Flows that can be pinned: few, so that a flood fills the table.
pub(super) const PINS: u32 = 4096;

/// From a host's death to the last new connection sent to it, at most.
pub(super) const DETECTION: u64 = FALL * INTERVAL + TIMEOUT + 100;

/// Address family of a run of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The service's address.
    pub(super) const fn vip(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x100)),
        }
    }

    /// The client's address.
    pub(super) const fn client(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(10, 8, 0, 2)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, 2)),
        }
    }
}

/// A cache host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    /// Its name in the pool.
    pub(super) name: &'static str,
    pub(super) namespace: &'static str,
    /// Last part of its addresses.
    pub(super) number: u8,
    pub(super) weight: u32,
    /// Behind the router instead of on the balancer's segment.
    pub(super) far: bool,
}

/// The cache hosts. The third gets twice the others' share; the fourth is reached by IP in IP.
pub(super) const HOSTS: [Host; 4] = [
    Host { name: "b1", namespace: "lbd-lab-b1", number: 21, weight: 10, far: false },
    Host { name: "b2", namespace: "lbd-lab-b2", number: 22, weight: 10, far: false },
    Host { name: "b3", namespace: "lbd-lab-b3", number: 23, weight: 20, far: false },
    Host { name: "b4", namespace: "lbd-lab-b4", number: 24, weight: 10, far: true },
];

impl Host {
    /// Its own address, where health checks go.
    pub(super) fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, if self.far { 7 } else { 9 }, 0, self.number).into(),
            // The same digits as in the IPv4 address.
            Family::V6 => {
                let digits = u16::from(self.number / 10) << 4 | u16::from(self.number % 10);
                Ipv6Addr::new(if self.far { 0xfd07 } else { 0xfd09 }, 0, 0, 0, 0, 0, 0, digits).into()
            }
        }
    }

    /// Its part of new connections by weight, 0 to 1.
    pub(super) fn share(&self) -> f64 {
        let all: u32 = HOSTS.iter().map(|host| host.weight).sum();
        f64::from(self.weight) / f64::from(all)
    }
}

/// Byte of every object at this place: a transfer that is cut, doubled or mixed with another is noticed.
pub(super) const fn object_byte(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

/// The objects: path and size.
pub(super) const OBJECTS: [(&str, usize); 3] = [("1k", 1 << 10), ("100k", 100 << 10), ("10m", 10 << 20)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_the_same_digits_in_both_families() {
        assert_eq!(HOSTS[2].address(Family::V4).to_string(), "10.9.0.23");
        assert_eq!(HOSTS[2].address(Family::V6).to_string(), "fd09::23");
        assert_eq!(HOSTS[3].address(Family::V4).to_string(), "10.7.0.24");
        assert_eq!(HOSTS[3].address(Family::V6).to_string(), "fd07::24");
    }

    #[test]
    fn shares_add_up_to_one() {
        let sum: f64 = HOSTS.iter().map(Host::share).sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}
