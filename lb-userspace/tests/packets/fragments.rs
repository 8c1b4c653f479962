//! Fragments: the first teaches where the others go, for two ticks.

use lb_userspace::{
    datapath::Desired,
    model::{Method, Tunnel},
};

use crate::{
    frame::{ETH, Ext, Kind, edit, edit4, extended, flow, fragment, frame, tagged},
    icmp::echo,
    site::{nothing, pool, site},
    world::World,
};

fn desired() -> Desired {
    let mut all = nothing();
    all.tunnel = Tunnel { source4: Some("192.0.2.0/24".parse().unwrap()), source6: None };
    site(&mut all, "direct", 1, pool(1, 251, 5));
    let mut tunnels = pool(2, 251, 5);
    tunnels.backends.values_mut().for_each(|b| b.method = Method::Gue);
    site(&mut all, "tunnels", 2, tunnels);
    all
}

fn destinations() -> impl Iterator<Item = String> {
    [1, 2].into_iter().flat_map(|n| {
        [80, 53]
            .into_iter()
            .flat_map(move |port| [format!("203.0.113.{n}:{port}"), format!("[2001:db8::{n}]:{port}")])
    })
}

fn kind(dst: &str) -> Kind {
    if dst.ends_with(":53") { Kind::Udp } else { Kind::Ack }
}

#[test]
fn later_fragments_follow_their_first_whatever_their_order_and_tags() {
    let Some(world) = World::new(1024, desired()) else { return };
    for dst in destinations() {
        for id in 0..20 {
            let whole = frame(flow(&dst, 3000 + id as u16), kind(&dst));
            let owner = world.packet(flow(&dst, 3000 + id as u16), kind(&dst));
            assert_eq!(world.watched(&fragment(&whole, id, 3, false)).0.short(), "fragment_unknown");
            assert_eq!(world.watched(&fragment(&whole, id, 0, true)).0.short(), owner);
            for (offset, more) in [(181, true), (362, false), (1, true), (8191, false)] {
                assert_eq!(world.watched(&fragment(&whole, id, offset, more)).0.short(), owner);
            }
            assert_eq!(
                world.watched(&tagged(&fragment(&whole, id, 9, true), &[(0x8100, 3)])).0.short(),
                owner
            );
            assert_eq!(world.watched(&fragment(&whole, id + 1000, 3, false)).0.short(), "fragment_unknown");
        }
    }
}

#[test]
fn a_first_fragment_is_forgotten_after_two_ticks() {
    let Some(mut world) = World::new(1024, desired()) else { return };
    for dst in destinations() {
        let whole = frame(flow(&dst, 3000), kind(&dst));
        let owner = world.watched(&fragment(&whole, 7, 0, true)).0.short();
        // A tick may end while this runs.
        assert_eq!(world.watched(&fragment(&whole, 7, 5, true)).0.short(), owner);
        world.pass(1);
        assert_eq!(world.watched(&fragment(&whole, 7, 5, true)).0.short(), owner);
        world.pass(3);
        assert_eq!(world.watched(&fragment(&whole, 7, 5, true)).0.short(), "fragment_unknown");
    }
}

#[test]
fn an_expired_hop_is_noticed_in_every_fragment() {
    let Some(world) = World::new(1024, desired()) else { return };
    for dst in destinations() {
        let whole = frame(flow(&dst, 3000), kind(&dst));
        let [first, later] = [(0, true), (5, false)].map(|(offset, more)| fragment(&whole, 9, offset, more));
        world.watched(&first);
        for ttl in [0, 1] {
            let dead = |bytes: &[u8]| {
                if dst.starts_with('2') { edit4(bytes, 8, &[ttl]) } else { edit(bytes, ETH + 7, &[ttl]) }
            };
            assert_eq!(world.watched(&dead(&later)).0.short(), "ttl_expired");
            assert_eq!(world.watched(&dead(&first)).0.short(), "ttl_expired");
        }
    }
}

#[test]
fn fragments_of_what_is_not_a_services_pass_all_of_them() {
    let Some(world) = World::new(1024, desired()) else { return };
    let passes = |bytes: &[u8]| assert_eq!(world.watched(bytes).0.short(), "fragment");
    for (id, whole) in [
        frame(flow("203.0.113.1:9", 1), Kind::Udp),
        frame(flow("[2001:db8::1]:9", 1), Kind::Udp),
        frame(flow("203.0.113.99:80", 1), Kind::Ack),
        frame(flow("[2001:db8::99]:80", 1), Kind::Ack),
        echo("203.0.113.1", 1, 1),
        echo("2001:db8::1", 1, 1),
    ]
    .into_iter()
    .enumerate()
    {
        passes(&fragment(&whole, id as u32, 0, true));
        passes(&fragment(&whole, id as u32, 5, true));
        passes(&fragment(&whole, id as u32, 10, false));
    }
}

#[test]
fn an_atomic_fragment_is_a_whole_packet_and_teaches_nothing() {
    let Some(world) = World::new(1024, desired()) else { return };
    let whole = frame(flow("[2001:db8::1]:80", 3000), Kind::Ack);
    let owner = world.packet(flow("[2001:db8::1]:80", 3000), Kind::Ack);
    assert_eq!(world.watched(&fragment(&whole, 5, 0, false)).0.short(), owner);
    assert_eq!(world.watched(&fragment(&whole, 5, 4, false)).0.short(), "fragment_unknown");
}

/// RFC 8200, section 4.5: headers behind the fragment header are only in the first fragment, and the others name the first of them.
#[test]
fn ipv6_fragments_with_headers_behind_the_fragment_header_are_one_packet() {
    let Some(world) = World::new(1024, desired()) else { return };
    let plain = frame(flow("[2001:db8::1]:80", 3000), Kind::Ack);
    let first = extended(&plain, &[Ext::Fragment { offset: 0, more: true }, Ext::Destination(1)]);
    let owner = world.watched(&first).0.short();
    assert!(owner.starts_with('b'), "{owner}");
    let mut later = extended(&plain, &[Ext::Fragment { offset: 50, more: false }]);
    later[ETH + 40] = 60;
    assert_eq!(world.watched(&later).0.short(), owner);
}
