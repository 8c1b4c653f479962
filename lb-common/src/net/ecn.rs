//! Congestion marks at the ends of a tunnel (RFC 6040), and DSCP with them. Pure.
//!
//! Values are whole traffic classes: IPv4's `tos`, IPv6's traffic class. The upper six bits are the DSCP, the lower two the mark.

use super::{csum, ipv4::Ipv4, ipv6::Ipv6};

/// The bits of a traffic class that hold the mark.
pub const MASK: u8 = 0b11;
/// The sender does not know congestion marks.
pub const NOT_ECT: u8 = 0b00;
/// The sender knows them, code point 1 (with L4S: low latency).
pub const ECT1: u8 = 0b01;
/// The sender knows them, code point 0.
pub const ECT0: u8 = 0b10;
/// A router on the way was congested.
pub const CE: u8 = 0b11;

/// The traffic class of the outer header: the inner one's, DSCP and mark. That is the "normal mode" of RFC 6040, section 4.1; its
/// receivers follow [`decap`].
#[inline(always)]
pub const fn outer_tos(inner: u8) -> u8 {
    inner
}

/// The inner traffic class after the outer header is gone: RFC 6040, figure 4. The DSCP stays what the client sent.
///
/// `None`: the packet is to be dropped. A congested router marked it, and its sender would not understand the mark.
#[inline(always)]
pub const fn decap(outer: u8, inner: u8) -> Option<u8> {
    match (outer & MASK, inner & MASK) {
        (CE, NOT_ECT) => None,
        (CE, _) => Some(inner | CE),
        (ECT1, ECT0) => Some(inner & !MASK | ECT1),
        _ => Some(inner),
    }
}

/// The traffic class of an IPv6 header.
#[inline(always)]
pub const fn class6(ip: &Ipv6) -> u8 {
    ip.version_class_flow[0] << 4 | ip.version_class_flow[1] >> 4
}

/// Changes an IPv4 header's traffic class and keeps the checksum right.
#[inline(always)]
pub const fn set4(ip: &mut Ipv4, tos: u8) {
    ip.csum = csum::replace(ip.csum, [ip.version_ihl, ip.tos], [ip.version_ihl, tos]);
    ip.tos = tos;
}

/// Changes an IPv6 header's traffic class.
#[inline(always)]
pub const fn set6(ip: &mut Ipv6, class: u8) {
    ip.version_class_flow[0] = ip.version_class_flow[0] & 0xf0 | class >> 4;
    ip.version_class_flow[1] = ip.version_class_flow[1] & 0x0f | class << 4;
}

#[cfg(test)]
mod tests {
    use zerocopy::FromBytes as _;

    use super::*;

    /// RFC 6040, figure 4, cell by cell: rows are the arriving inner mark, columns the arriving outer one.
    #[test]
    fn rfc_6040_figure_4_for_every_pair_of_traffic_classes() {
        const COLUMNS: [u8; 4] = [NOT_ECT, ECT0, ECT1, CE];
        const FIGURE: [(u8, [Option<u8>; 4]); 4] = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT0, [Some(ECT0), Some(ECT0), Some(ECT1), Some(CE)]),
            (ECT1, [Some(ECT1), Some(ECT1), Some(ECT1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        let mut cells = 0;
        for outer in 0..=255u8 {
            for inner in 0..=255u8 {
                let row = FIGURE.iter().find(|(mark, _)| *mark == inner & MASK).unwrap();
                let column = COLUMNS.iter().position(|mark| *mark == outer & MASK).unwrap();
                let expected = row.1[column].map(|mark| inner & !MASK | mark);
                assert_eq!(decap(outer, inner), expected, "outer {outer:#04x}, inner {inner:#04x}");
                cells += 1;
            }
        }
        assert_eq!(cells, 1 << 16);
    }

    #[test]
    fn what_nobody_marked_comes_out_as_it_went_in() {
        for inner in 0..=255u8 {
            assert_eq!(decap(outer_tos(inner), inner), Some(inner));
        }
    }

    #[test]
    fn ipv4_keeps_a_correct_checksum_for_every_change() {
        for from in 0..=255u8 {
            for to in 0..=255u8 {
                let mut bytes =
                    [0x45, from, 0, 40, from, !to, 0x40, 0, 64, 6, 0, 0, 10, from, 0, 1, 203, 0, 113, to];
                let sum = csum::full(&bytes);
                bytes[10..12].copy_from_slice(&sum);
                set4(Ipv4::mut_from_bytes(&mut bytes).unwrap(), to);
                assert_eq!((bytes[1], csum::full(&bytes)), (to, [0, 0]), "{from} to {to}");
            }
        }
    }

    #[test]
    fn ipv6_changes_the_class_and_nothing_else() {
        for class in 0..=255u8 {
            for filler in [0, 0xff] {
                let mut bytes = [filler; 40];
                let ip = Ipv6::mut_from_bytes(&mut bytes).unwrap();
                set6(ip, class);
                assert_eq!(class6(ip), class);
                set6(ip, filler);
                assert_eq!(bytes, [filler; 40]);
            }
        }
    }
}
