//! The kernel's tables as memory: what the writer of the tables needs of a mapped region, and no more.

/// Tables of 16-bit elements, one per slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum U16Map {
    /// Who gets a slot's new connections.
    Slots,
    /// Who owned a slot when it was last stable.
    Bases,
    /// When a slot in transition last used anything but its `cur`; written by the kernel program too.
    Stamps,
    /// When a slot in transition left stability.
    Begins,
    /// Whose turn it is, per service with a scheduler; of a length of its own.
    Sequences,
}

impl U16Map {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Slots, Self::Bases, Self::Stamps, Self::Begins, Self::Sequences];
}

/// Tables of 64-bit words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum U64Map {
    /// Eight words a bucket: four times key and value.
    Services4,
    /// Eight words a bucket: twice three words of key and a value.
    Services6,
    /// Two words a pool: range, id.
    Pools,
    /// Eight words a backend.
    Backends,
    /// A pin a word; written by the kernel program too.
    Probation,
    /// A pin a word; written by the kernel program too.
    Protected,
    /// Eight words a service.
    Rules,
    /// Two words an entry.
    Shapes,
    /// The daemon's eight words.
    Settings,
    /// Turns taken, a word a service; written by the kernel program only.
    Cursors,
    /// A tracked flow a word; written by the kernel program too.
    FlowsNew,
    /// A tracked flow a word; written by the kernel program too.
    Flows,
    /// A sticky source a word; written by the kernel program too.
    Sources,
}

impl U64Map {
    /// All of them, in their order.
    pub const ALL: [Self; 13] = [
        Self::Services4,
        Self::Services6,
        Self::Pools,
        Self::Backends,
        Self::Probation,
        Self::Protected,
        Self::Rules,
        Self::Shapes,
        Self::Settings,
        Self::Cursors,
        Self::FlowsNew,
        Self::Flows,
        Self::Sources,
    ];
}

/// Tables that the kernel searches itself: they are not memory, each change is a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trie {
    /// Access prefixes: length, service, address.
    Access4,
    /// The same for IPv6.
    Access6,
    /// VIP prefixes: length, address.
    Prefixes4,
    /// The same for IPv6.
    Prefixes6,
    /// QUIC server numbers.
    ServerIds,
}

impl Trie {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Access4, Self::Access6, Self::Prefixes4, Self::Prefixes6, Self::ServerIds];
}

/// A key of a [`Trie`], as the kernel takes it.
pub type TrieKey = Vec<u8>;

/// Mapped regions. Elements are aligned and each access is one load or store of the whole element; indices are below the length.
///
/// Stores happen in the order in which they are made, as the kernel program sees them (release), and loads in the order
/// in which they are made (acquire): the order of stores is what keeps the tables consistent at any moment.
pub trait Memory {
    /// Elements of a table.
    fn len16(&self, map: U16Map) -> usize;
    /// Elements of a table.
    fn len64(&self, map: U64Map) -> usize;
    /// Loads an element.
    fn load16(&self, map: U16Map, index: usize) -> u16;
    /// Stores an element.
    fn store16(&self, map: U16Map, index: usize, value: u16);
    /// Loads a word.
    fn load64(&self, map: U64Map, index: usize) -> u64;
    /// Stores a word.
    fn store64(&self, map: U64Map, index: usize, value: u64);
    /// Stores `new` if the word still is `current`: for words that the kernel program writes too. Whether it did.
    fn replace64(&self, map: U64Map, index: usize, current: u64, new: u64) -> bool;
    /// All that is in a trie.
    fn entries(&self, trie: Trie) -> std::io::Result<std::collections::BTreeMap<TrieKey, u64>>;
    /// Adds or changes an entry.
    fn put(&self, trie: Trie, key: &[u8], value: u64) -> std::io::Result<()>;
    /// Removes an entry; one that is not there is no error.
    fn remove(&self, trie: Trie, key: &[u8]) -> std::io::Result<()>;
}

/// A table of words and what should be in it. The kernel program never writes these tables, so a difference is drift.
#[derive(Debug)]
pub(super) struct Image {
    map: U64Map,
    words: Vec<u64>,
}

impl Image {
    /// Takes what is there for what should be there; the adopting code then corrects it.
    pub(super) fn read(memory: &impl Memory, map: U64Map) -> Self {
        let words = (0..memory.len64(map)).map(|i| memory.load64(map, i)).collect();
        Self { map, words }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn get(&self, index: usize) -> u64 {
        self.words[index]
    }

    /// Stores a word unless it is there already. Whether it stored.
    pub(super) fn set(&mut self, memory: &impl Memory, index: usize, word: u64) -> bool {
        let differs = self.words[index] != word;
        if differs {
            memory.store64(self.map, index, word);
            self.words[index] = word;
        }
        differs
    }

    /// Puts back what somebody else changed, and says how many words that were.
    pub(super) fn repair(&self, memory: &impl Memory) -> u64 {
        self.repair_first(memory, self.words.len())
    }

    /// The same for the first `words` words.
    pub(super) fn repair_first(&self, memory: &impl Memory, words: usize) -> u64 {
        let mut repaired = 0;
        for (i, word) in self.words.iter().enumerate().take(words) {
            if memory.load64(self.map, i) != *word {
                memory.store64(self.map, i, *word);
                repaired += 1;
            }
        }
        repaired
    }
}
