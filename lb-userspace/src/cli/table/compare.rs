//! Two balancers' tables of one pool. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::types::{TableReport, TableShare};

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The tables have equally many slots, so they were compared slot by slot.
    pub same_size: bool,
    /// Slots with different owners.
    pub slots: u32,
    /// Backends that differ in weight, in taking new connections, or in their number of slots; and those that only one has.
    pub backends: Vec<Differing>,
    /// Owners of the slots that differ.
    pub moves: Vec<Move>,
}

/// A backend on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// Name.
    pub name: String,
    /// Here, there.
    pub sides: [Option<Side>; 2],
}

/// A backend on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Weight.
    pub weight: u32,
    /// New connections may go there.
    pub takes_new: bool,
    /// Slots.
    pub slots: u32,
}

/// Slots with different owners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Move {
    /// Here.
    pub here: String,
    /// There.
    pub there: String,
    /// How many.
    pub slots: u32,
}

impl From<&TableShare> for Side {
    fn from(share: &TableShare) -> Self {
        let TableShare { weight, takes_new, slots, .. } = *share;
        Self { weight, takes_new, slots }
    }
}

/// Compares. A backend is the same if its identity is: pool, name and address.
pub fn compare(here: &TableReport, there: &TableReport) -> Comparison {
    let mut by_id: BTreeMap<(&str, &str), [Option<Side>; 2]> = BTreeMap::new();
    for (side, report) in [here, there].into_iter().enumerate() {
        for share in &report.backends {
            by_id.entry((&share.name, &share.id)).or_default()[side] = Some(share.into());
        }
    }
    let backends = by_id
        .into_iter()
        .filter(|(_, [a, b])| a != b)
        .map(|((name, _), sides)| Differing { name: name.to_owned(), sides })
        .collect();
    let (Some(mine), Some(theirs)) = (&here.owners, &there.owners) else {
        return Comparison { backends, ..Comparison::default() };
    };
    if mine.cur.len() != theirs.cur.len() {
        return Comparison { backends, ..Comparison::default() };
    }
    let mut moves: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for (a, b) in mine.cur.iter().zip(&theirs.cur) {
        let (a, b) = (owner(here, *a), owner(there, *b));
        if a.map(|share| &share.id) != b.map(|share| &share.id) {
            *moves.entry((name(a), name(b))).or_default() += 1;
        }
    }
    Comparison {
        same_size: true,
        slots: moves.values().sum(),
        backends,
        moves: moves
            .into_iter()
            .map(|((here, there), slots)| Move { here: here.to_owned(), there: there.to_owned(), slots })
            .collect(),
    }
}

fn name(share: Option<&TableShare>) -> &str {
    share.map_or("-", |share| share.name.as_str())
}

fn owner(report: &TableReport, position: i32) -> Option<&TableShare> {
    report.backends.get(usize::try_from(position).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Owners;

    fn table(backends: &[(&str, &str)], cur: &[i32]) -> TableReport {
        TableReport {
            backends: backends
                .iter()
                .zip(0..)
                .map(|((name, id), i)| TableShare {
                    name: (*name).into(),
                    id: (*id).into(),
                    slots: cur.iter().filter(|c| **c == i).count() as u32,
                    ..TableShare::default()
                })
                .collect(),
            owners: Some(Owners { cur: cur.to_vec(), base: Vec::new() }),
            ..TableReport::default()
        }
    }

    #[test]
    fn the_same_owners_in_another_order_are_the_same() {
        let a = table(&[("a", "1"), ("b", "2")], &[0, 1, 1, -1]);
        let b = table(&[("b", "2"), ("a", "1")], &[1, 0, 0, -1]);
        let found = compare(&a, &b);
        assert_eq!(found, Comparison { same_size: true, ..Comparison::default() });
    }

    #[test]
    fn each_difference_is_told_once_with_its_slots() {
        let a = table(&[("a", "1"), ("b", "2")], &[0, 0, 1, -1]);
        let b = table(&[("a", "1"), ("b", "9")], &[0, 1, 1, 0]);
        let found = compare(&a, &b);
        assert_eq!(found.slots, 3);
        let of = |here: &str, there: &str| {
            found.moves.iter().find(|m| m.here == here && m.there == there).unwrap().slots
        };
        assert_eq!((of("a", "b"), of("b", "b"), of("-", "a")), (1, 1, 1));
        // The same name at another address is another host.
        assert_eq!(found.backends.iter().filter(|d| d.name == "b").count(), 2);
    }

    #[test]
    fn tables_of_different_sizes_are_compared_by_backend_only() {
        let found = compare(&table(&[("a", "1")], &[0, 0]), &table(&[("a", "1")], &[0, 0, 0]));
        assert!(!found.same_size && found.moves.is_empty());
        assert_eq!(found.backends.len(), 1);
    }
}
