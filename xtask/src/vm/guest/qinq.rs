//! VLANs within a provider's: the client's packets carry a service tag (802.1ad) and a customer tag (802.1Q) inside it.
//!
//! ```text
//!                   ┌── b1   e0 untagged
//!  client ── bridge ┼── b2   e0.7 for what is its own, s7.30 for what the balancer sends on
//!  e0, e0.5, e0.7   ├── b3   e0.5                     s5.30
//!  s7.30            └── lb   e0, e0.5, e0.7, s7.30
//! ```
//!
//! The balancer writes one tag. So a frame with two keeps both to `b2`, in VLAN 7; gets another outer one to `b3`, in VLAN 5; and cannot
//! lose both to `b1`, which is a counted reason. `b4` and `b5`, to be reached by a service tag and by two tags, are refused by name.

use anyhow::{Context as _, Result, bail};

use super::{
    NOTE,
    daemon::Daemon,
    http,
    net::{self, BALANCER, CLIENT},
};
use crate::netns;

/// Requests to each VIP.
const REQUESTS: u32 = 30;
/// Of the client for a connection with a request in it, at least: SYN, the request with its ACK, FIN.
const PACKETS: u64 = 3;
/// The customer's VLAN, in the service VLANs 5 and 7.
const CUSTOMER: u8 = 30;
/// The network of addresses in it; the VLANs 5 and 7 have networks of their number.
const NET: u8 = 3;
/// Counts frames with two tags for a backend without.
const REASON: &str = "vlan_rewrite";

pub(super) fn tell() -> Result<()> {
    net::switch(false)?;
    for (name, number) in [(CLIENT, 1), (BALANCER, 10), ("b1", 21), ("b2", 22), ("b3", 23)] {
        netns::add(name)?;
        net::connect(name, number)?;
    }
    net::pass(BALANCER)?;
    for (name, host) in [(CLIENT, 1), (BALANCER, 10)] {
        net::address(name, "e0", 9, host)?;
        net::vlan(name, "e0", 5, host)?;
        net::vlan(name, "e0", 7, host)?;
        customer(name, 7)?;
        net::address(name, &format!("s7.{CUSTOMER}"), NET, host)?;
    }
    net::address("b1", "e0", 9, 21)?;
    net::vlan("b2", "e0", 7, 22)?;
    net::vlan("b3", "e0", 5, 23)?;
    for (name, own) in [("b1", 9), ("b2", 7), ("b3", 5)] {
        netns::ip(name, &format!("route add default via 10.{own}.0.1\nroute add default via fd0{own}::1\n"))?;
        net::hold_vips(name)?;
    }
    for (name, service) in [("b2", 7), ("b3", 5)] {
        customer(name, service)?;
    }
    let _servers = [http::start("b1")?, http::start("b2")?, http::start("b3")?];
    outer_tag_decides()?;
    both_tags_cannot_go()
}

/// Devices for the customer's VLAN within a service VLAN on `e0`.
fn customer(namespace: &str, service: u8) -> Result<()> {
    netns::ip(
        namespace,
        &format!(
            "link add link e0 name s{service} type vlan proto 802.1ad id {service}\nlink set s{service} up\n\
             link add link s{service} name s{service}.{CUSTOMER} type vlan id {CUSTOMER}\n\
             link set s{service}.{CUSTOMER} up\n"
        ),
    )
}

fn outer_tag_decides() -> Result<()> {
    let daemon = Daemon::start(
        &["e0"],
        &[("b2", "address = \"10.7.0.22\"".to_owned()), ("b3", "address = \"10.5.0.23\"".to_owned())],
    )?;
    net::route_vips(NET, 10)?;
    let answers = http::ask(REQUESTS, &["b2", "b3"]).context("from the customer's VLAN")?;
    for (name, device) in [("b2", "s7.30"), ("b3", "s5.30")] {
        let of = |family: &str| u64::from(answers.get(&format!("{name} {family}")).copied().unwrap_or(0));
        let wanted = PACKETS * (of("v4") + of("v6"));
        let counter = format!("/sys/class/net/{device}/statistics/rx_packets");
        let came: u64 = netns::inside(name, &["cat", &counter])?.trim().parse()?;
        if came < wanted {
            bail!("{name} answered {wanted} packets of which only {came} came with both tags");
        }
    }
    println!(
        "{NOTE}service tag 7: kept to b2, rewritten to b3, the customer's tag kept to both: {answers:?}"
    );
    daemon.end()
}

fn both_tags_cannot_go() -> Result<()> {
    netns::ip(BALANCER, "addr add 10.4.0.10/24 dev s7\n")?;
    let daemon = Daemon::start_with(
        &["e0"],
        &[("b1", "address = \"10.9.0.21\"".to_owned())],
        &[
            ("b4", "address = \"10.4.0.24\"".to_owned(), "tags 802.1ad"),
            ("b5", format!("address = \"10.{NET}.0.25\""), "a VLAN inside a VLAN"),
        ],
    )?;
    // As both are refused the next hop, all is `b1`'s.
    net::route_vips(9, 10)?;
    http::ask(REQUESTS, &["b1"]).context("untagged")?;
    let before = daemon.dropped(REASON)?;
    net::route_vips(NET, 10)?;
    if let Ok(answers) = http::begin_asking(1)?.finish() {
        bail!("a frame with two tags reached a backend without any: {answers:?}");
    }
    let dropped = daemon.dropped(REASON)? - before;
    if before != 0 || dropped == 0 {
        bail!("{REASON} counts {before} untagged packets, and {dropped} with two tags");
    }
    println!(
        "{NOTE}service tag 7: {dropped} packets to untagged b1 stopped by {REASON}; next hops by two tags refused"
    );
    daemon.end()
}
