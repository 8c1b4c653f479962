use std::time::Duration;

use super::*;
use crate::{
    datapath::DesiredBackend,
    model::{Disposition, Method},
};

const SEED: u64 = 9;

fn wanted(hosts: &[(&str, u32, Disposition)]) -> DesiredPool {
    DesiredPool {
        slots: 1_021,
        idle: Duration::from_mins(1),
        drain_timeout: Duration::from_mins(1),
        backends: hosts
            .iter()
            .enumerate()
            .map(|(i, (name, weight, disposition))| {
                let backend = DesiredBackend {
                    address: [10, 0, 0, i as u8].into(),
                    weight: (*weight).try_into().unwrap(),
                    disposition: *disposition,
                    next_hop: None,
                    method: Method::Dr,
                    gue_port: 0,
                    server_id: None,
                };
                (name.parse().unwrap(), backend)
            })
            .collect(),
    }
}

fn pool() -> PoolName {
    "p".parse().unwrap()
}

/// A kernel that has exactly what is wanted; backend `i` of the wanted ones has index `i + 5`.
fn kernel(wanted: &DesiredPool) -> Found {
    let shares: Vec<Share> = wanted
        .backends
        .iter()
        .map(|(name, b)| Share {
            id: digest::backend_id(&pool(), name, b.address),
            weight: b.weight.get(),
            takes_new: b.disposition.takes_new(),
        })
        .collect();
    Found {
        slots: maglev::build(SEED, &shares, wanted.slots)
            .into_iter()
            .map(|owner| Slot::stable(if owner == maglev::NOBODY { 0 } else { owner + 5 }))
            .collect(),
        ids: (5..).zip(shares.iter().map(|s| s.id)).collect(),
        ..Found::default()
    }
}

const HOSTS: &[(&str, u32, Disposition)] =
    &[("a", 100, Disposition::Serving), ("b", 300, Disposition::Serving), ("c", 100, Disposition::Draining)];

#[test]
fn a_table_that_is_as_wanted_differs_nowhere_and_its_shares_follow_the_weights() {
    let wanted = wanted(HOSTS);
    let report = report(&pool(), &kernel(&wanted), &wanted, SEED, false);
    assert_eq!(report.digest, report.wanted_digest);
    assert_eq!((report.differences.as_slice(), report.owners.as_ref()), (&[][..], None));
    let [a, b, c] = report.backends.as_slice() else { panic!("{report:?}") };
    assert!((a.expected - 0.25).abs() < 1e-9 && (b.expected - 0.75).abs() < 1e-9 && c.expected == 0.0);
    assert_eq!(a.slots + b.slots, 1_021);
    assert!((200..310).contains(&a.slots), "{}", a.slots);
    assert_eq!((c.slots, c.wanted_slots), (0, 0));
}

#[test]
fn slots_that_somebody_else_wrote_are_told_by_both_owners() {
    let wanted = wanted(HOSTS);
    let mut found = kernel(&wanted);
    let of_a: Vec<usize> = (0..found.slots.len()).filter(|i| found.slots[*i].cur() == 5).take(3).collect();
    found.slots[of_a[0]] = Slot::stable(6);
    found.slots[of_a[1]] = Slot::stable(0);
    found.slots[of_a[2]] = Slot::stable(9);
    let report = report(&pool(), &found, &wanted, SEED, true);
    assert_ne!(report.digest, report.wanted_digest);
    let difference =
        |has: Option<&str>| Difference { has: has.map(str::to_owned), wanted: Some("a".into()), slots: 1 };
    for has in [Some("b"), None, Some("#9")] {
        assert!(report.differences.contains(&difference(has)), "{:?}", report.differences);
    }
    let owners = report.owners.unwrap();
    assert_eq!((owners.cur[of_a[0]], owners.cur[of_a[1]], owners.cur[of_a[2]]), (1, NOBODY, 3));
}

#[test]
fn old_owners_of_moving_slots_are_counted_also_when_they_are_gone_from_the_configuration() {
    let wanted = wanted(HOSTS);
    let mut found = kernel(&wanted);
    found.bases = vec![(0, 7), (1, 12), (2, 12)];
    found.ids.insert(12, 0xabc);
    found.others.insert(12, "old1".into());
    let report = report(&pool(), &found, &wanted, SEED, false);
    assert_eq!(report.in_transition, 3);
    assert_eq!(report.backends[2].draining_slots, 1);
    let gone = &report.backends[3];
    assert_eq!((gone.name.as_str(), gone.draining_slots, gone.slots), ("old1", 2, 0));
}

#[test]
fn a_table_of_another_size_is_compared_as_it_is_dealt() {
    let mut wanted = wanted(&HOSTS[..2]);
    let small = kernel(&wanted);
    wanted.slots = 4_093;
    let report = report(&pool(), &small, &wanted, SEED, false);
    assert_eq!(report.slots, 1_021);
    assert!(!report.differences.is_empty());
}
