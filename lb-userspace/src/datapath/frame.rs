//! A frame as a client's would arrive, for asking the program where it goes.

use std::net::IpAddr;

use lb_common::net::{
    TCP, UDP, csum,
    eth::{self, Macs},
    ipv4::{self, Ipv4},
    ipv6::Ipv6,
    l4::{self, ACK, SYN, Tcp, Udp},
};
use zerocopy::IntoBytes;

use super::Probe;
use crate::model::Protocol;

const TTL: u8 = 64;

/// Ethernet, IP and transport header of `probe`, no payload. `None` if its addresses are of two families.
pub(super) fn of(probe: &Probe) -> Option<Vec<u8>> {
    let transport = transport(probe);
    let proto = match probe.protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
    };
    let mut frame = Macs { dst: [2, 0, 0, 0, 0, 1], src: [2, 0, 0, 0, 0, 2] }.as_bytes().to_vec();
    match (probe.src.ip(), probe.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut ip = Ipv4 {
                version_ihl: ipv4::PLAIN,
                tos: 0,
                total_len: ((size_of::<Ipv4>() + transport.len()) as u16).to_be_bytes(),
                id: [0; 2],
                frag: [0; 2],
                ttl: TTL,
                proto,
                csum: [0; 2],
                src: src.octets(),
                dst: dst.octets(),
            };
            ip.csum = csum::full(ip.as_bytes());
            frame.extend(eth::IPV4.to_le_bytes());
            frame.extend(ip.as_bytes());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let ip = Ipv6 {
                version_class_flow: [0x60, 0, 0, 0],
                payload_len: (transport.len() as u16).to_be_bytes(),
                next: proto,
                hop_limit: TTL,
                src: src.octets(),
                dst: dst.octets(),
            };
            frame.extend(eth::IPV6.to_le_bytes());
            frame.extend(ip.as_bytes());
        }
        _ => return None,
    }
    frame.extend(transport);
    Some(frame)
}

fn transport(probe: &Probe) -> Vec<u8> {
    let ports = l4::ports(probe.src.port(), probe.dst.port());
    match probe.protocol {
        Protocol::Tcp => Tcp {
            ports,
            seq: [0; 4],
            ack: [0; 4],
            offset: 5 << 4,
            flags: if probe.first { SYN } else { ACK },
            window: [0xff; 2],
            csum: [0; 2],
            urgent: [0; 2],
        }
        .as_bytes()
        .to_vec(),
        Protocol::Udp => Udp { ports, len: [0, 8], csum: [0; 2] }.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    fn probe(src: &str, dst: &str, protocol: Protocol) -> Probe {
        Probe { src: src.parse().unwrap(), dst: dst.parse().unwrap(), protocol, first: true }
    }

    #[test]
    fn somebody_elses_parser_reads_what_was_meant() {
        let bytes = of(&probe("198.51.100.7:40000", "203.0.113.10:443", Protocol::Tcp)).unwrap();
        let frame = SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(NetSlice::Ipv4(ip)) = frame.net else { panic!("{frame:?}") };
        assert_eq!(ip.header().destination(), [203, 0, 113, 10]);
        assert_eq!(ip.header().to_header().calc_header_checksum(), ip.header().header_checksum());
        let Some(TransportSlice::Tcp(tcp)) = frame.transport else { panic!() };
        assert_eq!(
            (tcp.source_port(), tcp.destination_port(), tcp.syn(), tcp.ack()),
            (40000, 443, true, false)
        );

        let bytes = of(&probe("[2001:db8::7]:5000", "[2001:db8::10]:53", Protocol::Udp)).unwrap();
        let frame = SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(NetSlice::Ipv6(ip)) = frame.net else { panic!("{frame:?}") };
        assert_eq!(ip.header().destination(), "2001:db8::10".parse::<std::net::Ipv6Addr>().unwrap().octets());
        let Some(TransportSlice::Udp(udp)) = frame.transport else { panic!() };
        assert_eq!((udp.source_port(), udp.destination_port()), (5000, 53));
    }

    #[test]
    fn families_do_not_mix() {
        assert_eq!(of(&probe("198.51.100.7:1", "[2001:db8::10]:53", Protocol::Udp)), None);
    }
}
