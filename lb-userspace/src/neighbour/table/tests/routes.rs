//! Routes: their sentences, their changes.

use super::*;

#[test]
fn every_route_that_leads_to_no_neighbour_has_its_sentence() {
    let mut world = World::new();
    world.watch(&["10.0.0.1"]);
    for (route, sentence) in [
        (
            Route::Encapsulated("mpls".to_owned()),
            "the route to 10.0.0.1 wraps packets (`encap mpls`), which lbd's program does not do",
        ),
        (Route::Local, "10.0.0.1 is an address of this host; a backend is another host"),
        (Route::NotUnicast("broadcast"), "10.0.0.1 is a broadcast address, which no single host answers"),
        (Route::None(NoRoute::NoMatch), "no route to 10.0.0.1"),
        (
            Route::None(NoRoute::Forbidden("prohibit")),
            "no route to 10.0.0.1: a route of type prohibit covers it",
        ),
        (
            Route::None(NoRoute::Other("Out of memory".to_owned())),
            "no route to 10.0.0.1: the lookup failed: Out of memory",
        ),
    ] {
        world.route("10.0.0.1", route);
        assert_eq!(world.reason(), sentence);
    }
}

#[test]
fn a_route_change_asks_again_for_the_addresses_it_covers_after_a_pause() {
    let mut world = World::new();
    world.watch(&["10.0.0.1", "10.0.1.1", "fd00::1"]);
    for address in ["10.0.0.1", "10.0.1.1", "fd00::1"] {
        world.route(address, Route::None(NoRoute::NoMatch));
    }
    world.asks();
    world.pass(Duration::from_secs(5));
    world.table.network_changed(ip("10.0.0.0"), ip("10.0.0.255"), world.now);
    assert_eq!(world.asks(), []);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.asks(), [lookup()]);
}

#[test]
fn routes_that_flap_are_not_looked_up_without_end() {
    let mut world = World::resolved();
    let mut lookups = 0;
    for _ in 0..100 {
        world.table.routes_changed(world.now);
        world.pass(Duration::from_millis(100));
        for request in world.asks() {
            assert_eq!(request, lookup());
            world.route("10.0.0.1", on(ETH0));
            lookups += 1;
        }
    }
    assert!((5..=20).contains(&lookups), "{lookups} lookups in 10 s");
}

#[test]
fn every_route_is_looked_up_again_now_and_then() {
    let mut world = World::resolved();
    world.pass(RECHECK);
    assert_eq!(world.asks(), [lookup()]);
}

#[test]
fn an_address_that_moves_to_another_interface_is_resolved_there() {
    let mut world = World::resolved();
    world.route("10.0.0.1", on(ETH1));
    assert_eq!(
        world.asks(),
        [Request::Release { ifindex: ETH0, address: b1() }, Request::Keep { ifindex: ETH1, address: b1() },]
    );
    assert_eq!(world.says(), []);
    // Its entry on the old interface no longer counts.
    world.neighbour(Neighbour::Resolved { mac: M2, probing: false, permanent: false });
    assert_eq!(world.says(), []);
    world.table.neighbour(ETH1, b1(), REACHABLE, world.now);
    assert_eq!(world.says(), [(b1(), Ok(NextHop { ifindex: ETH1, ..hop(M1) }))]);
}

#[test]
fn a_routes_own_mtu_counts_where_it_is_smaller_and_its_source_is_told() {
    let mut world = World::resolved();
    let path = |mtu| Path { ifindex: ETH0, gateway: None, source: Some(ip("10.0.0.254")), mtu };
    let known = NextHop { source: Some(ip("10.0.0.254")), ..hop(M1) };
    world.route("10.0.0.1", Route::Unicast(path(Some(1400))));
    assert_eq!(world.says(), [(b1(), Ok(NextHop { mtu: 1400, ..known }))]);
    world.route("10.0.0.1", Route::Unicast(path(Some(9000))));
    assert_eq!(world.says(), [(b1(), Ok(known))]);
    world.route("10.0.0.1", Route::Unicast(path(None)));
    assert_eq!((world.says(), world.asks()), (vec![], vec![]), "the entry stayed the same all along");
}

#[test]
fn an_address_no_router_forwards_for_is_no_source() {
    for source in ["fe80::254", "::", "0.0.0.0"] {
        let mut world = World::resolved();
        let path = Path { ifindex: ETH0, gateway: None, source: Some(ip(source)), mtu: None };
        world.route("10.0.0.1", Route::Unicast(path));
        assert_eq!(world.says(), [], "still none");
    }
}
