//! Neighbour entries: answered, silent, flushed, refused.

use super::*;

#[test]
fn an_address_is_given_time_to_answer_before_it_is_called_silent() {
    let mut world = World::new();
    world.watch(&["10.0.0.1", "fd00::1"]);
    world.route("10.0.0.1", on(ETH0));
    world.route("fd00::1", on(ETH1));
    world.neighbour(Neighbour::Pending);
    world.pass(just_before(GRACE));
    assert_eq!(world.says(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(
        world.says(),
        [
            (b1(), Err("10.0.0.1 does not answer ARP on eth0".to_owned())),
            (ip("fd00::1"), Err("fd00::1 does not answer neighbour discovery on eth1".to_owned())),
        ]
    );
}

#[test]
fn the_kernels_failure_is_believed_at_once() {
    let mut world = World::new();
    world.watch(&["10.0.0.1"]);
    world.route("10.0.0.1", on(ETH0));
    world.neighbour(Neighbour::Failed);
    assert_eq!(world.reason(), "10.0.0.1 does not answer ARP on eth0");
}

#[test]
fn a_failure_from_before_we_asked_is_no_answer() {
    let mut world = World::new();
    world.neighbour(Neighbour::Failed);
    world.watch(&["10.0.0.1"]);
    world.route("10.0.0.1", on(ETH0));
    assert_eq!(world.says(), []);
    assert_eq!(world.asks(), [lookup(), keep()]);
    world.neighbour(Neighbour::Failed);
    assert_eq!(world.reason(), "10.0.0.1 does not answer ARP on eth0");
}

#[test]
fn an_entry_that_is_already_there_is_told_at_once() {
    let mut world = World::new();
    world.neighbour(REACHABLE);
    world.watch(&["10.0.0.1"]);
    world.route("10.0.0.1", on(ETH0));
    assert_eq!(world.says(), [(b1(), Ok(hop(M1)))]);
}

#[test]
fn a_silent_address_is_asked_again_at_growing_intervals_and_recovers() {
    let mut world = World::new();
    world.watch(&["10.0.0.1"]);
    world.route("10.0.0.1", on(ETH0));
    world.neighbour(Neighbour::Failed);
    world.says();
    world.asks();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let start = world.now;
        while world.asks() != [keep()] {
            world.pass(Duration::from_millis(500));
        }
        pauses.push((world.now - start).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 8, 8]);
    assert_eq!(RETRY.1.as_secs(), 8);
    assert_eq!(world.says(), []);
    // Asking again makes the entry INCOMPLETE, which is no news.
    world.neighbour(Neighbour::Pending);
    assert_eq!(world.says(), []);
    world.neighbour(REACHABLE);
    assert_eq!(world.says(), [(b1(), Ok(hop(M1)))]);
}

#[test]
fn a_resolved_neighbour_fails_only_after_its_probes() {
    let mut world = World::resolved();
    world.neighbour(PROBE);
    assert_eq!(world.says(), []);
    world.neighbour(Neighbour::Failed);
    assert_eq!(world.reason(), "10.0.0.1 does not answer ARP on eth0");
}

#[test]
fn a_flushed_entry_keeps_its_mac_address_while_it_is_asked_for_again() {
    let mut world = World::resolved();
    world.neighbour(Neighbour::Failed);
    world.table.neighbour_gone(ETH0, b1(), world.now);
    assert_eq!(world.says(), []);
    assert_eq!(world.asks(), [keep()]);
    world.pass(just_before(GRACE_HELD));
    assert_eq!(world.says(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.reason(), "10.0.0.1 does not answer ARP on eth0");
}

#[test]
fn an_address_no_longer_watched_is_let_go() {
    let mut world = World::resolved();
    world.watch(&[]);
    assert_eq!(world.asks(), [Request::Release { ifindex: ETH0, address: b1() }]);
    world.neighbour(Neighbour::Failed);
    world.pass(RECHECK);
    assert_eq!((world.says(), world.asks()), (vec![], vec![]));
    world.watch(&["10.0.0.1"]);
    assert_eq!(world.asks(), [lookup()]);
    world.neighbour(REACHABLE);
    world.route("10.0.0.1", on(ETH0));
    assert_eq!(world.says(), [(b1(), Ok(hop(M1)))], "watched anew, told anew");
}

#[test]
fn the_administrators_permanent_entry_is_left_alone() {
    let mut world = World::new();
    world.neighbour(Neighbour::Resolved { mac: M1, probing: false, permanent: true });
    world.watch(&["10.0.0.1"]);
    world.asks();
    world.route("10.0.0.1", on(ETH0));
    assert_eq!(world.says(), [(b1(), Ok(hop(M1)))]);
    world.watch(&[]);
    assert_eq!(world.asks(), []);
}

#[test]
fn an_entry_the_kernel_refuses_is_told_with_its_reason_and_tried_again() {
    let mut world = World::new();
    world.watch(&["10.0.0.1"]);
    world.route("10.0.0.1", on(ETH0));
    world.asks();
    world.table.keep_refused(ETH0, b1(), "its table is full", world.now);
    assert_eq!(
        world.reason(),
        "the kernel refuses a neighbour entry for 10.0.0.1 on eth0: its table is full"
    );
    world.pass(RETRY.0);
    assert_eq!(world.asks(), [keep()]);
}

#[test]
fn without_managed_entries_each_is_used_from_time_to_time() {
    let mut world = World::on_kernel(false);
    world.watch(&["10.0.0.1"]);
    world.route("10.0.0.1", on(ETH0));
    world.neighbour(REACHABLE);
    world.asks();
    world.pass(REFRESH);
    assert_eq!(world.asks(), [keep()]);
    world.pass(REFRESH);
    assert_eq!(world.asks(), [keep()]);
}

#[test]
fn a_kernel_that_refuses_managed_entries_is_served_without_them() {
    let mut world = World::resolved();
    world.table.do_without_managed(world.now);
    assert!(!world.table.managed());
    assert_eq!(world.asks(), [keep()]);
    world.pass(REFRESH);
    assert_eq!(world.asks(), [keep()]);
}
