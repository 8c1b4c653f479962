//! A frame in one line, as far as it can be read. Pure.

use std::{fmt::Write, net::IpAddr};

use lb_common::net::{
    ICMP, ICMPV6, SCTP, TCP, UDP,
    cursor::Cursor,
    eth::Macs,
    l4::{ACK, FIN, RST, SYN},
    parse::{self, Network, PacketId, Part, Tags},
};

/// `198.51.100.7:40000 > 203.0.113.10:443 tcp syn ttl 64`; for what is no IP packet its MAC addresses.
pub fn of(frame: &[u8]) -> String {
    let mut copy = frame.to_vec();
    ip(&mut copy).unwrap_or_else(|| {
        frame.get(..size_of::<Macs>()).map_or_else(
            || "not a frame".into(),
            |macs| {
                let mac =
                    |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
                let kind = frame.get(12..14).map_or(0, |b| u16::from(b[0]) << 8 | u16::from(b[1]));
                format!("{} > {} ethertype {kind:#06x}", mac(&macs[6..]), mac(&macs[..6]))
            },
        )
    })
}

fn ip(frame: &mut [u8]) -> Option<String> {
    let mut cursor = Cursor::new(frame);
    let link = parse::link(&mut cursor).ok()?;
    let vlan = match link.tags {
        Tags::None => None,
        Tags::One(tag) | Tags::Two(tag) => Some(u16::from_be_bytes(tag.id().to_le_bytes())),
    };
    let (src, dst, proto, part, ttl): (IpAddr, IpAddr, u8, Part, u8) = match link.network {
        Network::V4 => {
            let (ip, part) = parse::v4_part(&mut cursor).ok()?;
            (ip.src.into(), ip.dst.into(), ip.proto, part, ip.ttl)
        }
        Network::V6 => {
            let (ip, proto, part, _) = parse::v6_part(&mut cursor, true).ok()?;
            (ip.src.into(), ip.dst.into(), proto, part, ip.hop_limit)
        }
    };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match (part, parse::transport(&mut cursor, proto)) {
        (Part::Whole | Part::First(_), Ok(transport)) => {
            let [a, b, c, d] = transport.ports.to_le_bytes();
            let (from, to) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            write!(
                text,
                "{} > {} {}{}",
                std::net::SocketAddr::new(src, from),
                std::net::SocketAddr::new(dst, to),
                protocol(proto),
                if proto == TCP { flags(transport.flags) } else { String::new() }
            )
        }
        _ => write!(text, "{src} > {dst} {}", protocol(proto)),
    };
    let part = match part {
        Part::Whole => None,
        Part::First(id) => Some(("first", id)),
        Part::Later(id) => Some(("later", id)),
    };
    if let Some((which, id)) = part {
        let _ = write!(text, " {which} fragment of {}", number(id, dst.is_ipv6()));
    }
    let _ = write!(text, " ttl {ttl}");
    if let Some(vlan) = vlan {
        let _ = write!(text, " vlan {vlan}");
    }
    Some(text)
}

/// An identification as a number; it is loaded as it lies in the packet.
fn number(id: PacketId, six: bool) -> u32 {
    let [a, b, c, d] = id.to_le_bytes();
    if six { u32::from_be_bytes([a, b, c, d]) } else { u32::from(u16::from_be_bytes([a, b])) }
}

fn protocol(number: u8) -> String {
    match number {
        TCP => "tcp".into(),
        UDP => "udp".into(),
        ICMP => "icmp".into(),
        ICMPV6 => "icmp6".into(),
        SCTP => "sctp".into(),
        other => format!("protocol {other}"),
    }
}

fn flags(flags: u8) -> String {
    [(SYN, " syn"), (ACK, " ack"), (FIN, " fin"), (RST, " rst")]
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, name)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::{
        frame,
        question::{Fragment, Probe, Shape},
    };

    fn line(change: impl FnOnce(&mut Shape)) -> String {
        let mut shape = Shape::new(([198, 51, 100, 7].into(), 40_000), ([203, 0, 113, 10].into(), 443), TCP);
        change(&mut shape);
        of(&frame::of(&Probe::Shape(shape)).unwrap())
    }

    #[test]
    fn a_line_has_what_the_frame_has() {
        assert_eq!(line(|_| {}), "198.51.100.7:40000 > 203.0.113.10:443 tcp syn ttl 64");
        assert_eq!(
            line(|s| s.vlans = vec![7]),
            "198.51.100.7:40000 > 203.0.113.10:443 tcp syn ttl 64 vlan 7"
        );
        assert_eq!(line(|s| s.protocol = ICMP), "198.51.100.7 > 203.0.113.10 icmp ttl 64");
        assert_eq!(
            line(|s| s.fragment = Some(Fragment { later: true, id: 9 })),
            "198.51.100.7 > 203.0.113.10 tcp later fragment of 9 ttl 64"
        );
    }

    #[test]
    fn whatever_a_frame_holds_there_is_a_line() {
        assert_eq!(of(&[1; 5]), "not a frame");
        let mut arp = [0u8; 20];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert!(of(&arp).ends_with("ethertype 0x0806"));
    }
}
