//! What happens when something is full.

use super::*;

fn full(applied: &Applied) -> &'static str {
    match &applied.problem {
        Some(Error::Full { limit, .. }) => limit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_room_for_a_backend_all_others_are_served() {
    let mut site = Site::new(desired(251, 0..28));
    site.desired.pools.insert(pool_name("text"), pool(251, 0..33));
    let applied = site.tables.apply(&site.desired, site.kernel.tick);
    assert_eq!(full(&applied), "backends");
    assert_eq!(
        applied.problem.unwrap().to_string(),
        "the table of backends is full: 33 wanted, 30 there. Raise `limits.backends`; tables keep their size \
         until `lbctl shutdown --detach` and a new start"
    );
    let owners = site.owners();
    assert!(owners.len() == 30 && !owners.contains(&0));
}

#[test]
fn without_room_for_slots_the_old_table_still_follows_its_backends() {
    let mut site = Site::new(desired(2039, 0..4));
    text(&mut site.desired).slots = 4093;
    set(&mut site.desired, 1, Disposition::Down);
    let applied = site.tables.apply(&site.desired, site.kernel.tick);
    assert_eq!(full(&applied), "slots");
    assert!(!site.owners().contains(&id("text", 1)));
    assert_eq!(site.status().slots, 2039);
    site.change(|d| text(d).slots = 1021);
    assert_eq!(site.owners().len(), 3);
}

#[test]
fn freed_ranges_and_indices_rest_and_are_used_again() {
    let mut site = Site::new(desired(2039, 0..4));
    let other = |name: &str| {
        let mut d = Desired::default();
        d.pools.insert(pool_name(name), pool(2039, 0..4));
        d.services.insert("s".parse().unwrap(), service(name, 443));
        d
    };
    site.desired = other("b");
    assert!(site.tables.apply(&site.desired, site.kernel.tick).problem.is_none());
    site.desired = other("c");
    assert_eq!(full(&site.tables.apply(&site.desired, site.kernel.tick)), "slots");
    site.rest(GRACE as u16);
    let applied = site.tables.apply(&site.desired, site.kernel.tick);
    assert!(applied.problem.is_none());
    // Backends of pools that are gone go too.
    site.rest(GRACE as u16 + 1);
    assert_eq!(site.tables.backends().count(), 4);
}

#[test]
fn too_many_pools_leave_the_first_ones_served() {
    let mut site = Site::new(desired(61, 0..2));
    for name in ["a", "b", "c", "d"] {
        site.desired.pools.insert(pool_name(name), pool(61, 0..2));
    }
    let applied = site.tables.apply(&site.desired, site.kernel.tick);
    assert_eq!(full(&applied), "pools");
    assert_eq!(site.tables.pools().count(), 4);
    assert_eq!(site.owners().len(), 2);
}

#[test]
fn too_many_services_leave_the_others_served() {
    let mut site = Site::new(desired(61, 0..2));
    for port in 0..16 {
        site.desired.services.insert(format!("s{port}").parse().unwrap(), service("text", port));
    }
    let applied = site.tables.apply(&site.desired, site.kernel.tick);
    assert_eq!(full(&applied), "services");
    assert_eq!(site.tables.services().len(), 16);
}
