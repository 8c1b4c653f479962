//! What the daemon knows: itself, its kernel, backends, addresses, drops. Pure.

use std::net::IpAddr;

use super::{finding::Finding, host::Host};
use crate::{
    api::types::{Backend, Drops, Kernel, List, Severity, Status},
    model::{Disposition, Method},
};

/// Features of the kernel.
pub fn kernel(kernel: &Kernel) -> Vec<Finding> {
    let about = format!("kernel {}", kernel.release);
    let lacks: Vec<_> = kernel.features.iter().filter(|feature| !feature.present).collect();
    if lacks.is_empty() {
        let names: Vec<_> = kernel.features.iter().map(|feature| feature.name.as_str()).collect();
        return vec![Finding::ok(about, format!("has {}", names.join(", ")))];
    }
    lacks
        .iter()
        .map(|lack| {
            let (meaning, fix) = lack.lack.split_once("; ").unwrap_or((&lack.lack, "boot a newer kernel"));
            Finding::warn(about.clone(), format!("no {}: {meaning}", lack.name), fix)
        })
        .collect()
}

/// The daemon.
pub fn daemon(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let datapath = &status.datapath;
    findings.push(if status.snapshot_age > 5.0 {
        Finding::bad(
            "lbd",
            format!("it has not moved for {:.0} s", status.snapshot_age),
            "systemctl restart lbd; traffic goes on meanwhile",
        )
    } else if !status.ready {
        Finding::warn("lbd", "it is still starting", "wait, then look again")
    } else {
        Finding::ok("lbd", format!("version {}, ready", status.version))
    });
    if datapath.attachments.is_empty() {
        findings.push(Finding::bad(
            "lbd",
            "the program is attached to no interface: nothing is forwarded",
            "journalctl -u lbd",
        ));
    }
    let behind = datapath.wanted_revision.saturating_sub(datapath.revision);
    if behind > 0 {
        findings.push(Finding::warn(
            "tables",
            format!("the kernel is {behind} change(s) behind"),
            "look again; journalctl -u lbd",
        ));
    }
    if let Some(problem) = &datapath.problem {
        findings.push(Finding::bad("tables", problem.clone(), "journalctl -u lbd"));
    }
    findings.push(if datapath.drift_repaired > 0 {
        Finding::warn(
            "tables",
            format!("{} entries were changed by somebody else and repaired", datapath.drift_repaired),
            "find who writes to the maps below bpf_dir: bpftool map; lbctl table diff POOL",
        )
    } else {
        Finding::ok("tables", "nobody else has written to them")
    });
    if let Some(problem) = &status.config.problem {
        findings.push(Finding::bad(
            "configuration",
            format!("the last reload was refused: {problem}"),
            "lbctl config test",
        ));
    }
    for (severity, word) in [(Severity::Critical, "critical"), (Severity::Warning, "warning")] {
        let n = status.alerts.iter().filter(|alert| alert.severity == severity).count();
        if n > 0 {
            let text = format!("{n} {word} alert(s)");
            let make = if severity == Severity::Critical { Finding::bad } else { Finding::warn };
            findings.push(make("alerts".to_owned(), text, "lbctl status".to_owned()));
        }
    }
    findings
}

/// Ways to the backends.
pub fn backends(list: &List, host: &Host) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut resolved = 0;
    for backend in list.pools.iter().flat_map(|pool| &pool.members) {
        let name = format!("{}/{}", backend.pool, backend.name);
        match (&backend.next_hop, backend.state) {
            // Whoever is not wanted needs no way.
            (None, Disposition::Out) if backend.up.is_none() && backend.checks.is_empty() => {}
            (None, _) => findings.push(Finding::bad(
                name,
                format!(
                    "no way to {}: {}",
                    backend.address,
                    backend.next_hop_problem.as_deref().unwrap_or("its neighbour does not answer")
                ),
                format!("ip route get {0}; ip neigh show {0}; ping {0}", backend.address),
            )),
            (Some(_), _) => {
                resolved += 1;
                findings.extend(tunnel(backend, &name, host));
            }
        }
    }
    findings.push(Finding::ok("backends", format!("{resolved} have a next hop")));
    findings
}

/// A tunnel's header makes packets longer: what came in full size does not fit an equally wide way out.
fn tunnel(backend: &Backend, name: &str, host: &Host) -> Option<Finding> {
    let hop = backend.next_hop.as_ref()?;
    let header = if backend.address.is_ipv6() { 40 } else { 20 };
    let overhead = match backend.method {
        Method::Dr => return None,
        Method::Ipip => header,
        Method::Gue => header + 8,
    };
    let mtu = if hop.mtu == 0 { host.mtu_of(hop.ifindex)? } else { hop.mtu };
    let room = mtu.saturating_sub(overhead);
    Some(if room < 1_500 {
        Finding::warn(
            name,
            format!(
                "{}: packets above {room} bytes do not fit MTU {mtu}; their senders are told by ICMP",
                backend.method
            ),
            format!(
                "raise the MTU of the way to {} to {} (docs/tunnels.md), or announce a smaller MSS on the backend",
                backend.address,
                1_500 + overhead
            ),
        )
    } else {
        Finding::ok(name, format!("{}: packets of 1500 bytes fit MTU {mtu}", backend.method))
    })
}

/// Addresses of services that are this host's own, too.
pub fn vips(list: &List, own: &[IpAddr]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in &list.services {
        let local: Vec<String> = own
            .iter()
            .filter(|address| service.addresses.iter().any(|net| net.0.contains(*address)))
            .map(ToString::to_string)
            .collect();
        if !local.is_empty() {
            findings.push(Finding::ok(
                format!("service {}", service.name),
                format!(
                    "{} is also an address of this host: packets from outside are forwarded all the same, connections from this \
                     host itself end here",
                    local.join(", ")
                ),
            ));
        }
    }
    findings
}

/// Reasons that mean something is set up wrongly.
pub fn drops(drops: &Drops) -> Vec<Finding> {
    let fixes = [
        ("bad_table", "a defect: save `lbctl status -o json` and the journal, then restart lbd"),
        (
            "no_headroom",
            "the driver leaves no room for a tunnel's header: use another one, or xdp_mode = \"generic\"",
        ),
        ("unresolved", "lbctl list; ip neigh; docs/troubleshooting.md, a backend is unresolved"),
        ("vlan_rewrite", "lbctl show BACKEND: the frame's tags and the backend's VLAN do not go together"),
        ("too_big_silent", "raise the MTU of the way to the backend, docs/tunnels.md"),
        ("no_backend", "lbctl status: a pool has nobody who may serve"),
        ("bad_length", "lbctl capture --reason bad_length shows who sends such packets"),
    ];
    let mut findings = Vec::new();
    for (reason, fix) in fixes {
        let Some(drop) = drops.reasons.iter().find(|drop| drop.reason == reason && drop.packets > 0) else {
            continue;
        };
        let text = format!("{} packets so far: {}", drop.packets, drop.describe.trim());
        let make = if reason == "bad_table" { Finding::bad } else { Finding::warn };
        findings.push(make(format!("drops {reason}"), text, fix.to_owned()));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("drops", "none that points to a mistake"));
    }
    findings
}

#[cfg(test)]
mod tests;
