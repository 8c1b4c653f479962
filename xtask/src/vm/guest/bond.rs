//! Bonds: the program in the driver of two members, through the bond above them, while one member after the other goes away.
//!
//! ```text
//!  client ── bridge ── (bond0) ══ p0, p1 ══ e0, e1 ── bond0 (lb)
//!               └── b1, b2
//! ```

use anyhow::{Context as _, Result, bail};

use super::{
    NOTE,
    daemon::Daemon,
    http,
    net::{self, BALANCER, CLIENT, SWITCH},
};
use crate::netns;

/// Requests to each VIP while nothing happens.
const REQUESTS: u32 = 20;
/// And while members go down and up.
const UNDER_CHANGE: u32 = 300;
const MODES: [&str; 3] = ["active-backup", "balance-xor", "802.3ad"];
const MEMBERS: [(&str, &str); 2] = [("e0", "p0"), ("e1", "p1")];

pub(super) fn tell() -> Result<()> {
    net::switch(false)?;
    for (name, number) in [(CLIENT, 1), ("b1", 21), ("b2", 22)] {
        netns::add(name)?;
        net::connect(name, number)?;
        net::address(name, "e0", 9, number)?;
    }
    for name in ["b1", "b2"] {
        net::hold_vips(name)?;
    }
    net::route_vips(9, 10)?;
    let _servers = [http::start("b1")?, http::start("b2")?];
    for mode in MODES {
        on_the_bond(mode).with_context(|| mode.to_owned())?;
    }
    Ok(())
}

/// The program is attached to the bond, which gives it to its members.
fn on_the_bond(mode: &str) -> Result<()> {
    bonded(mode)?;
    let daemon = Daemon::start(
        &["bond0"],
        &[("b1", "address = \"10.9.0.21\"".to_owned()), ("b2", "address = \"10.9.0.22\"".to_owned())],
    )?;
    let members = netns::inside(BALANCER, &["ip", "-o", "link", "show", "type", "bond"])?;
    if !members.contains(" xdp") || members.contains("xdpgeneric") {
        bail!("the program is not in the bond's driver: {members}");
    }
    let answers = http::ask(REQUESTS, &["b1", "b2"])?;
    let mut asking = http::begin_asking(UNDER_CHANGE)?;
    let mut changes = 0;
    for (_, port) in MEMBERS.iter().cycle() {
        if !asking.is_under_way()? {
            break;
        }
        for state in ["down", "up"] {
            netns::ip(SWITCH, &format!("link set {port} {state}\n"))?;
            std::thread::sleep(std::time::Duration::from_millis(1500));
            changes += 1;
        }
    }
    let under_change = asking.finish()?;
    println!("{NOTE}{mode}: {answers:?}, and {under_change:?} while members went {changes} times");
    daemon.end()?;
    // The ends of the cables go with their peers.
    for (_, port) in MEMBERS {
        netns::ip(SWITCH, &format!("link del {port}\n"))?;
    }
    if mode != "active-backup" {
        netns::ip(SWITCH, "link del bond0\n")?;
    }
    netns::remove(BALANCER)
}

/// The balancer, connected by two cables that are one.
fn bonded(mode: &str) -> Result<()> {
    netns::add(BALANCER)?;
    for (number, (member, port)) in (10..).zip(MEMBERS) {
        net::cable(BALANCER, member, port, number)?;
    }
    bond(BALANCER, mode, MEMBERS.map(|member| member.0))?;
    if mode == "active-backup" {
        // The one mode in which the switch knows of no bond.
        for (_, port) in MEMBERS {
            net::plug(port)?;
            net::pass(port)?;
        }
    } else {
        bond(SWITCH, mode, MEMBERS.map(|member| member.1))?;
        net::plug("bond0")?;
        net::pass("bond0")?;
    }
    net::address(BALANCER, "bond0", 9, 10)
}

fn bond(namespace: &str, mode: &str, members: [&str; 2]) -> Result<()> {
    let further = if mode == "802.3ad" { "lacp_rate fast" } else { "" };
    netns::ip(namespace, &format!("link add bond0 type bond mode {mode} miimon 50 {further}\n"))?;
    for member in members {
        netns::ip(
            namespace,
            &format!("link set {member} down\nlink set {member} master bond0\nlink set {member} up\n"),
        )?;
    }
    netns::ip(namespace, "link set bond0 up\n")?;
    net::plain(namespace, "bond0")
}
