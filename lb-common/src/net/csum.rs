//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// The checksum after the 16-bit word `old` became `new`: RFC 1624, equation 3.
#[inline(always)]
pub const fn replace(csum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let sum =
        !u16::from_be_bytes(csum) as u32 + !u16::from_be_bytes(old) as u32 + u16::from_be_bytes(new) as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_be_bytes()
}

/// The checksum of `bytes`; zero if they contain their own, correct one.
pub fn full(bytes: &[u8]) -> [u8; 2] {
    let mut sum =
        bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | w.get(1).copied().map_or(0, u32::from)).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_1624_section_4_example() {
        assert_eq!(
            replace(0xdd2f_u16.to_be_bytes(), 0x5555_u16.to_be_bytes(), 0x3285_u16.to_be_bytes()),
            [0, 0]
        );
    }

    #[test]
    fn odd_length_is_padded_with_zero() {
        assert_eq!(full(&[1, 2, 3]), full(&[1, 2, 3, 0]));
    }
}
