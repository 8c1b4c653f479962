//! Stable 64-bit numbers: identities of pools and backends, and the digest of a table.
//!
//! All of it is part of what balancers must agree on and what survives in the kernel's tables, so nothing here may
//! depend on a machine, a build or a library's hasher: FNV-1a over bytes, finished by `SplitMix64` (FNV alone leaves the
//! upper bits of short names alike).

use std::net::IpAddr;

use crate::model::{BackendName, PoolName};

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): a bijection that makes similar numbers unlike.
#[inline]
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// FNV-1a, 64 bits.
#[derive(Clone, Copy, Debug)]
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        for b in bytes {
            self.0 = (self.0 ^ u64::from(*b)).wrapping_mul(0x0100_0000_01B3);
        }
        self
    }

    /// A text and its end, so that ("ab", "c") and ("a", "bc") differ. Names have no NUL.
    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes()).bytes(&[0])
    }

    /// Never 0, which means "free" in the kernel's tables.
    fn id(self) -> u64 {
        mix(self.0).max(1)
    }
}

/// Identity of a pool across restarts and machines; never 0.
pub fn pool_id(pool: &PoolName) -> u64 {
    Fnv::new().text(pool.as_str()).id()
}

/// Identity of a backend across restarts and machines; never 0. The address is part of it: another address under the same
/// name is another host, which must not inherit flows.
pub fn backend_id(pool: &PoolName, backend: &BackendName, address: IpAddr) -> u64 {
    Fnv::new().text(pool.as_str()).text(backend.as_str()).bytes(&octets(address)).id()
}

/// The seed of the tables, from the secret the balancers of a cluster share.
pub fn seed(secret: &[u8; 32]) -> u64 {
    // The label keeps the seed apart from anything else that is derived from the same secret.
    Fnv::new().text("slots").bytes(secret).id()
}

/// An address as a table holds it: IPv4 as `::ffff:a.b.c.d`.
pub fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Digest of a table: the ids of the slots' owners in their order, 0 for nobody. Balancers whose tables are equal have equal
/// digests, whatever local indices their backends have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub u64);

impl Digest {
    /// Of the owners' ids, in the order of the slots.
    pub fn of(owners: impl IntoIterator<Item = u64>) -> Self {
        // A word at a time: FNV's byte loop would take longer than building the table.
        let mut state = 0x736C_6F74_735F_7631; // "slots_v1"
        let mut len = 0u64;
        for id in owners {
            state = mix(state ^ id).wrapping_add(0x9E37_79B9_7F4A_7C15);
            len += 1;
        }
        Self(mix(state ^ len))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pool: &str, backend: &str, address: &str) -> u64 {
        backend_id(&pool.parse().unwrap(), &backend.parse().unwrap(), address.parse().unwrap())
    }

    #[test]
    fn identities_stay_what_they_were_in_earlier_releases() {
        assert_eq!(pool_id(&"text".parse().unwrap()), 0x6F08_B0C5_C107_BFEF);
        assert_eq!(id("text", "cp1001", "192.0.2.1"), 0x32D4_4087_59F1_8B3D);
        assert_eq!(id("text", "cp1001", "2001:db8::1"), 0x34EF_F104_B05F_CB52);
        assert_eq!(seed(&[7; 32]), 0xBDB5_1085_10C0_E4E4);
    }

    #[test]
    fn pool_name_and_address_all_count() {
        let all = [
            id("a", "bc", "192.0.2.1"),
            id("ab", "c", "192.0.2.1"),
            id("a", "bc", "192.0.2.2"),
            id("a", "bd", "192.0.2.1"),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
    }

    #[test]
    fn a_digest_tells_order_length_and_owner() {
        let base = Digest::of([1, 2, 3]);
        for other in [&[1, 3, 2][..], &[1, 2, 3, 0], &[1, 2], &[1, 2, 4], &[]] {
            assert_ne!(base, Digest::of(other.iter().copied()));
        }
        assert_eq!(base, Digest::of([1, 2, 3]));
        assert_eq!(Digest(0xab).to_string(), "00000000000000ab");
    }
}
