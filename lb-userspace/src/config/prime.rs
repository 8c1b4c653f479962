//! Primes near a number of slots.

/// Whether `n` is a prime.
pub(super) fn is_prime(n: u32) -> bool {
    // The square root of a `u32` has 16 bits.
    n >= 2 && (2u32..=0xffff).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

/// The largest prime up to `n` and the smallest from `n` on.
pub(super) fn neighbours(n: u32) -> (Option<u32>, Option<u32>) {
    ((2..=n).rev().find(|m| is_prime(*m)), (n..=u32::MAX).find(|m| is_prime(*m)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_told_from_others_and_found_on_both_sides() {
        let small: Vec<u32> = (0..30).filter(|n| is_prime(*n)).collect();
        assert_eq!(small, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(is_prime(65_537));
        assert!(is_prime(4_294_967_291));
        assert_eq!(neighbours(65_536), (Some(65_521), Some(65_537)));
        assert_eq!(neighbours(0), (None, Some(2)));
        assert_eq!(neighbours(u32::MAX), (Some(4_294_967_291), None));
    }
}
