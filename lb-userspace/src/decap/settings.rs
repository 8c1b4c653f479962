//! What is to be taken out of its tunnel, and the same as the program reads it. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use anyhow::{Result, bail, ensure};
use lb_common::decap::{ADDRESSES, Config, Prefix4, Prefix6, SOURCES, VERSION};

/// Which tunnels are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Outer destinations: this host's addresses. At least one.
    pub addresses: Vec<IpAddr>,
    /// Outer sources; none: all.
    pub sources: Vec<Prefix>,
    /// UDP port of GUE; 0: no GUE.
    pub gue_port: u16,
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The first of them.
    first: IpAddr,
    /// How many bits they share.
    length: u8,
}

impl Settings {
    /// Checks them; what is given twice is meant once.
    pub fn new(addresses: &[IpAddr], sources: &[Prefix], gue_port: u16) -> Result<Self> {
        let settings = Self { addresses: unique(addresses), sources: unique(sources), gue_port };
        ensure!(
            !settings.addresses.is_empty(),
            "no --address: say which of this host's addresses are sent to"
        );
        for address in &settings.addresses {
            ensure!(
                !address.is_unspecified() && !address.is_multicast() && !address.is_loopback(),
                "--address {address}: balancers cannot send there; give an address of an interface of this host"
            );
        }
        for v4 in [true, false] {
            let family = if v4 { "IPv4" } else { "IPv6" };
            let addresses = settings.addresses.iter().filter(|a| a.is_ipv4() == v4).count();
            ensure!(addresses <= ADDRESSES, "{addresses} {family} addresses: {ADDRESSES} at most");
            let sources = settings.sources.iter().filter(|p| p.first.is_ipv4() == v4).count();
            ensure!(
                sources <= SOURCES,
                "{sources} {family} sources: {SOURCES} at most; a shorter prefix covers more of them"
            );
        }
        Ok(settings)
    }

    /// As the program reads them, for the interface with that index.
    pub fn to_config(&self, ifindex: u32) -> Config {
        let mut config = Config {
            restricted: u8::from(!self.sources.is_empty()),
            version: VERSION,
            gue_port: self.gue_port.to_be_bytes(),
            ifindex: ifindex.to_le_bytes(),
            ..Config::default()
        };
        let [addresses4, addresses6, sources4, sources6] = &mut config.counts;
        for address in &self.addresses {
            match address {
                IpAddr::V4(a) => put(&mut config.addresses4, addresses4, a.octets()),
                IpAddr::V6(a) => put(&mut config.addresses6, addresses6, a.octets()),
            }
        }
        for prefix in &self.sources {
            let length = prefix.length;
            match prefix.first {
                IpAddr::V4(a) => put(&mut config.sources4, sources4, Prefix4 { first: a.octets(), length }),
                IpAddr::V6(a) => put(&mut config.sources6, sources6, Prefix6 { first: a.octets(), length }),
            }
        }
        config
    }

    /// From what a program has.
    pub fn from_config(config: &Config) -> Result<Self> {
        if config.version != VERSION {
            bail!(
                "attached by another version of lbdecap; `lbdecap attach` with the same arguments replaces it without a gap"
            );
        }
        let [addresses4, addresses6, sources4, sources6] = config.counts.map(usize::from);
        let four = config.addresses4.iter().take(addresses4).map(|a| IpAddr::from(*a));
        let six = config.addresses6.iter().take(addresses6).map(|a| IpAddr::from(*a));
        let from4 = config
            .sources4
            .iter()
            .take(sources4)
            .map(|p| Prefix { first: Ipv4Addr::from(p.first).into(), length: p.length });
        let from6 = config
            .sources6
            .iter()
            .take(sources6)
            .map(|p| Prefix { first: Ipv6Addr::from(p.first).into(), length: p.length });
        Ok(Self {
            addresses: four.chain(six).collect(),
            sources: from4.chain(from6).collect(),
            gue_port: u16::from_be_bytes(config.gue_port),
        })
    }
}

/// One more in a list whose length was checked.
fn put<T>(list: &mut [T], count: &mut u8, value: T) {
    if let Some(place) = list.get_mut(usize::from(*count)) {
        *place = value;
        *count += 1;
    }
}

fn unique<T: Copy + PartialEq>(given: &[T]) -> Vec<T> {
    let mut seen = Vec::new();
    for value in given {
        if !seen.contains(value) {
            seen.push(*value);
        }
    }
    seen
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}", list(&self.addresses))?;
        match self.gue_port {
            0 => write!(f, ", no GUE")?,
            port => write!(f, ", GUE port {port}")?,
        }
        if self.sources.is_empty() {
            write!(f, ", from anywhere")
        } else {
            write!(f, ", from {}", list(&self.sources))
        }
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

impl FromStr for Prefix {
    type Err = String;

    /// `ADDRESS/LENGTH`, or an address for itself alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let first: IpAddr = address
            .parse()
            .map_err(|_| format!("`{address}` is not an address; write 10.0.0.0/8 or 2001:db8::/32"))?;
        let bits = if first.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => bits,
            Some(l) => l
                .parse()
                .ok()
                .filter(|l| *l <= bits)
                .ok_or_else(|| format!("`{l}` is not a prefix length from 0 to {bits}"))?,
        };
        let begin = begin(first, length);
        if begin != first {
            return Err(format!("{text} has bits beyond its length; write {begin}/{length}"));
        }
        Ok(Self { first, length })
    }
}

/// The first address of a prefix.
fn begin(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let mask = (!0u32).checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from(u32::from(a) & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = (!0u128).checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from(u128::from(a) & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split(' ').map(|a| a.parse().unwrap()).collect()
    }

    fn prefixes(text: &str) -> Vec<Prefix> {
        text.split(' ').map(|p| p.parse().unwrap()).collect()
    }

    #[test]
    fn what_the_program_has_says_the_same() {
        let settings = Settings::new(
            &ips("10.0.0.1 10.0.0.2 2001:db8::1"),
            &prefixes("172.16.0.0/16 0.0.0.0/0 192.0.2.1 100::/64 ::/0 2001:db8::7/128"),
            9886,
        )
        .unwrap();
        let config = settings.to_config(7);
        assert_eq!((config.counts, config.restricted, config.ifindex), ([2, 1, 3, 3], 1, [7, 0, 0, 0]));
        assert_eq!(config.sources4[0], Prefix4 { first: [172, 16, 0, 0], length: 16 });
        assert_eq!(config.sources4[1], Prefix4::default());
        assert_eq!(config.sources6[2].length, 128);
        assert_eq!(Settings::from_config(&config).unwrap(), settings);
        assert_eq!(
            settings.to_string(),
            "to 10.0.0.1 10.0.0.2 2001:db8::1, GUE port 9886, \
             from 172.16.0.0/16 0.0.0.0/0 192.0.2.1/32 100::/64 ::/0 2001:db8::7/128"
        );
    }

    #[test]
    fn without_sources_nothing_is_restricted() {
        let config = Settings::new(&ips("10.0.0.1"), &[], 0).unwrap().to_config(1);
        assert_eq!((config.restricted, config.gue_port), (0, [0, 0]));
    }

    #[test]
    fn what_is_given_twice_is_meant_once() {
        let settings =
            Settings::new(&ips("10.0.0.1 10.0.0.1"), &prefixes("10.0.0.0/8 10.0.0.0/8"), 6080).unwrap();
        assert_eq!((settings.addresses.len(), settings.sources.len()), (1, 1));
    }

    #[test]
    fn limits_and_impossible_addresses_are_refused_by_name() {
        let refused = |addresses: &[IpAddr], sources: &[Prefix]| {
            Settings::new(addresses, sources, 6080).unwrap_err().to_string()
        };
        let many: Vec<IpAddr> = (0..17).map(|i| Ipv4Addr::new(10, 0, 0, i).into()).collect();
        assert!(refused(&many[..], &[]).contains("17 IPv4 addresses: 16 at most"));
        assert!(Settings::new(&many[..16], &[], 6080).is_ok());
        let from: Vec<Prefix> = (0..17).map(|i| format!("2001:db8:{i}::/48").parse().unwrap()).collect();
        assert!(refused(&many[..1], &from).contains("17 IPv6 sources: 16 at most"));
        for address in ["0.0.0.0", "127.0.0.1", "::1", "ff02::1", "224.0.0.1"] {
            assert!(refused(&ips(address), &[]).contains(address));
        }
        assert!(refused(&[], &[]).contains("no --address"));
    }

    #[test]
    fn a_prefix_is_read_or_its_repair_is_named() {
        let read = |text: &str| text.parse::<Prefix>();
        assert_eq!(
            read("10.0.0.1/8").unwrap_err(),
            "10.0.0.1/8 has bits beyond its length; write 10.0.0.0/8"
        );
        assert_eq!(
            read("2001:db8::1/32").unwrap_err(),
            "2001:db8::1/32 has bits beyond its length; write 2001:db8::/32"
        );
        for wrong in ["10.0.0.0/33", "::/129", "10.0.0.0/x", "10.0.0.0/", "x/8", "", "/8"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_of_another_version_are_not_guessed_at() {
        let mut config = Settings::new(&ips("10.0.0.1"), &[], 6080).unwrap().to_config(1);
        config.version += 1;
        assert!(Settings::from_config(&config).unwrap_err().to_string().contains("another version"));
    }
}
