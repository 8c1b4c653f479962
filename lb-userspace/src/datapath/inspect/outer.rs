//! What the program made of a frame, read from the bytes it wrote. Pure.

use std::net::IpAddr;

use lb_common::net::{
    UDP,
    cursor::Cursor,
    eth::Macs,
    l4::Udp,
    parse::{self, Network, Tags},
    tunnel,
};

use crate::{datapath::question::Outer, model::Mac};

/// A frame on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) struct Leaving {
    /// Destination MAC address.
    pub(in crate::datapath) mac: Mac,
    /// Outermost VLAN id.
    pub(in crate::datapath) vlan: Option<u16>,
    /// The tunnel's header; meaningful if the frame was sent into one.
    pub(in crate::datapath) outer: Option<Outer>,
}

/// Reads a frame that the program sent; `None` for what is no frame.
pub(in crate::datapath) fn read(frame: &[u8]) -> Option<Leaving> {
    let mut copy = frame.to_vec();
    let mac = Mac(copy.get(..size_of::<Macs>())?.first_chunk::<6>().copied()?);
    let mut cursor = Cursor::new(&mut copy);
    let link = parse::link(&mut cursor).ok()?;
    let vlan = match link.tags {
        Tags::None => None,
        Tags::One(tag) | Tags::Two(tag) => Some(u16::from_be_bytes(tag.id().to_le_bytes())),
    };
    let network = link.network;
    Some(Leaving { mac, vlan, outer: outer(&mut cursor, network) })
}

fn outer(cursor: &mut Cursor<'_>, network: Network) -> Option<Outer> {
    let (source, destination, proto): (IpAddr, IpAddr, u8) = match network {
        Network::V4 => {
            let ip = parse::v4(cursor).ok()?;
            (ip.src.into(), ip.dst.into(), ip.proto)
        }
        Network::V6 => {
            let (ip, proto) = parse::v6(cursor).ok()?;
            (ip.src.into(), ip.dst.into(), proto)
        }
    };
    if proto != UDP {
        return tunnel::inner(proto).map(|_| Outer { source, destination, ports: None });
    }
    let [a, b, c, d] = cursor.take::<Udp>().ok()?.ports;
    Some(Outer { source, destination, ports: Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))) })
}

#[cfg(test)]
mod tests {
    use etherparse::{IpNumber, PacketBuilder};

    use super::*;

    const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 9]);

    #[test]
    fn an_outer_header_is_found_behind_a_tag() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(MACS.0, MACS.1)
            .single_vlan(20.try_into().unwrap())
            .ipv6([1; 16], [2; 16], 64)
            .udp(49_152, 6_080)
            .write(&mut frame, &[0x45])
            .unwrap();
        let read = read(&frame).unwrap();
        assert_eq!((read.mac, read.vlan), (Mac(MACS.1), Some(20)));
        let outer = read.outer.unwrap();
        assert_eq!((outer.source, outer.ports), ([1u8; 16].into(), Some((49_152, 6_080))));
    }

    #[test]
    fn a_packet_in_a_packet_has_no_ports_and_tcp_is_no_tunnel() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(MACS.0, MACS.1)
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
            .write(&mut frame, IpNumber::IPV4, &[0x45; 20])
            .unwrap();
        let outer = read(&frame).unwrap().outer.unwrap();
        assert_eq!(outer.destination, IpAddr::from([192, 0, 2, 2]));
        assert_eq!(outer.ports, None);
        frame.clear();
        PacketBuilder::ethernet2(MACS.0, MACS.1)
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
            .tcp(1, 2, 3, 4)
            .write(&mut frame, &[])
            .unwrap();
        assert_eq!(read(&frame).unwrap().outer, None);
        assert_eq!(read(&[0; 5]), None);
    }
}
