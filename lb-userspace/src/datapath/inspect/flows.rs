//! What the tables remember of flows, counted; and what they remember of one. No table holds an address: a flow is a tag of 32 bits in the
//! bucket that its hash leads to, so flows can be counted and one can be looked up, but they cannot be listed.

use std::{collections::BTreeMap, time::Duration};

use lb_common::{
    hash::HashKey,
    net::ipv6::halves,
    pin::{self, Pin},
    rules::{self, Rules, STICKY},
};
use serde::{Deserialize, Serialize};

use super::view::View;
use crate::datapath::{
    live::Names,
    question::{Route, Shape},
};

/// Upper ends of the age classes, in seconds; what is older is in one more.
pub const AGES: [u64; 4] = [1, 10, 60, 300];

/// Entries by age: younger than each of [`AGES`], and the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ages(pub [u64; AGES.len() + 1]);

impl Ages {
    /// Adds an entry of this age.
    fn add(&mut self, age: Duration) {
        let class = AGES.iter().position(|end| age < Duration::from_secs(*end)).unwrap_or(AGES.len());
        self.0[class] += 1;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds another one's entries.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

/// What an entry is. Ordered as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A pin of a flow of which only the first packet was seen.
    PinProbation,
    /// A pin of a flow that went on.
    PinProtected,
    /// A tracked flow of which only the first packet was seen.
    FlowNew,
    /// A tracked flow that went on.
    FlowEstablished,
    /// A tracked flow that saw FIN or RST.
    FlowClosing,
    /// A source whose connections stick.
    Source,
}

/// How full a table is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableUse {
    /// Its name in the kernel.
    pub table: String,
    /// Entries in use.
    pub used: u64,
    /// Entries there are.
    pub room: u64,
}

/// What is remembered of one backend's flows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedOf {
    /// Pool.
    pub pool: String,
    /// Backend.
    pub backend: String,
    /// Entries by kind; kinds without an entry are left out.
    pub kinds: BTreeMap<Kind, Ages>,
}

/// What the tables remember.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// Tables.
    pub tables: Vec<TableUse>,
    /// Backends with at least one entry, by pool and name.
    pub backends: Vec<RememberedOf>,
    /// Seconds that ages are exact to.
    pub resolution: f64,
}

/// One flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowReport {
    /// Where its packets go.
    pub route: Route,
    /// The tables that know it.
    pub known: Vec<Known>,
}

/// An entry of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// What it is.
    pub kind: Kind,
    /// Whom it names.
    pub backend: String,
    /// Seconds since it was last used.
    pub age: f64,
    /// FIN or RST was seen.
    pub closing: bool,
}

/// The mapped tables.
#[derive(Debug)]
pub(in crate::datapath) struct Tables {
    pub(in crate::datapath) probation: View,
    pub(in crate::datapath) protected: View,
    pub(in crate::datapath) flows_new: View,
    pub(in crate::datapath) flows: View,
    pub(in crate::datapath) sources: View,
    pub(in crate::datapath) rules: View,
}

impl Tables {
    fn each(&self) -> [(&'static str, &View, Kind); 5] {
        use lb_common::names;
        [
            (names::PROBATION, &self.probation, Kind::PinProbation),
            (names::PROTECTED, &self.protected, Kind::PinProtected),
            (names::FLOWS_NEW, &self.flows_new, Kind::FlowNew),
            (names::FLOWS, &self.flows, Kind::FlowEstablished),
            (names::SOURCES, &self.sources, Kind::Source),
        ]
    }

    /// Counts everything: one pass over each table.
    pub(in crate::datapath) fn count(&self, names: &Names, now: u16, tick: Duration) -> Remembered {
        let mut of: BTreeMap<(u16, Kind), Ages> = BTreeMap::new();
        let mut tables = Vec::new();
        for (table, view, kind) in self.each() {
            let mut used = 0;
            for i in 0..view.words() {
                let word = view.word(i);
                if word == 0 {
                    continue;
                }
                used += 1;
                let entry = Pin(word);
                of.entry((entry.backend(), kind_of(kind, entry)))
                    .or_default()
                    .add(tick * u32::from(entry.age(now)));
            }
            tables.push(TableUse { table: table.to_owned(), used, room: view.words() as u64 });
        }
        let mut backends: BTreeMap<(String, String), BTreeMap<Kind, Ages>> = BTreeMap::new();
        for ((index, kind), ages) in of {
            let name = names.backends.get(&index).map_or_else(
                || ("-".to_owned(), format!("#{index}")),
                |id| (id.pool.to_string(), id.backend.to_string()),
            );
            backends.entry(name).or_default().entry(kind).or_default().merge(&ages);
        }
        Remembered {
            tables,
            backends: backends
                .into_iter()
                .map(|((pool, backend), kinds)| RememberedOf { pool, backend, kinds })
                .collect(),
            resolution: tick.as_secs_f64(),
        }
    }

    /// The entries of the flow `hash`, and that of the source of `shape` in service `service`.
    pub(in crate::datapath) fn find(
        &self,
        names: &Names,
        hash: u64,
        source: Option<u64>,
        now: u16,
        tick: Duration,
    ) -> Vec<Known> {
        let mut known = Vec::new();
        for (_, view, kind) in self.each() {
            let hash = if kind == Kind::Source {
                let Some(source) = source else { continue };
                source
            } else {
                hash
            };
            for word in view.bucket(hash).into_iter().filter(|word| *word != 0) {
                let entry = Pin(word);
                if entry.tag() == pin::tag(hash) {
                    let backend = entry.backend();
                    known.push(Known {
                        kind: kind_of(kind, entry),
                        backend: names
                            .backends
                            .get(&backend)
                            .map_or_else(|| format!("backend #{backend}"), ToString::to_string),
                        age: (tick * u32::from(entry.age(now))).as_secs_f64(),
                        closing: entry.closing(),
                    });
                }
            }
        }
        known
    }

    /// What a source of a service with stickiness is remembered by.
    pub(in crate::datapath) fn source(
        &self,
        key: &HashKey,
        service: u16,
        pool: u16,
        shape: &Shape,
    ) -> Option<u64> {
        use zerocopy::{FromBytes as _, IntoBytes as _};
        let words: [u64; size_of::<Rules>() / 8] = self.rules.take(usize::from(service) * 8);
        let rules = Rules::read_from_bytes(words.as_bytes()).ok()?;
        if rules.flags & STICKY == 0 {
            return None;
        }
        let (a, b) = match shape.src {
            std::net::IpAddr::V4(v4) => (u64::from(u32::from_le_bytes(v4.octets()) & rules.mask4), 0),
            std::net::IpAddr::V6(v6) => {
                let [a, b] = halves(&v6.octets());
                (a & rules.mask6[0], b & rules.mask6[1])
            }
        };
        Some(key.other(a, b, rules::source(service, pool)))
    }
}

/// FIN or RST makes any tracked flow a closing one.
const fn kind_of(kind: Kind, entry: Pin) -> Kind {
    match kind {
        Kind::FlowNew | Kind::FlowEstablished if entry.closing() => Kind::FlowClosing,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_fall_into_the_class_below_their_end() {
        let mut ages = Ages::default();
        for seconds in [0, 1, 9, 10, 59, 60, 299, 300, 9_999] {
            ages.add(Duration::from_secs(seconds));
        }
        assert_eq!(ages.0, [1, 2, 2, 2, 2]);
        assert_eq!(ages.total(), 9);
    }
}
