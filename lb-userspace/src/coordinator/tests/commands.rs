//! Operators' commands and their overrides.

use super::*;

fn summary(result: Result<Vec<Outcome>, Refusal>) -> (bool, String) {
    let outcome = &result.unwrap()[0];
    (outcome.changed, outcome.summary.clone())
}

#[test]
fn a_depool_drains_and_a_pool_serves_again() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    assert_eq!(summary(world.depool("b1")), (true, "pooled=yes -> pooled=no, draining".into()));
    assert_eq!(world.line(), "b1=draining b2=serving");
    assert_eq!(world.view("b1").overridden.unwrap().by, "alice");
    assert!(matches!(world.effects[..], [Effect::Save(_), Effect::Program { urgent: false }]));
    let back = world.run(&pooled("b1", Pooled::Yes));
    assert_eq!(summary(back), (true, "pooled=no -> pooled=yes, serving".into()));
    assert_eq!(world.view("b1").overridden, None, "the file says yes already");
    assert!(world.saved.as_ref().unwrap().overrides.is_empty());
}

#[test]
fn repeating_a_command_changes_nothing() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    for command in
        [pooled("b1", Pooled::No), weight("b2", 5), pooled("b1", Pooled::Yes), pooled("b1", Pooled::Inactive)]
    {
        assert!(world.run(&command).unwrap()[0].changed);
        let line = world.line();
        assert!(!world.run(&command).unwrap()[0].changed);
        assert!(world.effects.is_empty());
        assert_eq!(world.line(), line);
    }
}

#[test]
fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let desired = world.desired();
    let dry = |command| Command { dry_run: true, ..command };
    assert_eq!(
        summary(world.run(&dry(pooled("b1", Pooled::No)))),
        (true, "pooled=yes -> pooled=no, draining".into())
    );
    assert!(world.effects.is_empty());
    world.depool("b1").unwrap();
    assert!(world.run(&dry(pooled("b2", Pooled::No))).is_err());
    assert_eq!(world.pool().could_not_depool, 0);
    assert!(world.depool("b2").is_err());
    assert_eq!(world.pool().could_not_depool, 1);
    world.run(&pooled("b1", Pooled::Yes)).unwrap();
    assert_eq!(world.desired().pools, desired.pools);
}

#[test]
fn weight_zero_drains_and_obeys_the_threshold() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    assert_eq!(summary(world.run(&weight("b1", 0))), (true, "weight 10 -> 0, draining".into()));
    assert_eq!(world.wanted("b1").weight.get(), 0);
    assert!(matches!(world.run(&weight("b2", 0)), Err(Refusal::Policy { .. })));
    world.run(&forced(weight("b2", 0))).unwrap();
    assert_eq!(world.line(), "b1=draining b2=draining");
    world.run(&command("b1", Change::Weight { weight: None })).unwrap();
    assert_eq!(world.line(), "b1=serving b2=draining");
}

#[test]
fn the_last_one_stays_even_at_threshold_zero() {
    let mut lax = pool("text", &["b1", "b2"]);
    lax.threshold.fraction = 0.0;
    let mut world = World::healthy(lax);
    world.depool("b1").unwrap();
    let Err(Refusal::Policy { message }) = world.run(&pooled("b2", Pooled::Inactive)) else {
        panic!("nothing would be left");
    };
    assert_eq!(
        message,
        "pool text: 1 of 2 are up and enabled, 1 must stay (threshold 0); add --force to do it anyway"
    );
}

#[test]
fn depooling_what_is_down_already_needs_no_force() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    for backend in ["b1", "b2", "b3"] {
        world.down(backend);
    }
    assert_eq!(world.line(), "b1=down b2=down b3=held b4=serving");
    world.depool("b1").unwrap();
    assert!(world.depool("b3").is_err(), "it serves, held by the threshold");
}

#[test]
fn a_failure_ends_a_drain_unless_it_was_failing_before() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    world.depool("b1").unwrap();
    world.down("b1");
    assert_eq!(world.is("b1"), Disposition::Down);
    world.up("b1");
    assert_eq!(world.is("b1"), Disposition::Out, "nothing is left to drain");

    world.down("b2");
    world.down("b3");
    assert_eq!(world.is("b3"), Disposition::Held);
    world.run(&forced(pooled("b3", Pooled::No))).unwrap();
    assert_eq!(world.is("b3"), Disposition::Draining, "its checks may be wrong: what works goes on");
    world.pass(1);
    world.down("b3");
    assert_eq!(world.is("b3"), Disposition::Draining);
    world.up("b3");
    world.down("b3");
    assert_eq!(world.is("b3"), Disposition::Down, "a new failure");
}

#[test]
fn pooling_what_fails_is_accepted_and_says_so() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3"]));
    world.depool("b1").unwrap();
    world.down("b1");
    let (changed, text) = summary(world.run(&pooled("b1", Pooled::Yes)));
    assert!(changed);
    assert_eq!(text, "pooled=no -> pooled=yes, down (tcp: connection refused): will serve once up");
    world.up("b1");
    assert_eq!(world.is("b1"), Disposition::Serving);
}

#[test]
fn inactive_leaves_the_total_stops_the_checks_and_is_out_when_the_kernel_is_done() {
    use crate::datapath::{BackendStatus, PoolStatus, Status};
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3"]));
    world.run(&pooled("b1", Pooled::Inactive)).unwrap();
    assert_eq!((world.is("b1"), world.pool().total), (Disposition::Draining, 2));
    assert!(world.targets.iter().all(|t| t.address != address("b1")));
    let desired = world.desired();
    assert!(!desired.pools["text"].backends.contains_key("b1"));

    let status = |draining_slots| {
        let backend = BackendStatus { draining_slots, ..Default::default() };
        let pool = PoolStatus { backends: [("b1".parse().unwrap(), backend)].into(), ..Default::default() };
        let pools = [("text".parse().unwrap(), pool)].into();
        Event::Datapath(Arc::new(Status { revision: desired.revision, pools, ..Default::default() }))
    };
    world.apply(status(3));
    assert_eq!(world.is("b1"), Disposition::Draining);
    world.apply(status(0));
    assert_eq!(world.is("b1"), Disposition::Out);

    world.run(&pooled("b1", Pooled::Yes)).unwrap();
    assert_eq!(world.is("b1"), Disposition::Out, "its checks start anew");
    world.all_up();
    assert_eq!(world.is("b1"), Disposition::Serving);
}

#[test]
fn an_override_ends_by_itself() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let lasts = Some(Duration::from_mins(10));
    world.run(&Command { lasts, ..pooled("b1", Pooled::No) }).unwrap();
    world.run(&weight("b1", 3)).unwrap();
    world.pass(599);
    assert_eq!(world.is("b1"), Disposition::Draining);
    world.pass(1);
    assert_eq!(world.is("b1"), Disposition::Serving);
    assert_eq!(world.view("b1").weight.get(), 3, "the weight was for ever");
    assert!(matches!(world.effects[..], [Effect::Save(_), Effect::Program { .. }]));
    world.pass(1);
    assert!(world.effects.is_empty());
}

#[test]
fn an_end_that_would_empty_the_pool_waits() {
    let mut disabled = pool("text", &["b1", "b2"]);
    edit(&mut disabled, "b1", |b| b.pooled = Pooled::No);
    let mut world = World::healthy(disabled);
    let lasts = Some(Duration::from_mins(1));
    world.run(&Command { lasts, ..pooled("b1", Pooled::Yes) }).unwrap();
    world.down("b2");
    assert_eq!(world.line(), "b1=serving b2=down");
    world.pass(60);
    world.pass(1);
    assert_eq!(world.line(), "b1=serving b2=down");
    assert_eq!(world.log.iter().filter(|line| line.contains("stays for now")).count(), 1);
    world.up("b2");
    world.pass(1);
    assert_eq!(world.line(), "b1=draining b2=serving");
}

#[test]
fn a_name_in_several_pools_is_changed_in_all_or_none() {
    let mut world = World::cold(vec![pool("text", &["b1", "b2"]), pool("upload", &["b1"])]);
    world.all_up();
    let desired = world.desired();
    let Err(Refusal::Policy { message }) = world.depool("b1") else {
        panic!("upload would be empty");
    };
    assert!(message.starts_with("pool upload: 1 of 1"), "{message}");
    assert_eq!(world.desired(), desired);
    let mut only = pooled("b1", Pooled::No);
    only.selector.pool = Some("text".parse().unwrap());
    assert_eq!(world.run(&only).unwrap().len(), 1);
    assert_eq!(world.run(&forced(pooled("b1", Pooled::No))).unwrap().len(), 2);
}

#[test]
fn an_unknown_name_is_answered_with_close_ones() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let Err(Refusal::NotFound { message }) = world.depool("b3") else {
        panic!("there is no b3");
    };
    assert_eq!(message, "there is no backend `b3`: did you mean b1 or b2?");
    let mut elsewhere = pooled("b1", Pooled::No);
    elsewhere.selector.pool = Some("test".parse().unwrap());
    let Err(Refusal::NotFound { message }) = world.run(&elsewhere) else {
        panic!("there is no pool test");
    };
    assert_eq!(message, "there is no pool `test`: did you mean text?");
}

#[test]
fn overrides_survive_restart_and_reload_and_a_day_without_the_backend() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3"]));
    world.depool("b1").unwrap();
    let saved = Overrides::from(world.saved.clone().unwrap());

    let mut world = World::empty(saved, Adopted::new());
    world.reload(config(vec![pool("text", &["b1", "b2", "b3"])])).unwrap();
    world.all_up();
    assert_eq!(world.line(), "b1=out b2=serving b3=serving");

    world.reload(config(vec![pool("text", &["b2", "b3"])])).unwrap();
    assert!(world.logged("text/b1 has an override but is not in the configuration"));
    assert!(world.saved.as_ref().unwrap().overrides[0].entry.absent_since.is_some());
    world.pass(24 * 3600 - 1);
    world.reload(config(vec![pool("text", &["b1", "b2", "b3"])])).unwrap();
    assert_eq!(world.view("b1").pooled, Pooled::No, "it came back in time");

    world.reload(config(vec![pool("text", &["b2", "b3"])])).unwrap();
    world.pass(24 * 3600);
    world.reload(config(vec![pool("text", &["b1", "b2", "b3"])])).unwrap();
    assert_eq!(world.view("b1").pooled, Pooled::Yes);
}

#[test]
fn depooling_what_lingers_asks_for_force() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    world.reload(config(vec![pool("text", &["b3"])])).unwrap();
    assert_eq!(world.line(), "b1=held b2=held b3=out");
    world.depool("b1").unwrap_err();
    world.run(&forced(pooled("b1", Pooled::No))).unwrap();
    assert_eq!(world.line(), "b2=held b3=out");
}

#[test]
fn what_is_made_inactive_and_active_in_a_moment_still_has_its_way() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3"]));
    world.run(&pooled("b1", Pooled::Inactive)).unwrap();
    world.pass(5);
    // Its watcher may not have noticed, and says nothing.
    world.run(&pooled("b1", Pooled::Yes)).unwrap();
    assert!(world.addresses.contains(&address("b1")));
    assert_eq!(world.is("b1"), Disposition::Draining);
    world.up("b1");
    assert_eq!(world.is("b1"), Disposition::Serving);

    world.run(&pooled("b1", Pooled::Inactive)).unwrap();
    world.pass(10);
    world.run(&pooled("b1", Pooled::Yes)).unwrap();
    world.up("b1");
    assert_eq!(world.view("b1").next_hop, Err("not known yet".into()));
}
