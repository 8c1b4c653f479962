//! `lbdecap` itself: what it says and leaves behind, when things are well and when they are not.

use std::process::Output;

use crate::{namespaces::Wire, world::hooks};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn status_tells_what_attach_was_told() {
    let Some(wire) = Wire::new() else { return };
    assert_eq!(wire.done("status"), "nothing is attached\n");
    let told =
        wire.done("attach e0 --address 10.9.0.2 --address fd09::2 --gue-port 9886 --source 10.0.0.0/8");
    assert_eq!(told, "e0: attached (native), to 10.9.0.2 fd09::2, GUE port 9886, from 10.0.0.0/8\n");
    let status = wire.done("status e0");
    let first = "e0 (native): to 10.9.0.2 fd09::2, GUE port 9886, from 10.0.0.0/8\n";
    assert!(status.starts_with(first), "{status}");
    let json: serde_json::Value = serde_json::from_str(&wire.done("status --json")).unwrap();
    assert_eq!(json[0]["hook"], "native");
    assert_eq!(json[0]["addresses"], serde_json::json!(["10.9.0.2", "fd09::2"]));
    assert_eq!(json[0]["packets"]["v4_in_v4"], 0);
}

#[test]
fn verbs_may_be_repeated() {
    let Some(wire) = Wire::new() else { return };
    assert_eq!(wire.done("detach e0"), "e0: nothing was attached\n");
    for verb in ["attached", "changed", "changed"] {
        let told = wire.done("attach e0 --address 10.9.0.2");
        assert!(told.starts_with(&format!("e0: {verb} (native)")), "{told}");
    }
    assert_eq!(wire.done("detach e0"), "e0: detached\n");
    assert_eq!(wire.done("detach e0"), "e0: nothing was attached\n");
    assert!(!wire.pins.exists());
}

#[test]
fn every_hook_can_be_changed_for_every_other() {
    let Some(wire) = Wire::new() else { return };
    for from in hooks() {
        for to in hooks() {
            wire.done(&format!("attach e0 --address 10.9.0.2 --hook {from}"));
            wire.done(&format!("attach e0 --address 10.9.0.2 --hook {to}"));
            let status = wire.done("status e0");
            assert!(status.starts_with(&format!("e0 ({to}):")), "{from} to {to}: {status}");
            let link = wire.host.output("ip", &["-d", "link", "show", "e0"]);
            assert_eq!(link.contains("xdp"), matches!(*to, "native" | "generic"), "{from} to {to}: {link}");
            let filters = wire.host.output("tc", &["filter", "show", "dev", "e0", "ingress"]);
            assert_eq!(filters.contains("lb_decap_tc"), *to == "clsact", "{from} to {to}: {filters}");
        }
    }
}

#[test]
fn an_interface_made_anew_is_attached_anew() {
    let Some(wire) = Wire::new() else { return };
    for hook in hooks() {
        let attach = format!("attach e0 --address 10.9.0.2 --hook {hook}");
        wire.done(&attach);
        wire.host.ip("link del e0\n");
        let status = wire.done("status e0");
        assert!(status.contains("NOT ATTACHED"), "{hook}: {status}");
        let output = wire.lbdecap(&attach);
        assert!(said(&output).contains("e0: no such interface"), "{hook}: {}", said(&output));
        wire.sender.ip(&format!("link add e0 type veth peer name e0 netns {}\n", wire.host.path()));
        wire.done(&attach);
        let status = wire.done("status e0");
        assert!(status.starts_with(&format!("e0 ({hook}):")), "{hook}: {status}");
        wire.host.ip("link del e0\n");
        assert_eq!(wire.done("detach e0"), "e0: detached\n", "{hook}");
        wire.sender.ip(&format!("link add e0 type veth peer name e0 netns {}\n", wire.host.path()));
    }
}

#[test]
fn an_interface_with_a_dot_in_its_name_is_served() {
    let Some(wire) = Wire::new() else { return };
    wire.host.ip("link add e0.7 type veth peer name e7\nlink set e0.7 up\n");
    wire.done("attach e0.7 --address 10.9.0.2");
    assert!(wire.done("status").starts_with("e0.7 (native)"));
    assert_eq!(wire.done("detach e0.7"), "e0.7: detached\n");
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_left_behind() {
    let Some(wire) = Wire::new() else { return };
    let fails = |words: &str, code: i32, why: &str| {
        let output = wire.lbdecap(words);
        assert_eq!(output.status.code(), Some(code), "{words}: {}", said(&output));
        assert!(said(&output).contains(why), "{words}: {}", said(&output));
        assert!(!wire.pins.exists(), "{words} left pins");
    };
    fails("attach nosuch0 --address 10.9.0.2", 1, "nosuch0: no such interface");
    fails("attach e0", 2, "--address");
    fails("attach e0 --address 10.9.0.2/24", 2, "invalid");
    fails("attach e0 --address 127.0.0.1", 1, "balancers cannot send there");
    fails("attach e0 --address 10.9.0.2 --source 10.9.0.2/24", 2, "write 10.9.0.0/24");
    fails("status e0", 4, "nothing is attached");
    // Another program has the place.
    wire.done("attach e0 --address 10.9.0.2");
    let second = wire.with_other_pins();
    let output = second.lbdecap("attach e0 --address 10.9.0.2");
    assert!(said(&output).contains("another XDP program is there"), "{}", said(&output));
    assert!(!second.pins.exists());
    second.done("attach e0 --address 10.9.0.2 --hook clsact");
}

#[test]
fn a_directory_that_is_no_bpf_file_system_is_refused() {
    let Some(mut wire) = Wire::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    wire.pins = dir.path().join("pins");
    let output = wire.lbdecap("attach e0 --address 10.9.0.2");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("mount -t bpf"), "{}", said(&output));
}
