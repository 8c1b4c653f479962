//! An interface with the program on it. Pure.

use super::{finding::Finding, host::Interface};
use crate::api::types::Attachment;

/// Longest packet that a frame of one buffer holds with the room that XDP needs: a page less that.
const ONE_BUFFER: u32 = 3_498;

/// Everything about one.
pub fn look(attachment: &Attachment, interface: &Interface) -> Vec<Finding> {
    let Attachment { interface: name, driver, .. } = attachment;
    let about = name.clone();
    if !interface.present {
        return vec![Finding::warn(
            about,
            "this host has no such interface: lbd runs elsewhere, or in another network namespace",
            "run this where lbd runs: ip netns exec NS lbctl doctor",
        )];
    }
    let mut findings = vec![mode_of(attachment)];
    if interface.state == "down" {
        findings.push(Finding::bad(
            about.clone(),
            "the link is down",
            format!("ip link set {name} up; is the cable in?"),
        ));
    }
    findings.extend(queues(&about, interface));
    match interface.mtu {
        Some(mtu) if mtu > ONE_BUFFER && !attachment.frags => findings.push(Finding::bad(
            about.clone(),
            format!("MTU {mtu}, but the program for frames of several buffers is not attached: longer packets are lost"),
            format!("ip link set {name} mtu 3498, or restart lbd on Linux 5.18 or newer"),
        )),
        Some(mtu) => findings.push(Finding::ok(
            about.clone(),
            format!(
                "MTU {mtu}, {}",
                if attachment.frags { "program for frames of several buffers" } else { "frames fit one buffer" }
            ),
        )),
        None => {}
    }
    if driver == "veth" {
        findings.push(Finding::warn(
            about,
            "veth: its other end drops what XDP sends unless it has a program or GRO, and its senders must compute checksums",
            "on the other end: ethtool -K PEER gro on tx off (docs/troubleshooting.md, connections hang with veth)",
        ));
    } else if matches!(driver.as_str(), "bonding" | "802.1Q VLAN Support" | "bridge") {
        findings.push(Finding::warn(
            about,
            format!("driver {driver}: the program runs above the real interface"),
            "attach to the members instead: name them in `interfaces` of [lbd]",
        ));
    }
    findings
}

fn mode_of(attachment: &Attachment) -> Finding {
    let Attachment { interface, mode, driver, .. } = attachment;
    match mode.as_str() {
        "generic" => Finding::warn(
            interface.clone(),
            format!(
                "generic mode, driver {driver}: each packet costs five to ten times as much, and GRO or LRO may merge packets \
                 before the program sees them"
            ),
            format!(
                "set xdp_mode = \"native\" if the driver can; until then: ethtool -K {interface} gro off lro off"
            ),
        ),
        other => Finding::ok(interface.clone(), format!("{other} mode, driver {driver}")),
    }
}

fn queues(about: &str, interface: &Interface) -> Vec<Finding> {
    let Interface { queues, cpus, interrupts, .. } = *interface;
    let mut findings = Vec::new();
    if cpus > 1 && queues == 1 {
        findings.push(Finding::warn(
            about,
            format!("one receive queue for {cpus} CPUs: one of them does all the work"),
            format!("ethtool -L {about} combined {cpus} (where the driver has queues to give)"),
        ));
    } else if queues > 0 {
        findings.push(Finding::ok(about, format!("{queues} receive queues, {cpus} CPUs")));
    }
    if let Some((on, irqs)) = interrupts
        && cpus > 1
        && irqs > 1
        && on == 1
    {
        findings.push(Finding::warn(
            about,
            format!("all {irqs} interrupts go to one CPU (or are free to): packets are not spread"),
            "run irqbalance, or write one CPU each to /proc/irq/N/smp_affinity_list",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    fn attachment(mode: &str, driver: &str, frags: bool) -> Attachment {
        Attachment { interface: "eth0".into(), mode: mode.into(), driver: driver.into(), frags }
    }

    fn interface() -> Interface {
        Interface {
            mtu: Some(1_500),
            queues: 8,
            interrupts: Some((8, 8)),
            cpus: 8,
            state: "up".into(),
            present: true,
        }
    }

    fn levels(attachment: &Attachment, interface: &Interface) -> Vec<Level> {
        let mut levels: Vec<_> = look(attachment, interface).iter().map(|f| f.level).collect();
        levels.retain(|level| *level != Level::Ok);
        levels
    }

    #[test]
    fn a_well_set_up_interface_has_nothing_to_complain_of() {
        assert_eq!(levels(&attachment("native", "ixgbe", false), &interface()), []);
    }

    #[test]
    fn each_pitfall_is_found() {
        let native = attachment("native", "ixgbe", false);
        assert_eq!(levels(&attachment("generic", "ixgbe", false), &interface()), [Level::Warn]);
        assert_eq!(levels(&attachment("native", "veth", false), &interface()), [Level::Warn]);
        assert_eq!(levels(&attachment("native", "bonding", false), &interface()), [Level::Warn]);
        let jumbo = Interface { mtu: Some(9_000), ..interface() };
        assert_eq!(levels(&native, &jumbo), [Level::Bad]);
        assert_eq!(levels(&attachment("native", "ixgbe", true), &jumbo), []);
        assert_eq!(levels(&native, &Interface { queues: 1, ..interface() }), [Level::Warn]);
        assert_eq!(levels(&native, &Interface { interrupts: Some((1, 8)), ..interface() }), [Level::Warn]);
        assert_eq!(levels(&native, &Interface { state: "down".into(), ..interface() }), [Level::Bad]);
        assert_eq!(levels(&native, &Interface::default()), [Level::Warn]);
    }
}
