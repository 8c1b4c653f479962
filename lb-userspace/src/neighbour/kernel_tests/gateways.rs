//! Hosts behind routers, and interfaces that take no frames.

use std::process::Command;

use super::{super::netns::sysctl, *};

fn ifindex(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).expect("an interface")
}

/// What `ip neigh` says of an address.
fn entry(of: &str) -> String {
    let output = Command::new("ip").args(["-d", "neigh", "show", of]).output().expect("ip");
    String::from_utf8(output.stdout).expect("text")
}

/// A second segment, 10.1.0.0/24, with a router 10.1.0.1 of its own.
fn second() -> Peer {
    let peer = Peer::new("w0", "w1");
    ip("addr add 10.1.0.254/24 dev w0");
    peer.ip("addr add 10.1.0.1/24 dev w1");
    peer.ip("link set w1 address 02:00:00:00:01:01");
    peer
}

const SECOND: Mac = Mac([2, 0, 0, 0, 1, 1]);

#[test]
fn hosts_behind_routers_of_either_family_are_told_with_router_source_and_mtu() {
    in_namespace(async || {
        let _peer = peer();
        ip("route add 10.9.0.0/24 via 10.0.0.1");
        ip("route add 10.8.0.0/24 via inet6 fd00::1 dev v0 src 10.0.0.254");
        ip("-6 route add fd09::/64 via fd00::1 mtu lock 1400");
        for (host, gateway, source, mtu) in [
            ("10.9.0.1", "10.0.0.1", "10.0.0.254", 1500),
            ("10.8.0.1", "fd00::1", "10.0.0.254", 1500),
            ("fd09::1", "fd00::1", "fd00::254", 1400),
        ] {
            let mut watched = Watched::new(&[host]);
            // An IPv6 address is no source while it is checked for duplicates.
            let hop = watched
                .answer(host, |hop| hop.as_ref().is_ok_and(|hop| hop.source == Some(address(source))))
                .await
                .expect("resolved");
            assert_eq!((hop.dst_mac, hop.gateway, hop.mtu), (MAC, Some(address(gateway)), mtu), "{host}");
            assert_eq!(hop.ifindex, ifindex("v0"));
            watched.finish().await;
        }
    });
}

#[test]
fn a_router_that_changes_its_mac_address_or_falls_silent_is_followed() {
    in_namespace(async || {
        let peer = peer();
        peer.sysctl("net/ipv4/conf/v1/arp_notify", "1");
        for (name, value) in [("base_reachable_time_ms", "500"), ("delay_first_probe_time", "1")] {
            sysctl(&format!("net/ipv4/neigh/v0/{name}"), value);
        }
        ip("route add 10.9.0.0/24 via 10.0.0.1");
        let mut watched = Watched::new(&["10.9.0.1"]);
        assert_eq!(watched.next_hop("10.9.0.1").await.dst_mac, MAC);
        peer.ip("link set v1 address 02:00:00:00:00:02");
        assert_eq!(watched.next_hop("10.9.0.1").await.dst_mac, Mac([2, 0, 0, 0, 0, 2]));
        peer.sysctl("net/ipv4/conf/v1/arp_ignore", "8");
        assert_eq!(
            watched.reason("10.9.0.1").await,
            "10.0.0.1, the gateway to 10.9.0.1, does not answer ARP on v0"
        );
        peer.sysctl("net/ipv4/conf/v1/arp_ignore", "0");
        watched.through("10.9.0.1", "10.0.0.1").await;
        watched.finish().await;
    });
}

#[test]
fn a_route_that_moves_to_another_router_and_back_to_the_segment_is_followed() {
    in_namespace(async || {
        let (peer, _second) = (peer(), second());
        peer.ip("addr add 10.9.0.1/32 dev v1");
        ip("route add 10.9.0.0/24 via 10.0.0.1");
        let mut watched = Watched::new(&["10.9.0.1"]);
        assert_eq!(watched.through("10.9.0.1", "10.0.0.1").await.dst_mac, MAC);
        ip("route replace 10.9.0.0/24 via 10.1.0.1");
        let hop = watched.through("10.9.0.1", "10.1.0.1").await;
        assert_eq!(
            (hop.dst_mac, hop.ifindex, hop.source),
            (SECOND, ifindex("w0"), Some(address("10.1.0.254")))
        );
        ip("route replace 10.9.0.0/24 dev v0");
        let hop = watched.next_hop("10.9.0.1").await;
        assert_eq!((hop.dst_mac, hop.gateway), (MAC, None));
        watched.finish().await;
    });
}

#[test]
fn of_several_routers_the_one_counts_that_the_kernel_answers() {
    in_namespace(async || {
        let _peers = (peer(), second());
        ip("route add 10.9.0.0/24 nexthop via 10.0.0.1 nexthop via 10.1.0.1");
        let mut watched = Watched::new(&["10.9.0.1"]);
        let hop = watched.next_hop("10.9.0.1").await;
        let (gone, left, mac) =
            if hop.dst_mac == MAC { ("v0", "10.1.0.1", SECOND) } else { ("w0", "10.0.0.1", MAC) };
        ip(&format!("link set {gone} down"));
        assert_eq!(watched.through("10.9.0.1", left).await.dst_mac, mac);
        watched.finish().await;
    });
}

#[test]
fn a_routers_entry_is_kept_while_anyone_behind_it_is_watched() {
    in_namespace(async || {
        let peer = peer();
        peer.ip("addr add 10.0.0.2/24 dev v1");
        ip("route add 10.9.0.0/24 via 10.0.0.1");
        let mut watched = Watched::new(&["10.9.0.1"]);
        watched.next_hop("10.9.0.1").await;
        assert!(entry("10.0.0.1").contains("managed"), "{}", entry("10.0.0.1"));
        watched.addresses.send_replace(["10.9.0.2"].map(address).into());
        watched.next_hop("10.9.0.2").await;
        assert!(entry("10.0.0.1").contains("managed"), "{}", entry("10.0.0.1"));
        // Requests are in order: once the other address is resolved, the entry has been let go.
        watched.addresses.send_replace(["10.0.0.2"].map(address).into());
        watched.next_hop("10.0.0.2").await;
        assert!(!entry("10.0.0.1").contains("managed"), "{}", entry("10.0.0.1"));
        watched.finish().await;
    });
}

#[test]
fn a_bridge_takes_frames_of_a_program_in_generic_mode_only() {
    in_namespace(async || {
        let _peer = peer();
        ip("addr flush dev v0");
        ip("link add br0 type bridge");
        ip("link set br0 up");
        ip("link set v0 master br0");
        ip("addr add 10.0.0.254/24 dev br0");
        let mut native = Watched::new(&["10.0.0.1"]);
        let refused =
            native.answer("10.0.0.1", |hop| hop.as_ref().is_err_and(|why| !why.contains("down"))).await;
        let why = refused.expect_err("refused");
        assert!(why.starts_with("10.0.0.1 is reached through br0, which is of kind bridge"), "{why}");
        native.finish().await;
        let mut generic = Watched::in_mode(XdpMode::Generic, &["10.0.0.1"]);
        let hop = generic.answer("10.0.0.1", Result::is_ok).await.expect("resolved");
        assert_eq!((hop.dst_mac, hop.ifindex), (MAC, ifindex("br0")));
        generic.finish().await;
    });
}
