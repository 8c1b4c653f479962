//! VLANs: one interface, three networks on it, backends in two of them, and the client in each of the three.
//!
//! ```text
//!                       ┌── b1   in VLAN 1 (10.9.0.0/24, fd09::/64)
//!  client ── bridge ────┼── b2   in VLAN 7 (10.7.0.0/24, fd07::/64)
//!    e0, e0.5, e0.7     └── lb   e0 untagged, e0.5 and e0.7 tagged
//! ```
//!
//! What comes untagged gets a tag on its way to `b2`; what comes in VLAN 7 loses it on its way to `b1`; what comes in VLAN 5 loses it
//! or gets another.

use anyhow::{Context as _, Result};

use super::{
    NOTE,
    daemon::Daemon,
    http,
    net::{self, BALANCER, CLIENT, SWITCH},
    qinq,
};
use crate::netns;

/// Requests to each VIP and from each VLAN.
const REQUESTS: u32 = 30;

pub(super) fn tell() -> Result<()> {
    net::switch(true)?;
    for (name, number) in [(CLIENT, 1), (BALANCER, 10), ("b1", 21), ("b2", 22)] {
        netns::add(name)?;
        net::connect(name, number)?;
    }
    net::pass(BALANCER)?;
    for name in [CLIENT, BALANCER] {
        for id in ["5", "7"] {
            netns::inside(SWITCH, &["bridge", "vlan", "add", "dev", name, "vid", id])?;
        }
    }
    // The host knows nothing of its VLAN.
    netns::inside(SWITCH, &["bridge", "vlan", "add", "dev", "b2", "vid", "7", "pvid", "untagged"])?;
    netns::inside(SWITCH, &["bridge", "vlan", "del", "dev", "b2", "vid", "1"])?;
    for (name, host) in [(CLIENT, 1), (BALANCER, 10)] {
        net::address(name, "e0", 9, host)?;
        net::vlan(name, "e0", 5, host)?;
        net::vlan(name, "e0", 7, host)?;
    }
    net::address("b1", "e0", 9, 21)?;
    net::address("b2", "e0", 7, 22)?;
    // To the client's addresses in the other networks.
    for (name, own) in [("b1", 9), ("b2", 7)] {
        netns::ip(name, &format!("route add default via 10.{own}.0.1\nroute add default via fd0{own}::1\n"))?;
        net::hold_vips(name)?;
    }
    let _servers = [http::start("b1")?, http::start("b2")?];
    let daemon = Daemon::start(
        &["e0"],
        &[("b1", "address = \"10.9.0.21\"".to_owned()), ("b2", "address = \"10.7.0.22\"".to_owned())],
    )?;
    for (net, how) in [
        (9, "untagged: as it is to b1, tagged to b2"),
        (7, "VLAN 7: untagged to b1, as it is to b2"),
        (5, "VLAN 5: untagged to b1, retagged to b2"),
    ] {
        net::route_vips(net, 10)?;
        let answers = http::ask(REQUESTS, &["b1", "b2"]).with_context(|| format!("from network {net}"))?;
        println!("{NOTE}{how}: {answers:?}");
    }
    daemon.end()?;
    for name in [CLIENT, BALANCER, "b1", "b2", SWITCH] {
        netns::remove(name)?;
    }
    qinq::tell().context("with two tags")
}
