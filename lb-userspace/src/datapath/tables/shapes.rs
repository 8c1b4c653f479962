//! Services that are no single address and port: which list each prefix leads to, and where the lists lie.
//!
//! Each prefix that some service has, and each address with a range of ports, has a list of its own: everything that may claim a packet to it, what is narrower
//! first, shorter prefixes' entries included. So the kernel program searches once.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use lb_common::{
    service::ServiceRef,
    shape::{MAX_ENTRIES, ShapeEntry},
};
use zerocopy::IntoBytes;

use super::{
    memory::{Image, Memory, Trie, TrieKey, U64Map},
    ranges::Ranges,
    services,
    tries::{TrieTable, key},
};
use crate::{datapath::Error, model::Endpoint};

/// Words of an entry.
const ENTRY: usize = 2;

/// Entries as they lie in the table.
type List = Vec<[u64; ENTRY]>;

/// Endpoints of no simple shape, each with its service's value.
pub(super) type Shaped = BTreeMap<Endpoint, ServiceRef>;

/// Prefixes and lists of both families.
#[derive(Debug)]
pub(super) struct Shapes {
    image: Image,
    ranges: Ranges,
    four: TrieTable,
    six: TrieTable,
    /// Where the list of each prefix lies, and what is in it.
    lists: BTreeMap<IpNet, (u32, List)>,
}

/// Whether an endpoint has an entry of its own in the table of services.
pub(super) fn is_simple(endpoint: &Endpoint) -> bool {
    endpoint.net.prefix_len() == endpoint.net.max_prefix_len() && endpoint.ports.single().is_some()
}

/// The lists: per prefix its entries, narrower ones first. The flag: some list had too many.
fn lists(shaped: &Shaped) -> (BTreeMap<IpNet, Vec<ShapeEntry>>, bool) {
    let nets: BTreeSet<IpNet> = shaped.keys().map(|e| e.net).collect();
    let mut cut = false;
    let list = |net: IpNet, cut: &mut bool| {
        let mut fitting: Vec<(&Endpoint, &ServiceRef)> =
            shaped.iter().filter(|(e, _)| e.net.contains(&net)).collect();
        fitting.sort_by_key(|(e, _)| {
            let (first, last) = e.ports.bounds();
            (Reverse(e.net.prefix_len()), last - first)
        });
        *cut |= fitting.len() > MAX_ENTRIES as usize;
        fitting.truncate(MAX_ENTRIES as usize);
        fitting.into_iter().map(|(e, value)| entry(e, *value)).collect()
    };
    let lists = nets.into_iter().map(|net| (net, list(net, &mut cut))).collect();
    (lists, cut)
}

fn words(entry: &ShapeEntry) -> [u64; ENTRY] {
    let mut words = [0; ENTRY];
    for (word, bytes) in words.iter_mut().zip(entry.as_bytes().chunks_exact(8)) {
        let mut b = [0; 8];
        b.copy_from_slice(bytes);
        *word = u64::from_ne_bytes(b);
    }
    words
}

fn entry(endpoint: &Endpoint, value: ServiceRef) -> ShapeEntry {
    let (first, last) = endpoint.ports.bounds();
    ShapeEntry { first, last, proto: services::number(endpoint.protocol), reserved: [0; 3], value }
}

fn trie_key(net: &IpNet) -> TrieKey {
    let bits = u32::from(net.prefix_len());
    match net {
        IpNet::V4(net) => key(bits, &[&net.network().octets()]),
        IpNet::V6(net) => key(bits, &[&net.network().octets()]),
    }
}

/// The prefix of a key, unless it cannot be one.
fn net_of(key: &TrieKey) -> Option<IpNet> {
    let (bits, address) = key.split_first_chunk::<4>()?;
    let bits = u8::try_from(u32::from_ne_bytes(*bits)).ok()?;
    let address = match address.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
    };
    IpNet::new(address, bits).ok()
}

/// Where a prefix leads, in a word.
fn place(start: u32, list: &List) -> u64 {
    u64::from(start) | (list.len() as u64) << 32
}

impl Shapes {
    /// Takes over prefixes and lists. A prefix that leads to no list there can be is left to the first change.
    pub(super) fn adopt(memory: &impl Memory) -> Self {
        let image = Image::read(memory, U64Map::Shapes);
        let mut ranges = Ranges::new((image.len() / ENTRY) as u32);
        let (four, six) =
            (TrieTable::adopt(memory, Trie::Prefixes4), TrieTable::adopt(memory, Trie::Prefixes6));
        let mut lists = BTreeMap::new();
        for (key, value) in four.placed().iter().chain(six.placed()) {
            let (start, len) = (*value as u32, (*value >> 32) as u32);
            if let Some(net) = net_of(key)
                && len <= MAX_ENTRIES
                && ranges.claim(start, len)
            {
                let words = |i| std::array::from_fn(|word| image.get((start + i) as usize * ENTRY + word));
                lists.insert(net, (start, (0..len).map(words).collect()));
            }
        }
        Self { image, ranges, four, six, lists }
    }

    /// The service that has this very endpoint.
    pub(super) fn service(&self, endpoint: &Endpoint) -> Option<u16> {
        let claims = words(&entry(endpoint, ServiceRef::default()))[0];
        let find = |list: &List| list.iter().find(|words| words[0] == claims).copied();
        let found = find(&self.lists.get(&endpoint.net)?.1)?;
        // A shorter prefix's entries are in the lists of longer ones too.
        let inherited = self.lists.iter().any(|(net, (_, list))| {
            *net != endpoint.net && net.contains(&endpoint.net) && find(list) == Some(found)
        });
        (!inherited).then(|| services::unpack(found[1]).service)
    }

    /// Prefixes of each family, as the kernel program has to know before it searches.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.four.len(), self.six.len())
    }

    /// Makes lists and prefixes what they should be. A changed list is laid beside the old one; then its prefix is switched to it. One that
    /// finds no room is reported, and its prefix keeps the list it has.
    pub(super) fn apply(&mut self, memory: &impl Memory, shaped: &Shaped, now: u32) -> Result<(), Error> {
        let (wanted, cut) = lists(shaped);
        let mut problem = cut.then(|| Error::Full {
            table: "the list of a VIP prefix's port ranges",
            need: shaped.len() as u64,
            have: u64::from(MAX_ENTRIES),
            limit: "services",
        });
        let (mut four, mut six) = (BTreeMap::new(), BTreeMap::new());
        let mut freed = Vec::new();
        let mut lists = BTreeMap::new();
        for (net, entries) in wanted {
            let entries: List = entries.iter().map(words).collect();
            let (start, list) = match self.lists.remove(&net) {
                Some((start, before)) if before == entries => (start, before),
                before => {
                    if let Some(start) = self.ranges.take(entries.len() as u32, now) {
                        self.lay(memory, start, &entries);
                        freed.extend(before.map(|(start, _)| start));
                        (start, entries)
                    } else {
                        problem = problem.or(Some(Error::Full {
                            table: "the lists of VIP prefixes",
                            need: self.ranges.need(entries.len() as u32),
                            have: u64::from(self.ranges.capacity()),
                            limit: "services",
                        }));
                        let Some(before) = before else { continue };
                        before
                    }
                }
            };
            let tries = if matches!(net, IpNet::V4(_)) { &mut four } else { &mut six };
            tries.insert(trie_key(&net), place(start, &list));
            lists.insert(net, (start, list));
        }
        freed.extend(self.lists.values().map(|(start, _)| *start));
        self.lists = lists;
        for result in [self.four.apply(memory, &four), self.six.apply(memory, &six)] {
            problem = problem.or(result.err());
        }
        for start in freed {
            self.ranges.give(start, now);
        }
        problem.map_or(Ok(()), Err)
    }

    fn lay(&mut self, memory: &impl Memory, start: u32, entries: &[[u64; ENTRY]]) {
        for (i, entry) in entries.iter().enumerate() {
            let at = (start as usize + i) * ENTRY;
            // The value first: the other word says what is claimed.
            self.image.set(memory, at + 1, entry[1]);
            self.image.set(memory, at, entry[0]);
        }
    }

    pub(super) fn repair(&self, memory: &impl Memory) -> u64 {
        self.image.repair(memory)
    }

    /// The slower half of it: calls to the kernel.
    pub(super) fn repair_tries(&self, memory: &impl Memory) -> u64 {
        self.four.repair(memory) + self.six.repair(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ports, Protocol};

    fn endpoint(net: &str, ports: Ports) -> Endpoint {
        Endpoint { net: net.parse().unwrap(), ports, protocol: Protocol::Tcp }
    }

    fn value(service: u16) -> ServiceRef {
        ServiceRef { service, ..ServiceRef::default() }
    }

    fn services(list: &[ShapeEntry]) -> Vec<u16> {
        list.iter().map(|e| e.value.service).collect()
    }

    #[test]
    fn a_longer_prefix_comes_first_and_shorter_ones_follow_it() {
        let shaped = Shaped::from([
            (endpoint("203.0.113.0/24", Ports::All), value(1)),
            (endpoint("203.0.113.16/28", Ports::Range(80, 90)), value(2)),
            (endpoint("203.0.113.17/32", Ports::All), value(3)),
        ]);
        let (lists, cut) = lists(&shaped);
        assert!(!cut);
        assert_eq!(services(&lists[&"203.0.113.0/24".parse().unwrap()]), [1]);
        assert_eq!(services(&lists[&"203.0.113.16/28".parse().unwrap()]), [2, 1]);
        assert_eq!(services(&lists[&"203.0.113.17/32".parse().unwrap()]), [3, 2, 1]);
    }

    #[test]
    fn of_one_prefix_the_narrower_range_comes_first() {
        let shaped = Shaped::from([
            (endpoint("203.0.113.0/24", Ports::All), value(1)),
            (endpoint("203.0.113.0/24", Ports::One(80)), value(2)),
            (endpoint("203.0.113.0/24", Ports::Range(70, 90)), value(3)),
        ]);
        assert_eq!(services(&lists(&shaped).0[&"203.0.113.0/24".parse().unwrap()]), [2, 3, 1]);
    }

    #[test]
    fn a_list_that_is_too_long_is_cut_and_said() {
        let shaped: Shaped =
            (0..40u16).map(|i| (endpoint("203.0.113.0/24", Ports::One(i + 1)), value(i))).collect();
        let (lists, cut) = lists(&shaped);
        assert!(cut);
        assert_eq!(lists.values().next().map(Vec::len), Some(MAX_ENTRIES as usize));
    }

    #[test]
    fn an_address_with_one_port_is_simple() {
        assert!(is_simple(&endpoint("203.0.113.1/32", Ports::One(80))));
        assert!(!is_simple(&endpoint("203.0.113.0/31", Ports::One(80))));
        assert!(!is_simple(&endpoint("203.0.113.1/32", Ports::All)));
    }
}
