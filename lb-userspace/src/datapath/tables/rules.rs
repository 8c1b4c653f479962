//! What a service asks for beyond its slot: its record, its prefixes, its backends' numbers, its turns.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use lb_common::{
    net::ipv6::halves,
    rules::{self as flag, Rules as Record},
    service::{SPECIAL, UDP_FLOW, UDP_QUIC},
};
use zerocopy::IntoBytes;

use super::{
    clock::short_ticks,
    memory::{Image, Memory, Trie, TrieKey, U64Map},
    tries::{TrieTable, key},
};
use crate::{
    datapath::{DesiredService, Error},
    model::{HashFields, Protocol, Rules, Scheduler, UdpClass},
};

/// Words of a record, and those with a meaning of their own.
const RECORD: usize = 8;
const WORD_FLAGS: usize = 0;
const WORD_SEQUENCE: usize = 4;

/// Whether flows of a service are all tracked.
pub(super) fn tracks(service: &DesiredService) -> bool {
    let udp = service.endpoints.iter().any(|e| e.protocol == Protocol::Udp);
    service.rules.tracks(udp && service.udp_class != UdpClass::Quic)
}

/// The record's flags.
fn flags(service: &DesiredService) -> u32 {
    let rules = &service.rules;
    let hash = match rules.hash {
        HashFields::FiveTuple => 0,
        HashFields::Source => flag::HASH_SOURCE,
        HashFields::SourcePort => flag::HASH_SOURCE_PORT,
        HashFields::DestinationPort => flag::HASH_DESTINATION_PORT,
    };
    let set = |bit: u32, on: bool| if on { bit } else { 0 };
    hash | set(flag::TRACK, tracks(service))
        | set(flag::SEQUENCE, rules.scheduler != Scheduler::Maglev)
        | set(flag::STICKY, rules.persistence.is_some())
        | set(flag::PREFIXES, !(rules.block.is_empty() && rules.allow.is_empty()))
        | set(flag::ONLY_ALLOWED, !rules.allow.is_empty())
        | set(flag::CEILING, rules.max_new_per_second.is_some())
        | set(flag::QUIC_ID, rules.quic_id.is_some())
}

/// The flags of a service's entries for a protocol in the table of services.
pub(super) fn service_flags(service: &DesiredService, protocol: Protocol) -> u32 {
    let class = match (protocol, service.udp_class) {
        (Protocol::Tcp, _) | (Protocol::Udp, UdpClass::Dns) => 0,
        (Protocol::Udp, UdpClass::Flow) => UDP_FLOW,
        (Protocol::Udp, UdpClass::Quic) => UDP_QUIC,
    };
    class | if flags(service) == 0 { 0 } else { SPECIAL }
}

/// The record, without the turns.
fn record(service: &DesiredService, tick: Duration) -> Record {
    let rules = &service.rules;
    let sticky = rules.persistence;
    let mask6 = sticky.map_or(u128::MAX, |p| u128::MAX.checked_shl(128 - u32::from(p.prefix6)).unwrap_or(0));
    let mask4 = sticky.map_or(u32::MAX, |p| u32::MAX.checked_shl(32 - u32::from(p.prefix4)).unwrap_or(0));
    let ceiling = per_tick(rules.max_new_per_second.unwrap_or(0), tick);
    Record {
        flags: flags(service),
        idle: short_ticks(rules.idle, tick),
        sticky: sticky.map_or(0, |p| short_ticks(p.timeout, tick)),
        mask6: halves(&mask6.to_be_bytes()),
        mask4: u32::from_le_bytes(mask4.to_be_bytes()),
        ceiling: u32::try_from(ceiling).unwrap_or(u32::MAX),
        id_offset: rules.quic_id.map_or(0, |id| id.offset),
        id_len: rules.quic_id.map_or(0, |id| id.len),
        ..Record::default()
    }
}

/// How many in a tick, of a number in a second; rounded up, so that it is never fewer than asked for.
pub(super) fn per_tick(per_second: u32, tick: Duration) -> u64 {
    let n = (u128::from(per_second) * tick.as_nanos()).div_ceil(1_000_000_000);
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Records and prefixes of all services.
#[derive(Debug)]
pub(super) struct RuleTable {
    image: Image,
    access4: TrieTable,
    access6: TrieTable,
    ids: TrieTable,
}

impl RuleTable {
    pub(super) fn adopt(memory: &impl Memory) -> Self {
        Self {
            image: Image::read(memory, U64Map::Rules),
            access4: TrieTable::adopt(memory, Trie::Access4),
            access6: TrieTable::adopt(memory, Trie::Access6),
            ids: TrieTable::adopt(memory, Trie::ServerIds),
        }
    }

    /// Writes a service's record: what its flags speak of before the flags.
    pub(super) fn write(
        &mut self,
        memory: &impl Memory,
        index: u16,
        service: &DesiredService,
        tick: Duration,
    ) {
        let record = record(service, tick);
        let at = usize::from(index) * RECORD;
        let words: Vec<u64> = record
            .as_bytes()
            .chunks_exact(8)
            .map(|bytes| {
                let mut b = [0; 8];
                b.copy_from_slice(bytes);
                u64::from_ne_bytes(b)
            })
            .collect();
        for word in (1..RECORD).filter(|w| *w != WORD_SEQUENCE).chain([WORD_FLAGS]) {
            self.image.set(memory, at + word, words[word]);
        }
    }

    /// Where a service's turns are.
    pub(super) fn sequence(&self, index: u16) -> (u32, u32) {
        let word = self.image.get(usize::from(index) * RECORD + WORD_SEQUENCE);
        (word as u32, (word >> 32) as u32)
    }

    /// Says where a service's turns are: one store.
    pub(super) fn set_sequence(&mut self, memory: &impl Memory, index: u16, (start, len): (u32, u32)) {
        let word = u64::from(start) | u64::from(len) << 32;
        self.image.set(memory, usize::from(index) * RECORD + WORD_SEQUENCE, word);
    }

    /// Adds the prefixes and numbers that are missing: before the records that speak of them.
    pub(super) fn add(&mut self, memory: &impl Memory, wanted: &Lists) -> Result<(), Error> {
        let mut problem = None;
        for result in [
            self.access4.add(memory, &wanted.four),
            self.access6.add(memory, &wanted.six),
            self.ids.add(memory, &wanted.ids),
        ] {
            problem = problem.or(result.err());
        }
        problem.map_or(Ok(()), Err)
    }

    /// Removes those that are not wanted: after the records that spoke of them.
    pub(super) fn prune(&mut self, memory: &impl Memory, wanted: &Lists) {
        self.access4.prune(memory, &wanted.four);
        self.access6.prune(memory, &wanted.six);
        self.ids.prune(memory, &wanted.ids);
    }

    pub(super) fn repair(&self, memory: &impl Memory) -> u64 {
        self.image.repair(memory)
    }

    /// The slower half of it: calls to the kernel.
    pub(super) fn repair_tries(&self, memory: &impl Memory) -> u64 {
        self.access4.repair(memory) + self.access6.repair(memory) + self.ids.repair(memory)
    }
}

/// Prefixes and numbers of all services, as the kernel takes them.
#[derive(Debug, Default)]
pub(super) struct Lists {
    four: BTreeMap<TrieKey, u64>,
    six: BTreeMap<TrieKey, u64>,
    ids: BTreeMap<TrieKey, u64>,
}

impl Lists {
    pub(super) fn of<'a>(
        services: impl Iterator<Item = (u16, &'a Rules)>,
        ids: BTreeMap<TrieKey, u64>,
    ) -> Self {
        let mut lists = Self { ids, ..Self::default() };
        for (index, rules) in services {
            let allowed = rules.allow.iter().map(|net| (net, flag::ALLOW));
            // Of equal prefixes the one that blocks counts.
            for (net, what) in allowed.chain(rules.block.iter().map(|net| (net, flag::BLOCK))) {
                let service = u32::from(index).to_ne_bytes();
                let bits = flag::PREFIX_OF_SERVICE + u32::from(net.prefix_len());
                match net {
                    IpNet::V4(net) => {
                        lists.four.insert(key(bits, &[&service, &net.network().octets()]), u64::from(what));
                    }
                    IpNet::V6(net) => {
                        lists.six.insert(key(bits, &[&service, &net.network().octets()]), u64::from(what));
                    }
                }
            }
        }
        lists
    }
}

/// Key of a server's number.
pub(super) fn id_key(pool: u16, id: u16) -> TrieKey {
    flag::server_id(pool, id).to_ne_bytes().to_vec()
}
