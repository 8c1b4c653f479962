//! Services that are no single address and port, and who gets a packet that several could have.

use lb_userspace::{datapath::Desired, model::UdpClass};

use crate::{
    frame::{ETH, Kind, edit, edit4, flow, frame},
    icmp::echo,
    model::Outcome,
    site::{nothing, pool, service},
    world::World,
};

/// Services by name, all of one pool.
fn world(services: &[(&str, &[&str])]) -> Option<World> {
    let mut all: Desired = nothing();
    all.pools.insert("one".parse().unwrap(), pool(1, 251, 4));
    for (name, endpoints) in services {
        all.services.insert(name.parse().unwrap(), service("one", endpoints));
    }
    World::new(1024, all)
}

/// The service that gets a packet, or the reason that it gets none.
fn whose(world: &World, dst: &str, kind: Kind) -> String {
    let (got, _) = world.watched(&frame(flow(dst, 1234), kind));
    match got {
        Outcome::Sent { service, .. } => service.unwrap(),
        other => other.short(),
    }
}

const NESTED: &[(&str, &[&str])] = &[
    ("wide", &["203.0.113.0/24 all tcp", "2001:db8::/64 all tcp"]),
    ("range", &["203.0.113.0/24 80-90 tcp", "2001:db8::/64 80-90 tcp"]),
    ("port", &["203.0.113.0/24 85 tcp", "2001:db8::/64 85 tcp"]),
    ("narrow", &["203.0.113.16/28 all tcp", "2001:db8::10/124 all tcp"]),
    ("narrow-range", &["203.0.113.16/28 443-444 tcp", "2001:db8::10/124 443-444 tcp"]),
    ("host", &["203.0.113.17/32 8000-9000 tcp", "2001:db8::11/128 8000-9000 tcp"]),
    ("exact", &["203.0.113.17 80 tcp", "2001:db8::11 80 tcp"]),
    ("other", &["203.0.113.17 80 udp", "2001:db8::11 80 udp"]),
];

#[test]
fn exact_beats_longer_prefix_beats_narrower_range_beats_all() {
    let Some(world) = world(NESTED) else { return };
    for (four, six, port, kind, service) in [
        ("203.0.113.1", "2001:db8::1", 443, Kind::Ack, "wide"),
        ("203.0.113.1", "2001:db8::1", 0, Kind::Ack, "wide"),
        ("203.0.113.1", "2001:db8::1", 65535, Kind::Ack, "wide"),
        ("203.0.113.1", "2001:db8::1", 79, Kind::Ack, "wide"),
        ("203.0.113.1", "2001:db8::1", 80, Kind::Ack, "range"),
        ("203.0.113.1", "2001:db8::1", 90, Kind::Ack, "range"),
        ("203.0.113.1", "2001:db8::1", 91, Kind::Ack, "wide"),
        ("203.0.113.1", "2001:db8::1", 85, Kind::Ack, "port"),
        ("203.0.113.255", "2001:db8::ffff:ffff:ffff:ffff", 85, Kind::Ack, "port"),
        ("203.0.113.16", "2001:db8::10", 85, Kind::Ack, "narrow"),
        ("203.0.113.31", "2001:db8::1f", 80, Kind::Ack, "narrow"),
        ("203.0.113.32", "2001:db8::20", 80, Kind::Ack, "range"),
        ("203.0.113.30", "2001:db8::1e", 443, Kind::Ack, "narrow-range"),
        ("203.0.113.30", "2001:db8::1e", 445, Kind::Ack, "narrow"),
        ("203.0.113.17", "2001:db8::11", 8500, Kind::Ack, "host"),
        ("203.0.113.17", "2001:db8::11", 443, Kind::Ack, "narrow-range"),
        ("203.0.113.17", "2001:db8::11", 80, Kind::Ack, "exact"),
        ("203.0.113.17", "2001:db8::11", 80, Kind::Udp, "other"),
        ("203.0.113.17", "2001:db8::11", 81, Kind::Udp, "not_service"),
        ("203.0.112.255", "2001:db7::1", 80, Kind::Ack, "not_service"),
        ("203.0.114.0", "2001:db8:0:1::", 80, Kind::Ack, "not_service"),
    ] {
        assert_eq!(whose(&world, &format!("{four}:{port}"), kind), service, "{four}:{port}");
        assert_eq!(whose(&world, &format!("[{six}]:{port}"), kind), service, "{six}:{port}");
    }
}

#[test]
fn shapes_come_and_go_one_by_one() {
    let Some(mut world) = world(NESTED) else { return };
    for gone in NESTED {
        world.change(|desired| {
            desired.services.remove(gone.0).unwrap();
        });
        for dst in [
            "203.0.113.1:85",
            "203.0.113.17:80",
            "203.0.113.17:8500",
            "[2001:db8::11]:443",
            "[2001:db8::1]:80",
        ] {
            let service = whose(&world, dst, Kind::Ack);
            assert_ne!(service, gone.0);
        }
    }
    assert_eq!(whose(&world, "203.0.113.17:80", Kind::Ack), "not_service");
    for (name, endpoints) in NESTED {
        world.change(|desired| {
            desired.services.insert(name.parse().unwrap(), service("one", endpoints));
        });
    }
    assert_eq!(whose(&world, "203.0.113.1:85", Kind::Ack), "port");
    assert_eq!(world.sweep().drift_repaired, 0);
}

#[test]
fn tcp_and_udp_on_one_port_and_several_vips_share_one_pools_slots() {
    let endpoints = [
        "203.0.113.1 443 tcp",
        "203.0.113.1 443 udp",
        "203.0.113.2 443 tcp",
        "2001:db8::1 443 tcp",
        "2001:db8::1 443 udp",
    ];
    let Some(mut world) = world(&[("web", &endpoints)]) else { return };
    world.change(|d| d.services.get_mut("web").unwrap().udp_class = UdpClass::Quic);
    for dst in ["203.0.113.1:443", "203.0.113.2:443", "[2001:db8::1]:443"] {
        assert_eq!(whose(&world, dst, Kind::Syn), "web");
    }
    assert_eq!(whose(&world, "203.0.113.1:443", Kind::Udp), "web");
    assert_eq!(whose(&world, "203.0.113.2:443", Kind::Udp), "not_service");
}

#[test]
fn an_address_of_a_prefix_is_ours_for_what_has_no_port() {
    let Some(world) = world(NESTED) else { return };
    for (dst, ours) in [("203.0.113.200", true), ("203.0.114.1", false)] {
        assert_eq!(
            world.watched(&echo(dst, 1, 1)).0.short(),
            if ours { "echo_reply" } else { "not_tcp_udp" }
        );
        let sctp = edit4(&frame(flow(&format!("{dst}:80"), 1), Kind::Ack), 9, &[132]);
        assert_eq!(world.watched(&sctp).0.short(), if ours { "sctp" } else { "not_tcp_udp" });
    }
    let sctp = edit(&frame(flow("[2001:db8::77]:80", 1), Kind::Ack), ETH + 6, &[132]);
    assert_eq!(world.watched(&sctp).0.short(), "sctp");
}

#[test]
fn thirty_two_entries_are_looked_at() {
    let names: Vec<(String, String)> = (0..32)
        .map(|i| (format!("s{i:02}"), format!("203.0.113.0/24 {}-{} tcp", 100 * i + 1, 100 * i + 2 + i)))
        .collect();
    let Some(mut world) = world(&[]) else { return };
    world.change(|desired| {
        for (name, endpoint) in &names {
            desired.services.insert(name.parse().unwrap(), service("one", &[endpoint]));
        }
    });
    for i in 0..32 {
        assert_eq!(whose(&world, &format!("203.0.113.9:{}", 100 * i + 1), Kind::Ack), format!("s{i:02}"));
        assert_eq!(whose(&world, &format!("203.0.113.9:{}", 100 * i + 60), Kind::Ack), "not_service");
    }
    // One more is said to be too many, and the others are served.
    let mut wanted = world.desired.clone();
    wanted.services.insert("more".parse().unwrap(), service("one", &["203.0.113.0/24 all tcp"]));
    let applied = world.tables.apply(&wanted, world.now());
    assert!(applied.problem.is_some_and(|e| e.to_string().contains("port ranges")));
    assert_eq!(whose(&world, "203.0.113.9:1", Kind::Ack), "s00");
}
