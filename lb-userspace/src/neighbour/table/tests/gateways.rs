//! Addresses behind routers: the router's entry is the one that is kept and followed.

use super::*;

const ROUTER: &str = "10.0.0.7";

fn keep_of(address: &str) -> Request {
    Request::Keep { ifindex: ETH0, address: ip(address) }
}

fn release_of(address: &str) -> Request {
    Request::Release { ifindex: ETH0, address: ip(address) }
}

fn behind(gateway: &str, dst_mac: Mac) -> NextHop {
    NextHop { gateway: Some(ip(gateway)), ..hop(dst_mac) }
}

/// 10.9.0.1 watched, behind a resolved router.
fn routed() -> World {
    let mut world = World::new();
    world.watch(&["10.9.0.1"]);
    world.route("10.9.0.1", via(ETH0, ROUTER));
    assert_eq!(world.asks().last(), Some(&keep_of(ROUTER)));
    world.entry(ROUTER, REACHABLE);
    assert_eq!(world.says(), [(ip("10.9.0.1"), Ok(behind(ROUTER, M1)))]);
    world
}

fn now_at(mac: Mac) -> Neighbour {
    Neighbour::Resolved { mac, probing: false, permanent: false }
}

#[test]
fn an_address_behind_a_router_is_told_with_the_routers_mac_address() {
    let mut world = routed();
    world.entry("10.9.0.1", now_at(M2));
    assert_eq!(world.says(), [], "an entry of its own means nothing");
}

#[test]
fn a_router_of_the_other_family_is_resolved_in_its_own() {
    let mut world = World::new();
    world.watch(&["10.9.0.1"]);
    world.asks();
    world.route("10.9.0.1", via(ETH0, "fe80::7"));
    assert_eq!(world.asks(), [keep_of("fe80::7")]);
    world.entry("fe80::7", Neighbour::Failed);
    assert_eq!(
        world.reason(),
        "fe80::7, the gateway to 10.9.0.1, does not answer neighbour discovery on eth0"
    );
    world.entry("fe80::7", REACHABLE);
    assert_eq!(world.says(), [(ip("10.9.0.1"), Ok(behind("fe80::7", M1)))]);
}

#[test]
fn a_routers_new_mac_address_reaches_everyone_behind_it() {
    let mut world = routed();
    world.watch(&["10.9.0.1", "10.9.0.2", ROUTER]);
    world.route("10.9.0.2", via(ETH0, ROUTER));
    world.route(ROUTER, on(ETH0));
    assert_eq!(world.says(), [(ip(ROUTER), Ok(hop(M1))), (ip("10.9.0.2"), Ok(behind(ROUTER, M1)))]);
    world.entry(ROUTER, now_at(M2));
    assert_eq!(
        world.says(),
        [
            (ip(ROUTER), Ok(hop(M2))),
            (ip("10.9.0.1"), Ok(behind(ROUTER, M2))),
            (ip("10.9.0.2"), Ok(behind(ROUTER, M2))),
        ]
    );
}

#[test]
fn a_route_to_another_router_holds_the_old_way_until_the_new_one_is_resolved() {
    let mut world = routed();
    world.route("10.9.0.1", via(ETH0, "10.0.0.8"));
    assert_eq!(world.asks(), [release_of(ROUTER), keep_of("10.0.0.8")]);
    world.entry(ROUTER, now_at(M2));
    assert_eq!(world.says(), [], "the old router no longer counts, the new one is not known yet");
    world.entry("10.0.0.8", REACHABLE);
    assert_eq!(world.says(), [(ip("10.9.0.1"), Ok(behind("10.0.0.8", M1)))]);
    world.route("10.9.0.1", on(ETH0));
    assert_eq!(world.asks(), [release_of("10.0.0.8"), keep_of("10.9.0.1")]);
}

#[test]
fn an_entry_that_others_still_need_is_not_let_go() {
    let mut world = routed();
    world.watch(&["10.9.0.1", "10.9.0.2", ROUTER]);
    world.route("10.9.0.2", via(ETH0, ROUTER));
    world.route(ROUTER, on(ETH0));
    world.asks();
    world.watch(&["10.9.0.1", "10.9.0.2"]);
    world.route("10.9.0.1", Route::None(NoRoute::NoMatch));
    assert_eq!(world.asks(), []);
    world.watch(&[]);
    assert_eq!(world.asks(), [release_of(ROUTER)]);
}

#[test]
fn a_silent_router_is_asked_once_for_all_behind_it() {
    let mut world = routed();
    world.watch(&["10.9.0.1", "10.9.0.2"]);
    world.route("10.9.0.2", via(ETH0, ROUTER));
    world.says();
    world.entry(ROUTER, PROBE);
    world.entry(ROUTER, Neighbour::Failed);
    let said = world.says();
    assert_eq!(said.len(), 2);
    assert_eq!(said[1].1, Err("10.0.0.7, the gateway to 10.9.0.2, does not answer ARP on eth0".to_owned()));
    world.asks();
    world.pass(RETRY.0);
    assert_eq!(world.asks(), [keep_of(ROUTER)]);
    world.table.keep_refused(ETH0, ip(ROUTER), "its table is full", world.now);
    assert_eq!(
        world.says()[0].1,
        Err("the kernel refuses a neighbour entry for 10.0.0.7, the gateway to 10.9.0.1, on eth0: its table is full".to_owned())
    );
}

#[test]
fn a_flushed_entry_of_a_router_disturbs_nobody() {
    let mut world = routed();
    world.entry(ROUTER, Neighbour::Failed);
    world.table.neighbour_gone(ETH0, ip(ROUTER), world.now);
    assert_eq!((world.says(), world.asks()), (vec![], vec![keep_of(ROUTER)]));
}

#[test]
fn without_managed_entries_a_router_is_used_once_for_all_behind_it() {
    let mut world = World::on_kernel(false);
    world.watch(&["10.9.0.1", "10.9.0.2"]);
    for address in ["10.9.0.1", "10.9.0.2"] {
        world.route(address, via(ETH0, ROUTER));
    }
    world.entry(ROUTER, REACHABLE);
    world.asks();
    world.pass(REFRESH);
    assert_eq!(world.asks(), [keep_of(ROUTER)]);
}
