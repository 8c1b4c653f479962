//! The watcher against the real kernel, in namespaces.

mod gateways;

use std::{collections::BTreeSet, io::Write, net::IpAddr, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time,
};
use tokio_util::sync::CancellationToken;

use super::{
    NeighbourEvent, Watcher,
    netns::{Peer, in_namespace, ip},
};
use crate::model::{Mac, NextHop, XdpMode};

/// Generous: a loaded machine, duplicate address detection, three probes a second apart and a pause of 8 s.
const PATIENCE: Duration = Duration::from_secs(30);

struct Watched {
    addresses: watch::Sender<BTreeSet<IpAddr>>,
    events: mpsc::Receiver<NeighbourEvent>,
    stop: CancellationToken,
    watcher: Watcher,
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

impl Watched {
    fn new(addresses: &[&str]) -> Self {
        Self::in_mode(XdpMode::Native, addresses)
    }

    fn in_mode(mode: XdpMode, addresses: &[&str]) -> Self {
        let (addresses, receiver) = watch::channel(addresses.iter().map(|text| address(text)).collect());
        let (sender, events) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let watcher = Watcher::spawn(receiver, sender, mode, stop.clone()).expect("netlink");
        Self { addresses, events, stop, watcher }
    }

    async fn event(&mut self) -> NeighbourEvent {
        time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a watcher")
    }

    async fn next_hop(&mut self, of: &str) -> NextHop {
        let event = self.event().await;
        assert_eq!(event.address, address(of));
        event.next_hop.unwrap_or_else(|why| panic!("{of} should be resolved: {why}"))
    }

    async fn reason(&mut self, of: &str) -> String {
        let event = self.event().await;
        assert_eq!(event.address, address(of));
        event.next_hop.expect_err("no next hop")
    }

    /// Waits until the answer for an address satisfies `wanted`; in-between answers are allowed.
    async fn until(&mut self, of: &str, wanted: impl Fn(&Result<NextHop, String>) -> bool) {
        drop(self.answer(of, wanted).await);
    }

    /// The first answer for an address that satisfies `wanted`.
    async fn answer(
        &mut self,
        of: &str,
        wanted: impl Fn(&Result<NextHop, String>) -> bool,
    ) -> Result<NextHop, String> {
        let all = async {
            loop {
                let event = self.events.recv().await.expect("a watcher");
                if event.address == address(of) && wanted(&event.next_hop) {
                    return event.next_hop;
                }
            }
        };
        time::timeout(PATIENCE, all).await.expect("the wanted answer in time")
    }

    /// Waits until the way to an address leads through this gateway.
    async fn through(&mut self, of: &str, gateway: &str) -> NextHop {
        let gateway = address(gateway);
        let hop = self.answer(of, |hop| hop.as_ref().is_ok_and(|hop| hop.gateway == Some(gateway))).await;
        hop.expect("resolved")
    }

    async fn finish(self) {
        self.stop.cancel();
        self.watcher.join().await;
    }
}

fn peer() -> Peer {
    let peer = Peer::new("v0", "v1");
    ip("addr add 10.0.0.254/24 dev v0");
    ip("addr add fd00::254/64 dev v0");
    peer.ip("addr add 10.0.0.1/24 dev v1");
    peer.ip("addr add fd00::1/64 dev v1");
    peer.ip("link set v1 address 02:00:00:00:00:01");
    peer
}

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

#[test]
fn both_families_are_resolved_with_everything_forwarding_needs() {
    in_namespace(async || {
        let _peer = peer();
        ip("link set v0 address 02:00:00:00:00:fe mtu 1400");
        let mut watched = Watched::new(&["10.0.0.1", "fd00::1"]);
        let mut found = BTreeSet::new();
        for _ in 0..2 {
            let event = watched.event().await;
            let hop = event.next_hop.expect("resolved");
            assert_eq!(hop.dst_mac, MAC);
            assert_eq!(hop.src_mac, Mac([2, 0, 0, 0, 0, 0xfe]));
            assert_eq!(hop.ifindex, nix::net::if_::if_nametoindex("v0").expect("v0"));
            assert_eq!((hop.vlan, hop.mtu), (0, 1400));
            found.insert(event.address);
        }
        assert_eq!(found, ["10.0.0.1", "fd00::1"].map(address).into());
        watched.finish().await;
    });
}

#[test]
fn a_new_mac_address_is_followed() {
    in_namespace(async || {
        let peer = peer();
        peer.sysctl("net/ipv4/conf/v1/arp_notify", "1");
        let mut watched = Watched::new(&["10.0.0.1"]);
        assert_eq!(watched.next_hop("10.0.0.1").await.dst_mac, MAC);
        peer.ip("link set v1 address 02:00:00:00:00:02");
        assert_eq!(watched.next_hop("10.0.0.1").await.dst_mac, Mac([2, 0, 0, 0, 0, 2]));
        watched.finish().await;
    });
}

#[test]
fn our_own_new_mac_address_and_mtu_are_followed() {
    in_namespace(async || {
        let _peer = peer();
        let mut watched = Watched::new(&["10.0.0.1"]);
        watched.next_hop("10.0.0.1").await;
        ip("link set v0 mtu 1300");
        watched.until("10.0.0.1", |hop| hop.as_ref().is_ok_and(|hop| hop.mtu == 1300)).await;
        ip("link set v0 address 02:00:00:00:00:aa");
        watched
            .until("10.0.0.1", |hop| hop.as_ref().is_ok_and(|hop| hop.src_mac == Mac([2, 0, 0, 0, 0, 0xaa])))
            .await;
        watched.finish().await;
    });
}

#[test]
fn a_lost_carrier_is_reported_and_the_entry_made_again() {
    in_namespace(async || {
        let peer = peer();
        let mut watched = Watched::new(&["10.0.0.1"]);
        watched.next_hop("10.0.0.1").await;
        peer.ip("link set v1 down");
        assert_eq!(watched.reason("10.0.0.1").await, "10.0.0.1 is reached through v0, which is down");
        peer.ip("link set v1 up");
        watched.until("10.0.0.1", |hop| hop.as_ref().is_ok_and(|hop| hop.dst_mac == MAC)).await;
        watched.finish().await;
    });
}

#[test]
fn a_silent_host_is_reported_and_found_when_it_answers() {
    in_namespace(async || {
        let peer = peer();
        peer.sysctl("net/ipv4/conf/v1/arp_ignore", "8");
        let mut watched = Watched::new(&["10.0.0.1"]);
        assert_eq!(watched.reason("10.0.0.1").await, "10.0.0.1 does not answer ARP on v0");
        peer.sysctl("net/ipv4/conf/v1/arp_ignore", "0");
        assert_eq!(watched.next_hop("10.0.0.1").await.dst_mac, MAC);
        watched.finish().await;
    });
}

#[test]
fn a_host_that_dies_is_unresolved_after_its_probes() {
    in_namespace(async || {
        let peer = peer();
        for (name, value) in [("base_reachable_time_ms", "500"), ("delay_first_probe_time", "1")] {
            super::netns::sysctl(&format!("net/ipv4/neigh/v0/{name}"), value);
        }
        let mut watched = Watched::new(&["10.0.0.1"]);
        watched.next_hop("10.0.0.1").await;
        peer.sysctl("net/ipv4/conf/v1/arp_ignore", "8");
        assert_eq!(watched.reason("10.0.0.1").await, "10.0.0.1 does not answer ARP on v0");
        peer.sysctl("net/ipv4/conf/v1/arp_ignore", "0");
        assert_eq!(watched.next_hop("10.0.0.1").await.dst_mac, MAC);
        watched.finish().await;
    });
}

#[test]
fn a_flushed_entry_is_made_again_without_a_word() {
    in_namespace(async || {
        let peer = peer();
        peer.ip("addr add 10.0.0.2/24 dev v1");
        let mut watched = Watched::new(&["10.0.0.1"]);
        watched.next_hop("10.0.0.1").await;
        ip("neigh flush dev v0");
        // Were the flush reported, its event would come before that of the second address.
        watched.addresses.send_replace(["10.0.0.1", "10.0.0.2"].map(address).into());
        assert_eq!(watched.next_hop("10.0.0.2").await.dst_mac, MAC);
        watched.finish().await;
    });
}

#[test]
fn a_host_without_a_route_is_found_when_the_route_comes() {
    in_namespace(async || {
        let peer = peer();
        peer.ip("addr add 10.7.0.1/24 dev v1");
        let mut watched = Watched::new(&["10.7.0.1"]);
        assert_eq!(watched.reason("10.7.0.1").await, "no route to 10.7.0.1");
        ip("route add 10.7.0.0/24 dev v0");
        assert_eq!(watched.next_hop("10.7.0.1").await.dst_mac, MAC);
        ip("route del 10.7.0.0/24 dev v0");
        assert_eq!(watched.reason("10.7.0.1").await, "no route to 10.7.0.1");
        ip("route add unreachable 10.7.0.0/24");
        assert_eq!(
            watched.reason("10.7.0.1").await,
            "no route to 10.7.0.1: a route of type unreachable covers it"
        );
        watched.finish().await;
    });
}

#[test]
fn addresses_that_are_no_other_host_are_refused() {
    in_namespace(async || {
        let _peer = peer();
        let mut watched = Watched::new(&["10.0.0.254"]);
        assert_eq!(
            watched.reason("10.0.0.254").await,
            "10.0.0.254 is an address of this host; a backend is another host"
        );
        watched.addresses.send_replace([address("10.0.0.255")].into());
        assert_eq!(
            watched.reason("10.0.0.255").await,
            "10.0.0.255 is a broadcast address, which no single host answers"
        );
        watched.addresses.send_replace([address("fd07::1")].into());
        assert_eq!(watched.reason("fd07::1").await, "no route to fd07::1");
        watched.finish().await;
    });
}

#[test]
fn ten_thousand_addresses_are_resolved() {
    in_namespace(async || {
        let peer = peer();
        ip("addr add 10.1.255.254/16 dev v0");
        peer.ip("route add local 10.1.0.0/17 dev lo");
        peer.ip("route add 10.1.255.254 dev v1");
        let all: BTreeSet<IpAddr> =
            (0..10_000u32).map(|n| IpAddr::from(std::net::Ipv4Addr::from(0x0a01_0100 + n))).collect();
        let mut watched = Watched::new(&[]);
        watched.addresses.send_replace(all.clone());
        let mut open = all;
        while !open.is_empty() {
            let event = watched.event().await;
            if event.next_hop.is_ok_and(|hop| hop.dst_mac == MAC) {
                open.remove(&event.address);
            }
        }
        watched.finish().await;
    });
}

const VIP_SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/cache-host/lbd-vip-setup");

#[test]
fn a_cache_host_set_up_by_our_script_holds_the_vips_and_answers_for_none() {
    in_namespace(async || {
        let vips = ["203.0.113.10", "2001:db8::10"];
        let peer = peer();
        ip("route add 203.0.113.10 dev v0");
        ip("-6 route add 2001:db8::10 dev v0");
        let setup = |action: &[&str]| peer.output(VIP_SETUP, &[action, &vips].concat());

        let (code, missing) = setup(&["--check"]);
        assert_eq!((code, missing.lines().count()), (Some(1), 4), "{missing}");
        let (code, done) = setup(&[]);
        assert_eq!((code, done.lines().count()), (Some(0), 4), "{done}");
        assert_eq!(setup(&[]), (Some(0), String::new()), "the second time there is nothing to do");
        assert_eq!(setup(&["--check"]), (Some(0), String::new()));

        // The host itself answers, its VIPs do not.
        let mut watched = Watched::new(&["10.0.0.1"]);
        watched.next_hop("10.0.0.1").await;
        watched.addresses.send_replace([address(vips[0])].into());
        assert_eq!(watched.reason(vips[0]).await, "203.0.113.10 does not answer ARP on v0");
        watched.addresses.send_replace([address(vips[1])].into());
        assert_eq!(watched.reason(vips[1]).await, "2001:db8::10 does not answer neighbour discovery on v0");

        // What the script prevents: with the kernel's defaults the host draws the VIP's traffic.
        peer.sysctl("net/ipv4/conf/all/arp_ignore", "0");
        watched.addresses.send_replace([address(vips[0])].into());
        watched.until(vips[0], |hop| hop.as_ref().is_ok_and(|hop| hop.dst_mac == MAC)).await;

        let (code, removed) = setup(&["--remove"]);
        assert_eq!((code, removed.lines().count()), (Some(0), 2), "{removed}");
        assert_eq!(peer.output(VIP_SETUP, &["203.0.113.0/24"]).0, Some(2));
        watched.finish().await;
    });
}

/// Notifications the kernel dropped on this namespace's netlink sockets.
fn dropped_notifications() -> u64 {
    let table =
        std::fs::read_to_string("/proc/thread-self/net/netlink").expect("the list of netlink sockets");
    table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(8)?.parse::<u64>().ok()).sum()
}

#[test]
fn what_was_missed_in_a_flood_of_notifications_is_made_up_for() {
    in_namespace(async || {
        let _peer = peer();
        let mut watched = Watched::new(&["10.0.0.1"]);
        watched.next_hop("10.0.0.1").await;
        // All of this happens without an await, so the watcher cannot read.
        let mut batch = tempfile::NamedTempFile::new().expect("a file");
        for n in 0..40_000u32 {
            let other = std::net::Ipv4Addr::from(0x0a02_0000 + n);
            writeln!(batch, "neigh replace {other} lladdr 02:00:00:00:01:01 nud permanent dev v0")
                .expect("a line");
        }
        ip(&format!("-batch {}", batch.path().display()));
        assert!(dropped_notifications() > 0, "the flood was too small to overflow the buffer");
        // The kernel says this once: who misses it never hears of it again.
        ip("link set v0 mtu 1300");
        watched.until("10.0.0.1", |hop| hop.as_ref().is_ok_and(|hop| hop.mtu == 1300)).await;
        // And it listens on.
        ip("link set v0 mtu 1200");
        watched.until("10.0.0.1", |hop| hop.as_ref().is_ok_and(|hop| hop.mtu == 1200)).await;
        watched.finish().await;
    });
}
