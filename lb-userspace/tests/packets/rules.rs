//! What a service asks for beyond a slot: who may use it, what its slots follow from, turns, sticky sources, tracking.

use std::{collections::BTreeMap, time::Duration};

use lb_common::{counter::PinEvent, names, reason::Reason};
use lb_userspace::{
    datapath::{Desired, tables::U64Map},
    model::{Disposition, HashFields, Persistence, Rules, Scheduler, Tracking},
};

use crate::{
    frame::{Flow, Kind, frame},
    model::Outcome,
    site::{nothing, pool, service},
    world::World,
};

const ENDPOINTS: [&str; 2] = ["203.0.113.1 80 tcp", "2001:db8::1 80 tcp"];
const DST: [&str; 2] = ["203.0.113.1:80", "[2001:db8::1]:80"];

fn world(backends: u8, change: impl FnOnce(&mut Rules)) -> Option<World> {
    let mut all: Desired = nothing();
    all.pools.insert("one".parse().unwrap(), pool(1, 251, backends));
    let mut web = service("one", &ENDPOINTS);
    change(&mut web.rules);
    all.services.insert("web".parse().unwrap(), web);
    World::new(16384, all)
}

fn from(src: &str, sport: u16) -> Flow {
    let dst = DST[usize::from(src.contains(':'))].parse().unwrap();
    Flow { src: (src.parse::<std::net::IpAddr>().unwrap(), sport).into(), dst }
}

fn set(world: &mut World, name: &str, disposition: Disposition) {
    world.change(|d| {
        d.pools.get_mut("one").unwrap().backends.get_mut(name).unwrap().disposition = disposition;
    });
}

#[test]
fn the_longest_prefix_says_who_may_use_a_service() {
    let nets = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>();
    let serves = |world: &World, src: &str| world.packet(from(src, 7), Kind::Syn) != "blocked";
    let Some(mut world) = world(2, |r| {
        r.block = nets(&["198.51.100.0/24", "198.51.100.77/32", "2001:db8:c::/48"]);
        r.allow = nets(&["198.51.100.64/26", "198.51.100.66/32", "2001:db8:c:1::/64"]);
    }) else {
        return;
    };
    // With `allow`, whoever is in neither list is blocked too.
    for (src, may) in [
        ("198.51.100.1", false),
        ("198.51.100.64", true),
        ("198.51.100.127", true),
        ("198.51.100.128", false),
        ("198.51.100.77", false),
        ("198.51.100.66", true),
        ("192.0.2.1", false),
        ("2001:db8:c::1", false),
        ("2001:db8:c:1::1", true),
        ("2001:db8:d::1", false),
    ] {
        assert_eq!(serves(&world, src), may, "{src}");
    }
    world.change(|d| d.services.get_mut("web").unwrap().rules.allow.clear());
    for (src, may) in
        [("198.51.100.64", false), ("192.0.2.1", true), ("2001:db8:c:1::1", false), ("2001:db8:d::1", true)]
    {
        assert_eq!(serves(&world, src), may, "{src}");
    }
    // Equal prefixes: the one that blocks counts. An established connection of a blocked source is blocked too.
    let old = from("192.0.2.1", 9);
    assert!(world.packet(old, Kind::Ack).starts_with('b'));
    world.change(|d| {
        let rules = &mut d.services.get_mut("web").unwrap().rules;
        (rules.block, rules.allow) = (nets(&["192.0.2.0/24"]), nets(&["192.0.2.0/24"]));
    });
    assert_eq!(world.packet(old, Kind::Ack), "blocked");
    world.change(|d| {
        let rules = &mut d.services.get_mut("web").unwrap().rules;
        (rules.block, rules.allow) = (Vec::new(), Vec::new());
    });
    assert!(serves(&world, "192.0.2.1") && serves(&world, "198.51.100.1"));
}

#[test]
fn above_the_ceiling_new_connections_are_dropped_and_old_ones_go_on() {
    const CEILING: u32 = 20;
    let Some(world) = world(2, |r| r.max_new_per_second = Some(CEILING)) else { return };
    world.unmodelled();
    let frames = |kind| (0..60).map(move |p| frame(from("198.51.100.7", 2000 + p), kind));
    // A tick may end in between: then another one is tried.
    let dropped = (0..20)
        .find_map(|_| {
            let (tick, before) = (world.now(), world.counts());
            frames(Kind::Syn).for_each(|f| drop(world.ask(&f)));
            frames(Kind::Syn).for_each(|f| drop(world.run(names::PROG_LB, &f)));
            frames(Kind::Ack).for_each(|f| drop(world.run(names::PROG_LB, &f)));
            let dropped = world.counts().reason(Reason::Ceiling) - before.reason(Reason::Ceiling);
            (world.now() == tick).then_some(dropped)
        })
        .expect("a tick is long enough");
    // Rounded up to a tick, which is a second or a little more or less.
    assert!((60 - 26..=60 - 17).contains(&dropped), "{dropped}");
}

#[test]
fn slots_follow_from_the_fields_that_the_service_names() {
    type Same = fn(&Flow) -> (std::net::IpAddr, u16);
    let zero: Same = |f| (f.src.ip(), 0);
    let port: Same = |f| (f.src.ip(), f.src.port());
    let none: Same = |_| ([0; 4].into(), 0);
    for (hash, same) in [
        (HashFields::FiveTuple, port),
        (HashFields::Source, zero),
        (HashFields::SourcePort, port),
        (HashFields::DestinationPort, none),
    ] {
        let mut all: Desired = nothing();
        all.pools.insert("one".parse().unwrap(), pool(1, 251, 8));
        // Two services of one pool.
        for (name, endpoints) in
            [("web", ENDPOINTS), ("more", ["203.0.113.2 443 tcp", "2001:db8::2 443 tcp"])]
        {
            let mut one = service("one", &endpoints);
            one.rules.hash = hash;
            all.services.insert(name.parse().unwrap(), one);
        }
        let Some(world) = World::new(16384, all) else { return };
        let mut owners: BTreeMap<(std::net::IpAddr, u16), String> = BTreeMap::new();
        for host in 1..=12 {
            for sport in 2000..2004 {
                for src in [format!("198.51.100.{host}"), format!("2001:db8:c::{host}")] {
                    let flow = from(&src, sport);
                    let owner = world.packet(flow, Kind::Syn);
                    assert_eq!(world.packet(flow, Kind::Ack), owner);
                    assert_eq!(*owners.entry(same(&flow)).or_insert(owner.clone()), owner, "{hash:?}");
                    let dst = if flow.dst.is_ipv4() { "203.0.113.2:443" } else { "[2001:db8::2]:443" };
                    let there = world.packet(Flow { dst: dst.parse().unwrap(), ..flow }, Kind::Syn);
                    if matches!(hash, HashFields::Source | HashFields::SourcePort) {
                        assert_eq!(there, owner, "services of one pool agree");
                    }
                }
            }
        }
        let distinct: std::collections::BTreeSet<&String> = owners.values().collect();
        assert_eq!(distinct.len() > 4, hash != HashFields::DestinationPort, "{hash:?}: {distinct:?}");
    }
}

#[test]
fn turns_come_in_strict_order_and_packets_that_follow_take_none() {
    for (scheduler, weights, round) in [
        (Scheduler::Rr, [10, 10, 10], &["b1", "b2", "b3"][..]),
        (Scheduler::Rr, [50, 10, 10], &["b1", "b2", "b3"]),
        (Scheduler::Wrr, [50, 10, 10], &["b1", "b1", "b2", "b1", "b3", "b1", "b1"]),
        (Scheduler::Sed, [20, 10, 10], &["b1", "b1", "b2", "b3"]),
    ] {
        let Some(mut world) = world(3, |r| r.scheduler = scheduler) else { return };
        world.change(|d| {
            for (b, weight) in d.pools.get_mut("one").unwrap().backends.values_mut().zip(weights) {
                b.weight = weight.try_into().unwrap();
            }
        });
        // The first turns were dealt before the weights changed; nobody has taken one.
        for (n, wanted) in
            round.iter().cycle().take(if scheduler == Scheduler::Sed { 3 } else { 40 }).enumerate()
        {
            let flow = from(["198.51.100.7", "2001:db8:c::7"][n % 2], 3000 + n as u16);
            assert_eq!(world.packet(flow, Kind::Syn), *wanted, "turn {n} of {scheduler:?}");
            assert_eq!(world.packet(flow, Kind::Syn), *wanted, "sent again");
            for kind in [Kind::Ack, Kind::Ack, Kind::FinAck] {
                assert_eq!(world.packet(flow, kind), *wanted);
            }
        }
    }
}

#[test]
fn least_connections_go_to_who_has_fewest() {
    for scheduler in [Scheduler::Lc, Scheduler::Wlc] {
        let Some(mut world) = world(2, |r| r.scheduler = scheduler) else { return };
        for n in 0..10 {
            let flow = from("198.51.100.7", 3000 + n);
            let owner = world.packet(flow, Kind::Syn);
            world.packet(flow, Kind::Ack);
            // All of the second one's end.
            if owner == "b2" {
                world.packet(flow, Kind::Rst);
            }
        }
        world.pass(20);
        world.sweep();
        let next: Vec<String> =
            (0..5).map(|n| world.packet(from("198.51.100.7", 4000 + n), Kind::Syn)).collect();
        assert_eq!(next, ["b2"; 5], "{scheduler:?}");
    }
}

#[test]
fn nobody_to_take_a_turn_is_a_reason_and_established_connections_go_on() {
    let Some(mut world) = world(2, |r| r.scheduler = Scheduler::Rr) else { return };
    let old: Vec<(Flow, String)> =
        (0..6).map(|n| from("198.51.100.7", 3000 + n)).map(|f| (f, world.packet(f, Kind::Syn))).collect();
    set(&mut world, "b1", Disposition::Draining);
    set(&mut world, "b2", Disposition::Draining);
    assert_eq!(world.packet(from("198.51.100.7", 4000), Kind::Syn), "no_backend");
    for (flow, owner) in old {
        assert_eq!(world.packet(flow, Kind::Ack), owner);
    }
}

#[test]
fn a_source_sticks_to_its_backend_for_its_time_and_no_longer() {
    let sticky = Persistence { timeout: Duration::from_mins(1), prefix4: 24, prefix6: 64 };
    let Some(mut world) = world(8, |r| r.persistence = Some(sticky)) else { return };
    for net in 0..6 {
        let hosts = [
            format!("198.51.{net}.1"),
            format!("198.51.{net}.200"),
            format!("2001:db8:{net}::1"),
            format!("2001:db8:{net}::f:1"),
        ];
        for pair in hosts.chunks(2) {
            let owner = world.packet(from(&pair[0], 1000), Kind::Syn);
            for sport in 1001..1006 {
                for host in pair {
                    assert_eq!(world.packet(from(host, sport), Kind::Syn), owner, "{host}");
                }
            }
        }
    }
    let src = "198.51.100.9";
    let owner = world.packet(from(src, 1000), Kind::Syn);
    // A known flow's packets keep it alive.
    for _ in 0..4 {
        world.pass(40);
        assert_eq!(world.packet(from(src, 1000), Kind::Ack), owner);
    }
    world.pass(40);
    assert_eq!(world.packet(from(src, 1001), Kind::Syn), owner);
    // A drained backend gets no new connections, not even these; its old ones stay.
    set(&mut world, &owner, Disposition::Draining);
    let new = world.packet(from(src, 1002), Kind::Syn);
    assert_ne!(new, owner);
    assert_eq!(world.packet(from(src, 1001), Kind::Ack), owner);
    assert_eq!(world.packet(from(src, 1003), Kind::Syn), new, "the newest connection is followed");
    set(&mut world, &new, Disposition::Down);
    assert_ne!(world.packet(from(src, 1004), Kind::Syn), new);
    assert!(world.counts().pin(PinEvent::Sticky) > 50);
    world.pass(100);
    let before = world.counts().pin(PinEvent::Sticky);
    world.packet(from(src, 1005), Kind::Syn);
    assert_eq!(world.counts().pin(PinEvent::Sticky), before, "its time is over");
}

#[test]
fn a_tracked_flow_keeps_its_backend_through_every_change_of_the_pool() {
    let Some(mut world) = world(4, |r| r.tracking = Tracking::Always) else { return };
    let mut flows: Vec<(Flow, String)> = Vec::new();
    for round in 0..6u16 {
        for n in 0..20 {
            for src in ["198.51.100.7", "2001:db8:c::7"] {
                let flow = from(src, 2000 + 100 * round + n);
                flows.push((flow, world.packet(flow, Kind::Syn)));
            }
        }
        for (flow, owner) in &flows {
            assert_eq!(world.packet(*flow, Kind::Ack), *owner, "round {round}");
        }
        match round {
            0 => set(&mut world, "b1", Disposition::Draining),
            1 => _ = world.change(|d| d.pools.get_mut("one").unwrap().slots = 509),
            2 => set(&mut world, "b1", Disposition::Serving),
            3 => {
                _ = world.change(|d| {
                    d.pools.get_mut("one").unwrap().backends.get_mut("b2").unwrap().weight =
                        90.try_into().unwrap();
                });
            }
            _ => {
                world.pass(30);
                world.sweep();
            }
        }
    }
    let connections = |world: &World| -> (u64, u64, bool) {
        let status = world.tables.status();
        let all = status["one"].backends.values().map(|b| b.connections);
        all.fold((0, 0, true), |(a, i, e), c| (a + c.active, i + c.inactive, e && c.exact))
    };
    world.sweep();
    assert_eq!(connections(&world), (flows.len() as u64, 0, true), "every one of them is counted");
    // Closed, and used again: another connection.
    for (flow, owner) in &flows {
        assert_eq!(world.packet(*flow, Kind::FinAck), *owner);
    }
    world.sweep();
    assert_eq!(connections(&world), (0, flows.len() as u64, true));
    for (flow, _) in &flows {
        let owner = world.packet(*flow, Kind::Syn);
        assert_eq!(world.packet(*flow, Kind::Ack), owner);
    }
    // The dead one's flows are let go.
    set(&mut world, "b3", Disposition::Down);
    assert!(flows.iter().all(|(flow, _)| world.packet(*flow, Kind::Ack) != "b3"));
}

#[test]
fn a_first_packet_sent_again_is_counted_against_its_backend() {
    let Some(world) = world(4, |r| r.tracking = Tracking::Always) else { return };
    let flow = from("198.51.100.7", 2000);
    let owner = world.packet(flow, Kind::Syn);
    let index = world.index(&format!("one/{owner}"));
    for _ in 0..3 {
        world.packet(flow, Kind::Syn);
    }
    world.packet(flow, Kind::Ack);
    // SYNs, FINs, resets, SYNs sent again.
    assert_eq!(world.counts().backends[&index][2..], [4, 0, 0, 3]);
    world.packet(flow, Kind::FinAck);
    world.packet(flow, Kind::Rst);
    assert_eq!(world.counts().backends[&index][2..], [4, 1, 1, 3]);
}

#[test]
fn one_flow_in_64_is_remembered_for_the_numbers_and_goes_where_it_would_go() {
    let Some(mut world) = world(4, |_| {}) else { return };
    let total = 2000;
    for n in 0..total {
        let flow = from("198.51.100.7", 2000 + n);
        let owner = world.packet(flow, Kind::Syn);
        assert_eq!(world.packet(flow, Kind::Ack), owner);
    }
    let found = world.pins(U64Map::Flows);
    assert!((10..60).contains(&found.len()) && found.iter().all(|f| f.tag() % 64 == 0), "{}", found.len());
    world.sweep();
    let status = world.tables.status();
    let all: u64 = status["one"].backends.values().map(|b| b.connections.active).sum();
    assert_eq!(all, found.len() as u64 * 64, "an estimate");
    assert!(status["one"].backends.values().all(|b| !b.connections.exact));
}

#[test]
fn a_source_does_not_take_the_backend_of_one_pool_along_to_another() {
    let sticky = Persistence { timeout: Duration::from_mins(1), prefix4: 32, prefix6: 128 };
    let Some(mut world) = world(4, |r| r.persistence = Some(sticky)) else { return };
    let src = "198.51.100.9";
    let owner = world.packet(from(src, 1000), Kind::Syn);
    world.change(|d| {
        d.pools.insert("two".parse().unwrap(), pool(2, 251, 4));
        let more = service("one", &["203.0.113.2 80 tcp"]);
        d.services.insert("keeps-the-first-pool".parse().unwrap(), more);
        d.services.get_mut("web").unwrap().pool = "two".parse().unwrap();
    });
    let (asked, _) = world.watched(&frame(from(src, 1001), Kind::Syn));
    let Outcome::Sent { backend, .. } = asked else { panic!("{asked:?}") };
    assert!(backend.starts_with("two/"), "{backend}");
    assert_eq!(world.packet(from(src, 1000), Kind::Ack), owner, "what is established stays");
}

#[test]
fn a_client_that_has_closed_its_half_is_waited_for_as_long_as_lvs_does() {
    let Some(mut world) = world(8, |r| r.scheduler = Scheduler::Rr) else { return };
    for sport in 1000..1008 {
        let flow = from("198.51.100.9", sport);
        let owner = world.packet(flow, Kind::Syn);
        assert_eq!(world.packet(flow, Kind::Ack), owner);
        assert_eq!(world.packet(flow, Kind::FinAck), owner);
        world.pass(119);
        assert_eq!(world.packet(flow, Kind::Ack), owner, "the answer took two minutes");
    }
}
