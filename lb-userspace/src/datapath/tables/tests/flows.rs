//! Established flows stay where they are, whatever happens to the pool.

use super::*;

#[test]
fn a_rolling_drain_of_every_backend_moves_no_flow() {
    let mut site = Site::new(desired(251, 0..8));
    site.open(3000);
    for n in 0..8 {
        site.change(|d| set(d, n, Disposition::Draining));
        assert!(!site.owners().contains(&id("text", n)), "a draining backend gets no new connection");
        site.run(15, "draining");
        site.change(|d| set(d, n, Disposition::Serving));
        site.run(6, "pooled again");
    }
    // Flows of before the first drain still keep slots in transition; when all are gone, nothing is left over.
    assert!(site.status().in_transition > 0);
    site.flows.clear();
    site.rest(IDLE + 2);
    assert_eq!(site.status().in_transition, 0);
    let last = site.rest(1);
    assert_eq!((last[0].pins, site.status().backends.len()), (0, 8));
}

#[test]
fn steady_state_has_no_transition_and_needs_no_store() {
    let mut site = Site::new(desired(251, 0..8));
    site.open(500);
    let before = site.kernel.bank.stores();
    assert_eq!(site.apply().slots_changed, 0);
    site.run(30, "steady");
    assert_eq!(site.kernel.bank.stores(), before);
    assert_eq!(site.status().in_transition, 0);
}

#[test]
fn only_flows_of_a_dead_backend_move_and_they_move_at_once() {
    let mut site = Site::new(desired(251, 0..8));
    site.open(2000);
    let dead = id("text", 3);
    site.change(|d| set(d, 3, Disposition::Down));
    assert_eq!(site.talk(), BTreeSet::from([dead]));
    assert!(site.flows.iter().all(|f| {
        let now = site.kernel.packet(0, f.hash, false);
        now != dead && now != 0
    }));
    assert_eq!(site.status().in_transition, 0, "nothing is ambiguous");
    site.flows.retain(|f| f.owner != dead);
    for _ in 0..5 {
        site.run(4, "down");
        site.change(|d| set(d, 3, Disposition::Serving));
        site.run(3, "up");
        site.change(|d| set(d, 3, Disposition::Down));
        site.flows.retain(|f| f.owner != dead);
    }
}

#[test]
fn pins_to_a_dead_backend_are_purged() {
    let mut site = Site::new(desired(251, 0..4));
    site.open(400);
    site.change(|d| set(d, 0, Disposition::Draining));
    site.open(400);
    site.rest(1);
    let pinned = |site: &Site, n| site.status().backends[&backend_name(n)].pins;
    assert!(pinned(&site, 1) > 0);
    let dead = id("text", 1);
    site.change(|d| set(d, 1, Disposition::Down));
    assert_eq!(pinned(&site, 1), 0);
    assert!(site.flows.iter().all(|f| site.kernel.packet(0, f.hash, false) != dead));
    site.flows.retain(|f| f.owner != dead);
    site.run(10, "after the purge");
}

#[test]
fn a_drained_backend_that_dies_leaves_its_slots_to_their_owners() {
    let mut site = Site::new(desired(251, 0..4));
    site.open(1000);
    site.change(|d| set(d, 0, Disposition::Draining));
    site.run(5, "draining");
    let dead = id("text", 0);
    site.change(|d| set(d, 0, Disposition::Down));
    assert_eq!(site.talk(), BTreeSet::from([dead]));
    assert_eq!(site.status().backends[&backend_name(0)].draining_slots, 0);
    site.flows.retain(|f| f.owner != dead);
    site.run(30, "dead");
    site.change(|d| set(d, 0, Disposition::Serving));
    site.run(30, "up again");
}

#[test]
fn weights_additions_and_removals_move_no_flow() {
    let mut site = Site::new(desired(251, 0..6));
    site.open(2000);
    for weight in [20, 1, 0, 7, 10] {
        site.change(|d| {
            text(d).backends.get_mut(&backend_name(2)).unwrap().weight = weight.try_into().unwrap();
        });
        site.run(4, "weight");
    }
    site.change(|d| {
        text(d).backends.insert(backend_name(9), backend(9));
    });
    site.run(10, "added");
    assert!(site.owners().contains(&id("text", 9)));
    site.change(|d| {
        text(d).backends.remove(&backend_name(9));
        text(d).backends.remove(&backend_name(1));
    });
    assert!(!site.owners().contains(&id("text", 1)));
    site.run(30, "removed");
    let names = |site: &Site| site.tables.backends().map(|(_, id)| id.backend.clone()).collect::<Vec<_>>();
    assert!(names(&site).contains(&backend_name(1)), "it still has flows");
    site.flows.clear();
    let released: Vec<u16> = site.rest(IDLE + 6).into_iter().flat_map(|s| s.released).collect();
    assert_eq!(released.len(), 2);
    assert!(!names(&site).contains(&backend_name(1)));
}

#[test]
fn drains_end_at_their_timeout_and_settle_when_idle_before() {
    let mut site = Site::new(desired(61, 0..3));
    site.open(300);
    site.change(|d| set(d, 0, Disposition::Draining));
    let mut cut_at = None;
    for t in 1..=DRAIN as u16 + 2 {
        site.talk();
        let swept = site.rest(1)[0].clone();
        if swept.backends_cut > 0 {
            cut_at = Some(t);
        }
        assert!(t >= DRAIN as u16 || swept.cut == 0);
    }
    assert_eq!(cut_at, Some(DRAIN as u16));
    assert_eq!(site.talk(), BTreeSet::from([id("text", 0)]));
    assert_eq!(site.status().in_transition, 0);
    // The next drain starts anew.
    site.change(|d| set(d, 0, Disposition::Serving));
    site.flows.clear();
    site.rest(IDLE + 2);
    site.open(300);
    site.change(|d| set(d, 0, Disposition::Draining));
    site.run(IDLE, "second drain");
}

#[test]
fn without_a_backend_that_takes_new_connections_the_draining_ones_keep_theirs() {
    let mut site = Site::new(desired(61, 0..3));
    site.open(300);
    site.change(|d| (0..3).for_each(|n| set(d, n, Disposition::Draining)));
    assert_eq!(site.owners(), BTreeSet::from([0]));
    site.rest(5);
    site.assert_nothing_moved("nobody takes new");
    site.change(|d| set(d, 1, Disposition::Serving));
    assert_eq!(site.owners(), BTreeSet::from([id("text", 1)]));
    site.run(10, "one serves");
}

#[test]
fn a_table_of_another_size_keeps_nearly_all_flows() {
    let mut site = Site::new(desired(61, 0..4));
    site.open(2000);
    site.change(|d| text(d).slots = 1021);
    let moved = site.flows.iter().filter(|f| site.kernel.packet(0, f.hash, false) != f.owner).count();
    // Only the new slots that lie across the border of two old ones.
    assert!(moved < 2000 / 16, "{moved}");
    assert_eq!(site.status().slots, 1021);
}

#[test]
fn a_changed_mac_address_is_one_store_and_an_unknown_one_none() {
    let mut site = Site::new(desired(61, 0..4));
    let before = site.kernel.bank.stores();
    let hop = |d: &mut Desired| {
        text(d).backends.get_mut(&backend_name(2)).unwrap().next_hop.as_mut().unwrap().dst_mac = Mac([6; 6]);
    };
    site.change(hop);
    assert_eq!(site.kernel.bank.stores(), before + 1);
    site.change(|d| text(d).backends.get_mut(&backend_name(2)).unwrap().next_hop = None);
    assert_eq!(site.kernel.bank.stores(), before + 1, "the old way is kept");
    assert!(site.owners().contains(&id("text", 2)));
}

#[test]
fn equal_states_have_equal_digests_whatever_the_local_indices() {
    let mut one = Site::new(desired(251, 0..4));
    let two = Site::new(desired(251, 0..6));
    one.change(|d| {
        text(d).backends.insert(backend_name(5), backend(5));
    });
    one.change(|d| {
        text(d).backends.insert(backend_name(4), backend(4));
    });
    assert_eq!(one.status().digest, two.status().digest);
    one.change(|d| set(d, 1, Disposition::Down));
    assert_ne!(one.status().digest, two.status().digest);
}

#[test]
fn ports_that_were_pinned_in_an_earlier_transition_are_free_in_the_next() {
    let mut site = Site::new(desired(251, 0..4));
    site.kernel.pin_idle = u16::MAX;
    site.change(|d| set(d, 0, Disposition::Draining));
    site.open(2000);
    // Talking to their slots' owners, they do not keep the slots in transition; their pins are as fresh as can be.
    for _ in 0..=IDLE + 1 {
        site.kernel.tick = site.kernel.tick.wrapping_add(1);
        site.assert_nothing_moved("pinned to the slot's owner");
        site.tables.sweep(site.kernel.tick);
    }
    assert_eq!(site.status().in_transition, 0);
    site.kernel.tick = site.kernel.tick.wrapping_add(1);
    site.change(|d| set(d, 1, Disposition::Draining));
    site.assert_nothing_moved("established before the second transition");
    let drained = id("text", 1);
    let again: BTreeSet<u64> = site.flows.iter().map(|f| site.kernel.packet(0, f.hash, true)).collect();
    assert!(
        !again.contains(&drained),
        "a new connection from ports used before goes where new connections go"
    );
}

#[test]
fn a_transition_that_outlasts_the_clock_does_not_begin_anew() {
    let mut all = desired(251, 0..4);
    text(&mut all).drain_timeout = Duration::from_secs(1 << 20);
    let mut site = Site::new(all);
    site.open(200);
    site.change(|d| set(d, 1, Disposition::Draining));
    let moving = site.status().in_transition;
    for step in 0..80u32 {
        site.kernel.tick = site.kernel.tick.wrapping_add(1000);
        // The flows of before keep their slots in transition; nobody new comes.
        site.flows.iter().for_each(|flow| _ = site.kernel.packet(0, flow.hash, false));
        site.tables.sweep(site.kernel.tick);
        let ages: Vec<u16> = (0..251)
            .filter(|slot| site.tables.slots.get(*slot).slot.in_transition())
            .map(|slot| clock::age(site.kernel.tick, site.kernel.bank.load16(U16Map::Begins, slot)))
            .collect();
        assert!(!ages.is_empty() && ages.len() <= moving as usize);
        let least = (1000 * (step + 1)).min(u32::from(clock::LONGEST));
        assert!(ages.iter().all(|age| u32::from(*age) == least), "after {step}: {ages:?}");
    }
}

#[test]
fn a_backend_becomes_narrow_when_longer_packets_may_come_in() {
    let mut site = Site::new(desired(251, 0..2));
    let flags = |site: &Site| {
        let words = (8..16).flat_map(|i| site.kernel.bank.load64(U64Map::Backends, i).to_ne_bytes());
        let record: Vec<u8> = words.collect();
        <lb_common::backend::Backend as zerocopy::FromBytes>::read_from_bytes(&record).unwrap().flags
    };
    assert_eq!(flags(&site) & lb_common::backend::NARROW, 0);
    site.tables.set_ingress_mtu(9000);
    site.apply();
    assert_ne!(flags(&site) & lb_common::backend::NARROW, 0);
}
