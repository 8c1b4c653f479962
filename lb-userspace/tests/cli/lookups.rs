//! `where` of every shape, `flows`, `table`, `top`, `capture`, `doctor`.

use super::daemon;
use lb::cli::pcap;
use lb_userspace as lb;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn where_takes_shapes_and_refuses_what_cannot_be() {
    let daemon = daemon();
    let (client, vip) = ("198.51.100.7:40000", "203.0.113.10:80");
    let out = daemon.ok(&["where", client, vip, "--quoted"]);
    assert!(out.starts_with("198.51.100.7:40000 -> 203.0.113.10:80 tcp, an ICMP error about it\n"), "{out}");
    assert!(out.contains("service   text, pool text_80; this is an ICMP error"), "{out}");
    let out = daemon.ok(&[
        "where",
        client,
        "203.0.113.10:82",
        "--protocol",
        "udp",
        "--quic",
        "short",
        "--cid",
        "0912",
    ]);
    assert!(out.contains("tunnel    gue, 172.16.3.9 -> 10.64.0.1, UDP 49152 -> 6080"), "{out}");
    assert!(out.contains("leaves    with VLAN tag 20"), "{out}");
    assert_eq!(
        json(&daemon.ok(&["where", client, vip, "--fin", "-o", "json"]))["packet"]["backend"],
        "cp1002"
    );
    daemon.ok(&["where", client, vip, "--fragment", "later", "--id", "7", "--vlan", "10", "--vlan", "20"]);
    daemon.ok(&["where", "198.51.100.7", "203.0.113.10", "icmp"]);
    for wrong in [
        &["where"][..],
        &["where", client, vip, "udp", "--protocol", "tcp"],
        &["where", client, vip, "udp", "--syn"],
        &["where", client, vip, "--fragment", "first"],
        &["where", client, vip, "--cid", "00"],
        &["where", client, vip, "--quic", "short"],
        &["where", client, vip, "nonsense"],
        &["where", "--frame", "0"],
        &["where", "--frame", "00", "--syn"],
    ] {
        daemon.fails(2, wrong);
    }
}

#[test]
fn where_reads_frames_from_files() {
    let daemon = daemon();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pcap");
    let name = path.display().to_string();
    // The site's program looks at the last byte only: the port.
    let mut file = pcap::begin();
    file.extend(pcap::frame(&[80; 60], 0.0, 60, ""));
    file.extend(pcap::frame(&[81; 60], 0.0, 60, ""));
    std::fs::write(&path, file).unwrap();
    let out = daemon.ok(&["where", "--pcap", &name]);
    assert!(out.starts_with("frame 1\n") && !out.contains("frame 2"), "{out}");
    assert!(daemon.ok(&["where", "--pcap", &name, "--all"]).contains("frame 2\n  verdict   to the kernel's"));
    let all = json(&daemon.ok(&["where", "--pcap", &name, "--all", "-o", "json"]));
    assert_eq!((&all[0]["verdict"], &all[1]["verdict"]), (&"forward".into(), &"pass".into()));
    std::fs::write(&path, "nonsense").unwrap();
    assert!(daemon.fails(2, &["where", "--pcap", &name]).contains("neither a pcap nor a pcapng"));
    daemon.fails(4, &["where", "--pcap", "/nonexistent.pcap"]);
}

#[test]
fn flows_are_counted_by_backend_and_age_and_one_is_found() {
    let daemon = daemon();
    let out = daemon.ok(&["flows"]);
    let row = |name: &str| {
        let line = out.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{out}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("pin, first"), "text_80 cp1001 pin, first packet only 5 4 1 0 0 0");
    assert_eq!(row("tracked, new"), "dns_53_udp d1 tracked, new 1 1 0 0 0 0");
    assert!(
        out.contains("tables: PROBATION 0.5%, SOURCES 0.0%\n") && out.contains("addresses are not kept"),
        "{out}"
    );
    assert!(!daemon.ok(&["flows", "text_80/cp1001"]).contains("d1"));
    assert!(daemon.ok(&["flows", "text_80/cp1002"]).contains("no flow is remembered"));
    let out = daemon.ok(&["flows", "198.51.100.7:40000", "203.0.113.10:80"]);
    assert!(out.contains("  known     pin: text_80/cp1001, last packet 3s ago\n"), "{out}");
    assert!(out.contains("  in short  A packet of service text"), "{out}");
    assert_eq!(json(&daemon.ok(&["flows", "-o", "json"]))["backends"][1]["kinds"]["pin_protected"][1], 20);
    daemon.fails(4, &["flows", "nope"]);
    daemon.fails(4, &["flows", "text_80/nope"]);
    daemon.fails(2, &["flows", "198.51.100.7:40000"]);
    daemon.fails(2, &["flows", "198.51.100.7:40000", "203.0.113.10"]);
}

#[test]
fn tables_are_shown_compared_and_exported() {
    let daemon = daemon();
    let out = daemon.ok(&["table", "show", "text_80"]);
    assert!(out.starts_with("text_80  7 slots, 2 in transition  digest 7f3a91c25d0e4411  wanted: "), "{out}");
    assert!(out.contains("3 entries repaired since lbd started"), "{out}");
    let line = out.lines().find(|line| line.contains("cp1001")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>().join(" "),
        "cp1001 100 yes 4 57.14% 50.00% 3 0 00000000000000a1"
    );
    let slots = daemon.ok(&["table", "show", "text_80", "--slots"]);
    assert!(slots.contains("   1  cp1001  cp1002\n") && slots.contains("   2  cp1005\n"), "{slots}");
    let (code, out, err) = daemon.run(&["table", "diff", "text_80"]);
    assert!(code == 1 && out.contains("cp1001      cp1005      1"), "{out}");
    assert!(err.contains("differ in 1 of 7 slots"), "{err}");
    assert_eq!(daemon.ok(&["table", "digest"]), "7f3a91c25d0e4411 7 text_80\n");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("there.json");
    let name = file.display().to_string();
    let export = daemon.ok(&["table", "export"]);
    std::fs::write(&file, &export).unwrap();
    assert!(daemon.ok(&["table", "diff", "text_80", "--against", &name]).contains("the same weight"));
    let mut other = json(&export);
    other["tables"][0]["owners"]["cur"][0] = 2.into();
    other["tables"][0]["backends"][0]["weight"] = 50.into();
    std::fs::write(&file, other.to_string()).unwrap();
    let (code, out, err) = daemon.run(&["table", "diff", "text_80", "--against", &name]);
    assert!(code == 1 && err.contains("differ in 1 of 7 slots"), "{err}");
    assert!(out.contains("cp1001      cp1005           1"), "{out}");
    let (code, out, _) = daemon.run(&["table", "diff", "text_80", "--against", &name, "-o", "json"]);
    assert_eq!((code, &json(&out)["moves"][0]["slots"]), (1, &1.into()));
    other["tables"][0]["owners"]["cur"].as_array_mut().unwrap().pop();
    std::fs::write(&file, other.to_string()).unwrap();
    assert!(daemon.run(&["table", "diff", "text_80", "--against", &name]).2.contains("cannot be compared"));

    daemon.fails(4, &["table", "show", "nope"]);
    daemon.fails(4, &["table", "show", "a/../b"]);
    daemon.fails(4, &["table", "diff", "text_80", "--against", "/nonexistent.json"]);
    daemon.fails(2, &["table", "diff", "text_80", "--against", "https://lb2.example.org"]);
    daemon.fails(3, &["table", "diff", "text_80", "--against", "http://127.0.0.1:1"]);
}

#[test]
fn top_shows_one_second_where_nobody_looks_at_a_screen() {
    let daemon = daemon();
    let out = daemon.ok(&["top"]);
    assert!(out.starts_with("lbd  0 pkt/s  0bit/s  0 new/s  0 dropped/s\n"), "{out}");
    assert!(out.contains("old1") && out.contains("gone"), "{out}");
    assert!(!out.contains('\x1b'), "a pipe is no screen");
    let rates = json(&daemon.ok(&["top", "--once", "--pool", "text_80", "-o", "json"]));
    assert_eq!(rates["services"].as_array().unwrap().len(), 1);
    assert!(rates["seconds"].as_f64().unwrap() >= 1.0);
    daemon.fails(4, &["top", "--pool", "nope"]);
    daemon.fails(2, &["top", "--interval", "0"]);
}

#[test]
fn captured_packets_are_shown_or_written_and_losses_are_said() {
    let daemon = daemon();
    let (code, out, err) = daemon.run(&["capture"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        out,
        "00:00:00.250 no_backend 198.51.100.7:40000 > 203.0.113.10:80 tcp syn ttl 64 length 60\n"
    );
    assert!(err.contains("capturing packets dropped for no_backend, blocked"), "{err}");
    assert!(err.contains("1 packets, 2 lost: its time is over"), "{err}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("drops.pcap");
    daemon.ok(&["capture", "--write", &file.display().to_string()]);
    let written = std::fs::read(&file).unwrap();
    assert_eq!(pcap::frames(&written, 9).unwrap(), [vec![0; 60]]);
    assert!(written.windows(10).any(|bytes| bytes == b"no_backend"));
    assert_eq!(json(&daemon.ok(&["capture", "-o", "json"]))["reason"], "no_backend");
    daemon.fails(2, &["capture", "--reason", "nonsense"]);
    daemon.fails(2, &["capture", "--for", "0s"]);
    assert!(daemon.fails(1, &["capture", "--every", "999"]).contains("another capture is running"));
    daemon.fails(1, &["capture", "--write", "/nonexistent/x"]);
}

#[test]
fn doctor_says_what_is_bad_first_and_ends_accordingly() {
    let daemon = daemon();
    let (code, out, err) = daemon.run(&["doctor", "--config", "/nonexistent.toml"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.starts_with("bad "), "{out}");
    assert!(out.contains("1 critical alert(s)") && out.contains("-> lbctl status"), "{out}");
    assert!(out.contains("/nonexistent.toml"), "{out}");
    let all = json(&daemon.run(&["doctor", "-o", "json"]).1);
    assert!(all.as_array().unwrap().iter().any(|finding| finding["level"] == "ok"));
    let gone = super::lbctl(std::path::Path::new("/nonexistent.sock"), &["doctor"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8(gone.stdout).unwrap().contains("lbd is not reachable"));
}
