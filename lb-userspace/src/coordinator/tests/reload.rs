//! What a new file may do, and what it may not.

use super::*;

#[test]
fn what_did_not_change_keeps_age_health_and_place_in_the_order_of_failures() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    for backend in ["b4", "b1", "b3", "b2"] {
        world.down(backend);
    }
    let before = world.pool();
    world.pass(60);
    let mut edited = pool("text", &["b1", "b2", "b3", "b4", "b5"]);
    edited.slots = 509;
    let changes = world.reload(config(vec![edited])).unwrap();
    assert_eq!(
        changes,
        [
            "~ pool text slots: 251 -> 509",
            "+ backend text/b5 { address = \"10.0.0.5\", weight = 10, pooled = \"yes\", method = \"dr\" }",
            "! pool text: with more `slots`, a few established connections go to other backends"
        ]
    );
    for backend in ["b1", "b2", "b3", "b4"] {
        let (old, new) = (&before.backends[backend], world.view(backend));
        assert_eq!((old.since, old.up, old.disposition), (new.since, new.up, new.disposition), "{backend}");
    }
    world.up("b1");
    world.up("b4");
    world.find_way("b5");
    world.log.clear();
    world.up("b5");
    let gone: Vec<_> = world.log.iter().filter(|line| line.contains("held -> down")).collect();
    assert!(gone[0].starts_with("b3") && gone[1].starts_with("b2"), "{gone:?}");
}

#[test]
fn changed_checks_depool_nobody_until_they_have_spoken() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3"]));
    world.down("b3");
    let changed = Pool { checks: vec![check("new")], ..pool("text", &["b1", "b2", "b3"]) };
    world.reload(config(vec![changed])).unwrap();
    assert_eq!(world.line(), "b1=serving b2=serving b3=down");
    assert!(world.targets.iter().all(|t| &*t.spec.name == "new"));
    world.down("b1");
    assert_eq!(world.is("b1"), Disposition::Held, "b3 is still known as down");
    world.up("b3");
    assert_eq!(world.line(), "b1=down b2=serving b3=serving");
}

#[test]
fn a_disjoint_set_takes_over_when_enough_of_it_is_up() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    world.reload(config(vec![pool("text", &["b3", "b4"])])).unwrap();
    assert_eq!(world.line(), "b1=held b2=held b3=out b4=out");
    assert_eq!(world.desired().pools["text"].backends.len(), 4);
    world.find_way("b3");
    world.up("b3");
    assert_eq!(world.line(), "b3=serving b4=out");
    assert!(world.logged("b1 left the configuration and is drained now"));
    assert!(!world.addresses.contains(&address("b1")), "nobody needs it any more");
}

#[test]
fn a_disjoint_set_that_fails_leaves_the_old_one_serving() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    world.reload(config(vec![pool("text", &["b3", "b4"])])).unwrap();
    world.down("b3");
    world.down("b4");
    assert_eq!(world.line(), "b1=held b2=held b3=out b4=out");
    // An edit elsewhere is not refused for it.
    let more = config(vec![pool("text", &["b3", "b4"]), pool("upload", &["b9"])]);
    world.reload(more).unwrap();
    assert_eq!(world.line(), "b1=held b2=held b3=out b4=out");
    // And who comes back into the file just stays.
    world.reload(config(vec![pool("text", &["b1", "b3", "b4"])])).unwrap();
    assert_eq!(world.line(), "b1=serving b3=out b4=out");
}

#[test]
fn a_moved_address_is_served_by_the_old_one_until_the_new_one_is_up() {
    let mut world = World::healthy(pool("text", &["b1"]));
    let mut moved = pool("text", &["b1"]);
    edit(&mut moved, "b1", |b| b.address = address("b9"));
    world.reload(config(vec![moved])).unwrap();
    assert_eq!((world.wanted("b1").address, world.is("b1")), (address("b1"), Disposition::Held));
    world.find_way("b9");
    world.up("b9");
    assert_eq!((world.wanted("b1").address, world.is("b1")), (address("b9"), Disposition::Serving));
}

#[test]
fn a_removal_is_the_operators_wish_while_something_still_serves() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    world.down("b1");
    world.down("b2");
    world.reload(config(vec![pool("text", &["b1", "b2", "b3"])])).unwrap();
    assert_eq!(world.line(), "b1=down b2=down b3=serving");
}

#[test]
fn disabling_all_in_the_file_is_refused_with_the_pool_named() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    for wish in [Pooled::No, Pooled::Inactive] {
        let mut disabled = pool("text", &["b1", "b2"]);
        edit(&mut disabled, "b1", |b| b.pooled = wish);
        edit(&mut disabled, "b2", |b| b.weight = 0.try_into().unwrap());
        let problem = world.reload(config(vec![disabled])).unwrap_err();
        assert!(problem.starts_with("pool text: 2 serve now"), "{problem}");
        assert_eq!(world.line(), "b1=serving b2=serving");
        assert_eq!(world.view("b1").configured_pooled, Pooled::Yes);
    }
}

#[test]
fn disabling_the_old_ones_beside_new_ones_waits_for_the_new_ones() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let mut edited = pool("text", &["b1", "b2", "b3"]);
    edit(&mut edited, "b1", |b| b.pooled = Pooled::No);
    edit(&mut edited, "b2", |b| b.pooled = Pooled::Inactive);
    world.reload(config(vec![edited])).unwrap();
    assert_eq!(world.line(), "b1=held b2=held b3=out");
    world.find_way("b3");
    world.up("b3");
    assert_eq!(world.line(), "b1=draining b2=draining b3=serving");
}

#[test]
fn an_empty_pool_that_is_meant_is_not_refused() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    world.reload(config(vec![Pool { allow_empty: true, ..pool("text", &[]) }])).unwrap();
    assert_eq!(world.line(), "");
}

#[test]
fn a_threshold_that_would_let_all_held_ones_go_is_refused() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    world.down("b1");
    world.down("b2");
    let mut edited = pool("text", &["b1", "b2"]);
    edited.threshold.fraction = 0.0;
    assert!(world.reload(config(vec![edited])).is_err());
    assert_eq!(world.line(), "b1=down b2=held");
}

#[test]
fn a_service_that_moves_to_a_pool_not_yet_up_stays_with_its_old_one_until_then() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let moved = || {
        let mut moved = config(vec![pool("cache", &["b3"])]);
        moved.services = [service("text", "cache")].map(|s| (s.name.clone(), Arc::new(s))).into();
        moved
    };
    world.reload(moved()).unwrap();
    let desired = world.desired();
    assert_eq!(desired.services["text"].pool.as_str(), "text");
    assert_eq!(desired.pools.len(), 2);
    assert_eq!(world.line(), "b1=serving b2=serving");
    world.find_way("b3");
    world.up("b3");
    let desired = world.desired();
    assert_eq!(desired.services["text"].pool.as_str(), "cache");
    assert_eq!(desired.pools.len(), 1);
    assert_eq!(world.addresses, BTreeSet::from([address("b3")]));
    assert_eq!(world.snapshot().pools["cache"].services.len(), 1);
}

#[test]
fn a_preview_says_the_same_and_changes_nothing() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let desired = world.desired();
    let good = Arc::new(config(vec![pool("text", &["b1"])]));
    let bad = Arc::new(config(vec![pool("text", &[])]));
    assert_eq!(world.state.preview(&good, world.now).unwrap(), ["- backend text/b2"]);
    assert!(world.state.preview(&bad, world.now).is_err());
    assert_eq!(world.desired(), desired);
    assert_eq!(world.snapshot().reloads, (0, 0));
}

#[test]
fn what_takes_effect_only_at_a_restart_is_said() {
    let mut world = World::healthy(pool("text", &["b1"]));
    let mut edited = config(vec![pool("text", &["b1"])]);
    edited.global.interfaces.push("eth1".into());
    let changes = world.reload(edited).unwrap();
    assert_eq!(changes, ["~ lbd interfaces: [\"eth0\"] -> [\"eth0\", \"eth1\"] (needs a restart)"]);
}
