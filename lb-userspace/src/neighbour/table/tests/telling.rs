//! When something is told, and when nothing is.

use super::*;

#[test]
fn a_new_address_is_looked_up_then_kept_then_told() {
    let mut world = World::new();
    world.watch(&["10.0.0.1"]);
    assert_eq!(world.asks(), [lookup()]);
    world.route("10.0.0.1", on(ETH0));
    assert_eq!(world.asks(), [keep()]);
    assert_eq!(world.says(), []);
    world.neighbour(REACHABLE);
    assert_eq!(world.says(), [(b1(), Ok(hop(M1)))]);
    assert_eq!(world.asks(), []);
}

#[test]
fn what_did_not_change_is_not_told_again() {
    let mut world = World::resolved();
    world.neighbour(PROBE);
    world.neighbour(REACHABLE);
    world.watch(&["10.0.0.1"]);
    world.route("10.0.0.1", on(ETH0));
    world.set_link(link(ETH0));
    assert_eq!(world.says(), []);
}

#[test]
fn a_slow_reader_gets_only_the_newest_answer() {
    let mut world = World::resolved();
    world.neighbour(Neighbour::Resolved { mac: M2, probing: false, permanent: false });
    world.neighbour(PROBE);
    world.neighbour(Neighbour::Failed);
    world.neighbour(Neighbour::Resolved { mac: M2, probing: false, permanent: false });
    assert_eq!(world.says(), [(b1(), Ok(hop(M2)))]);
}

#[test]
fn nothing_is_concluded_before_the_first_dump_is_complete() {
    let mut table = Table::new(true, false);
    let now = Instant::now();
    table.watch(&[b1()].into());
    table.begin_dump();
    table.route(b1(), on(ETH0), now);
    assert_eq!(table.pop_event(), None);
    table.end_dump(now);
    let event = table.pop_event().expect("an answer");
    assert_eq!(
        event.next_hop.expect_err("no link"),
        "10.0.0.1 is reached through interface 2, which does not exist"
    );
}

#[test]
fn addresses_that_can_be_no_backend_are_refused_without_asking_the_kernel() {
    for (address, sentence) in [
        ("127.0.0.1", "127.0.0.1 is a loopback address"),
        ("::1", "::1 is a loopback address"),
        ("0.0.0.0", "0.0.0.0 is the unspecified address"),
        ("224.0.0.1", "224.0.0.1 is a multicast address"),
        ("ff02::1", "ff02::1 is a multicast address"),
        ("255.255.255.255", "255.255.255.255 is the broadcast address"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1 is an IPv4-mapped address; write it as IPv4"),
        ("fe80::1", "fe80::1 is link-local and names no interface; use a global or unique local address"),
    ] {
        let mut world = World::new();
        world.watch(&[address]);
        assert_eq!(world.reason(), sentence);
        world.table.routes_changed(world.now);
        world.pass(RECHECK);
        assert_eq!(world.asks(), []);
    }
}

#[test]
fn what_a_dump_does_not_confirm_is_gone() {
    let mut world = World::resolved();
    world.table.begin_dump();
    world.table.link(link(ETH0), world.now);
    world.table.end_dump(world.now);
    // The entry: asked for again, its MAC address held meanwhile. The route: looked up again.
    assert_eq!(world.says(), []);
    assert_eq!(world.asks(), [lookup(), keep()]);
    world.table.begin_dump();
    world.table.end_dump(world.now);
    assert_eq!(world.reason(), "10.0.0.1 is reached through interface 2, which does not exist");
}

#[test]
fn a_dump_that_confirms_everything_says_nothing() {
    let mut world = World::resolved();
    world.table.begin_dump();
    world.table.link(link(ETH0), world.now);
    world.table.link(link(ETH1), world.now);
    world.neighbour(REACHABLE);
    world.table.end_dump(world.now);
    assert_eq!(world.says(), []);
}

#[test]
fn timers_are_handled_a_bounded_number_at_once() {
    let mut world = World::new();
    let all: BTreeSet<IpAddr> =
        (0..1000u32).map(|n| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0001 + n))).collect();
    world.table.watch(&all);
    world.asks();
    for &address in &all {
        world.table.route(address, Route::None(NoRoute::NoMatch), world.now);
    }
    let later = world.now + RECHECK;
    world.table.tick(later);
    assert_eq!(world.asks().len(), TIMERS_AT_ONCE);
    assert!(world.table.next_due().is_some_and(|due| due <= later), "the rest is due at once");
}
