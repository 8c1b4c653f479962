//! Namespaces, links and addresses of a guest's stories. Everything goes when the guest does, so nothing is cleaned up.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    lab::pass,
    netns::{self, inside, ip},
    process,
};

/// Everybody who sends to the VIPs.
pub(super) const CLIENT: &str = "client";
/// The bridge that connects all.
pub(super) const SWITCH: &str = "sw";
pub(super) const BALANCER: &str = "lb";

/// The service's addresses.
pub(super) const VIPS: [&str; 2] = ["10.9.0.100", "fd09::100"];

/// A bridge in a namespace of its own. With `vlans` it keeps them apart: ports belong to VLAN 1, untagged, until told otherwise.
pub(super) fn switch(vlans: bool) -> Result<()> {
    netns::add(SWITCH)?;
    let filtering = u8::from(vlans);
    ip(
        SWITCH,
        &format!(
            "link add br0 type bridge forward_delay 0 mcast_snooping 0 vlan_filtering {filtering}\nlink set br0 up\n"
        ),
    )
}

/// A cable from an interface of a namespace to a port of the switch, `number` in its MAC address. The port is not on the bridge yet.
pub(super) fn cable(namespace: &str, interface: &str, port: &str, number: u8) -> Result<()> {
    ip(
        SWITCH,
        &format!(
            "link add {port} address 02:00:00:00:01:{number:02} type veth \
             peer name {interface} address 02:00:00:00:00:{number:02} netns {namespace}\nlink set {port} up\n"
        ),
    )?;
    ip(namespace, &format!("link set {interface} up\n"))?;
    // A frame that XDP sends on loses the notes that its checksum and its tag are still to be written.
    plain(namespace, interface)?;
    plain(SWITCH, port)
}

/// Lets an interface write checksums and tags into its frames itself, as what follows it cannot.
pub(super) fn plain(namespace: &str, interface: &str) -> Result<()> {
    let off = ["tx", "off", "txvlan", "off", "tx-vlan-stag-hw-insert", "off"];
    inside(namespace, &[&["ethtool", "-K", interface][..], &off].concat()).map(drop)
}

/// Puts a port on the bridge.
pub(super) fn plug(port: &str) -> Result<()> {
    ip(SWITCH, &format!("link set {port} master br0\n"))
}

/// A cable to a port on the bridge.
pub(super) fn connect(namespace: &str, number: u8) -> Result<()> {
    cable(namespace, "e0", namespace, number)?;
    plug(namespace)
}

/// Gives a port of the switch the program without which a veth drops what its peer sends by XDP.
pub(super) fn pass(port: &str) -> Result<()> {
    let file = Path::new("/tmp/pass.o");
    if !file.exists() {
        fs::write(file, pass::object()).context("the switch port's program")?;
    }
    let file = file.to_string_lossy();
    let command = ["-n", SWITCH, "link", "set", "dev", port, "xdp", "obj", &file, "sec", pass::SECTION];
    process::quietly(Command::new("ip").args(command)).map(drop)
}

/// Addresses of both families on an interface: `10.NET.0.HOST/24` and `fd0NET::HOST/64`.
pub(super) fn address(namespace: &str, interface: &str, net: u8, host: u8) -> Result<()> {
    ip(
        namespace,
        &format!(
            "addr add 10.{net}.0.{host}/24 dev {interface}\naddr add fd0{net}::{host}/64 dev {interface} nodad\n"
        ),
    )
}

/// A VLAN device on top of an interface, up, with addresses.
pub(super) fn vlan(namespace: &str, interface: &str, id: u8, host: u8) -> Result<()> {
    ip(
        namespace,
        &format!(
            "link add link {interface} name {interface}.{id} type vlan id {id}\nlink set {interface}.{id} up\n"
        ),
    )?;
    address(namespace, &format!("{interface}.{id}"), id, host)
}

/// Makes a namespace hold the VIPs without answering for them on the wire.
pub(super) fn hold_vips(namespace: &str) -> Result<()> {
    // Before the addresses: an answer given once stays in a neighbour's table.
    netns::sysctl(namespace, &[("ipv4/conf/all/arp_ignore", 1), ("ipv4/conf/all/arp_announce", 2)])?;
    let [four, six] = VIPS;
    ip(namespace, &format!("addr add {four}/32 dev lo\naddr add {six}/128 dev lo nodad\n"))
}

/// Sends the client's packets for the VIPs to the balancer's addresses in this network.
pub(super) fn route_vips(net: u8, balancer: u8) -> Result<()> {
    let [four, six] = VIPS;
    ip(
        CLIENT,
        &format!(
            "route replace {four}/32 via 10.{net}.0.{balancer}\nroute replace {six}/128 via fd0{net}::{balancer}\n"
        ),
    )
}
