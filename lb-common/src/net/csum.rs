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

/// The checksum after the words it covers lost `by`, or gained its complement.
#[inline(always)]
pub const fn raised(csum: [u8; 2], by: u16) -> [u8; 2] {
    let sum = u16::from_be_bytes(csum) as u32 + by as u32;
    ((sum & 0xffff) as u16 + (sum >> 16) as u16).to_be_bytes()
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

    /// An echo request's checksum may be anything, and each must become its reply's.
    #[test]
    fn an_echo_reply_has_the_right_sum_for_every_identifier_and_every_sequence_number() {
        for word in 0..=u16::MAX {
            for at in [4, 6] {
                let mut request = [8, 0, 0, 0, 0x12, 0x34, 0, 1];
                request[at..at + 2].copy_from_slice(&word.to_be_bytes());
                let sum = full(&request);
                request[2..4].copy_from_slice(&sum);
                let csum = raised([request[2], request[3]], 0x0800);
                let mut reply = request;
                (reply[0], reply[2], reply[3]) = (0, csum[0], csum[1]);
                assert_eq!(full(&reply), [0, 0], "{request:?}");

                // ICMPv6: 128 becomes 129. What stands for the addresses is summed with the rest.
                let mut request = [128, 0, 0, 0, 0x12, 0x34, 0, 1];
                request[at..at + 2].copy_from_slice(&word.to_be_bytes());
                let sum = full(&request);
                let csum = raised(sum, !0x0100);
                let mut reply = request;
                (reply[0], reply[2], reply[3]) = (129, csum[0], csum[1]);
                assert_eq!(full(&reply), [0, 0], "{request:?}");
            }
        }
    }
}
