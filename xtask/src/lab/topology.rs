//! Makes the site's namespaces, links, addresses and routes.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{
    pass,
    site::{BALANCER, CLIENT, FLOOD4, FLOOD6, Family, HOSTS, Host, MTU, ROUTER, SWITCH},
};
use crate::{
    netns::{self, inside, ip, sysctl},
    process,
};

/// Makes all of it. `dir` takes the file with the switch port's program.
pub(super) fn make(dir: &Path) -> Result<()> {
    let everyone = [CLIENT, ROUTER, SWITCH, BALANCER].into_iter().chain(HOSTS.map(|h| h.namespace));
    for namespace in everyone {
        netns::add(namespace)?;
    }
    ip(SWITCH, "link add br0 type bridge forward_delay 0 mcast_snooping 0\nlink set br0 up\n")?;
    plug(ROUTER, "router", 1, "01")?;
    plug(BALANCER, "lb", 10, "10")?;
    for host in HOSTS.iter().filter(|host| !host.far) {
        plug(host.namespace, host.name, host.number, &host.number.to_string())?;
    }
    for host in HOSTS.iter().filter(|host| host.far) {
        far(host)?;
    }
    router()?;
    client()?;
    balancer(dir)?;
    HOSTS.iter().try_for_each(cache_host)
}

/// Connects a host's `e0` with a port of the router of its own.
fn far(host: &Host) -> Result<()> {
    let port = host.name;
    ip(
        ROUTER,
        &format!(
            "link add {port} mtu {MTU} type veth peer name e0 mtu {MTU} netns {}\nlink set {port} up\n\
             addr add 10.7.0.1/24 dev {port}\naddr add fd07::1/64 dev {port} nodad\n",
            host.namespace
        ),
    )?;
    let (four, six) = (host.address(Family::V4), host.address(Family::V6));
    ip(
        host.namespace,
        &format!("link set e0 up\naddr add {four}/24 dev e0\naddr add {six}/64 dev e0 nodad\n"),
    )
}

/// Sets the MTU of the way to a far host: of its link, and of the balancer's route to it, as path MTU discovery would.
pub(super) fn set_path_mtu(host: &Host, mtu: u32) -> Result<()> {
    ip(ROUTER, &format!("link set {} mtu {mtu}\n", host.name))?;
    ip(host.namespace, &format!("link set e0 mtu {mtu}\n"))?;
    ip(
        BALANCER,
        &format!(
            "route replace {}/32 via 10.9.0.1 mtu {mtu}\nroute replace {}/128 via fd09::1 mtu {mtu}\n",
            host.address(Family::V4),
            host.address(Family::V6)
        ),
    )
}

/// Connects a namespace's `e0` with a port of the switch. MAC addresses are fixed, so that a trace can be read.
fn plug(namespace: &str, port: &str, number: u8, digits: &str) -> Result<()> {
    ip(
        SWITCH,
        &format!(
            "link add {port} mtu {MTU} address 02:00:00:00:01:{digits} type veth \
             peer name e0 mtu {MTU} address 02:00:00:00:00:{digits} netns {namespace}\n\
             link set {port} master br0 up\n"
        ),
    )?;
    let v6 = format!("fd09::{}", digits.trim_start_matches('0'));
    ip(
        namespace,
        &format!("link set e0 up\naddr add 10.9.0.{number}/24 dev e0\naddr add {v6}/64 dev e0 nodad\n"),
    )
}

/// Knows the way to the VIPs: the balancer.
fn router() -> Result<()> {
    sysctl(ROUTER, &[("ipv4/ip_forward", 1), ("ipv6/conf/all/forwarding", 1)])?;
    ip(
        ROUTER,
        &format!(
            "link add c0 type veth peer name e0 netns {CLIENT}\nlink set c0 up\n\
             addr add 10.8.0.1/24 dev c0\naddr add fd08::1/64 dev c0 nodad\n\
             route add blackhole {FLOOD4}\nroute add blackhole {FLOOD6}\n\
             route add {}/32 via 10.9.0.10\nroute add {}/128 via fd09::10\n",
            Family::V4.vip(),
            Family::V6.vip(),
        ),
    )
}

fn client() -> Result<()> {
    ip(
        CLIENT,
        &format!(
            "link set e0 up\naddr add {}/24 dev e0\naddr add {}/64 dev e0 nodad\n\
             route add default via 10.8.0.1\nroute add default via fd08::1\n",
            Family::V4.client(),
            Family::V6.client()
        ),
    )?;
    // A frame that XDP sends on loses the note that its checksum is still to be computed. Hardware computes it on the way to a
    // real balancer; here the sender must.
    compute_checksums(CLIENT, "e0")?;
    // Every short connection takes a port for a minute.
    inside(CLIENT, &["sh", "-c", "echo 10000 60999 >/proc/sys/net/ipv4/ip_local_port_range"]).map(drop)
}

fn balancer(dir: &Path) -> Result<()> {
    ip(BALANCER, "route add default via 10.9.0.1\nroute add default via fd09::1\n")?;
    compute_checksums(BALANCER, "e0")?;
    compute_checksums(SWITCH, "lb")?;
    let object = dir.join("pass.o");
    fs::write(&object, pass::object()).with_context(|| object.display().to_string())?;
    process::quietly(
        Command::new("ip")
            .args(["-n", SWITCH, "link", "set", "dev", "lb", "xdp", "obj"])
            .arg(&object)
            .args(["sec", pass::SECTION]),
    )
    .map(drop)
}

/// Holds the VIPs without answering for them on the wire.
fn cache_host(host: &Host) -> Result<()> {
    let (namespace, net) = (host.namespace, if host.far { 7 } else { 9 });
    // Before the addresses: an answer given once stays in the router's table.
    sysctl(namespace, &[("ipv4/conf/all/arp_ignore", 1), ("ipv4/conf/all/arp_announce", 2)])?;
    ip(
        namespace,
        &format!(
            "addr add {}/32 dev lo\naddr add {}/128 dev lo nodad\n\
             route add default via 10.{net}.0.1\nroute add default via fd0{net}::1\n",
            Family::V4.vip(),
            Family::V6.vip()
        ),
    )
}

fn compute_checksums(namespace: &str, interface: &str) -> Result<()> {
    inside(namespace, &["ethtool", "-K", interface, "tx", "off"]).map(drop)
}
