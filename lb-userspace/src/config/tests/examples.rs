use super::*;
use crate::config::{reference::keys, table::REQUIRED};

const EXAMPLE: &str = include_str!("../../../../deploy/lbd.toml");

/// A file with a line for each table, below which a key can be written.
const EVERY_TABLE: &str = r#"
[lbd]
interfaces = ["eth0"]
[lbd.limits]
[lbd.tunnel]
[pools.text]
[pools.text.outliers]
[[pools.text.checks]]
kind = "https"
url = "https://host.example/healthz"
[pools.text.checks.tls]
[pools.text.backends.cp1]
address = "10.0.0.11"
server_id = 1
[services.http3]
vips = ["203.0.113.10"]
port = 443
protocol = "udp"
pool = "text"
[services.quic]
vips = ["203.0.113.10"]
port = 444
protocol = "udp"
udp_class = "quic"
pool = "text"
[services.quic.quic_server_id]
"#;

#[test]
fn each_default_of_the_reference_is_what_a_missing_key_means() {
    let without = valid(EVERY_TABLE);
    let mut checked = 0;
    for (path, key) in keys() {
        if key.default == REQUIRED || key.default.starts_with('(') || key.name == "protocol" {
            continue;
        }
        let heading = match path {
            ["lbd"] => "[lbd]",
            ["lbd", "limits"] => "[lbd.limits]",
            ["lbd", "tunnel"] => "[lbd.tunnel]",
            ["pools"] => "[pools.text]",
            ["pools", "outliers"] => "[pools.text.outliers]",
            ["pools", "checks"] => "[[pools.text.checks]]",
            ["pools", "checks", "tls"] => "[pools.text.checks.tls]",
            ["pools", "backends"] => "[pools.text.backends.cp1]",
            ["services", "quic_server_id"] => "[services.quic.quic_server_id]",
            ["services"] => "[services.http3]",
            other => panic!("{other:?}"),
        };
        let text = EVERY_TABLE.replace(heading, &format!("{heading}\n{} = {}", key.name, key.default));
        assert_eq!(valid(&text), without, "{} = {}", key.name, key.default);
        checked += 1;
    }
    assert!(checked > 35, "{checked}");
}

#[test]
fn the_example_shows_every_key() {
    for (_, key) in keys() {
        let shown = EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches('#');
            line.starts_with(&format!("{} = ", key.name))
                || line.contains(&format!("{{ {} = ", key.name))
                || line.contains(&format!(", {} = ", key.name))
                || line.contains(&format!("[{}.", key.name))
                || line.contains(&format!(".{}]", key.name))
                || line == format!("[{}]", key.name)
        });
        assert!(shown, "{}", key.name);
    }
}

#[test]
fn what_the_example_shows_behind_a_mark_is_the_default() {
    // These have no default, or name files.
    let optional = [
        "#secret_file",
        "#body_contains",
        "#tls",
        "#source",
        "#persistence",
        "#max_new_per_second",
        "#gue_port",
    ];
    let mut text = String::new();
    let mut shown = 0;
    for line in EXAMPLE.lines() {
        let key = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        match key {
            Some(key) if !optional.iter().any(|optional| line.starts_with(optional)) => {
                shown += 1;
                text.push_str(key);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    assert!(shown > 35, "{shown}");
    assert_eq!(valid(&text), valid(EXAMPLE));
}
