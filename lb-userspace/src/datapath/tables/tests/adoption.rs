//! What a daemon finds in the kernel, and what it does not believe.

use super::*;
use lb_common::slot::Slot;

fn adopt(site: &Site) -> (Tables<Rc<Bank>>, Adopted) {
    Tables::adopt(Rc::clone(&site.kernel.bank), &small(), settings(), site.kernel.tick).unwrap()
}

#[test]
fn a_restart_finds_everything_and_changes_nothing() {
    let mut site = Site::new(desired(251, 0..6));
    site.open(1000);
    site.change(|d| set(d, 2, Disposition::Draining));
    site.run(6, "draining");
    let (status, services) = (site.status(), site.tables.services().clone());
    let backends: Vec<_> = site.tables.backends().map(|(i, b)| (i, b.clone())).collect();
    let (tables, adopted) = adopt(&site);
    let found = Adopted { pools: 1, backends: 6, services: 4, repaired: 0 };
    assert_eq!(adopted, found);
    site.tables = tables;
    let before = site.kernel.bank.stores();
    let applied = site.apply();
    assert_eq!(applied.slots_changed, 0);
    assert!(applied.fresh_backends.is_empty() && applied.fresh_services.is_empty());
    assert_eq!(site.kernel.bank.stores(), before);
    assert_eq!((site.status().digest, site.tables.services()), (status.digest, &services));
    assert_eq!(site.status().in_transition, status.in_transition);
    assert_eq!(site.tables.backends().map(|(i, b)| (i, b.clone())).collect::<Vec<_>>(), backends);
    site.run(30, "after the restart");
}

#[test]
fn a_backend_removed_while_the_daemon_was_down_drains_under_its_address() {
    let mut site = Site::new(desired(61, 0..4));
    site.open(500);
    let (tables, _) = adopt(&site);
    site.tables = tables;
    site.change(|d| {
        text(d).backends.remove(&backend_name(1));
    });
    site.run(10, "removed");
    assert!(site.status().backends["10.0.0.1"].draining_slots > 0);
    site.flows.clear();
    site.rest(IDLE + 6);
    assert!(!site.status().backends.contains_key("10.0.0.1"));
}

#[test]
fn before_the_first_state_nothing_settles_and_nobody_is_taken_for_dead() {
    let mut site = Site::new(desired(61, 0..4));
    site.open(500);
    site.change(|d| set(d, 1, Disposition::Draining));
    let (tables, _) = adopt(&site);
    site.tables = tables;
    let before = site.kernel.bank.stores();
    site.rest(3 * IDLE);
    assert_eq!(site.kernel.bank.stores(), before);
    assert_eq!(site.tables.alive.iter().filter(|alive| **alive).count(), 4);
}

#[test]
fn a_backend_under_a_new_address_is_another_one_and_the_old_one_drains() {
    let mut site = Site::new(desired(61, 0..4));
    site.open(500);
    site.change(|d| {
        text(d).backends.get_mut(&backend_name(1)).unwrap().address = [10, 0, 9, 9].into();
    });
    assert!(!site.owners().contains(&id("text", 1)));
    site.run(20, "new address");
    assert_eq!(site.tables.backends().count(), 5);
}

#[test]
fn slots_that_point_nowhere_belong_to_nobody_until_the_state_is_applied() {
    let mut site = Site::new(desired(61, 0..4));
    for (slot, word) in [(3, 29), (4, Slot::moving(31).0), (5, Slot::moving(2).0)] {
        site.kernel.bank.poke16(U16Map::Slots, slot, word);
        site.kernel.bank.poke16(U16Map::Bases, slot, 0xffff);
    }
    let (tables, adopted) = adopt(&site);
    assert_eq!(adopted.repaired, 3);
    site.tables = tables;
    let state = |slot| {
        let (slot, base) =
            (site.kernel.bank.load16(U16Map::Slots, slot), site.kernel.bank.load16(U16Map::Bases, slot));
        (Slot(slot), base)
    };
    assert_eq!(state(3).0, Slot::stable(0));
    assert_eq!(state(4), (Slot::moving(0), 0));
    assert_eq!(state(5), (Slot::moving(2), 2));
    site.apply();
    assert!(!site.owners().contains(&0));
}

#[test]
fn pools_that_cannot_be_are_emptied_and_made_anew() {
    let word = |start: u32, len: u32| {
        let mut w = [0; 8];
        w[..4].copy_from_slice(&start.to_ne_bytes());
        w[4..].copy_from_slice(&len.to_ne_bytes());
        u64::from_ne_bytes(w)
    };
    for bad in [word(1, 61), word(4080, 61), word(u32::MAX - 31, 64), word(0, u32::MAX)] {
        let mut site = Site::new(desired(61, 0..4));
        site.kernel.bank.poke64(U64Map::Pools, 0, bad);
        let (tables, adopted) = adopt(&site);
        assert_eq!(adopted.repaired, 1);
        site.tables = tables;
        site.apply();
        assert_eq!(site.owners().len(), 4);
    }
    // Overlapping, and one id twice.
    let mut site = Site::new(desired(61, 0..4));
    let id = site.kernel.bank.load64(U64Map::Pools, 1);
    for (index, range, id) in [(1, word(32, 32), 77), (2, word(96, 32), id), (3, word(128, 32), 0)] {
        site.kernel.bank.poke64(U64Map::Pools, index * 2, range);
        site.kernel.bank.poke64(U64Map::Pools, index * 2 + 1, id);
    }
    let (tables, adopted) = adopt(&site);
    assert_eq!((adopted.repaired, adopted.pools), (3, 2));
    site.tables = tables;
    site.apply();
    assert_eq!(site.tables.pools().collect::<Vec<_>>(), vec![(0, &pool_name("text"))]);
}

#[test]
fn regions_of_impossible_sizes_are_refused() {
    let odd = Bank::new(64, 0, 32);
    let error = Tables::adopt(odd, &small(), settings(), 0).unwrap_err();
    assert!(error.to_string().contains("no room for a pool"), "{error}");
}

#[test]
fn what_somebody_else_writes_is_put_back_and_counted() {
    let mut all = desired(251, 0..6);
    all.services.get_mut("text-https").unwrap().rules.scheduler = crate::model::Scheduler::Rr;
    let mut site = Site::new(all);
    site.open(500);
    site.change(|d| set(d, 2, Disposition::Draining));
    let moving =
        (0..251).find(|slot| Slot(site.kernel.bank.load16(U16Map::Slots, *slot)).in_transition()).unwrap();
    site.kernel.bank.poke16(U16Map::Slots, (moving + 1) % 251, 17);
    site.kernel.bank.poke16(U16Map::Bases, moving, 5);
    site.kernel.bank.poke16(U16Map::Sequences, 3, 9);
    for map in [U64Map::Services4, U64Map::Services6, U64Map::Pools, U64Map::Backends] {
        site.kernel.bank.poke64(map, 3, 0x1234);
    }
    assert_eq!(site.rest(1)[0].drift_repaired, 7);
    assert_eq!(site.rest(1)[0].drift_repaired, 0);
    site.assert_nothing_moved("repaired");
}
