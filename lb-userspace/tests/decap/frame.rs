//! Packets inside, headers around them.

use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;

/// Destination and source of the link header.
const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 9, 9];
/// This host's addresses.
pub(crate) const HOST4: [u8; 4] = [10, 9, 0, 2];
pub(crate) const HOST6: [u8; 16] = [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// Where tunnels come from.
pub(crate) const FROM4: [u8; 4] = [172, 16, 104, 123];
pub(crate) const FROM6: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 104, 123, 5, 7];
/// The configured port.
pub(crate) const PORT: u16 = 6080;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// What stands between the outer and the inner IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrap {
    /// Nothing.
    IpIp,
    /// UDP: GUE variant 1.
    Direct,
    /// UDP and a GUE header: variant 0.
    Header,
}

pub(crate) const WRAPS: [Wrap; 3] = [Wrap::IpIp, Wrap::Direct, Wrap::Header];

/// A client's packet to a VIP, from the IP header on, with that traffic class.
pub(crate) fn packet(family: Family, udp: bool, class: u8) -> Vec<u8> {
    let (src, dst): (SocketAddr, SocketAddr) = match family {
        Family::V4 => ("198.51.100.7:40000".parse().unwrap(), "203.0.113.1:80".parse().unwrap()),
        Family::V6 => ("[2001:db8:c::7]:40000".parse().unwrap(), "[2001:db8::1]:80".parse().unwrap()),
    };
    inner(src, dst, udp, class, b"payload!")
}

/// A packet with correct checksums.
pub(crate) fn inner(src: SocketAddr, dst: SocketAddr, udp: bool, class: u8, payload: &[u8]) -> Vec<u8> {
    let step = match (src.ip(), dst.ip()) {
        (IpAddr::V4(s), IpAddr::V4(d)) => PacketBuilder::ipv4(s.octets(), d.octets(), 63),
        (IpAddr::V6(s), IpAddr::V6(d)) => PacketBuilder::ipv6(s.octets(), d.octets(), 63),
        families => panic!("{families:?}"),
    };
    let mut bytes = Vec::new();
    if udp {
        step.udp(src.port(), dst.port()).write(&mut bytes, payload).unwrap();
    } else {
        step.tcp(src.port(), dst.port(), 7, 65_000).syn().write(&mut bytes, payload).unwrap();
    }
    set_class(&mut bytes, class);
    bytes
}

/// Sets the traffic class, and IPv4's checksum from scratch.
pub(crate) fn set_class(packet: &mut [u8], class: u8) {
    if packet[0] >> 4 == 4 {
        packet[1] = class;
        seal(&mut packet[..20]);
    } else {
        packet[0] = 0x60 | class >> 4;
        packet[1] = packet[1] & 0x0f | class << 4;
    }
}

/// Writes the checksum of an IPv4 header.
pub(crate) fn seal(header: &mut [u8]) {
    header[10..12].fill(0);
    let mut sum: u32 = header.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// The inner packet's family, as its IP protocol number.
pub(crate) fn protocol(packet: &[u8]) -> u8 {
    if packet[0] >> 4 == 4 { 4 } else { 41 }
}

/// An outer header.
#[derive(Clone, Debug)]
pub(crate) struct Outer {
    pub(crate) family: Family,
    pub(crate) wrap: Wrap,
    pub(crate) class: u8,
    /// The low bytes, by family.
    pub(crate) src: [u8; 16],
    pub(crate) dst: [u8; 16],
    pub(crate) port: u16,
    /// IPv4: words of options. IPv6: 8-byte units of a destination options header.
    pub(crate) extra: usize,
}

/// From a balancer to this host.
pub(crate) fn outer(family: Family, wrap: Wrap) -> Outer {
    let wide = |four: [u8; 4]| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&four);
        bytes
    };
    let (src, dst) = match family {
        Family::V4 => (wide(FROM4), wide(HOST4)),
        Family::V6 => (FROM6, HOST6),
    };
    Outer { family, wrap, class: 0, src, dst, port: PORT, extra: 0 }
}

impl Outer {
    /// The header alone, around a payload of the inner packet's length.
    pub(crate) fn around(&self, packet: &[u8]) -> Vec<u8> {
        let between = match self.wrap {
            Wrap::IpIp => Vec::new(),
            Wrap::Direct => self.udp(packet.len()),
            Wrap::Header => {
                let mut udp = self.udp(packet.len() + 4);
                udp.extend([0, protocol(packet), 0, 0]);
                udp
            }
        };
        let next = if self.wrap == Wrap::IpIp { protocol(packet) } else { 17 };
        let length = between.len() + packet.len();
        let mut bytes = match self.family {
            Family::V4 => self.v4(next, length),
            Family::V6 => self.v6(next, length),
        };
        bytes.extend(between);
        bytes.extend(packet);
        bytes
    }

    fn udp(&self, payload: usize) -> Vec<u8> {
        let mut bytes = 0xc123u16.to_be_bytes().to_vec();
        bytes.extend(self.port.to_be_bytes());
        bytes.extend((payload as u16 + 8).to_be_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    fn v4(&self, next: u8, payload: usize) -> Vec<u8> {
        let header = 20 + self.extra * 4;
        let mut bytes = vec![0x40 | (header / 4) as u8, self.class];
        bytes.extend(((header + payload) as u16).to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, next, 0, 0]);
        bytes.extend(&self.src[..4]);
        bytes.extend(&self.dst[..4]);
        // No-operation options.
        bytes.resize(header, 1);
        seal(&mut bytes);
        bytes
    }

    fn v6(&self, next: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![0x60 | self.class >> 4, self.class << 4, 0, 0];
        bytes.extend(((payload + self.extra * 8) as u16).to_be_bytes());
        bytes.extend([if self.extra > 0 { 60 } else { next }, 64]);
        bytes.extend(self.src);
        bytes.extend(self.dst);
        if self.extra > 0 {
            let mut options = vec![next, (self.extra - 1) as u8];
            // Pad1 options are zeros.
            options.resize(self.extra * 8, 0);
            bytes.extend(options);
        }
        bytes
    }
}

/// A frame without tags.
pub(crate) fn ethernet(packet: &[u8]) -> Vec<u8> {
    tagged(packet, &[])
}

/// A frame with tags (type, control information), the first one outermost.
pub(crate) fn tagged(packet: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut bytes = MACS.to_vec();
    for (kind, tci) in tags {
        bytes.extend(kind.to_be_bytes());
        bytes.extend(tci.to_be_bytes());
    }
    bytes.extend(if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
    bytes.extend(packet);
    bytes
}
