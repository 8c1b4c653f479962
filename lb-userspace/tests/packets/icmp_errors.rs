//! Errors about flows: to the one backend that owns the flow they quote, and nothing is remembered of it.

use lb_common::{counter::PinEvent, explain::QUOTED};
use lb_userspace::{
    datapath::{Desired, tables::U64Map},
    model::{Disposition, Method, Scheduler, Tracking, Tunnel},
};

use crate::{
    frame::{ETH, Ext, Flow, Kind, edit, edit4, extended, flow, fragment, frame, tagged, with_options},
    icmp::{answer, error},
    site::{nothing, pool, site},
    world::World,
};

fn desired() -> Desired {
    let mut all = nothing();
    all.tunnel = Tunnel {
        source4: Some("192.0.2.1/32".parse().unwrap()),
        source6: Some("2001:db8:5::1/128".parse().unwrap()),
    };
    site(&mut all, "many", 1, pool(1, 251, 5));
    let mut tunnels = pool(2, 13, 3);
    tunnels.backends.values_mut().for_each(|b| b.method = Method::Ipip);
    site(&mut all, "tunnels", 2, tunnels);
    all
}

/// Types of errors, by family.
const FOUR: [u8; 3] = [3, 11, 12];
const SIX: [u8; 4] = [1, 2, 3, 4];

fn flows(pool: u8, port: u16) -> impl Iterator<Item = Flow> {
    (0..30).flat_map(move |i| {
        [format!("203.0.113.{pool}:{port}"), format!("[2001:db8::{pool}]:{port}")]
            .map(|dst| flow(&dst, 20_000 + i))
    })
}

/// What a backend sent to the client of a flow, cut to its IP header and so many bytes of the next.
fn quoted(flow: Flow, kind: Kind, behind: usize) -> Vec<u8> {
    let header = if flow.src.is_ipv4() { 20 } else { 40 };
    frame(answer(flow), kind)[ETH..ETH + header + behind].to_vec()
}

fn kinds(flow: &Flow) -> &'static [u8] {
    if flow.src.is_ipv4() { &FOUR } else { &SIX }
}

#[test]
fn eight_bytes_of_a_quoted_header_suffice_to_find_the_owner() {
    let Some(world) = World::new(1024, desired()) else { return };
    for pool in [1, 2] {
        for (port, kind) in [(80, Kind::Ack), (53, Kind::Udp)] {
            for flow in flows(pool, port) {
                let owner = world.packet(flow, kind);
                for of in kinds(&flow) {
                    for behind in [8, 16, 28.min(if kind == Kind::Udp { 16 } else { 28 })] {
                        let bytes = error(*of, 1, &quoted(flow, kind, behind));
                        let (got, told) = world.watched(&bytes);
                        assert_eq!(got.short(), owner);
                        assert_ne!(told.flags & QUOTED, 0);
                    }
                }
                let bytes = tagged(&error(kinds(&flow)[0], 1, &quoted(flow, kind, 8)), &[(0x8100, 5)]);
                assert_eq!(world.watched(&bytes).0.short(), owner);
            }
        }
    }
    assert!(world.counts().pin(PinEvent::IcmpDelivered) > 1000);
}

#[test]
fn pins_and_bases_are_honoured_and_left_alone() {
    let Some(mut world) = World::new(1024, desired()) else { return };
    let before: Vec<(Flow, String)> = flows(1, 80).map(|f| (f, world.packet(f, Kind::Ack))).collect();
    world.change(|d| {
        d.pools.get_mut("many").unwrap().backends.get_mut("b1").unwrap().disposition = Disposition::Draining;
    });
    let told = |world: &World, flow: Flow| {
        world.watched(&error(kinds(&flow)[0], 1, &quoted(flow, Kind::Ack, 8))).0.short()
    };
    // Older flows: their base. A quoted SYN opens nothing.
    for (flow, owner) in &before {
        assert_eq!(told(&world, *flow), *owner);
        let bytes = error(kinds(flow)[0], 1, &quoted(*flow, Kind::Syn, 20));
        assert_eq!(world.watched(&bytes).0.short(), *owner);
    }
    assert_eq!(world.pins(U64Map::Probation).len() + world.pins(U64Map::Protected).len(), 0);
    // New ones: their pins, on probation and later; the error promotes nothing.
    let mut pinned = 0;
    for (flow, old) in &before {
        let mut flow = *flow;
        flow.src.set_port(flow.src.port() + 1000);
        let owner = world.packet(flow, Kind::Syn);
        assert_eq!(told(&world, flow), owner);
        let protected = world.pins(U64Map::Protected).len();
        assert_eq!(told(&world, flow), owner);
        assert_eq!(world.pins(U64Map::Protected).len(), protected);
        assert_eq!(world.packet(flow, Kind::Ack), owner);
        assert_eq!(told(&world, flow), owner);
        pinned += usize::from(*old == "b1");
    }
    assert!(pinned > 0 && !world.pins(U64Map::Protected).is_empty());
}

#[test]
fn tracked_flows_and_turns_are_followed_and_nobody_loses_a_turn() {
    let mut all = desired();
    for name in ["many-tcp", "many-udp"] {
        let rules = &mut all.services.get_mut(name).unwrap().rules;
        (rules.tracking, rules.scheduler) = (Tracking::Always, Scheduler::Rr);
    }
    let Some(world) = World::new(1024, all) else { return };
    for (port, kind) in [(80, Kind::Syn), (53, Kind::Udp)] {
        let mut owners = Vec::new();
        for flow in flows(1, port) {
            let owner = world.packet(flow, kind);
            for of in kinds(&flow) {
                assert_eq!(world.watched(&error(*of, 1, &quoted(flow, kind, 8))).0.short(), owner);
            }
            owners.push(owner);
        }
        assert!(owners.iter().zip(&owners[5..]).all(|(a, b)| a == b), "turns in strict order: {owners:?}");
    }
}

#[test]
fn what_quotes_no_flow_of_ours_passes() {
    let Some(world) = World::new(1024, desired()) else { return };
    for dst in ["203.0.113.1:80", "[2001:db8::1]:80"] {
        let ours = flow(dst, 20_000);
        let kind = kinds(&ours)[0];
        let reply = frame(answer(ours), Kind::Ack);
        let header = if ours.src.is_ipv4() { 20 } else { 40 };
        let passes = |bytes: &[u8], why: &str| assert_eq!(world.watched(bytes).0.short(), why);

        let sent_by_another = {
            let other = frame(
                answer(flow(if header == 20 { "203.0.113.2:80" } else { "[2001:db8::2]:80" }, 1)),
                Kind::Ack,
            );
            let bytes = error(kind, 1, &reply[ETH..]);
            let at = ETH + header + 8;
            edit(&bytes, at, &other[ETH..ETH + header + 8])
        };
        passes(&sent_by_another, "icmp");
        passes(&error(kind, 1, &frame(answer(flow(&dst.replace("80", "81"), 9)), Kind::Ack)[ETH..]), "icmp");
        let gre = if header == 20 { edit4(&reply, 9, &[47]) } else { edit(&reply, ETH + 6, &[47]) };
        passes(&error(kind, 1, &gre[ETH..]), "icmp");
        passes(&error(kind, 1, &fragment(&reply, 7, 5, true)[ETH..]), "icmp");
        assert_eq!(
            world.watched(&error(kind, 1, &fragment(&reply, 7, 0, true)[ETH..])).0.short(),
            world.packet(ours, Kind::Ack)
        );
        // Cut at every byte.
        let whole = error(kind, 1, &reply[ETH..]);
        let headers = ETH + header + 8 + header + 8;
        for len in ETH..headers {
            passes(&whole[..len], "truncated");
        }
        assert_ne!(world.watched(&whole[..headers]).0.short(), "truncated");
        for ttl in [0, 1] {
            let bytes = if header == 20 { edit4(&whole, 8, &[ttl]) } else { edit(&whole, ETH + 7, &[ttl]) };
            passes(&bytes, "ttl_expired");
        }
        // A fragment of an error.
        passes(&fragment(&whole, 7, 0, true), "fragment");
    }
}

#[test]
fn quoted_packets_may_have_options() {
    let Some(world) = World::new(1024, desired()) else { return };
    let four = flow("203.0.113.1:80", 20_000);
    let owner = world.packet(four, Kind::Ack);
    for words in 0..=10 {
        let sent = with_options(answer(four), Kind::Ack, words);
        assert_eq!(world.watched(&error(3, 4, &sent[ETH..ETH + 20 + words * 4 + 8])).0.short(), owner);
    }
    let bad = edit(&error(3, 4, &frame(answer(four), Kind::Ack)[ETH..]), ETH + 28, &[0x44]);
    assert_eq!(world.watched(&bad).0.short(), "malformed");
    // A backend's answers have no extension headers but a fragment's.
    let six = flow("[2001:db8::1]:80", 20_000);
    let extended = extended(&frame(answer(six), Kind::Ack), &[Ext::Destination(0)]);
    assert_eq!(world.watched(&error(1, 1, &extended[ETH..])).0.short(), "icmp");
}
