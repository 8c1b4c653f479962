//! Links: up, down, VLANs, bonds, and those that take no frames.

use super::*;

#[test]
fn a_link_that_goes_down_is_told_at_once_and_its_entries_made_again_when_it_is_up() {
    let mut world = World::resolved();
    world.set_link(LinkInfo { up: false, ..link(ETH0) });
    world.table.neighbour_gone(ETH0, b1(), world.now);
    assert_eq!(world.reason(), "10.0.0.1 is reached through eth0, which is down");
    world.pass(GRACE_HELD);
    assert!(!world.asks().contains(&keep()), "a dead link is not asked");
    world.set_link(link(ETH0));
    assert_eq!(world.asks(), [keep()]);
    // The old MAC address was forgotten, so the last answer stands until there is a new one.
    assert_eq!(world.says(), []);
    world.neighbour(Neighbour::Resolved { mac: M2, probing: false, permanent: false });
    assert_eq!(world.says(), [(b1(), Ok(hop(M2)))]);
}

#[test]
fn a_short_link_flap_keeps_the_mac_address() {
    let mut world = World::resolved();
    world.set_link(LinkInfo { up: false, ..link(ETH0) });
    world.table.neighbour_gone(ETH0, b1(), world.now);
    world.says();
    world.pass(Duration::from_secs(1));
    world.set_link(link(ETH0));
    assert_eq!(world.says(), [(b1(), Ok(hop(M1)))]);
}

#[test]
fn our_own_mac_address_and_mtu_are_part_of_the_answer() {
    let mut world = World::resolved();
    world.set_link(LinkInfo { mtu: 9000, mac: Some(M2), ..link(ETH0) });
    assert_eq!(world.says(), [(b1(), Ok(NextHop { mtu: 9000, src_mac: M2, ..hop(M1) }))]);
}

#[test]
fn a_vlan_device_gives_its_tag_and_the_interface_below() {
    let mut world = World::new();
    let vlan = Vlan { lower: Some(ETH0), id: 7, service_tag: false };
    let device = LinkInfo { name: "eth0.7".to_owned(), kind: Kind::Vlan(vlan), mtu: 1400, ..link(9) };
    world.set_link(device.clone());
    world.watch(&["10.0.0.1"]);
    world.route("10.0.0.1", on(9));
    world.table.neighbour(9, b1(), REACHABLE, world.now);
    let tagged = NextHop { vlan: 7, mtu: 1400, ..hop(M1) };
    assert_eq!(world.says(), [(b1(), Ok(tagged))]);
    world.set_link(LinkInfo { up: false, ..link(ETH0) });
    assert_eq!(world.reason(), "10.0.0.1 is reached through eth0.7, whose lower interface eth0 is down");
    world.set_link(link(ETH0));
    assert_eq!(world.says(), [(b1(), Ok(tagged))]);
    world.set_link(LinkInfo { kind: Kind::Vlan(Vlan { service_tag: true, ..vlan }), ..device.clone() });
    assert!(world.reason().contains("802.1ad"));
    world.set_link(LinkInfo { kind: Kind::Vlan(Vlan { lower: None, ..vlan }), ..device.clone() });
    assert!(world.reason().contains("another network namespace"));
    world.set_link(LinkInfo { kind: Kind::Vlan(vlan), ..link(ETH0) });
    world.set_link(device);
    assert!(world.reason().contains("a VLAN inside a VLAN"));
}

#[test]
fn an_interface_that_is_not_ethernet_is_refused() {
    let mut world = World::resolved();
    world.set_link(LinkInfo { mac: None, ..link(ETH0) });
    assert_eq!(world.reason(), "10.0.0.1 is reached through eth0, which is not Ethernet");
}

/// 10.0.0.1 resolved over VLAN 7 of an interface of this kind, which is number 2.
fn over(kind: Kind) -> World {
    let mut world = World::new();
    let vlan = Vlan { lower: Some(ETH0), id: 7, service_tag: false };
    world.set_link(LinkInfo { name: "bond0".to_owned(), kind, ..link(ETH0) });
    world.set_link(LinkInfo { name: "vlan7".to_owned(), kind: Kind::Vlan(vlan), ..link(9) });
    world.watch(&["10.0.0.1"]);
    world.route("10.0.0.1", on(9));
    world.table.neighbour(9, b1(), REACHABLE, world.now);
    world
}

#[test]
fn frames_leave_by_the_bond_itself_also_from_a_vlan_of_it() {
    let mut world = over(Kind::Bond { unable: None });
    assert_eq!(world.says(), [(b1(), Ok(NextHop { vlan: 7, ..hop(M1) }))]);
    world.route("10.0.0.1", on(ETH0));
    world.neighbour(REACHABLE);
    assert_eq!(world.says(), [(b1(), Ok(hop(M1)))]);
}

#[test]
fn a_bond_that_cannot_choose_a_member_for_our_frames_is_refused_until_it_can() {
    let unable = Kind::Bond { unable: Some("mode balance-alb".to_owned()) };
    let mut world = over(unable.clone());
    let reason = world.reason();
    assert!(
        reason.starts_with(
            "10.0.0.1 is reached through vlan7, whose lower interface bond0 is a bond with mode balance-alb, which takes no frames"
        ),
        "{reason}"
    );
    world.set_link(LinkInfo { name: "bond0".to_owned(), kind: Kind::Bond { unable: None }, ..link(ETH0) });
    assert_eq!(world.says(), [(b1(), Ok(NextHop { vlan: 7, ..hop(M1) }))]);
}

#[test]
fn an_interface_that_takes_no_frames_is_refused_unless_the_stack_sends_them() {
    for (generic, taken) in [(false, false), (true, true)] {
        let mut world = World::resolved();
        world.table.generic = generic;
        world.set_link(LinkInfo {
            name: "br0".to_owned(),
            kind: Kind::Other("bridge".to_owned()),
            ..link(ETH0)
        });
        if taken {
            assert_eq!(world.says(), [], "nothing changed");
        } else {
            let reason = world.reason();
            assert!(
                reason
                    .starts_with("10.0.0.1 is reached through br0, which is of kind bridge, which takes no"),
                "{reason}"
            );
        }
    }
}
