//! Destination → service and pool: where each key lives in a table of buckets (see `lb_common::service`).

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use lb_common::{
    net::{ipv6::halves, wire},
    service::{Key4, Key6, OVERFLOW, ServiceRef},
};
use zerocopy::{FromBytes, IntoBytes};

use super::memory::{Image, Memory, U64Map};
use crate::{datapath::Error, model::Protocol};

/// Words in a bucket.
const BUCKET: usize = 8;
/// How many entries may move to make room for one.
const MOVES: u32 = 4;

/// A key of either family; IPv4 uses the first word.
pub(super) type Key = [u64; 3];

/// The number of a protocol.
pub(super) const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => lb_common::net::TCP,
        Protocol::Udp => lb_common::net::UDP,
    }
}

/// The key of an address, port and protocol, and whether it is an IPv6 one.
pub(super) fn key(addr: IpAddr, port: u16, protocol: u8) -> (bool, Key) {
    let port = wire(port);
    match addr {
        IpAddr::V4(addr) => (false, [Key4::new(u32::from_le_bytes(addr.octets()), port, protocol).0, 0, 0]),
        IpAddr::V6(addr) => (true, Key6::new(halves(&addr.octets()), port, protocol).0),
    }
}

fn pack(value: ServiceRef) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(value.as_bytes());
    u64::from_ne_bytes(word)
}

/// A value from its word.
pub(super) fn unpack(word: u64) -> ServiceRef {
    ServiceRef::read_from_bytes(&word.to_ne_bytes()).unwrap_or_default()
}

/// The bucket of the entry that begins at a word.
const fn bucket_of(at: usize) -> u32 {
    (at / BUCKET) as u32
}

/// One family's table.
#[derive(Debug)]
pub(super) struct ServiceTable {
    name: &'static str,
    image: Image,
    /// Words of an entry: key, then value.
    entry: usize,
    buckets: u32,
    limit: u32,
    /// Where each key's entry begins.
    placed: HashMap<Key, usize>,
    /// Home bucket → how many of its keys live in their alternate.
    away: BTreeMap<u32, u32>,
}

impl ServiceTable {
    /// Takes over what is there, without entries that no lookup finds, that are there twice or whose pool `sound` does not
    /// know. Returns how many were cleared.
    pub(super) fn adopt(
        memory: &impl Memory,
        map: U64Map,
        limit: u32,
        sound: impl Fn(ServiceRef) -> bool,
    ) -> (Self, u64) {
        let image = Image::read(memory, map);
        let (name, entry) = match map {
            U64Map::Services6 => ("the table of IPv6 services", 4),
            _ => ("the table of IPv4 services", 2),
        };
        let mut table = Self {
            name,
            entry,
            buckets: (image.len() / BUCKET) as u32,
            image,
            limit,
            placed: HashMap::new(),
            away: BTreeMap::new(),
        };
        let mut cleared = 0;
        for at in (0..table.image.len()).step_by(entry) {
            if !table.used(at) {
                continue;
            }
            let key = table.key_at(at);
            let (home, alternate) = table.homes(&key);
            let bucket = bucket_of(at);
            if (bucket != home && bucket != alternate)
                || table.placed.contains_key(&key)
                || !sound(table.value_at(at))
            {
                // A second copy is what a crash in the middle of a move leaves; the other one serves.
                cleared += u64::from(!table.placed.contains_key(&key));
                table.image.set(memory, at + entry - 2, 0);
                continue;
            }
            table.placed.insert(key, at);
            if bucket != home {
                *table.away.entry(home).or_default() += 1;
            }
        }
        for bucket in 0..table.buckets {
            table.write_overflow(memory, bucket);
        }
        (table, cleared)
    }

    pub(super) fn get(&self, key: &Key) -> Option<ServiceRef> {
        self.placed.get(key).map(|at| self.value_at(*at))
    }

    /// Makes the table hold exactly `wanted`. What cannot be placed is left out and reported; all else is done.
    pub(super) fn apply(
        &mut self,
        memory: &impl Memory,
        wanted: &BTreeMap<Key, ServiceRef>,
    ) -> Result<(), Error> {
        let gone: Vec<Key> = self.placed.keys().filter(|key| !wanted.contains_key(*key)).copied().collect();
        for key in gone {
            self.remove(memory, &key);
        }
        let mut unplaced = 0;
        for (key, value) in wanted {
            if let Some(at) = self.placed.get(key) {
                self.write_value(memory, *at, *value);
            } else if !self.insert(memory, *key, *value) {
                unplaced += 1;
            }
        }
        if unplaced == 0 {
            return Ok(());
        }
        Err(Error::Full {
            table: self.name,
            need: wanted.len() as u64,
            have: (wanted.len() - unplaced) as u64,
            limit: "services",
        })
    }

    pub(super) fn len(&self) -> u32 {
        self.placed.len() as u32
    }

    pub(super) fn repair(&self, memory: &impl Memory) -> u64 {
        self.image.repair(memory)
    }

    fn insert(&mut self, memory: &impl Memory, key: Key, value: ServiceRef) -> bool {
        if self.placed.len() >= self.limit as usize {
            return false;
        }
        let (home, alternate) = self.homes(&key);
        let at = self
            .free(home)
            .or_else(|| self.free(alternate))
            .or_else(|| self.make_room(memory, home, MOVES))
            .or_else(|| self.make_room(memory, alternate, MOVES));
        if let Some(at) = at {
            self.put(memory, at, key, value);
        }
        at.is_some()
    }

    /// Moves entries to their other bucket until one of `bucket`'s is free.
    fn make_room(&mut self, memory: &impl Memory, bucket: u32, moves: u32) -> Option<usize> {
        if moves == 0 {
            return None;
        }
        for at in self.ways(bucket) {
            let key = self.key_at(at);
            let (home, alternate) = self.homes(&key);
            let other = if bucket == home { alternate } else { home };
            if other == bucket {
                continue;
            }
            let to = self.free(other).or_else(|| self.make_room(memory, other, moves - 1));
            // Making room elsewhere may have moved this very entry.
            if let Some(at) = self.free(bucket) {
                return Some(at);
            }
            if let Some(to) = to {
                // The copy first: a lookup finds the one or the other.
                let value = self.value_at(at);
                self.put(memory, to, key, value);
                self.clear(memory, at);
                if other == home {
                    self.one_less_away(memory, home);
                }
                return Some(at);
            }
        }
        None
    }

    /// Value, then key, the word that says "used" last. An entry in its alternate bucket is announced in its home first.
    fn put(&mut self, memory: &impl Memory, at: usize, key: Key, value: ServiceRef) {
        let (home, _) = self.homes(&key);
        if bucket_of(at) != home {
            *self.away.entry(home).or_default() += 1;
            self.write_overflow(memory, home);
        }
        self.write_value(memory, at, value);
        for (word, part) in key.iter().take(self.entry - 1).enumerate() {
            self.image.set(memory, at + word, *part);
        }
        self.placed.insert(key, at);
    }

    fn remove(&mut self, memory: &impl Memory, key: &Key) {
        if let Some(at) = self.placed.remove(key) {
            self.clear(memory, at);
            let (home, _) = self.homes(key);
            if bucket_of(at) != home {
                self.one_less_away(memory, home);
            }
        }
    }

    fn one_less_away(&mut self, memory: &impl Memory, home: u32) {
        if let Some(n) = self.away.get_mut(&home) {
            *n -= 1;
            if *n == 0 {
                self.away.remove(&home);
            }
        }
        self.write_overflow(memory, home);
    }

    /// Frees an entry: the word that says "used".
    fn clear(&mut self, memory: &impl Memory, at: usize) {
        self.image.set(memory, at + self.entry - 2, 0);
    }

    /// The first entry's value carries its bucket's overflow flag, which is not the entry's.
    fn write_value(&mut self, memory: &impl Memory, at: usize, value: ServiceRef) {
        let bucket = bucket_of(at);
        let overflow = at == bucket as usize * BUCKET && self.away.contains_key(&bucket);
        let flags = value.flags & !OVERFLOW | if overflow { OVERFLOW } else { 0 };
        self.image.set(memory, at + self.entry - 1, pack(ServiceRef { flags, ..value }));
    }

    fn write_overflow(&mut self, memory: &impl Memory, bucket: u32) {
        let first = bucket as usize * BUCKET;
        self.write_value(memory, first, self.value_at(first));
    }

    fn used(&self, at: usize) -> bool {
        self.image.get(at + self.entry - 2) != 0
    }

    fn key_at(&self, at: usize) -> Key {
        let mut key = [0; 3];
        for (word, part) in key.iter_mut().take(self.entry - 1).enumerate() {
            *part = self.image.get(at + word);
        }
        key
    }

    fn value_at(&self, at: usize) -> ServiceRef {
        let value = unpack(self.image.get(at + self.entry - 1));
        ServiceRef { flags: value.flags & !OVERFLOW, ..value }
    }

    fn ways(&self, bucket: u32) -> impl Iterator<Item = usize> + use<> {
        let first = bucket as usize * BUCKET;
        (first..first + BUCKET).step_by(self.entry)
    }

    fn free(&self, bucket: u32) -> Option<usize> {
        self.ways(bucket).find(|at| !self.used(*at))
    }

    fn homes(&self, key: &Key) -> (u32, u32) {
        let (home, alternate) = if self.entry == 2 { Key4(key[0]).buckets() } else { Key6(*key).buckets() };
        (home & (self.buckets - 1), alternate & (self.buckets - 1))
    }
}

#[cfg(test)]
mod tests;
