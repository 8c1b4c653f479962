//! What operators look up, against what is really in the kernel: packets of every shape, tables, flows, captured drops.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use aya::maps::{Array, Map, MapData};
use lb_common::ABI_VERSION;
use lb_userspace::cli::pcap;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    site::{CLIENT4, CLIENT6, SERVICE, Site},
    until::until,
};

/// The daemon's words to the program, from its pinned map.
fn settings(site: &Site) -> [u64; 8] {
    words::<8>(site, "SETTINGS").get(&0, 0).expect("the only element")
}

fn words<const N: usize>(site: &Site, name: &str) -> Array<MapData, [u64; N]> {
    let pin: PathBuf = site.bpf.join(format!("tables_v{ABI_VERSION}")).join(name);
    let map = MapData::from_pin(&pin).unwrap_or_else(|e| panic!("{}: {e}", pin.display()));
    Map::from_map_data(map).expect("a map").try_into().expect("an array")
}

/// Sends a first packet that does not survive a hop.
fn dying_packet(site: &Site, to: SocketAddr) {
    site.client.run(|| {
        let socket =
            Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        if to.is_ipv4() { socket.set_ttl_v4(1) } else { socket.set_unicast_hops_v6(1) }.expect("a TTL");
        // The answer never comes.
        assert!(socket.connect_timeout(&to.into(), Duration::from_millis(100)).is_err());
    });
}

fn capture(site: &Site, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lbctl"))
        .arg("--socket")
        .arg(site.dir.path().join("lbd.sock"))
        .arg("capture")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("lbctl starts")
}

#[test]
fn a_dropped_packet_ends_in_the_capture_file_and_copying_ends_with_it() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    let file = site.dir.path().join("drops.pcap");
    let name = file.display().to_string();
    let mut lbctl =
        capture(&site, &["--reason", "ttl_expired", "--count", "3", "--for", "60s", "--write", &name]);
    until("the program is told to copy", || (settings(&site)[4] == 1).then_some(()));
    assert_eq!(settings(&site)[5].count_ones(), 1, "one reason");
    // What is forwarded, or dropped for another reason, is not copied.
    site.requests(5);
    let ended = until("three packets were copied", || {
        for vip in SERVICE {
            dying_packet(&site, vip);
        }
        lbctl.try_wait().expect("a child of ours")
    });
    assert!(ended.success());
    let written = std::fs::read(&file).expect("a file");
    let frames = pcap::frames(&written, 100).expect("a capture file");
    assert_eq!(frames.len(), 3);
    for frame in &frames {
        let hops = if frame[12..14] == [0x86, 0xdd] { 21 } else { 22 };
        assert_eq!(frame[hops], 1, "{frame:02x?}");
    }
    let comments = written.windows(11).filter(|bytes| *bytes == b"ttl_expired").count();
    assert_eq!(comments, 3, "each says why");
    until("the program copies no more", || (settings(&site)[4..6] == [0, 0]).then_some(()));

    // The program's answer for such a frame is what happened to it.
    let answer: Value =
        serde_json::from_str(&site.ctl(&["-o", "json", "where", "--pcap", &name])).expect("JSON");
    assert_eq!(answer[0]["reason"][0], "ttl_expired", "{answer:#}");
}

#[test]
fn copying_ends_when_whoever_wanted_it_dies_and_when_lbd_ends() {
    let Some(site) = Site::new() else { return };
    let lbd = site.start();
    let mut lbctl = capture(&site, &["--every", "7", "--for", "10m"]);
    until("the program is told to copy", || (settings(&site)[4] == 7).then_some(()));
    let refused = site.lbctl(&["capture", "--for", "1s"]);
    assert!(refused.code == 1 && refused.stderr.contains("another capture"), "{refused:#?}");
    lbctl.kill().expect("a child of ours");
    lbctl.wait().expect("it ends");
    until("nobody's wish is forgotten", || (settings(&site)[4] == 0).then_some(()));

    let mut lbctl = capture(&site, &["--for", "10m"]);
    until("the program is told to copy", || (settings(&site)[4] == 1).then_some(()));
    lbd.terminate();
    assert_eq!(settings(&site)[4..6], [0, 0]);
    lbctl.wait().expect("it ends");

    // A daemon that is killed leaves the words behind; the next one takes them back.
    let lbd = site.start();
    let mut lbctl = capture(&site, &["--for", "10m"]);
    until("the program is told to copy", || (settings(&site)[4] == 1).then_some(()));
    lbd.kill();
    lbctl.wait().expect("it ends");
    assert_eq!(settings(&site)[4], 1);
    let _lbd = site.start();
    assert_eq!(settings(&site)[4], 0);
}

#[test]
fn packets_of_every_shape_are_answered_by_the_program() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    for (vip, client) in SERVICE.iter().zip([CLIENT4, CLIENT6]) {
        let (source, vip_port) = (SocketAddr::new(client, 21_000).to_string(), vip.to_string());
        let ask = |more: &[&str]| -> Value {
            let arguments = [&["-o", "json", "where", source.as_str(), vip_port.as_str()], more].concat();
            let answer: Value = serde_json::from_str(&site.ctl(&arguments)).expect("JSON");
            answer["packet"].clone()
        };
        let syn = ask(&["--syn"]);
        assert_eq!(
            (&syn["verdict"], &syn["decided_by"], &syn["method"]),
            (&"forward".into(), &"slot".into(), &"dr".into()),
            "{syn:#}"
        );
        assert_eq!(syn["interface"], "e0", "{syn:#}");
        for more in [&["--fin", "--ack"][..], &["--rst"], &["--length", "1500", "--ack"]] {
            assert_eq!(ask(more)["backend"], syn["backend"], "{more:?}");
        }
        let quoted = ask(&["--quoted"]);
        assert_eq!((&quoted["quoted"], &quoted["backend"]), (&true.into(), &syn["backend"]), "{quoted:#}");
        assert_eq!(ask(&["--ttl", "1", "--syn"])["reason"][0], "ttl_expired");
        assert_eq!(ask(&["--fragment", "later", "--id", "77"])["reason"][0], "fragment_unknown");
        assert_eq!(ask(&["--fragment", "first", "--id", "77"])["backend"], syn["backend"]);
        assert_eq!(ask(&["--protocol", "sctp"])["reason"][0], "sctp");
        assert_eq!(ask(&["--protocol", "udp"])["verdict"], "pass");
        let (bare, vip_bare) = (client.to_string(), vip.ip().to_string());
        let echo = site.ctl(&["-o", "json", "where", &bare, &vip_bare, "icmp"]);
        assert!(echo.contains("\"answer\"") && echo.contains("echo_reply"), "{echo}");
        // A frame that is given as it is, is the same question.
        let frame = syn["frame"].as_str().expect("a frame");
        let again: Value =
            serde_json::from_str(&site.ctl(&["-o", "json", "where", "--frame", frame])).expect("JSON");
        assert_eq!(again["packet"], syn);
        // What leaves differs from what came in its addresses only: the way to the backend, and one hop less.
        let out = syn["frame_out"].as_str().expect("a frame");
        assert!(out.len() == frame.len() && out != frame);
        assert!(site.ctl(&["flows", &source, &vip_port]).contains("goes to cache/"));
    }
}

#[test]
fn tables_are_told_as_they_are_and_drift_is_repaired_and_counted() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    let digest = site.pool()["table"]["digest"].as_str().expect("a digest").to_owned();
    assert_eq!(site.ctl(&["table", "digest"]), format!("{digest} 1021 cache\n"));
    let shown: Value =
        serde_json::from_str(&site.ctl(&["-o", "json", "table", "show", "cache", "--slots"])).expect("JSON");
    assert_eq!(
        (&shown["digest"], &shown["wanted_digest"]),
        (&digest.as_str().into(), &digest.as_str().into())
    );
    assert_eq!(shown["owners"]["cur"].as_array().expect("slots").len(), 1_021);
    for backend in shown["backends"].as_array().expect("backends") {
        assert!((330..=350).contains(&backend["slots"].as_u64().expect("a number")), "{backend:#}");
    }
    assert!(site.ctl(&["table", "diff", "cache"]).contains("every slot has the owner"));
    // Against itself by file, and against a balancer where one host is out.
    let file = site.dir.path().join("table.json");
    std::fs::write(&file, site.ctl(&["table", "export"])).expect("a file");
    let file = file.display().to_string();
    assert!(site.ctl(&["table", "diff", "cache", "--against", &file]).contains("every backend has the same"));
    site.ctl(&["depool", "h2"]);
    site.until_state("h2", "draining");
    let differs = site.lbctl(&["table", "diff", "cache", "--against", &file]);
    assert!(differs.code == 1 && differs.stdout.contains("h2"), "{differs:#?}");
    site.ctl(&["pool", "h2"]);
    site.until_state("h2", "serving");

    // Somebody else writes into the tables: four slots of nobody.
    let mut slots = words::<8>(&site, "SLOTS");
    let before = slots.get(&0, 0).expect("a line of slots");
    let mut drifted = before;
    drifted[0] = 0;
    slots.set(0, drifted, 0).expect("a write");
    until("the slots are put right", || (slots.get(&0, 0).expect("a line")[0] == before[0]).then_some(()));
    until("it is counted and told", || {
        site.ctl(&["table", "show", "cache"]).contains("repaired since lbd started").then_some(())
    });
}

#[test]
fn flows_of_a_moving_slot_are_pinned_counted_and_found() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    site.ctl(&["depool", "h1"]);
    site.until_state("h1", "draining");
    site.requests(40);
    let counted = until("pins are counted", || {
        let all: Value = serde_json::from_str(&site.ctl(&["-o", "json", "flows", "cache"])).expect("JSON");
        let pins = |of: &Value| {
            of["kinds"]["pin_protected"]
                .as_array()
                .map_or(0, |ages| ages.iter().filter_map(Value::as_u64).sum::<u64>())
        };
        let backends = all["backends"].as_array().expect("backends").clone();
        (backends.iter().map(pins).sum::<u64>() > 0).then_some(backends)
    });
    assert!(counted.iter().all(|of| of["pool"] == "cache" && of["backend"] != "h1"), "{counted:#?}");
    // A flow whose slot moves: known by a pin once it exists.
    let vip = SERVICE[0];
    let port = until("a port whose slot moves", || {
        (22_000..22_200u16).find(|port| {
            let source = SocketAddr::new(CLIENT4, *port).to_string();
            let text = site.ctl(&["where", &source, &vip.to_string(), "--syn"]);
            text.contains("in transition")
        })
    });
    let served = site.client.run(|| crate::client::request_from(port, vip)).expect("an answer");
    let source = SocketAddr::new(CLIENT4, port).to_string();
    let report: Value =
        serde_json::from_str(&site.ctl(&["-o", "json", "flows", &source, &vip.to_string()])).expect("JSON");
    let known = report["known"].as_array().expect("entries");
    assert!(known.iter().any(|k| k["backend"] == format!("cache/{served}")), "{report:#}");
    assert_eq!(report["route"]["decided_by"], "pin", "{report:#}");
    assert_eq!(site.lbctl(&["flows", "nope"]).code, 4);
}
