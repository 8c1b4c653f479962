//! Slots that change owner: who keeps which flow, and how a transition ends (design 4.3).
//!
//! Every packet here also goes through the dry run first, which must say the same and write nothing ([`World::watched`]).

use std::collections::BTreeMap;

use lb_common::{
    counter::PinEvent,
    explain::{BY_BASE, BY_PIN, IN_TRANSITION},
    pin,
};
use lb_userspace::{
    datapath::{Desired, DesiredPool, tables::U64Map},
    model::Disposition,
};

use crate::{
    frame::{Flow, Kind, flow, frame},
    site::{IDLE_SECONDS, backend, nothing, pool, site, tally},
    world::World,
};

/// More ticks than a slot may be idle for, whatever the kernel's frequency (a tick is 0.85 to 1.28 s).
const LONG: u16 = 2 * IDLE_SECONDS as u16;
const POOL: &str = "text";

fn desired(backends: u8) -> Desired {
    let mut all = nothing();
    site(&mut all, POOL, 1, pool(1, 251, backends));
    all
}

fn world(backends: u8) -> Option<World> {
    World::new(2048, desired(backends))
}

fn text(desired: &mut Desired) -> &mut DesiredPool {
    desired.pools.get_mut(POOL).unwrap()
}

fn set(world: &mut World, name: &str, disposition: Disposition) {
    world.change(|d| text(d).backends.get_mut(name).unwrap().disposition = disposition);
}

/// Flows of many clients' ports to the pool's service, both families.
fn flows(port: u16) -> Vec<Flow> {
    (0..40)
        .flat_map(|i| {
            [format!("203.0.113.1:{port}"), format!("[2001:db8::1]:{port}")].map(|dst| flow(&dst, 10_000 + i))
        })
        .collect()
}

/// Flows with their owners in a pool at rest.
fn owners(world: &World, port: u16, kind: Kind) -> BTreeMap<Flow, String> {
    flows(port).into_iter().map(|f| (f, world.packet(f, kind))).collect()
}

/// Flows of one owner, with it drained away; and who would get them if they were new.
fn drained(world: &mut World, from: &str) -> Vec<(Flow, String)> {
    let before = owners(world, 80, Kind::Ack);
    set(world, from, Disposition::Draining);
    let moved: Vec<(Flow, String)> = before
        .into_iter()
        .filter(|(_, owner)| owner == from)
        .map(|(f, _)| (f, world.whereto(f, Kind::Syn)))
        .collect();
    assert!(moved.len() > 4, "too few flows of {from}");
    moved
}

#[test]
fn draining_keeps_what_it_has_and_takes_nothing_new() {
    let Some(mut world) = world(4) else { return };
    let before = owners(&world, 80, Kind::Ack);
    assert_eq!(tally(before.values()).len(), 4);
    let count = |world: &World, event| world.counts().pin(event);
    assert_eq!(count(&world, PinEvent::Base), 0);
    set(&mut world, "b1", Disposition::Draining);
    for (flow, owner) in &before {
        let told = world.watched(&frame(*flow, Kind::Ack)).1;
        assert_eq!(world.packet(*flow, Kind::Ack), *owner, "an established connection");
        let moving = told.flags & IN_TRANSITION != 0;
        assert_eq!(moving, owner == "b1", "only the drained backend's slots move");
        assert_eq!(told.flags & (BY_BASE | BY_PIN), if moving { BY_BASE } else { 0 });
        assert_eq!(world.packet(*flow, Kind::FinAck), *owner);
    }
    assert_eq!(count(&world, PinEvent::Base), 3 * tally(before.values())["b1"] as u64);
    assert_eq!(count(&world, PinEvent::Pinned), 0);
    for mut flow in before.into_keys() {
        flow.src.set_port(flow.src.port() + 5000);
        let first = world.packet(flow, Kind::Syn);
        assert_ne!(first, "b1", "a new connection");
        assert_eq!(world.packet(flow, Kind::Ack), first, "and what follows it");
    }
}

#[test]
fn a_pinned_connection_stays_through_a_second_and_third_change() {
    let Some(mut world) = world(4) else { return };
    let moved = drained(&mut world, "b1");
    for (flow, to) in &moved {
        assert_eq!(world.packet(*flow, Kind::Syn), *to);
        assert_eq!(world.packet(*flow, Kind::Syn), *to, "a SYN sent again");
        let told = world.watched(&frame(*flow, Kind::Ack)).1;
        assert_eq!(told.flags & (BY_BASE | BY_PIN), BY_PIN);
    }
    let counts = world.counts();
    assert_eq!(counts.pin(PinEvent::Pinned), moved.len() as u64);
    assert_eq!(counts.pin(PinEvent::Promoted), moved.len() as u64);
    assert_eq!((world.pins(U64Map::Probation).len(), world.pins(U64Map::Protected).len()), (0, moved.len()));
    // Their new owner drains too, then the old one comes back, then a fifth is added.
    set(&mut world, &moved[0].1, Disposition::Draining);
    let stays = |world: &World| {
        for (flow, to) in &moved {
            assert_eq!(world.packet(*flow, Kind::Ack), *to);
        }
    };
    stays(&world);
    set(&mut world, "b1", Disposition::Serving);
    stays(&world);
    world.change(|d| {
        let (name, new) = backend(1, 5);
        text(d).backends.insert(name, new);
    });
    stays(&world);
    assert_eq!(world.counts().pin(PinEvent::Evicted), 0);
}

#[test]
fn a_syn_sent_again_goes_where_the_first_went_whatever_changed_meanwhile() {
    let Some(mut world) = world(4) else { return };
    let moved = drained(&mut world, "b1");
    for (flow, to) in &moved {
        assert_eq!(world.packet(*flow, Kind::Syn), *to);
    }
    set(&mut world, "b1", Disposition::Serving);
    for (flow, to) in &moved {
        assert_eq!(world.packet(*flow, Kind::Syn), *to);
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
    }
}

#[test]
fn fin_and_rst_mark_a_pin_and_the_connection_still_ends_where_it_was() {
    for close in [Kind::FinAck, Kind::Rst] {
        let Some(mut world) = world(4) else { return };
        for (flow, to) in drained(&mut world, "b1") {
            for kind in [Kind::Syn, Kind::Ack, close, Kind::Ack, close] {
                assert_eq!(world.packet(flow, kind), to, "{kind:?}");
            }
        }
        let pins = world.pins(U64Map::Protected);
        assert!(!pins.is_empty() && pins.iter().all(|p| p.closing()));
        world.pass(pin::CLOSING_TICKS + 2);
        let swept = world.sweep();
        assert_eq!((swept.pins_cleared, swept.pins), (pins.len() as u32, 0));
    }
}

#[test]
fn ports_used_again_after_a_close_are_a_new_connection_from_its_first_packet_to_its_last() {
    let Some(mut world) = world(4) else { return };
    let moved = drained(&mut world, "b1");
    for (flow, to) in &moved {
        for kind in [Kind::Syn, Kind::Ack, Kind::FinAck] {
            assert_eq!(world.packet(*flow, kind), *to);
        }
    }
    // The slots move on: what opens now is not the closed connections' backend's.
    set(&mut world, "b1", Disposition::Serving);
    for (flow, _) in &moved {
        assert_eq!(world.packet(*flow, Kind::Syn), "b1", "its SYN");
        assert_eq!(world.packet(*flow, Kind::Ack), "b1", "the answer's acknowledgement");
        assert_eq!(world.packet(*flow, Kind::Ack), "b1");
    }
}

#[test]
fn ports_used_again_after_a_long_silence_are_a_new_connection_too() {
    let Some(mut world) = world(4) else { return };
    let moved = drained(&mut world, "b1");
    for (flow, to) in &moved {
        for kind in [Kind::Syn, Kind::Ack] {
            assert_eq!(world.packet(*flow, kind), *to);
        }
    }
    set(&mut world, "b1", Disposition::Serving);
    world.pass(pin::SYN_TICKS + 2);
    for (flow, _) in &moved {
        for kind in [Kind::Syn, Kind::Ack, Kind::Ack] {
            assert_eq!(world.packet(*flow, kind), "b1", "{kind:?}");
        }
    }
}

#[test]
fn a_dead_backend_gets_nothing_at_once_and_pins_to_it_are_gone() {
    let Some(mut world) = world(4) else { return };
    let moved = drained(&mut world, "b1");
    let (victim, _) = tally(moved.iter().map(|(_, to)| to)).into_iter().max_by_key(|(_, n)| *n).unwrap();
    for (flow, to) in &moved {
        assert_eq!(world.packet(*flow, Kind::Syn), *to);
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
    }
    set(&mut world, &victim, Disposition::Down);
    let index = world.tables.backends().find(|(_, id)| id.backend.to_string() == victim).map(|(i, _)| i);
    assert!(world.pins(U64Map::Protected).iter().all(|p| Some(p.backend()) != index));
    for (flow, to) in &moved {
        let now = world.packet(*flow, Kind::Ack);
        assert_ne!(now, victim);
        if *to != victim {
            assert_eq!(now, *to, "a bystander's connection");
        }
    }
    // The draining one dies as well: its old flows go to who has their slots now.
    set(&mut world, "b1", Disposition::Down);
    for flow in flows(80) {
        for kind in [Kind::Ack, Kind::Syn, Kind::Ack] {
            let to = world.packet(flow, kind);
            assert!(to != "b1" && to != victim, "{to}");
        }
    }
}

#[test]
fn a_backend_down_from_rest_moves_only_its_own_flows_and_needs_no_pins() {
    let Some(mut world) = world(4) else { return };
    let before = owners(&world, 80, Kind::Ack);
    set(&mut world, "b2", Disposition::Down);
    for (flow, owner) in &before {
        let told = world.watched(&frame(*flow, Kind::Ack)).1;
        assert_eq!(told.flags & IN_TRANSITION, 0);
        let now = world.packet(*flow, Kind::Syn);
        assert!(if owner == "b2" { now != "b2" } else { now == *owner }, "{owner} -> {now}");
    }
    assert_eq!(world.pins(U64Map::Probation).len(), 0);
}

#[test]
fn a_repooled_backend_gets_its_slots_back_and_interim_connections_stay() {
    let Some(mut world) = world(4) else { return };
    let before = owners(&world, 80, Kind::Ack);
    let moved = drained(&mut world, "b1");
    let interim: Vec<&(Flow, String)> = moved.iter().step_by(2).collect();
    for (flow, to) in &interim {
        assert_eq!(world.packet(*flow, Kind::Syn), *to);
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
    }
    set(&mut world, "b1", Disposition::Serving);
    for (flow, owner) in before {
        let stayed = interim.iter().find(|(f, _)| *f == flow).map(|(_, to)| to.clone());
        assert_eq!(world.packet(flow, Kind::Ack), stayed.unwrap_or(owner));
    }
}

#[test]
fn weights_added_and_removed_backends_break_no_connection() {
    type Change = fn(&mut DesiredPool);
    let Some(mut world) = world(4) else { return };
    let mut before = owners(&world, 80, Kind::Ack);
    let changes: [(&str, Change); 5] = [
        ("weight", |p| p.backends.get_mut("b1").unwrap().weight = 40.try_into().unwrap()),
        ("weight 0", |p| p.backends.get_mut("b2").unwrap().weight = 0.try_into().unwrap()),
        ("added", |p| p.backends.extend([backend(1, 5), backend(1, 6)])),
        ("another next hop", |p| {
            p.backends.get_mut("b1").unwrap().next_hop.as_mut().unwrap().dst_mac.0[0] = 6;
        }),
        ("weights back", |p| p.backends.values_mut().for_each(|b| b.weight = 10.try_into().unwrap())),
    ];
    for (n, (name, change)) in changes.into_iter().enumerate() {
        world.change(|d| change(text(d)));
        for (flow, owner) in &before {
            assert_eq!(world.packet(*flow, Kind::Ack), *owner, "{name}");
        }
        for mut flow in flows(80) {
            flow.src.set_port(20_000 + 100 * n as u16 + flow.src.port() % 100);
            let owner = world.packet(flow, Kind::Syn);
            if name == "weight 0" {
                assert_ne!(owner, "b2");
            }
            assert_eq!(world.packet(flow, Kind::Ack), owner);
            before.insert(flow, owner);
        }
    }
    // A removed one keeps its connections as a drained one does.
    world.change(|d| {
        text(d).backends.remove("b3").unwrap();
    });
    for (flow, owner) in &before {
        assert_eq!(world.packet(*flow, Kind::Ack), *owner, "removed");
        assert_ne!(world.whereto(Flow { src: (flow.src.ip(), 9).into(), ..*flow }, Kind::Syn), "b3");
    }
    assert_eq!(world.counts().pin(PinEvent::Evicted), 0);
}

/// A table of another size is laid anew. Only flows near a border between slots may change hands.
#[test]
fn a_larger_table_moves_few_flows() {
    let Some(mut world) = world(4) else { return };
    let before = owners(&world, 80, Kind::Ack);
    world.change(|d| text(d).slots = 509);
    let moved = before.iter().filter(|(flow, owner)| world.packet(**flow, Kind::Ack) != **owner).count();
    assert!(moved * 5 < before.len(), "{moved} of {}", before.len());
}

#[test]
fn a_removed_pool_passes_its_packets_and_an_emptied_one_drops_new_ones() {
    let Some(mut world) = world(2) else { return };
    let before = owners(&world, 80, Kind::Ack);
    set(&mut world, "b1", Disposition::Draining);
    set(&mut world, "b2", Disposition::Draining);
    for (flow, owner) in &before {
        assert_eq!(world.packet(*flow, Kind::Syn), "no_backend");
        assert_eq!(world.packet(*flow, Kind::Ack), *owner, "established connections go on");
    }
    assert_eq!(world.pins(U64Map::Probation).len(), 0, "nobody is never pinned");
    world.change(|d| *d = Desired { revision: d.revision, ..Desired::default() });
    for flow in before.into_keys() {
        assert_eq!(world.packet(flow, Kind::Ack), "not_service");
    }
}

#[test]
fn udp_of_class_dns_follows_the_slot_and_of_class_flow_its_base() {
    let Some(mut world) = world(4) else { return };
    let dns = owners(&world, 53, Kind::Udp);
    let quic = owners(&world, 4433, Kind::Udp);
    set(&mut world, "b1", Disposition::Draining);
    for (flow, owner) in &dns {
        let now = world.packet(*flow, Kind::Udp);
        assert!(if owner == "b1" { now != "b1" } else { now == *owner });
    }
    for (flow, owner) in &quic {
        assert_eq!(world.packet(*flow, Kind::Udp), *owner);
    }
    assert_eq!(world.pins(U64Map::Probation).len() + world.pins(U64Map::Protected).len(), 0);
    world.pass(LONG);
    world.sweep();
    for flow in quic.keys() {
        assert_ne!(world.packet(*flow, Kind::Udp), "b1", "after a silence as long as `idle`");
    }
}

#[test]
fn a_slot_is_stable_again_when_only_its_owner_was_used_for_long_enough() {
    let Some(mut world) = world(4) else { return };
    let moved = drained(&mut world, "b1");
    let moving = |world: &World| world.tables.status()[POOL].in_transition;
    let all = moving(&world);
    assert!(all > 0);
    assert_eq!((world.sweep().settled, moving(&world)), (0, all), "not at once");
    world.pass(LONG);
    // One old connection still speaks; the slot of another one only has new traffic.
    let (talker, _) = moved[0];
    assert_eq!(world.packet(talker, Kind::Ack), "b1");
    let swept = world.sweep();
    assert_eq!((swept.settled, moving(&world)), (all - 1, 1));
    assert_eq!(world.packet(talker, Kind::Ack), "b1");
    world.pass(LONG);
    world.sweep();
    assert_eq!(moving(&world), 0);
    for (flow, to) in &moved {
        assert_eq!(world.packet(*flow, Kind::Ack), *to, "stable");
    }
    assert_eq!(world.sweep().drift_repaired, 0);
}

#[test]
fn a_pin_to_another_backend_keeps_its_slot_in_transition() {
    let Some(mut world) = world(4) else { return };
    let moved = drained(&mut world, "b1");
    let (talker, to) = &moved[0];
    assert_eq!(world.packet(*talker, Kind::Syn), *to);
    set(&mut world, "b1", Disposition::Serving);
    for _ in 0..4 {
        world.pass(IDLE_SECONDS as u16 / 2);
        assert_eq!(world.packet(*talker, Kind::Ack), *to);
        world.sweep();
    }
    assert_eq!(world.tables.status()[POOL].in_transition, 1);
}

#[test]
fn a_transition_ends_after_drain_timeout_whoever_still_speaks() {
    let mut all = desired(4);
    text(&mut all).drain_timeout = std::time::Duration::from_mins(5);
    let Some(mut world) = World::new(1024, all) else { return };
    let moved = drained(&mut world, "b1");
    world.sweep();
    let (talker, to) = &moved[0];
    assert_eq!(world.packet(*talker, Kind::Ack), "b1");
    world.sweep_later(400);
    assert_eq!(world.tables.status()[POOL].in_transition, 0);
    assert_eq!(world.packet(*talker, Kind::Ack), *to);
}

/// A pin is a statement about one connection in one transition. The connection ends while its slot is stable, where nobody looks at
/// pins; its ports are used again, and the slot moves once more. The old pin must not claim the new connection.
#[test]
fn a_pin_left_behind_does_not_claim_a_later_connection_of_the_same_ports() {
    // The slots settle before the pins are over.
    let mut all = desired(4);
    text(&mut all).idle = std::time::Duration::from_mins(20);
    text(&mut all).drain_timeout = std::time::Duration::from_mins(5);
    let Some(mut world) = World::new(2048, all) else { return };
    let moved = drained(&mut world, "b1");
    for (flow, to) in &moved {
        assert_eq!(world.packet(*flow, Kind::Syn), *to);
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
    }
    // The drained one returns; after a while everything is stable again, on b1.
    set(&mut world, "b1", Disposition::Serving);
    world.pass(2);
    world.sweep_later(400);
    assert_eq!(world.tables.status()[POOL].in_transition, 0);
    assert_eq!(world.pins(U64Map::Protected).len(), moved.len());
    // Another connection of the same ports, opened and established with b1 while its slot is stable.
    for (flow, _) in &moved {
        assert_eq!(world.packet(*flow, Kind::Syn), "b1");
        assert_eq!(world.packet(*flow, Kind::Ack), "b1");
    }
    // The slots move again: it is older than this transition and stays with b1.
    set(&mut world, "b1", Disposition::Draining);
    let captured: Vec<String> =
        moved.iter().map(|(flow, _)| world.packet(*flow, Kind::Ack)).filter(|owner| owner != "b1").collect();
    assert_eq!(captured, Vec::<String>::new(), "of {} connections", moved.len());
}

/// The same when the slot settled on the pin's own backend and moved on to a third one.
#[test]
fn a_pin_left_behind_by_a_slot_that_settled_on_it_does_not_claim_later_connections() {
    let Some(mut world) = world(4) else { return };
    let moved = drained(&mut world, "b1");
    for (flow, to) in &moved {
        assert_eq!(world.packet(*flow, Kind::Syn), *to);
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
    }
    let settle = |world: &mut World| {
        world.pass(LONG);
        world.sweep();
        assert_eq!(world.tables.status()[POOL].in_transition, 0);
    };
    settle(&mut world);
    let victim = moved[0].1.clone();
    set(&mut world, &victim, Disposition::Draining);
    settle(&mut world);
    let again: Vec<(Flow, String)> = moved
        .iter()
        .filter(|(_, to)| *to == victim)
        .map(|(flow, _)| (*flow, world.packet(*flow, Kind::Syn)))
        .collect();
    assert!(again.iter().all(|(_, to)| *to != victim));
    set(&mut world, &again[0].1.clone(), Disposition::Draining);
    for (flow, to) in &again {
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
    }
}

/// And it is let go then: slots that are laid out anew take over whatever pins there are.
#[test]
fn a_pin_left_behind_does_not_come_back_when_the_pool_gets_another_table() {
    let Some(mut world) = world(4) else { return };
    let moved = drained(&mut world, "b1");
    for (flow, to) in &moved {
        assert_eq!(world.packet(*flow, Kind::Syn), *to);
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
    }
    // Nothing but the slots' owners is used, so they settle while the pins are in use.
    world.pass(IDLE_SECONDS as u16 * 3 / 4);
    for (flow, to) in &moved {
        assert_eq!(world.packet(*flow, Kind::Ack), *to);
    }
    world.pass(IDLE_SECONDS as u16 * 3 / 4);
    world.sweep();
    assert_eq!(world.tables.status()[POOL].in_transition, 0);
    assert_eq!(world.pins(U64Map::Protected).len(), moved.len());
    let victim = moved[0].1.clone();
    set(&mut world, &victim, Disposition::Draining);
    let again: Vec<(Flow, String)> = moved
        .iter()
        .filter(|(_, to)| *to == victim)
        .map(|(flow, _)| (*flow, world.packet(*flow, Kind::Syn)))
        .collect();
    world.change(|d| text(d).slots = 509);
    let (mut bound, mut claimed) = (0, 0);
    for (flow, to) in &again {
        let (outcome, told) = world.watched(&frame(*flow, Kind::Ack));
        bound += usize::from(told.flags & BY_PIN != 0);
        claimed += usize::from(outcome.short() != *to);
    }
    assert!(bound > 0 && claimed == 0, "{claimed} of {bound} of {} connections", again.len());
}
