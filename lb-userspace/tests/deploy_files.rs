//! What is deployed agrees with itself: alerts name metrics that exist and runbooks that exist, guides link to sections that exist,
//! the unit asks for the rights that are needed and no more.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The anchors of a Markdown file's headings, as code hosts make them.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|heading| heading.trim_start_matches('#').trim())
        .map(|heading| {
            heading
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(prefix))
        .collect()
}

/// A file and, after `#`, one of its sections.
fn assert_section(target: &str, from: &str) {
    let (file, section) = target.split_once('#').unwrap_or((target, ""));
    let text = read(file);
    assert!(
        section.is_empty() || anchors(&text).contains(section),
        "{from} names {target}, and {file} has no such section"
    );
}

#[test]
fn alerts_use_metrics_that_exist() {
    let alerts = read("deploy/prometheus/alerts.yml");
    let reference = lb_userspace::metrics::names::reference();
    let exported = words(&reference, "lb_");
    for metric in words(&alerts, "lb_") {
        assert!(exported.contains(metric), "alerts.yml uses {metric}, which lbd does not export");
    }
}

#[test]
fn every_alert_has_a_runbook_that_exists() {
    let alerts = read("deploy/prometheus/alerts.yml");
    let mut alert = "";
    let mut described = BTreeSet::new();
    let mut all = BTreeSet::new();
    for line in alerts.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            assert!(all.insert(name), "{name} is there twice");
            alert = name;
        } else if let Some(target) = line.trim().strip_prefix("runbook: ") {
            assert_section(target, alert);
            described.insert(alert);
        }
    }
    assert!(all.len() > 10);
    assert_eq!(all, described);
}

#[test]
fn the_guides_link_to_sections_that_exist() {
    for guide in ["operations.md", "troubleshooting.md", "migrate-from-pybal.md", "tunnels.md"] {
        let text = read(&format!("docs/{guide}"));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = if link.starts_with('#') { format!("{guide}{link}") } else { link.to_owned() };
            if let Some(file) = target.strip_prefix("../") {
                assert!(root().join(file).exists(), "{guide} links to {file}, which does not exist");
            } else {
                assert_section(&format!("docs/{target}"), guide);
            }
        }
    }
}

#[test]
fn the_unit_asks_for_the_rights_that_are_needed_and_no_more() {
    let unit = read("deploy/systemd/lbd.service");
    let value = |key: &str| {
        unit.lines()
            .find_map(|line| line.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')))
            .unwrap_or_else(|| panic!("{key} is not set"))
    };
    assert_eq!(value("CapabilityBoundingSet"), "CAP_BPF CAP_NET_ADMIN CAP_PERFMON");
    assert_eq!(value("Type"), "notify", "notify-reload needs systemd 253");
    assert_eq!(value("ExecReload"), "/bin/kill -HUP $MAINPID");
    // bpf(2) is not in @system-service.
    assert_eq!(value("SystemCallFilter"), "@system-service bpf");
    let families: BTreeSet<_> = value("RestrictAddressFamilies").split(' ').collect();
    assert!(families.contains("AF_NETLINK") && !families.contains("AF_PACKET"));
    // ProtectKernelTunables makes /sys/fs/bpf read-only, and only a longer path wins against it.
    assert_eq!(value("ReadWritePaths"), "/sys/fs/bpf/lbd");
}
