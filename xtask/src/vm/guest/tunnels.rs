//! Tunnels: backends beyond a router, whose kernels' own devices take the packets out again, as `deploy/backend/lbd-tunnel-setup`
//! sets them up.
//!
//! ```text
//!  client ── bridge ──┬── lb
//!   10.9.0.0/24       └── router ── bridge ── t4, t6, g4, g6
//!   fd09::/64                       10.3.0.0/24, fd03::/64
//! ```
//!
//! Each host has one address, and serves both VIPs by it: so a packet of either family goes into one of either.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{
    BIN, NOTE,
    daemon::Daemon,
    http,
    net::{self, BALANCER, CLIENT, SWITCH},
    run_test,
};
use crate::netns;

/// Requests to each VIP; enough for each of the hosts.
const REQUESTS: u32 = 60;
const ROUTER: &str = "router";

/// A host beyond the router.
struct Host {
    name: &'static str,
    number: u8,
    address: &'static str,
    method: &'static str,
}

const HOSTS: [Host; 4] = [
    Host { name: "t4", number: 31, address: "10.3.0.31", method: "ipip" },
    Host { name: "t6", number: 32, address: "fd03::32", method: "ipip" },
    Host { name: "g4", number: 33, address: "10.3.0.33", method: "gue" },
    Host { name: "g6", number: 34, address: "fd03::34", method: "gue" },
];

pub(super) fn tell() -> Result<()> {
    net::switch(false)?;
    for (name, number) in [(CLIENT, 1), (BALANCER, 10), (ROUTER, 2)] {
        netns::add(name)?;
        net::connect(name, number)?;
        net::address(name, "e0", 9, number)?;
    }
    net::pass(BALANCER)?;
    net::route_vips(9, 10)?;
    netns::ip(BALANCER, "route add 10.3.0.0/24 via 10.9.0.2\nroute add fd03::/64 via fd09::2\n")?;
    netns::ip(SWITCH, "link add br1 type bridge forward_delay 0 mcast_snooping 0\nlink set br1 up\n")?;
    beyond(ROUTER, "e1", "far", 3)?;
    net::address(ROUTER, "e1", 3, 2)?;
    netns::sysctl(ROUTER, &[("ipv4/ip_forward", 1)])?;
    netns::sysctl(ROUTER, &[("ipv6/conf/all/forwarding", 1)])?;
    let mut servers = Vec::new();
    for host in &HOSTS {
        set_up(host).with_context(|| host.name.to_owned())?;
        servers.push(http::start(host.name)?);
    }
    let backends: Vec<(&str, String)> = HOSTS
        .iter()
        .map(|host| (host.name, format!("address = \"{}\", method = \"{}\"", host.address, host.method)))
        .collect();
    let daemon = Daemon::start(&["e0"], &backends)?;
    let answers = http::ask(REQUESTS, &HOSTS.map(|host| host.name))?;
    println!("{NOTE}kernel devices: {answers:?}");
    daemon.end()?;
    // The decapsulator for kernels without such devices, on this one; and the script from all its sides.
    run_test("decap")
}

fn set_up(host: &Host) -> Result<()> {
    netns::add(host.name)?;
    beyond(host.name, "e0", host.name, host.number)?;
    net::address(host.name, "e0", 3, host.number)?;
    netns::ip(host.name, "route add default via 10.3.0.2\nroute add default via fd03::2\n")?;
    net::hold_vips(host.name)?;
    let script = Path::new(BIN).join("lbd-tunnel-setup");
    let script = script.to_string_lossy();
    let done = netns::inside(host.name, &["sh", &script, host.method, "--address", host.address])?;
    print!("{}: {done}", host.name);
    // It has to find right what it has made itself.
    let check = ["sh", &script, "check", host.method, "--address", host.address];
    netns::inside(host.name, &check).map(drop)
}

/// A cable to the network beyond the router.
fn beyond(namespace: &str, interface: &str, port: &str, number: u8) -> Result<()> {
    net::cable(namespace, interface, port, number)?;
    netns::ip(SWITCH, &format!("link set {port} master br1\n"))
}
