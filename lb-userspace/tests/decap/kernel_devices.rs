//! `deploy/backend/lbd-tunnel-setup`: the kernel's own tunnel devices, where the kernel has them, and what the script says where not.

use std::process::{Command, Output};

use crate::{
    combinations::all,
    frame::{Family, Wrap},
    namespaces::{HOST4, HOST6, PATIENCE, SHORT, Wire, serve},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/backend/lbd-tunnel-setup");

fn script(words: &str) -> Output {
    Command::new("sh").arg(SCRIPT).args(words.split_whitespace()).output().expect("sh")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_dry_run_prints_the_commands() {
    let output = script("gue --address 192.0.2.2 --address 2001:db8::2 --port 9886 --dry-run");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    for command in [
        "ip link add lbd-ipip type ipip local 192.0.2.2 remote any\n",
        "ip link add lbd-sit type sit local 192.0.2.2 remote any mode ip6ip\n",
        "ip link add lbd-ip6 type ip6tnl local 2001:db8::2 remote any mode any encaplimit none\n",
        "ip -4 fou add port 9886 gue\n",
        "ip -6 fou add port 9886 gue\n",
        "ip address add 192.0.0.8/32 dev lbd-ipip scope host\n",
        "sysctl net.ipv4.conf.lbd-ipip.rp_filter=2\n",
    ] {
        assert!(printed.contains(command), "{command}is not in\n{printed}");
    }
    let only4 = text(&script("ipip --address 192.0.2.2 --dry-run").stdout);
    assert!(!only4.contains("ip6tnl") && !only4.contains("fou"), "{only4}");
}

#[test]
fn arguments_that_cannot_be_meant_are_refused_before_anything_is_done() {
    for (words, why) in [
        ("", "one of ipip"),
        ("ipip", "needs --address"),
        ("gue --address 192.0.2.2/24", "without a prefix length"),
        ("gue --address vip", "not an address"),
        ("gue --address 192.0.2.2 --address 192.0.2.3", "one IPv4 address"),
        ("gue --address 192.0.2.2 --port 0", "not a port"),
        ("gue --address 192.0.2.2 --port 65536", "not a port"),
        ("gue --address 192.0.2.2 --port", "needs a port"),
        ("gue ipip --address 192.0.2.2", "one of ipip"),
        ("ipip --adress 192.0.2.2", "what is --adress"),
    ] {
        let output = script(words);
        assert_eq!(output.status.code(), Some(2), "{words}: {}", text(&output.stdout));
        assert!(text(&output.stderr).contains(why), "{words}: {}", text(&output.stderr));
    }
}

#[test]
fn a_vip_answers_through_every_tunnel_of_the_kernel() {
    let Some(wire) = Wire::new() else { return };
    let run = |words: &str| wire.host.run(|| script(words));
    let addresses = format!("--address {HOST4} --address {HOST6}");
    let output = run(&format!("gue {addresses}"));
    if text(&output.stderr).contains("has this kernel the module") {
        eprintln!("skipped: this kernel has no tunnel devices: {}", text(&output.stderr));
        return;
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    serve(&wire.host);
    // A strict filter would drop every packet: the way back to the client is not the tunnel.
    wire.host.sysctl("ipv4/conf/all/rp_filter", 1);
    for tunnel in all() {
        assert!(wire.asks(tunnel, PATIENCE), "no answer through {tunnel:?}");
    }
    // Without the address a loose filter is a strict one.
    wire.host.ip("addr del 192.0.0.8/32 dev lbd-ipip\n");
    assert!(!wire.asks((Family::V4, Wrap::IpIp, Family::V4), SHORT), "the address is not needed");
    assert!(
        text(&run(&format!("check gue {addresses}")).stdout)
            .contains("missing: address 192.0.0.8/32 on lbd-ipip")
    );
    run(&format!("gue {addresses}"));
    let again = run(&format!("gue {addresses}"));
    assert_eq!(
        (again.status.code(), text(&again.stdout)),
        (Some(0), String::new()),
        "{}",
        text(&again.stderr)
    );
    let check = run(&format!("check gue {addresses}"));
    assert_eq!(
        (check.status.code(), text(&check.stdout)),
        (Some(0), String::new()),
        "{}",
        text(&check.stderr)
    );
    let check = run("check gue --address 10.9.0.77");
    assert!(text(&check.stdout).contains("lbd-ipip is for another address"), "{}", text(&check.stdout));
    assert_eq!(check.status.code(), Some(1));
    let removed = run("remove");
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    let check = run(&format!("check gue {addresses}"));
    assert_eq!(text(&check.stdout).lines().count(), 5, "{}", text(&check.stdout));
    for tunnel in all().take(1) {
        assert!(!wire.asks(tunnel, SHORT), "answered after remove");
    }
}
