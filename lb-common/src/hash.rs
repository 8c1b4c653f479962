//! The keyed flow hash: slot, pin bucket and pin tag all come from one 64-bit value.
//!
//! A multiply-xorshift chain with secret summands and multipliers (1–2 ns; SipHash costs 13–24). Who does not know the key cannot aim flows at one
//! backend. Loads are little-endian on every machine, so that balancers of different architectures agree.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Secret of the flow hash: two summands and two odd multipliers.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct HashKey {
    /// Added to what enters.
    pub add: [u64; 2],
    /// Odd multipliers.
    pub mul: [u64; 2],
}
abi!(HashKey, size = 32, align = 8);

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

impl HashKey {
    /// Derives a key from 32 secret bytes. The multipliers are odd and have about as many ones as zeros.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let mut state = 0x6c62_5f6b_6579_7631; // "lb_keyv1"
        for chunk in secret.chunks_exact(8) {
            let word = chunk.iter().rev().fold(0u64, |w, b| w << 8 | u64::from(*b));
            state = mix(state ^ word);
        }
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(state)
        };
        let add = [next(), next()];
        let mut multiplier = || loop {
            let m = next() | 1;
            if (24..=40).contains(&m.count_ones()) {
                return m;
            }
        };
        let mul = [multiplier(), multiplier()];
        Self { add, mul }
    }

    /// Tells keys apart without giving anything away; never 0.
    pub const fn fingerprint(&self) -> u64 {
        let [a, b] = self.add;
        let [c, d] = self.mul;
        mix(mix(mix(mix(a) ^ b) ^ c) ^ d) | 1
    }

    /// Hash of an IPv4 flow. Addresses and [`Transport::ports`](crate::net::parse::Transport::ports) are little-endian loads.
    #[inline(always)]
    pub const fn v4(&self, src: u32, dst: u32, ports: u32, proto: u8) -> u64 {
        let a = src as u64 | (ports as u64) << 32;
        let b = dst as u64 | (proto as u64) << 32;
        let x = a.wrapping_add(self.add[0]);
        let x = (x ^ (x >> 32)).wrapping_mul(self.mul[0]);
        let x = (x ^ (x >> 32)) ^ b.wrapping_add(self.add[1]);
        finish(x.wrapping_mul(self.mul[1]), self.mul[0])
    }

    /// Hash of anything else that is three words: sources, fragments, parts of a flow. `what` keeps the kinds apart.
    #[inline(always)]
    pub const fn other(&self, a: u64, b: u64, what: u64) -> u64 {
        self.v6([a, what], [b, !what], 0, 0)
    }

    /// Hash of an IPv6 flow. Addresses are their two halves, loaded little-endian.
    #[inline(always)]
    pub const fn v6(&self, src: [u64; 2], dst: [u64; 2], ports: u32, proto: u8) -> u64 {
        let ports = ports as u64 | (proto as u64) << 32;
        // Two chains side by side: the processor runs them at the same time.
        let x = src[0].wrapping_add(self.add[0]).wrapping_mul(self.mul[0]);
        let y = dst[0].wrapping_add(self.add[1]).wrapping_mul(self.mul[1]);
        let x = (x ^ (x >> 32) ^ src[1]).wrapping_mul(self.mul[1]);
        let y = (y ^ (y >> 32) ^ dst[1]).wrapping_mul(self.mul[0]);
        let x = (x ^ (x >> 32)).wrapping_add(y ^ (y >> 29)) ^ ports;
        let x = (x ^ (x >> 32)).wrapping_mul(self.mul[0]);
        finish(x, self.mul[1])
    }
}

#[inline(always)]
const fn finish(x: u64, mul: u64) -> u64 {
    let x = (x ^ (x >> 29)).wrapping_mul(mul);
    x ^ (x >> 32)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014). Not used per packet.
const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::{format, vec, vec::Vec};

    use super::*;
    use crate::{net::l4, pin, slot};

    const VIP: u32 = u32::from_le_bytes([203, 0, 113, 10]);

    fn ports(src: u16, dst: u16) -> u32 {
        u32::from_le_bytes(l4::ports(src, dst))
    }

    fn key(n: u8) -> HashKey {
        HashKey::from_secret(&[n; 32])
    }

    /// Pearson's statistic over `cells`, divided by its expectation: about 1 for a uniform hash.
    fn unevenness(hashes: impl Iterator<Item = u64>, cells: u32) -> f64 {
        let mut count = vec![0u32; cells as usize];
        let mut n = 0;
        for h in hashes {
            count[slot::index(h, cells) as usize] += 1;
            n += 1;
        }
        let expected = f64::from(n) / f64::from(cells);
        count.iter().map(|c| (f64::from(*c) - expected).powi(2) / expected).sum::<f64>()
            / f64::from(cells - 1)
    }

    fn flows() -> impl Iterator<Item = (u32, u16)> {
        (0..64u8).flat_map(|c| (0..4096u16).map(move |p| (u32::from_le_bytes([198, 51, 100, c]), p + 1024)))
    }

    #[test]
    fn sequential_clients_and_ports_fill_slots_evenly() {
        for n in 0..8 {
            let k = key(n);
            let u4 = unevenness(flows().map(|(s, p)| k.v4(s, VIP, ports(p, 443), 6)), 4099);
            assert!((0.85..1.15).contains(&u4), "key {n}: {u4}");
            let u6 = unevenness(
                flows().map(|(s, p)| k.v6([0xb80d_0120, u64::from(s)], [0xb80d_0120, 1], ports(p, 443), 6)),
                4099,
            );
            assert!((0.85..1.15).contains(&u6), "key {n}: {u6}");
        }
    }

    #[test]
    fn flows_of_one_slot_have_distinct_tags() {
        let k = key(1);
        let mut tags: Vec<(u32, u32)> = flows()
            .map(|(s, p)| k.v4(s, VIP, ports(p, 80), 6))
            .map(|h| (pin::tag(h), pin::bucket(h) & 1023))
            .collect();
        tags.sort_unstable();
        let before = tags.len();
        tags.dedup();
        assert!(before - tags.len() <= 1, "{} collisions", before - tags.len());
    }

    #[test]
    fn every_input_bit_matters() {
        let k = key(3);
        let (src, between) = (u32::from_le_bytes([1, 2, 3, 4]), ports(5, 6));
        let base = k.v4(src, VIP, between, 6);
        for bit in 0..32 {
            for h in [
                k.v4(src ^ 1 << bit, VIP, between, 6),
                k.v4(src, VIP ^ 1 << bit, between, 6),
                k.v4(src, VIP, between ^ 1 << bit, 6),
            ] {
                let changed = (h ^ base).count_ones();
                assert!((12..=52).contains(&changed), "bit {bit}: {changed} bits of the hash change");
            }
        }
        assert_ne!(base, k.v4(src, VIP, between, 17));
    }

    #[test]
    fn other_key_other_hash_and_the_key_is_not_printed() {
        assert_ne!(key(1).v4(VIP, VIP, ports(1, 2), 6), key(2).v4(VIP, VIP, ports(1, 2), 6));
        assert_eq!(format!("{:?}", key(1)), "HashKey(secret)");
        assert_ne!(key(1).fingerprint(), key(2).fingerprint());
    }

    #[test]
    fn golden_value_keeps_clusters_in_agreement_across_releases() {
        let k = key(7);
        let got = (
            k.v4(u32::from_le_bytes([198, 51, 100, 7]), VIP, ports(40000, 80), 6),
            k.v6([1, 2], [3, 4], ports(40000, 80), 6),
        );
        assert_eq!(got, GOLDEN);
    }
    const GOLDEN: (u64, u64) = (7_671_042_142_575_096_429, 17_339_093_213_485_567_072);
}
