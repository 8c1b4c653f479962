//! Network namespaces by name, for the lab and for guests.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// What a namespace is told before it has a link.
const SETTINGS: [(&str, i32); 7] = [
    // Duplicate address detection would keep IPv6 silent for seconds.
    ("ipv6/conf/all/accept_dad", 0),
    ("ipv6/conf/default/accept_dad", 0),
    ("ipv6/conf/default/accept_ra", 0),
    // Replies leave by another way than requests come in by.
    ("ipv4/conf/all/rp_filter", 0),
    ("ipv4/conf/default/rp_filter", 0),
    // The way in and the way out are the same wire; nobody needs to be told of a shorter one.
    ("ipv4/conf/all/send_redirects", 0),
    ("ipv4/conf/default/send_redirects", 0),
];

/// Makes one with loopback up.
pub(crate) fn add(name: &str) -> Result<()> {
    process::quietly(Command::new("ip").args(["netns", "add", name]))?;
    sysctl(name, &SETTINGS)?;
    ip(name, "link set lo up\n")
}

/// Removes one with what is in it.
pub(crate) fn remove(name: &str) -> Result<()> {
    process::quietly(Command::new("ip").args(["netns", "del", name])).map(drop)
}

/// Commands of `ip`, a line each; the first failure ends them.
pub(crate) fn ip(name: &str, commands: &str) -> Result<()> {
    process::feed(Command::new("ip").args(["-n", name, "-batch", "-"]), commands)
        .with_context(|| format!("in {name}:\n{commands}"))
}

/// Runs a command inside; what it prints.
pub(crate) fn inside(name: &str, command: &[&str]) -> Result<String> {
    process::quietly(Command::new("ip").args(["netns", "exec", name]).args(command))
}

/// Writes values below `/proc/sys/net`.
pub(crate) fn sysctl(name: &str, values: &[(&str, i32)]) -> Result<()> {
    let lines: Vec<String> =
        values.iter().map(|(key, value)| format!("echo {value} >/proc/sys/net/{key}")).collect();
    inside(name, &["sh", "-ec", &lines.join("\n")]).map(drop)
}
