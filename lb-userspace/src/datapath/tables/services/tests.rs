use std::{collections::BTreeSet, rc::Rc};

use lb_common::service::ServiceEntry4;
use proptest::prelude::*;

use super::*;
use crate::datapath::tables::rule::Bank;

const MAP4: U64Map = U64Map::Services4;
const MAP6: U64Map = U64Map::Services6;

fn key_of(n: u16, six: bool) -> Key {
    let [a, b] = n.to_be_bytes();
    let addr = if six {
        std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into()
    } else {
        [203, 0, a, b].into()
    };
    key(addr, 443, lb_common::net::TCP).1
}

fn value(service: u16, pool: u16) -> ServiceRef {
    ServiceRef { service, pool, flags: lb_common::service::UDP_FLOW }
}

/// What the kernel program's lookup does, on the memory.
fn lookup(bank: &Rc<Bank>, key: &Key, six: bool) -> Option<ServiceRef> {
    let (map, entry) = if six { (MAP6, 4) } else { (MAP4, 2) };
    let mask = (bank.len64(map) / BUCKET - 1) as u32;
    let (home, alternate) = if six { Key6(*key).buckets() } else { Key4(key[0]).buckets() };
    let scan = |bucket: u32| {
        let first = (bucket & mask) as usize * BUCKET;
        (first..first + BUCKET)
            .step_by(entry)
            .find(|at| (0..entry - 1).all(|w| bank.load64(map, at + w) == key[w]))
            .map(|at| unpack(bank.load64(map, at + entry - 1)))
    };
    let first = unpack(bank.load64(map, (home & mask) as usize * BUCKET + entry - 1));
    let found = scan(home).or_else(|| (first.flags & OVERFLOW != 0).then(|| scan(alternate)).flatten());
    found.map(|value| ServiceRef { flags: value.flags & !OVERFLOW, ..value })
}

fn table(bank: &Rc<Bank>, six: bool) -> (ServiceTable, u64) {
    ServiceTable::adopt(bank, if six { MAP6 } else { MAP4 }, 1000, |value| value.pool < 100)
}

fn wanted(of: impl IntoIterator<Item = u16>, six: bool, pool: u16) -> BTreeMap<Key, ServiceRef> {
    of.into_iter().map(|n| (key_of(n, six), value(n, pool))).collect()
}

#[test]
fn words_are_laid_out_as_the_shared_types_say() {
    let entry = ServiceEntry4 { key: 0x0102, value: value(7, 9) };
    let bytes = entry.as_bytes();
    assert_eq!(bytes[8..], pack(entry.value).to_ne_bytes());
    let addr = |s: &str| s.parse::<std::net::Ipv6Addr>().unwrap();
    let found = key(addr("2001:db8::1").into(), 443, lb_common::net::UDP).1;
    assert_eq!(found[0].to_ne_bytes(), addr("2001:db8::1").octets()[..8]);
}

#[test]
fn tables_can_be_filled_to_nine_tenths() {
    let bank = Bank::new(64, 1, 16);
    for (six, entries) in [(false, 58), (true, 27)] {
        let (mut table, _) = table(&bank, six);
        let all = wanted(0..entries, six, 1);
        table.apply(&bank, &all).unwrap();
        assert!(all.iter().all(|(key, value)| lookup(&bank, key, six) == Some(*value)));
    }
}

#[test]
fn a_table_without_room_says_what_to_raise_and_keeps_the_rest() {
    let bank = Bank::new(64, 1, 16);
    let (mut table, _) = table(&bank, false);
    let error = table.apply(&bank, &wanted(0..70, false, 1)).unwrap_err();
    assert!(error.to_string().contains("limits.services"), "{error}");
    assert!(table.len() > 58);
}

#[test]
fn at_no_store_of_a_change_is_a_service_missing_that_stays() {
    for six in [false, true] {
        let before = wanted(0..24, six, 1);
        let bank = Bank::new(64, 1, 16);
        table(&bank, six).0.apply(&bank, &before).unwrap();
        // A third goes, a third gets another pool, and as many are new.
        let mut after = wanted(8..16, six, 1);
        after.extend(wanted(16..24, six, 2));
        after.extend(wanted(100..103, six, 3));
        let run = |budget: u64| {
            let bank = bank.killed_after(budget);
            table(&bank, six).0.apply(&bank, &after).unwrap();
            bank
        };
        let stores = run(u64::MAX).stores();
        for budget in 0..=stores {
            let killed = run(budget);
            for (key, old) in &before {
                let found = lookup(&killed, key, six);
                let new = after.get(key);
                assert!(found == Some(*old) || found.as_ref() == new, "{budget}: {found:?}");
            }
            for (key, new) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                let found = lookup(&killed, key, six);
                assert!(found.is_none() || found == Some(*new), "{budget}: {found:?} for a new service");
            }
            killed.restarted();
            let (mut table, cleared) = table(&killed, six);
            assert_eq!(cleared, 0);
            table.apply(&killed, &after).unwrap();
            for key in before.keys().chain(after.keys()) {
                assert_eq!(lookup(&killed, key, six).as_ref(), after.get(key), "{budget}");
            }
        }
    }
}

#[test]
fn entries_that_no_lookup_finds_or_of_no_pool_are_cleared() {
    let bank = Bank::new(64, 1, 16);
    let (mut first, _) = table(&bank, false);
    first.apply(&bank, &wanted(0..4, false, 1)).unwrap();
    // In a bucket that is neither home nor alternate.
    let stray = key_of(50, false);
    let (home, alternate) = first.homes(&stray);
    let bucket = (0..16).find(|b| *b != home && *b != alternate).unwrap();
    let at = first.free(bucket).unwrap();
    bank.poke64(MAP4, at, stray[0]);
    // Of a pool that is not there.
    let (k, v) = wanted([60], false, 500).into_iter().next().unwrap();
    let at = first.free(first.homes(&k).0).unwrap();
    bank.poke64(MAP4, at, k[0]);
    bank.poke64(MAP4, at + 1, pack(v));
    let (adopted, cleared) = table(&bank, false);
    assert_eq!((cleared, adopted.len()), (2, 4));
    assert_eq!((lookup(&bank, &stray, false), lookup(&bank, &k, false)), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_states_is_what_lookups_find(
        states in proptest::collection::vec(proptest::collection::btree_set(0u16..60, 0..24), 1..6),
        six: bool,
    ) {
        let bank = Bank::new(64, 1, 16);
        let (mut first, _) = table(&bank, six);
        for (n, state) in states.iter().enumerate() {
            let all = wanted(state.iter().copied(), six, n as u16);
            first.apply(&bank, &all).unwrap();
            for n in 0..60 {
                let key = key_of(n, six);
                prop_assert_eq!(lookup(&bank, &key, six), all.get(&key).copied());
            }
            let (second, cleared) = table(&bank, six);
            prop_assert_eq!((cleared, &second.placed, &second.away), (0, &first.placed, &first.away));
            let keys: BTreeSet<Key> = second.placed.keys().copied().collect();
            prop_assert_eq!(keys.len(), all.len());
        }
    }
}
