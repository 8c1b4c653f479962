//! A table that the kernel searches itself, and what should be in it.

use std::collections::BTreeMap;

use super::memory::{Memory, Trie, TrieKey};
use crate::datapath::{Error, kernel};

/// What was put in, and what of it the kernel took.
#[derive(Debug)]
pub(super) struct TrieTable {
    trie: Trie,
    placed: BTreeMap<TrieKey, u64>,
}

impl TrieTable {
    /// Takes what is there for what should be there; the first change corrects it.
    pub(super) fn adopt(memory: &impl Memory, trie: Trie) -> Self {
        Self { trie, placed: memory.entries(trie).unwrap_or_default() }
    }

    pub(super) fn placed(&self) -> &BTreeMap<TrieKey, u64> {
        &self.placed
    }

    pub(super) fn len(&self) -> u64 {
        self.placed.len() as u64
    }

    /// Makes the table hold exactly `wanted`: new and changed entries first, then removals.
    pub(super) fn apply(
        &mut self,
        memory: &impl Memory,
        wanted: &BTreeMap<TrieKey, u64>,
    ) -> Result<(), Error> {
        let added = self.add(memory, wanted);
        self.prune(memory, wanted);
        added
    }

    /// Adds what is missing of `wanted`, and changes what differs. What the kernel does not take is left out and reported; it is tried again
    /// with the next change.
    pub(super) fn add(&mut self, memory: &impl Memory, wanted: &BTreeMap<TrieKey, u64>) -> Result<(), Error> {
        let mut failed = None;
        for (key, value) in wanted {
            if self.placed.get(key) != Some(value) {
                match memory.put(self.trie, key, *value) {
                    Ok(()) => _ = self.placed.insert(key.clone(), *value),
                    Err(e) => failed = Some(e),
                }
            }
        }
        match failed {
            None => Ok(()),
            Some(e) if e.raw_os_error() == Some(libc::ENOSPC) || e.raw_os_error() == Some(libc::E2BIG) => {
                Err(Error::Full {
                    table: self.name(),
                    need: wanted.len() as u64,
                    have: self.len(),
                    limit: self.limit(),
                })
            }
            Some(e) => Err(kernel(format!("writing {}", self.name()), e)),
        }
    }

    /// Removes what is not `wanted`. An entry that the kernel keeps is tried again with the next change.
    pub(super) fn prune(&mut self, memory: &impl Memory, wanted: &BTreeMap<TrieKey, u64>) {
        let trie = self.trie;
        self.placed.retain(|key, _| wanted.contains_key(key) || memory.remove(trie, key).is_err());
    }

    /// Puts back what somebody else changed, and says how many entries that were. A table that cannot be read is left for the next time.
    pub(super) fn repair(&self, memory: &impl Memory) -> u64 {
        let Ok(found) = memory.entries(self.trie) else { return 0 };
        let mut repaired = 0;
        for (key, value) in &self.placed {
            if found.get(key) != Some(value) && memory.put(self.trie, key, *value).is_ok() {
                repaired += 1;
            }
        }
        for key in found.keys().filter(|key| !self.placed.contains_key(*key)) {
            repaired += u64::from(memory.remove(self.trie, key).is_ok());
        }
        repaired
    }

    const fn name(&self) -> &'static str {
        match self.trie {
            Trie::Access4 => "the table of blocked and allowed IPv4 prefixes",
            Trie::Access6 => "the table of blocked and allowed IPv6 prefixes",
            Trie::Prefixes4 => "the table of IPv4 VIP prefixes",
            Trie::Prefixes6 => "the table of IPv6 VIP prefixes",
            Trie::ServerIds => "the table of QUIC server numbers",
        }
    }

    const fn limit(&self) -> &'static str {
        match self.trie {
            Trie::Access4 | Trie::Access6 => "prefixes",
            Trie::Prefixes4 | Trie::Prefixes6 => "services",
            Trie::ServerIds => "backends",
        }
    }
}

/// A key that begins with the number of its leading bits that count.
pub(super) fn key(bits: u32, parts: &[&[u8]]) -> TrieKey {
    let mut key = bits.to_ne_bytes().to_vec();
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}
