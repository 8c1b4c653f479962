//! IPv4 (RFC 791).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version 4 and a header of five words: no options.
pub const PLAIN: u8 = 0x45;
/// "More fragments" and the 13 bits of offset: anything but 0 is a fragment.
pub const FRAGMENT: super::Wire16 = super::wire(0x3fff);

/// The fixed part of the header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Ipv4 {
    /// Version 4 bits, header length in words 4 bits.
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Length of header and payload in bytes.
    pub total_len: [u8; 2],
    /// Identification.
    pub id: [u8; 2],
    /// Flags 3 bits, fragment offset 13 bits.
    pub frag: [u8; 2],
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub proto: u8,
    /// Header checksum.
    pub csum: [u8; 2],
    /// Source.
    pub src: [u8; 4],
    /// Destination.
    pub dst: [u8; 4],
}

impl Ipv4 {
    /// Whether this is a fragment, the first included.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        u16::from_le_bytes(self.frag) & FRAGMENT != 0
    }

    /// Whether a fragment is its packet's first.
    #[inline(always)]
    pub const fn is_first(&self) -> bool {
        u16::from_le_bytes(self.frag) & super::wire(0x1fff) == 0
    }

    /// Whether routers must not fragment it.
    #[inline(always)]
    pub const fn dont_fragment(&self) -> bool {
        u16::from_le_bytes(self.frag) & super::wire(0x4000) != 0
    }

    /// Takes one from the TTL and keeps the checksum right: RFC 1141, section 1, with its end-around carry. The sum is the same
    /// in either byte order, so it is done on the words as they are loaded.
    #[inline(always)]
    pub const fn decrement_ttl(&mut self) {
        self.ttl = self.ttl.wrapping_sub(1);
        let sum = u16::from_le_bytes(self.csum) as u32 + super::wire(0x0100) as u32;
        self.csum = ((sum + (sum >= 0xffff) as u32) as u16).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::csum, *};

    #[test]
    fn decrement_agrees_with_a_full_sum_for_every_ttl_and_every_rest() {
        for ttl in 1..=255u8 {
            for filler in 0..=255u8 {
                let mut bytes = [
                    0x45, filler, 0, 40, filler, !filler, 0x40, 0, ttl, 6, 0, 0, 10, filler, 0, 1, 203, 0,
                    113, ttl,
                ];
                let sum = csum::full(&bytes);
                bytes[10..12].copy_from_slice(&sum);
                let header = Ipv4::mut_from_bytes(&mut bytes).unwrap();
                header.decrement_ttl();
                assert_eq!(header.ttl, ttl - 1);
                assert_eq!(csum::full(&bytes), [0, 0], "ttl {ttl}, filler {filler}");
            }
        }
    }
}
