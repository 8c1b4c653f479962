//! Each defect of PyBal found by running it, by its number in the inventory of its behaviour: none may come back.

use super::*;

#[test]
fn defect_1_3_a_list_edit_without_checks_does_not_empty_the_pool() {
    let unchecked = |backends: &[&str]| Pool { checks: Vec::new(), ..pool("text", backends) };
    let mut world = World::healthy(unchecked(&["b1", "b2"]));
    assert_eq!(world.line(), "b1=serving b2=serving");
    assert_eq!(world.view("b1").why, "no checks");

    world.reload(config(vec![unchecked(&["b1", "b2", "b3"])])).unwrap();
    assert_eq!(world.line(), "b1=serving b2=serving b3=out", "b3 has no known MAC address yet");
    world.find_way("b3");
    assert_eq!(world.line(), "b1=serving b2=serving b3=serving");
}

#[test]
fn defect_2_3_new_backends_get_nothing_before_their_first_check_has_passed() {
    let mut world = World::cold(vec![pool("text", &["b1", "b2"])]);
    world.find_way("b1");
    world.find_way("b2");
    assert_eq!(world.line(), "b1=out b2=out");
    world.down("b1");
    world.up("b2");
    assert_eq!(world.line(), "b1=out b2=serving");
}

#[test]
fn defect_2_4_disabled_backends_eat_the_allowance_as_documented() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    world.depool("b1").unwrap();
    world.depool("b2").unwrap();
    world.down("b3");
    assert_eq!(world.line(), "b1=draining b2=draining b3=held b4=serving");
}

#[test]
fn defect_2_4_an_operator_cannot_empty_a_pool_unless_he_insists() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    for wish in [Pooled::No, Pooled::Inactive] {
        world.depool("b1").unwrap();
        world.depool("b2").unwrap();
        let Err(Refusal::Policy { message }) = world.run(&pooled("b3", wish)) else {
            panic!("{wish} below the threshold");
        };
        let numbers = "pool text: 2 of 4 are up and enabled, 2 must stay (threshold 0.5)";
        assert_eq!(message, format!("{numbers}; add --force to do it anyway"));
        assert_eq!(world.line(), "b1=draining b2=draining b3=serving b4=serving");
    }
}

#[test]
fn defect_2_6_all_held_backends_go_in_order_of_failure_when_enough_are_up() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    for backend in ["b4", "b2", "b3", "b1"] {
        world.down(backend);
    }
    assert_eq!(world.line(), "b1=held b2=down b3=held b4=down");
    world.log.clear();
    world.up("b2");
    assert_eq!(world.line(), "b1=held b2=serving b3=held b4=down", "one of four is not half");
    world.up("b4");
    assert_eq!(world.line(), "b1=down b2=serving b3=down b4=serving");
    let position = |text: &str| world.log.iter().position(|line| line.starts_with(text)).unwrap();
    assert!(position("b3 held -> down") < position("b1 held -> down"), "{:?}", world.log);
}

#[test]
fn defect_2_7_a_list_edit_while_all_fail_does_not_empty_the_pool() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    for backend in ["b1", "b2", "b3", "b4"] {
        world.down(backend);
    }
    assert_eq!(world.line(), "b1=down b2=down b3=held b4=held");
    let mut edited = pool("text", &["b1", "b2", "b3", "b4"]);
    edit(&mut edited, "b1", |b| b.weight = 3.try_into().unwrap());
    world.reload(config(vec![edited])).unwrap();
    assert_eq!(world.line(), "b1=down b2=down b3=held b4=held");
    world.reload(config(vec![pool("text", &["b1", "b2", "b3", "b4", "b5"])])).unwrap();
    assert_eq!(world.line(), "b1=down b2=down b3=held b4=held b5=out");
}

#[test]
fn defect_2_7_an_empty_list_is_refused() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let problem = world.reload(config(vec![pool("text", &[])])).unwrap_err();
    assert!(problem.contains("pool text: 2 serve now"), "{problem}");
    assert_eq!(world.line(), "b1=serving b2=serving");
    let snapshot = world.snapshot();
    assert_eq!((snapshot.reloads, snapshot.reload_problem), ((0, 1), Some(problem)));
}

#[test]
fn defect_2_7_an_unchanged_list_changes_nothing() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let desired = world.desired();
    world.log.clear();
    assert!(world.reload(config(vec![pool("text", &["b1", "b2"])])).unwrap().is_empty());
    assert_eq!((world.effects.len(), world.log.len()), (0, 0));
    assert_eq!(world.desired(), desired);
}

#[test]
fn defect_2_7_a_new_host_delays_nothing_else_in_the_same_edit() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3"]));
    let mut edited = pool("text", &["b1", "b2", "b3", "b4"]);
    edit(&mut edited, "b1", |b| b.pooled = Pooled::No);
    world.reload(config(vec![edited])).unwrap();
    assert_eq!(world.line(), "b1=draining b2=serving b3=serving b4=out");
}

#[test]
fn defect_2_9_1_a_held_backend_that_is_disabled_or_removed_is_no_longer_held() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    for backend in ["b1", "b2", "b3", "b4"] {
        world.down(backend);
    }
    world.run(&forced(pooled("b3", Pooled::No))).unwrap();
    assert_eq!(world.line(), "b1=down b2=down b3=draining b4=held");
    world.reload(config(vec![pool("text", &["b1", "b2", "b4"])])).unwrap();
    assert_eq!(world.line(), "b1=down b2=down b4=held");
    // The next recovery is handled to its end.
    world.up("b1");
    world.up("b2");
    assert_eq!(world.line(), "b1=serving b2=serving b4=down");
}

#[test]
fn defect_2_9_2_a_healthy_disabled_backend_can_be_enabled_again() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let mut edited = pool("text", &["b1", "b2"]);
    edit(&mut edited, "b1", |b| b.pooled = Pooled::No);
    world.reload(config(vec![edited])).unwrap();
    assert_eq!(world.line(), "b1=draining b2=serving");
    world.reload(config(vec![pool("text", &["b1", "b2"])])).unwrap();
    assert_eq!(world.line(), "b1=serving b2=serving");
}

#[test]
fn defect_2_9_4_the_counts_shown_follow_failures() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    assert_eq!((world.pool().up_and_enabled, world.pool().can_depool), (4, true));
    world.down("b1");
    world.down("b2");
    assert_eq!((world.pool().up_and_enabled, world.pool().total), (2, 4));
    assert!(!world.pool().can_depool);
}

#[test]
fn defect_2_9_5_a_result_of_a_check_nobody_runs_any_more_changes_nothing() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3"]));
    let stale = world.targets.iter().find(|t| t.address == address("b3")).unwrap().clone();
    world.reload(config(vec![pool("text", &["b1", "b2"])])).unwrap();
    assert!(!world.targets.contains(&stale));
    world.log.clear();
    world.verdict(stale, Verdict::Down);
    world.lose_way("b3");
    assert_eq!((world.effects.len(), world.log.len()), (0, 0));
}

#[test]
fn defect_2_9_6_nothing_of_a_removed_host_stays_in_what_is_shown() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3"]));
    world.reload(config(vec![pool("text", &["b1", "b2"])])).unwrap();
    assert_eq!(world.line(), "b1=serving b2=serving");
    assert!(!world.desired().pools["text"].backends.contains_key("b3"));
}

#[test]
fn defect_2_9_8_a_new_host_may_fail_its_first_check_before_anything_else_is_known() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    world.reload(config(vec![pool("text", &["b1", "b2", "b3"])])).unwrap();
    world.down("b3");
    assert_eq!(world.line(), "b1=serving b2=serving b3=out");
    world.find_way("b3");
    world.up("b3");
    assert_eq!(world.is("b3"), Disposition::Serving);
}

#[test]
fn defect_2_9_9_a_file_that_vanishes_changes_nothing_and_is_shown() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let desired = world.desired();
    world.apply(Event::ReloadFailed("lbd.toml: No such file or directory".into()));
    assert!(world.effects.is_empty());
    assert_eq!(world.desired(), desired);
    assert!(world.snapshot().reload_problem.unwrap().contains("No such file"));
    world.reload(config(vec![pool("text", &["b1", "b2"])])).unwrap();
    assert_eq!(world.snapshot().reload_problem, None);
}

#[test]
fn defect_2_7_one_edit_after_another_while_the_new_hosts_fail_does_not_empty_the_pool() {
    let serving = |world: &mut World| {
        let desired = world.desired();
        let pool = desired.pools.values().next().unwrap();
        pool.backends.values().filter(|b| b.disposition.takes_new()).count()
    };
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    world.reload(config(vec![pool("text", &["b9"])])).unwrap();
    assert_eq!(serving(&mut world), 2, "until the new one serves");
    world.down("b9");
    assert_eq!(serving(&mut world), 2);
    let mut disabled = pool("text", &["b1", "b2"]);
    for backend in ["b1", "b2"] {
        edit(&mut disabled, backend, |b| b.pooled = Pooled::No);
    }
    world.reload(config(vec![disabled])).unwrap();
    assert_eq!(serving(&mut world), 2);
    world.reload(config(vec![pool("text", &["b8"])])).unwrap();
    assert_eq!(serving(&mut world), 2);
    world.find_way("b8");
    world.up("b8");
    assert_eq!(serving(&mut world), 1, "what serves at last");
}
