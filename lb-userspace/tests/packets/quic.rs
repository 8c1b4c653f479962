//! QUIC: which packets open a connection, and connection ids that name a server.

use lb_common::counter::PinEvent;
use lb_userspace::{
    datapath::Desired,
    model::{Disposition, QuicId, UdpClass},
};

use crate::{
    frame::{Flow, Kind, flow, quic, with_payload},
    site::{nothing, pool, service},
    world::World,
};

/// First bytes: Initial, 0-RTT and Handshake of version 1, and a short header.
const INITIAL: u8 = 0xc0;
const EARLY: u8 = 0xd0;
const HANDSHAKE: u8 = 0xe0;
const SHORT: u8 = 0x40;
/// Version 2 numbers them anew (RFC 9369, section 3.2): each one further, and Retry's comes first.
const VERSION_2: u32 = 0x6b33_43cf;

fn world(id: Option<QuicId>) -> Option<World> {
    let mut all: Desired = nothing();
    let mut one = pool(1, 251, 4);
    for (n, backend) in one.backends.values_mut().enumerate() {
        backend.server_id = Some(n as u16 + 1);
    }
    all.pools.insert("one".parse().unwrap(), one);
    let endpoints =
        ["203.0.113.1 443 udp", "2001:db8::1 443 udp", "203.0.113.1 443 tcp", "2001:db8::1 443 tcp"];
    let mut web = service("one", &endpoints);
    web.udp_class = UdpClass::Quic;
    web.rules.quic_id = id;
    all.services.insert("web".parse().unwrap(), web);
    World::new(2048, all)
}

fn flows() -> Vec<Flow> {
    (0..40).flat_map(|n| ["203.0.113.1:443", "[2001:db8::1]:443"].map(|dst| flow(dst, 5000 + n))).collect()
}

fn send(world: &World, flow: Flow, first: u8, id: &[u8]) -> String {
    send_of(world, flow, u32::from(first & 0x80 != 0), first, id)
}

fn send_of(world: &World, flow: Flow, version: u32, first: u8, id: &[u8]) -> String {
    world.watched(&with_payload(flow, Kind::Udp, &quic(first, version, id))).0.short()
}

fn drain(world: &mut World, name: &str, disposition: Disposition) {
    world.change(|d| {
        d.pools.get_mut("one").unwrap().backends.get_mut(name).unwrap().disposition = disposition;
    });
}

#[test]
fn in_a_drain_initial_and_0rtt_open_connections_and_everything_else_is_older() {
    let Some(mut world) = world(None) else { return };
    let before: Vec<(Flow, String)> =
        flows().into_iter().map(|f| (f, send(&world, f, SHORT, &[9; 8]))).collect();
    drain(&mut world, "b1", Disposition::Draining);
    for (flow, owner) in &before {
        assert_eq!(send(&world, *flow, SHORT, &[9; 8]), *owner);
        assert_eq!(send(&world, *flow, HANDSHAKE, &[9; 8]), *owner);
    }
    for (n, (flow, owner)) in before.iter().enumerate() {
        let first = if n % 2 == 0 { INITIAL } else { EARLY };
        let new = send(&world, *flow, first, &[9; 8]);
        assert_ne!(new, "b1");
        assert!(owner == "b1" || new == *owner);
        for later in [HANDSHAKE, SHORT, SHORT] {
            assert_eq!(send(&world, *flow, later, &[9; 8]), new, "and what follows it");
        }
    }
    assert!(world.counts().pin(PinEvent::Promoted) > 0);
}

#[test]
fn version_2_has_other_numbers_for_the_same_packets() {
    let Some(mut world) = world(None) else { return };
    let before: Vec<(Flow, String)> =
        flows().into_iter().map(|f| (f, send(&world, f, SHORT, &[9; 8]))).collect();
    drain(&mut world, "b1", Disposition::Draining);
    let further = |first: u8| 0xc0 | first.wrapping_add(0x10) & 0x30;
    for (n, (flow, owner)) in before.iter().enumerate() {
        let long = |first: u8| send_of(&world, *flow, VERSION_2, further(first), &[9; 8]);
        assert_eq!(long(HANDSHAKE), *owner);
        assert_eq!(long(0xf0), *owner, "Retry");
        let new = long(if n % 2 == 0 { INITIAL } else { EARLY });
        assert_ne!(new, "b1");
        assert!(owner == "b1" || new == *owner);
        assert_eq!(long(HANDSHAKE), new, "and what follows it");
    }
}

/// HTTP's port has both: what TCP says must not be read as QUIC.
#[test]
fn tcp_beside_quic_opens_connections_by_its_own_flags() {
    let Some(mut world) = world(None) else { return };
    let before: Vec<(Flow, String)> = flows().into_iter().map(|f| (f, world.packet(f, Kind::Ack))).collect();
    drain(&mut world, "b1", Disposition::Draining);
    for (flow, owner) in before {
        assert_eq!(world.packet(flow, Kind::Ack), owner);
        let new = world.packet(flow, Kind::Syn);
        assert_ne!(new, "b1", "a new connection");
        assert_eq!(world.packet(flow, Kind::Ack), new);
    }
}

#[test]
fn a_connection_id_names_its_server_whatever_the_address_it_comes_from() {
    for (offset, len) in [(0, 1), (0, 2), (1, 1), (3, 2), (18, 1), (18, 2)] {
        let Some(mut world) = world(Some(QuicId { offset, len })) else { return };
        let id = |server: u8| {
            let mut id = vec![0xaa; 20];
            let at = usize::from(offset);
            if len == 2 {
                id[at] = 0;
            }
            id[at + usize::from(len) - 1] = server;
            id
        };
        for flow in flows().into_iter().take(8) {
            for server in 1..=4 {
                assert_eq!(send(&world, flow, SHORT, &id(server)), format!("b{server}"));
                assert_eq!(send(&world, flow, HANDSHAKE, &id(server)), format!("b{server}"));
            }
            // A client's own invention names nobody; nor does a number that no server has.
            let by_slot = send(&world, flow, INITIAL, &id(3));
            assert_eq!(send(&world, flow, EARLY, &id(2)), by_slot);
            assert_eq!(send(&world, flow, SHORT, &id(77)), by_slot);
            // Cut in the middle of the id.
            let end = 1 + usize::from(offset) + usize::from(len);
            let whole = quic(SHORT, 0, &id(1));
            let cut = |n: usize| world.watched(&with_payload(flow, Kind::Udp, &whole[..n])).0.short();
            assert_eq!((cut(end - 1), cut(end)), (by_slot.clone(), "b1".to_owned()));
            assert_eq!(cut(0), by_slot, "no payload at all");
        }
        // Who drains keeps what is its; who is down does not.
        let flow = flows()[0];
        drain(&mut world, "b2", Disposition::Draining);
        assert_eq!(send(&world, flow, SHORT, &id(2)), "b2");
        drain(&mut world, "b2", Disposition::Down);
        assert_ne!(send(&world, flow, SHORT, &id(2)), "b2");
    }
}
