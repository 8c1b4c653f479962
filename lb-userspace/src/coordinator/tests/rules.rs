//! Health, neighbours, restart, and what the data plane is told.

use super::*;
use crate::model::Scheduler;

#[test]
fn a_failure_beyond_the_threshold_is_held_counted_once_and_said_in_pybals_words() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    world.down("b1");
    assert!(world.logged(
        "Monitoring instance tcp reports server b1 (enabled/down/not pooled) down: connection refused"
    ));
    world.down("b2");
    assert_eq!(world.line(), "b1=down b2=held");
    assert!(world.logged("Could not depool server b2 because of too many down!"));
    assert_eq!(world.pool().could_not_depool, 1);
    for _ in 0..3 {
        world.down("b2");
        world.find_way("b2");
        world.pass(1);
    }
    assert_eq!(world.pool().could_not_depool, 1, "looking again is no new event");
    world.up("b2");
    assert!(world.logged("Leaving previously pooled but down server b2 pooled"));
    assert!(world.logged("Server b2 (enabled/up/pooled) is up"));
    world.down("b2");
    assert_eq!(world.pool().could_not_depool, 2);
}

#[test]
fn a_hard_failure_is_urgent_and_a_recovery_is_not() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    world.down("b1");
    assert_eq!(world.effects, [Effect::Program { urgent: true }]);
    world.up("b1");
    assert_eq!(world.effects, [Effect::Program { urgent: false }]);
}

#[test]
fn age_and_reason_stay_while_the_disposition_does() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let since = world.view("b1").since;
    world.pass(60);
    world.down("b2");
    assert_eq!(world.view("b1").since, since);
    assert_eq!(world.view("b2").since, world.now.wall);
    assert_eq!(world.view("b2").why, "tcp: connection refused");
}

#[test]
fn all_checks_must_pass_unless_any_suffices() {
    let two =
        |combine| Pool { checks: vec![check("a"), check("b")], combine, ..pool("text", &["b1", "b2", "b3"]) };
    let one_fails = |world: &mut World| {
        let target = world.targets.iter().find(|t| t.address == address("b1") && &*t.spec.name == "a");
        let target = target.unwrap().clone();
        world.verdict(target, Verdict::Down);
    };
    let mut world = World::healthy(two(Combine::All));
    one_fails(&mut world);
    assert_eq!(world.is("b1"), Disposition::Down);
    assert!(world.view("b1").partially_up);

    let mut world = World::healthy(two(Combine::Any));
    one_fails(&mut world);
    assert_eq!((world.is("b1"), world.view("b1").up), (Disposition::Serving, Some(true)));
    world.down("b1");
    assert_eq!(world.is("b1"), Disposition::Down);
}

#[test]
fn an_optimistic_pool_serves_before_the_first_check_but_not_without_a_mac_address() {
    let mut world = World::cold(vec![Pool { optimistic: true, ..pool("text", &["b1", "b2"]) }]);
    assert_eq!(world.line(), "b1=out b2=out");
    world.find_way("b1");
    assert_eq!(world.line(), "b1=serving b2=out");
    assert_eq!(world.view("b1").up, None);
    assert_eq!(world.view("b1").why, "optimistic; waiting for its first check");
}

#[test]
fn weight_counts_instead_of_heads_where_the_pool_says_so() {
    let mut weighted = pool("text", &["b1", "b2", "b3"]);
    edit(&mut weighted, "b1", |b| b.weight = 80.try_into().unwrap());
    weighted.threshold.by_weight = true;
    let mut world = World::healthy(weighted);
    world.down("b1");
    assert_eq!(world.line(), "b1=held b2=serving b3=serving", "20 of 100 are left");
    assert_eq!((world.pool().up_and_enabled, world.pool().total), (20, 100));
    world.up("b1");
    world.down("b2");
    world.down("b3");
    assert_eq!(world.line(), "b1=serving b2=down b3=down");
}

#[test]
fn a_backend_without_a_way_is_held_out_and_says_so() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3"]));
    world.lose_way("b1");
    assert_eq!(world.is("b1"), Disposition::Out);
    assert_eq!(world.view("b1").why, "10.0.0.1 does not answer ARP on eth0");
    assert_eq!(world.pool().up_and_enabled, 2);
    world.find_way("b1");
    assert_eq!(world.is("b1"), Disposition::Serving);
}

#[test]
fn a_link_flap_does_not_empty_a_pool_and_the_last_ways_stay() {
    let mut world = World::healthy(pool("text", &["b1", "b2", "b3", "b4"]));
    for backend in ["b1", "b2", "b3", "b4"] {
        world.lose_way(backend);
    }
    assert_eq!(world.line(), "b1=out b2=out b3=held b4=held");
    assert_eq!(world.wanted("b3").next_hop, Some(hop(address("b3"))));
    world.find_way("b4");
    world.find_way("b1");
    assert_eq!(world.line(), "b1=serving b2=out b3=out b4=serving");
}

#[test]
fn a_changed_mac_address_reaches_the_data_plane() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    let revision = world.desired().revision;
    let moved = NextHop { dst_mac: Mac([2, 9, 9, 9, 9, 9]), ..hop(address("b1")) };
    world.resolve(address("b1"), Ok(moved));
    assert_eq!(world.wanted("b1").next_hop, Some(moved));
    assert_eq!(world.desired().revision, revision + 1);
    assert_eq!(world.desired().revision, revision + 1, "asking again is no change");
}

#[test]
fn a_restart_keeps_serving_what_served_until_its_first_verdict() {
    let backends = ["b1", "b2", "b3", "b4"];
    let mut world = World::restarted(vec![pool("text", &backends)], &["text/b1", "text/b2", "text/b3"]);
    assert_eq!(world.line(), "b1=serving b2=serving b3=serving b4=out");
    assert_eq!(world.wanted("b1").next_hop, None, "the kernel's record stays as it is");
    assert_eq!(world.view("b1").up, None, "nobody has seen it up");

    world.down("b1");
    assert_eq!(world.is("b1"), Disposition::Held, "none is known to be up");
    for backend in ["b2", "b3"] {
        world.up(backend);
        assert_eq!(
            world.wanted(backend).next_hop,
            None,
            "its MAC address is not known yet: the kernel's stays"
        );
        assert_eq!(world.is(backend), Disposition::Serving);
        world.find_way(backend);
    }
    assert_eq!(world.line(), "b1=down b2=serving b3=serving b4=out");
}

#[test]
fn a_restart_with_everything_failing_leaves_the_pool_as_it_was() {
    let mut world = World::restarted(vec![pool("text", &["b1", "b2"])], &["text/b1", "text/b2"]);
    world.down("b1");
    world.down("b2");
    world.lose_way("b1");
    assert_eq!(world.line(), "b1=held b2=held");
}

#[test]
fn what_served_before_a_restart_and_left_the_file_meanwhile_serves_until_others_can() {
    let mut world = World::restarted(vec![pool("text", &["b3", "b4"])], &["text/b1", "text/b2"]);
    assert_eq!(world.line(), "b1=held b2=held b3=out b4=out");
    world.all_up();
    assert_eq!(world.line(), "b3=serving b4=serving");
}

#[test]
fn a_verdict_that_is_known_already_serves_a_second_pool_at_once() {
    let mut world = World::healthy(pool("text", &["b1", "b2"]));
    world.reload(config(vec![pool("text", &["b1", "b2"]), pool("upload", &["b1"])])).unwrap();
    let upload = Arc::clone(&world.snapshot().pools["upload"]);
    assert_eq!(upload.backends["b1"].disposition, Disposition::Serving);
    assert_eq!(world.targets.len(), 2, "equal checks run once");
    world.down("b1");
    assert_eq!(world.snapshot().pools["upload"].backends["b1"].disposition, Disposition::Held);
    assert_eq!(world.is("b1"), Disposition::Down);
}

#[test]
fn the_data_plane_is_told_services_pools_and_weights() {
    let mut config = config(vec![pool("text", &["b1"])]);
    let rules = Rules { idle: Duration::from_mins(15), ..Rules::default() };
    let other = Service { ports: Ports::One(443), rules, ..service("text-tls", "text") };
    config.services.insert(other.name.clone(), Arc::new(other));
    let mut world = World::empty(Overrides::default(), Adopted::new());
    world.reload(config).unwrap();
    let desired = world.desired();
    assert_eq!(desired.revision, 1);
    assert_eq!(desired.services["text-tls"].endpoints[0].ports, Ports::One(443));
    assert_eq!(desired.pools["text"].idle, Duration::from_mins(15), "the longest of its services");
    assert_eq!(desired.pools["text"].slots, 251);
    assert_eq!(desired.pools["text"].backends["b1"].weight, Weight::default());
    let snapshot = world.snapshot();
    assert_eq!(snapshot.pools["text"].services.len(), 2);
    assert!(!snapshot.ready);
    let status = crate::datapath::Status { revision: 1, ..Default::default() };
    world.apply(Event::Datapath(Arc::new(status)));
    assert!(world.snapshot().ready);
}

#[test]
fn the_data_plane_gets_every_rule_and_method_of_the_file() {
    let mut text = pool("text", &["b1", "b2"]);
    edit(&mut text, "b2", |backend| {
        backend.method = Method::Gue;
        backend.gue_port = 6081;
        backend.server_id = Some(7);
    });
    let mut wanted = config(vec![text]);
    wanted.global.tunnel.source4 = Some("172.16.0.0/16".parse().unwrap());
    wanted.global.icmp_rate = 5;
    let rules = Rules {
        scheduler: Scheduler::Wlc,
        block: vec!["192.0.2.0/24".parse().unwrap()],
        max_new_per_second: Some(9),
        ..Rules::default()
    };
    let text = wanted.services.values_mut().next().map(Arc::make_mut).unwrap();
    text.vips = vec!["203.0.113.0/28".parse().unwrap()];
    text.ports = Ports::Range(8000, 8099);
    text.protocols = vec![Protocol::Tcp, Protocol::Udp];
    text.rules = rules.clone();
    let mut world = World::empty(Overrides::default(), Adopted::new());
    world.reload(wanted.clone()).unwrap();
    let desired = world.desired();
    assert_eq!((desired.tunnel, desired.icmp_rate), (wanted.global.tunnel, 5));
    let service = &desired.services["text"];
    assert_eq!(service.rules, rules);
    let endpoints: Vec<String> = service.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(endpoints, ["203.0.113.0/28:8000-8099/tcp", "203.0.113.0/28:8000-8099/udp"]);
    let of = |name: &str| {
        let backend = desired.pools["text"].backends[name];
        (backend.method, backend.gue_port, backend.server_id)
    };
    assert_eq!(of("b1"), (Method::Dr, GUE_PORT, None));
    assert_eq!(of("b2"), (Method::Gue, 6081, Some(7)));

    // Both are changed by a reload.
    wanted.global.tunnel.source4 = None;
    wanted.global.icmp_rate = 6;
    world.reload(wanted).unwrap();
    let reloaded = world.desired();
    assert_eq!((reloaded.tunnel, reloaded.icmp_rate), (Tunnel::default(), 6));
    assert!(reloaded.revision > desired.revision);
}
