//! More flows than fit: who has to give way, and when nothing new is pinned. Without the model, which has room for all.

use lb_common::{
    counter::PinEvent,
    explain::BY_FREEZE,
    names, pin,
    slot::{self, Slot},
};
use lb_userspace::{
    datapath::{
        Desired,
        tables::{Memory as _, U16Map, U64Map},
    },
    model::Disposition,
};

use crate::{
    frame::{Flow, Kind, flow, frame},
    site::{nothing, pool, site},
    view::hash,
    world::World,
};

/// A pool of four of which the first drains, with room for so many pins.
fn draining(pins: u32) -> Option<World> {
    let mut all: Desired = nothing();
    site(&mut all, "text", 1, pool(1, 251, 4));
    let mut world = World::new(pins, all)?;
    world.change(|d| {
        d.pools.get_mut("text").unwrap().backends.get_mut("b1").unwrap().disposition = Disposition::Draining;
    });
    world.unmodelled();
    Some(world)
}

/// Flows whose slot is in transition.
fn moving(world: &World) -> impl Iterator<Item = Flow> + '_ {
    let memory = &world.tables.memory().mapped;
    let range = memory.load64(U64Map::Pools, 0);
    let (start, len) = (range as u32, (range >> 32) as u32);
    (1024..60_000).map(|port| flow("203.0.113.1:80", port)).filter(move |flow| {
        let at = start + slot::index(hash(flow, 6), len);
        Slot(memory.load16(U16Map::Slots, at as usize)).in_transition()
    })
}

/// Flows of one bucket, in a slot in transition.
fn crowd(world: &World, n: usize) -> Vec<Flow> {
    let mask = world.buckets(U64Map::Protected) - 1;
    assert_eq!(world.buckets(U64Map::Probation), world.buckets(U64Map::Protected));
    let found: Vec<Flow> = moving(world).filter(|f| pin::bucket(hash(f, 6)) & mask == 3).take(n).collect();
    assert_eq!(found.len(), n);
    found
}

#[test]
fn on_probation_the_pin_unused_for_longest_gives_way() {
    let Some(mut world) = draining(128) else { return };
    let crowd = crowd(&world, pin::WAYS + 1);
    let mut to = Vec::new();
    for flow in &crowd {
        world.pass(1);
        to.push(world.packet(*flow, Kind::Syn));
    }
    assert_eq!(world.counts().pin(PinEvent::Evicted), 1);
    assert_eq!(world.whereto(crowd[0], Kind::Ack), "b1", "the oldest pin is gone: its flow looks old");
    for (flow, to) in crowd.iter().zip(&to).skip(1) {
        assert_eq!(world.whereto(*flow, Kind::Ack), *to);
    }
}

#[test]
fn a_flow_that_answered_is_never_forgotten_for_another() {
    let Some(mut world) = draining(128) else { return };
    let crowd = crowd(&world, 2 * pin::WAYS);
    let (first, second) = crowd.split_at(pin::WAYS);
    let mut to = Vec::new();
    for flow in first.iter().chain(second) {
        world.pass(1);
        to.push(world.packet(*flow, Kind::Syn));
        assert_eq!(world.packet(*flow, Kind::Ack), to[to.len() - 1]);
    }
    let counts = world.counts();
    assert_eq!(counts.pin(PinEvent::Promoted), pin::WAYS as u64);
    assert_eq!(counts.pin(PinEvent::Crowded), pin::WAYS as u64, "the others stay on probation");
    assert_eq!(counts.pin(PinEvent::Evicted), 0);
    for (flow, to) in crowd.iter().zip(&to) {
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
    }
    // Whoever closed makes room at once.
    for flow in first {
        world.packet(*flow, Kind::Rst);
    }
    let promoted = world.counts().pin(PinEvent::Promoted);
    for (flow, to) in second.iter().zip(&to[pin::WAYS..]) {
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
    }
    assert!(world.counts().pin(PinEvent::Promoted) > promoted);
}

#[test]
fn more_new_flows_in_a_tick_than_probation_holds_stay_with_the_base() {
    let Some(world) = draining(128) else { return };
    let room = u64::from(world.buckets(U64Map::Probation)) * pin::WAYS as u64 / 2;
    let flows: Vec<Flow> = moving(&world).take(4 * room as usize).collect();
    // A tick may end in between: then another one is tried.
    let (pinned, frozen) = (0..20)
        .find_map(|round| {
            let (tick, before) = (world.now(), world.counts());
            for flow in &flows {
                let src = (flow.src.ip(), flow.src.port() ^ (round << 15)).into();
                world.run(names::PROG_LB, &frame(Flow { src, ..*flow }, Kind::Syn));
            }
            let of = |event| world.counts().pin(event) - before.pin(event);
            let found = (of(PinEvent::Pinned), of(PinEvent::Frozen));
            (world.now() == tick && round == 0)
                .then_some(found)
                .or_else(|| (world.now() == tick && found.0 + found.1 > 2 * room).then_some(found))
        })
        .expect("a tick is long enough");
    assert!(pinned <= room && frozen > 0, "{pinned} pinned, {frozen} not, room for {room}");
}

#[test]
fn while_the_daemon_says_so_nothing_new_is_pinned_and_nothing_old_breaks() {
    let Some(world) = draining(2048) else { return };
    let flows: Vec<Flow> = moving(&world).take(40).collect();
    let (old, new) = flows.split_at(20);
    let owners: Vec<String> = old
        .iter()
        .map(|flow| {
            let to = world.packet(*flow, Kind::Syn);
            assert_eq!(world.packet(*flow, Kind::Ack), to);
            to
        })
        .collect();
    let frozen = |on: u64| world.tables.memory().store64(U64Map::Settings, 1, on);
    frozen(1);
    for flow in new {
        let (got, told) = world.watched(&frame(*flow, Kind::Syn));
        assert_eq!((got.short().as_str(), told.flags & BY_FREEZE), ("b1", BY_FREEZE));
        assert_eq!(world.packet(*flow, Kind::Ack), "b1");
    }
    for (flow, to) in old.iter().zip(&owners) {
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
        assert_eq!(world.packet(*flow, Kind::Syn), *to, "a pin comes first");
    }
    frozen(0);
    // What went to the base stays there; what opens now does not.
    for flow in new {
        assert_eq!(world.packet(*flow, Kind::Ack), "b1");
    }
    assert_ne!(world.packet(new[0], Kind::Syn), "b1");
    assert_eq!(world.counts().pin(PinEvent::Frozen), new.len() as u64);
}

#[test]
fn while_nothing_is_pinned_a_connection_on_ports_used_before_does_not_follow_the_old_ones_pin() {
    let Some(mut world) = draining(2048) else { return };
    let flow = moving(&world).next().unwrap();
    assert_ne!(world.packet(flow, Kind::Syn), "b1", "pinned on probation");
    world.pass(pin::SYN_TICKS + 1);
    world.tables.memory().store64(U64Map::Settings, 1, 1);
    assert_eq!(world.packet(flow, Kind::Syn), "b1", "a new connection, which gets no pin");
    assert_eq!(world.packet(flow, Kind::Ack), "b1");
}

#[test]
fn a_slot_that_is_back_with_its_base_lends_the_flood_no_pins_either() {
    let Some(mut world) = draining(2048) else { return };
    let flow = moving(&world).next().unwrap();
    let dispose = |world: &mut World, how| {
        world.change(|d| {
            d.pools.get_mut("text").unwrap().backends.get_mut("b1").unwrap().disposition = how;
        });
    };
    dispose(&mut world, Disposition::Serving);
    world.tables.memory().store64(U64Map::Settings, 1, 1);
    assert_eq!(world.packet(flow, Kind::Syn), "b1");
    assert_eq!(world.counts().pin(PinEvent::Frozen), 1);
    dispose(&mut world, Disposition::Draining);
    assert_eq!(world.packet(flow, Kind::Ack), "b1", "it belongs to the base without a pin");
}

#[test]
fn a_flood_of_tracked_flows_is_bounded_and_counted() {
    let mut all: Desired = nothing();
    site(&mut all, "text", 1, pool(1, 251, 4));
    all.services.get_mut("text-tcp").unwrap().rules.tracking = lb_userspace::model::Tracking::Always;
    let Some(world) = World::new(1024, all) else { return };
    world.unmodelled();
    for port in 1024..9000 {
        world.run(names::PROG_LB, &frame(flow("203.0.113.1:80", port), Kind::Syn));
    }
    let room = world.tables.memory().len64(U64Map::FlowsNew);
    let counts = world.counts();
    assert!(world.pins(U64Map::FlowsNew).len() <= room);
    assert_eq!(counts.pin(PinEvent::Tracked), 9000 - 1024);
    assert!(counts.pin(PinEvent::TrackedEvicted) as usize >= 9000 - 1024 - room);
    assert!(world.pins(U64Map::Flows).is_empty(), "first packets take no place of those that answered");
}
