//! IP in IP (RFC 2003, 2473, 4213) and Generic UDP Encapsulation (draft-ietf-intarea-gue). Pure.

use super::parse::Network;

/// IP protocol number of an IPv4 packet inside another packet.
pub const IPIP: u8 = 4;
/// IP protocol number of an IPv6 packet inside another packet.
pub const IPV6: u8 = 41;
/// UDP port of GUE, as IANA assigned it.
pub const GUE_PORT: u16 = 6080;

/// The first four bytes behind a GUE port's UDP header: a whole variant-0 header, or the begin of a packet (variant 1).
pub type GueWord = [u8; 4];

/// What a UDP datagram to the GUE port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gue {
    /// Variant 1: the packet itself, right behind the UDP header. Its version nibble is the variant (0b01 0100, 0b01 1000).
    Direct(Network),
    /// Variant 0: behind a header of four bytes.
    Header(Network),
    /// Control messages, optional fields, flags, other protocols and variants.
    Other,
}

/// Reads the first word behind the UDP header.
#[inline(always)]
pub const fn gue(word: GueWord) -> Gue {
    match word[0] >> 4 {
        4 => Gue::Direct(Network::V4),
        6 => Gue::Direct(Network::V6),
        // Variant 2 bits, control 1 bit, length of the optional fields 5 bits; protocol; flags.
        0 if word[0] == 0 && word[2] == 0 && word[3] == 0 => match inner(word[1]) {
            Some(network) => Gue::Header(network),
            None => Gue::Other,
        },
        _ => Gue::Other,
    }
}

/// The family of a packet inside another, by its IP protocol number.
#[inline(always)]
pub const fn inner(proto: u8) -> Option<Network> {
    match proto {
        IPIP => Some(Network::V4),
        IPV6 => Some(Network::V6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_behind_udp_is_known_by_its_version() {
        assert_eq!(gue([0x45, 0, 0, 40]), Gue::Direct(Network::V4));
        assert_eq!(gue([0x4f, 0xff, 0xff, 0xff]), Gue::Direct(Network::V4));
        assert_eq!(gue([0x6f, 0xff, 0xff, 0xff]), Gue::Direct(Network::V6));
    }

    #[test]
    fn every_first_byte_has_one_meaning() {
        for first in 0..=255u8 {
            let expected = match first {
                0 => Gue::Header(Network::V4),
                0x40..=0x4f => Gue::Direct(Network::V4),
                0x60..=0x6f => Gue::Direct(Network::V6),
                _ => Gue::Other,
            };
            assert_eq!(gue([first, IPIP, 0, 0]), expected, "{first:#04x}");
        }
    }

    #[test]
    fn a_header_with_anything_but_a_protocol_is_not_ours() {
        assert_eq!(gue([0, IPV6, 0, 0]), Gue::Header(Network::V6));
        for word in [[0, 47, 0, 0], [0x20, IPIP, 0, 0], [1, IPIP, 0, 0], [0, IPIP, 0x80, 0], [0, IPIP, 0, 1]]
        {
            assert_eq!(gue(word), Gue::Other, "{word:?}");
        }
    }
}
