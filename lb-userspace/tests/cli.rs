//! `lbctl` as a process, against a daemon of this test's own and against none.

use lb_userspace as lb;
#[path = "../src/api/fixture.rs"]
mod fixture;
#[path = "cli/lookups.rs"]
mod lookups;

use std::{path::PathBuf, process::Output, thread};

use assert_cmd::Command;
use fixture::Site;
use lb::api::{serve, socket};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Daemon {
    socket: PathBuf,
    site: Site,
    _dir: tempfile::TempDir,
    _stop: DropGuard,
}

fn daemon() -> Daemon {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lbd.sock");
    let site = Site::new();
    let stop = CancellationToken::new();
    let (state, at, token) = (site.socket_state(), path.clone(), stop.clone());
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bound = socket::bind(&at, None).unwrap();
            ready.send(()).unwrap();
            serve::socket(bound, serve::socket_router(state, None), token).await;
        });
    });
    is_ready.recv().unwrap();
    Daemon { socket: path, site, _dir: dir, _stop: stop.drop_guard() }
}

fn lbctl(socket: &std::path::Path, args: &[&str]) -> Output {
    Command::cargo_bin("lbctl")
        .unwrap()
        .env("LBCTL_SOCKET", socket)
        .env("NO_COLOR", "1")
        .args(args)
        .output()
        .unwrap()
}

impl Daemon {
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = lbctl(&self.socket, args);
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    fn ok(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    }

    fn fails(&self, wanted: i32, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, wanted, "{args:?}: {out}{err}");
        assert!(out.is_empty() || wanted == 1, "{out}");
        err
    }
}

#[test]
fn status_puts_problems_first() {
    let out = daemon().ok(&["status"]);
    assert!(out.starts_with("lbd 0.1.0  up "), "{out}");
    assert!(out.contains("eth0  native mode, driver ixgbe\n"), "{out}");
    assert!(out.contains("  flows tracked 20 of 1048576, pinned 65 of 1048576\n"), "{out}");
    assert!(
        out.contains(
            "WARNING  pool text_80: stands out: cp1005 98 % of its connection attempts come to nothing"
        ),
        "{out}"
    );
    let at = |text: &str| out.find(text).unwrap_or_else(|| panic!("{text} is not in\n{out}"));
    assert!(at("CRITICAL  pool dns_53_udp: failing but kept in") < at("WARNING  pool text_80: down: cp1003"));
    assert!(at("dns_53_udp  ") < at("text_80  "), "the pool with a held backend comes first");
    assert!(at("text_80/cp1002  pooled=no by alice ") > at("OVERRIDES"));
    assert!(!out.contains('\x1b'), "no colours in a pipe");
}

#[test]
fn list_shows_every_backend_under_its_service() {
    let out = daemon().ok(&["list"]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines[0],
        "SERVICE  dns  203.0.113.53:53/udp  dr  maglev  pool=dns_53_udp  up 1/2 (floor 1)  table 00000000"
    );
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>().join(" "),
        "-> BACKEND ADDRESS POOLED STATE WEIGHT SHARE ACTIVE INACT CHECK SINCE NOTE"
    );
    let row = |name: &str| {
        let line = out.lines().find(|line| line.contains(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(
        row("cp1001").starts_with("-> cp1001 10.64.0.1 yes serving 100 50.0% ~640 ~128 tcp ok in 4.0ms ")
    );
    assert!(row("cp1002").contains("no draining 100 0.0% ~64 ~0 tcp ok"), "{out}");
    assert!(row("cp1002").contains("draining 1.8%, quiet for 3s; pooled=no by alice"), "{out}");
    assert!(row("cp1003").contains("down 100 0.0% ~0 ~0 tcp: connection refused"), "{out}");
    assert!(row("d1 ").contains(" 7 41 tcp ok"), "{out}");
    assert!(
        row("cp1005")
            .contains("stands out: 98 % of its connection attempts come to nothing (pool's median 1 %)")
    );
    assert!(row("old1").contains("gone from the configuration, 4 slot(s) still drain"));
}

#[test]
fn list_ipvs_has_ipvsadms_shape_and_marks_estimates() {
    let out = daemon().ok(&["list", "--ipvs"]);
    let expected = "\
IP Virtual Server version 0.1.0 (lbd, slots=66558)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
UDP  203.0.113.53:53 mh
  -> 10.64.0.11:53                Route   100    7          41        \n\
\x20 -> 10.64.0.12:53                Route   100    0          0         
TCP  203.0.113.10:80 mh
  -> 10.64.0.1:80                 Route   100    ~640       ~128      
  -> 10.64.0.2:80                 Route   0      ~64        ~0        
  -> 10.64.0.5:80                 Route   100    ~576       ~64       
TCP  [2001:db8::10]:80 mh
  -> 10.64.0.1:80                 Route   100    ~640       ~128      
  -> 10.64.0.2:80                 Route   0      ~64        ~0        
  -> 10.64.0.5:80                 Route   100    ~576       ~64       
";
    assert_eq!(out, expected);
}

#[test]
fn list_has_wide_columns_and_rates_when_asked() {
    let daemon = daemon();
    let row = |out: &str| {
        let line = out.lines().find(|line| line.contains("cp1001")).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let wide = daemon.ok(&["list", "-o", "wide", "--pool", "text_80"]);
    assert!(row(&wide).starts_with(
        "-> cp1001 10.64.0.1 yes serving 100 50.0% ~640 ~128 ~12 11 0.2 600 60 0 40 0s 02:00:00:00:00:01"
    ));
    assert!(!wide.contains("dns"));
    let rate = daemon.ok(&["list", "--rate"]);
    assert!(rate.contains("CONN/S  PKT/S") && row(&rate).contains(" 50.0% ~640 ~128 0 0 tcp ok"), "{rate}");
    assert!(daemon.fails(4, &["list", "--pool", "nope"]).contains("no pool nope"));
    daemon.fails(2, &["list", "--ipvs", "-o", "json"]);
}

#[test]
fn status_says_that_lbd_is_starting() {
    let daemon = daemon();
    let mut snapshot = daemon.site.snapshot.borrow().as_ref().clone();
    snapshot.ready = false;
    snapshot.revision += 2;
    daemon.site.snapshot.send_replace(std::sync::Arc::new(snapshot));
    let out = daemon.ok(&["status"]);
    assert!(out.contains("the kernel is 2 revision(s) behind"), "{out}");
    assert!(out.contains("WARNING  starting: the first configuration"), "{out}");
}

#[test]
fn json_is_the_apis_answer() {
    let daemon = daemon();
    let list: serde_json::Value = serde_json::from_str(&daemon.ok(&["list", "-o", "json"])).unwrap();
    assert_eq!(list["pools"][1]["members"][1]["state"], "draining");
    assert_eq!(list["pools"][1]["members"][1]["override"]["by"], "alice");
    assert_eq!(list["services"][0]["protocol"], "udp");
    let status: serde_json::Value = serde_json::from_str(&daemon.ok(&["-o", "json", "status"])).unwrap();
    assert_eq!(status["alerts"][0]["severity"], "critical");
}

#[test]
fn show_takes_names_of_all_kinds_and_lvs_words() {
    let daemon = daemon();
    assert!(daemon.ok(&["show", "real", "cp1002"]).contains("state          draining since"));
    let shown = daemon.ok(&["show", "cp1005"]);
    for text in [
        "connections    ~576 active, ~64 inactive (estimated from one flow in 64)",
        "per second     ~12 new connections; 12 SYN, ~0.5 of them repeated, 11 FIN, 0.2 RST (over 1m)",
        "stands out     98 % of its connection attempts come to nothing (pool's median 1 %), for ",
        "like the pool  connections 1.00 (1.00), resets 0.02 (0.02), refused 0.98 (0.01);",
    ] {
        assert!(shown.contains(text), "{text}\n{shown}");
    }
    assert!(daemon.ok(&["show", "text_80"]).contains("0.5: 2 of 4 must stay up and enabled, 2 are"));
    assert!(daemon.ok(&["show", "virtual", "text"]).contains("203.0.113.10:80/tcp [2001:db8::10]:80/tcp"));
    assert!(daemon.ok(&["show", "old1"]).contains("4 slot(s) still drain"));
    assert!(daemon.fails(4, &["show", "cp9"]).contains("there is no pool, service or backend cp9"));
    assert!(daemon.fails(4, &["show", "pool", "cp1001"]).contains("no pool"));
    assert!(daemon.fails(2, &["show", "banana", "cp1001"]).contains("banana"));
}

#[test]
fn depool_with_wait_returns_when_nothing_is_left() {
    let daemon = daemon();
    let (code, out, err) = daemon.run(&["depool", "cp1001", "--wait", "--reason", "reboot", "--for", "30m"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("text_80/cp1001  changed  pooled=yes -> pooled=no"), "{out}");
    assert!(err.contains("waiting: text_80/cp1001: ") && err.contains("slot(s) drain"), "{err}");
    let asked = daemon.site.daemon.asked.lock().unwrap()[0].clone();
    assert!(asked.contains("reason: Some(\"reboot\")") && asked.contains("1800s"), "{asked}");
    let share = daemon.site.datapath.status.lock().unwrap().pools["text_80"].backends["cp1001"];
    assert_eq!(share.draining_slots, 0);
}

#[test]
fn depool_that_does_not_end_in_time_says_so() {
    let daemon = daemon();
    let err = daemon.fails(1, &["depool", "cp1005", "--wait=1s"]);
    assert!(err.contains("not reached within 1s: text_80/cp1005: 32800 slot(s) drain"), "{err}");
}

#[test]
fn pool_and_weight_wait_too_and_repeat_harmlessly() {
    let daemon = daemon();
    assert!(daemon.ok(&["pool", "text_80/cp1002", "--wait"]).contains("changed"));
    assert!(daemon.ok(&["pool", "cp1002"]).contains("unchanged  nothing to do"));
    assert!(daemon.ok(&["weight", "cp1002", "20", "--wait"]).contains("weight 100 -> 20"));
    assert!(daemon.ok(&["weight", "cp1002", "reset"]).contains("weight 20 -> 100"));
    assert!(daemon.ok(&["drain", "cp1002", "--dry-run"]).contains("would change"));
    assert!(daemon.ok(&["pool", "cp1002"]).contains("unchanged"), "the dry run changed nothing");
}

#[test]
fn exit_codes_are_what_scripts_expect() {
    let daemon = daemon();
    let refused = daemon.fails(1, &["depool", "d1"]);
    assert!(refused.contains("the threshold wants 1") && refused.contains("--force"), "{refused}");
    assert!(daemon.ok(&["depool", "d1", "--force"]).contains("changed"));
    daemon.fails(4, &["depool", "nobody"]);
    daemon.fails(2, &["depool"]);
    daemon.fails(2, &["depool", "a b"]);
    daemon.fails(2, &["depool", "text_80/cp1001", "--pool", "dns_53_udp"]);
    daemon.fails(2, &["depool", "cp1001", "--for", "30"]);
    daemon.fails(2, &["weight", "cp1001", "10001"]);
    daemon.fails(2, &["frobnicate"]);
    daemon.fails(1, &["check", "now", "cp1003"]);
    daemon.ok(&["check", "now", "cp1001"]);
}

#[test]
fn without_a_daemon_it_says_where_it_looked_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("lbd.sock");
    let output = lbctl(&socket, &["status"]);
    assert_eq!(output.status.code(), Some(3));
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        err,
        format!(
            "lbctl: lbd is not reachable at {}: No such file\n  Is it running? systemctl status lbd\n",
            socket.display()
        )
    );
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let output = lbctl(&socket, &["list"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("Connection refused"));
}

#[test]
fn where_walks_the_packet_for_new_and_established_connections() {
    let daemon = daemon();
    let out = daemon.ok(&["where", "198.51.100.7:40000", "203.0.113.10:80"]);
    assert_eq!(
        out,
        "\
198.51.100.7:40000 -> 203.0.113.10:80 tcp, new connection
  service   text, pool text_80
  slot      411 of 65537
  owner     cp1001 for new connections, cp1002 for older ones: the slot is in transition
  decided   by the slot's new owner
  verdict   forward to cp1001 (10.64.0.1) at 02:00:00:00:00:01 on eth0
  in short  A packet of service text goes to cp1001.

198.51.100.7:40000 -> 203.0.113.10:80 tcp, established connection
  service   text, pool text_80
  slot      411 of 65537
  owner     cp1001 for new connections, cp1002 for older ones: the slot is in transition
  decided   by the slot's base: no pin, so the flow is older than the transition
  verdict   forward to cp1002 (10.64.0.2) at 02:00:00:00:00:02 on eth0
  in short  A packet of service text goes to cp1002.
"
    );
    let out = daemon.ok(&["where", "198.51.100.7:1", "203.0.113.10:80", "-o", "json"]);
    let routes: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&routes["new"]["backend"], &routes["established"]["decided_by"]),
        (&"cp1001".into(), &"base".into())
    );
    let out = daemon.ok(&["where", "198.51.100.7:1", "203.0.113.10:81"]);
    assert!(
        out.starts_with("198.51.100.7:1 -> 203.0.113.10:81 tcp, new connection or established connection\n"),
        "{out}"
    );
    let out = daemon.ok(&["where", "[2001:db8::7]:4000", "[2001:db8::10]:81", "udp"]);
    assert!(out.contains("verdict   to the kernel's own stack, unchanged: No service has this"), "{out}");
    daemon.fails(2, &["where", "198.51.100.7", "203.0.113.10:80"]);
    daemon.fails(2, &["where", "198.51.100.7:1", "[::1]:80"]);
}

#[test]
fn drops_explains_what_happened_and_hides_what_did_not() {
    let daemon = daemon();
    let out = daemon.ok(&["drops"]);
    assert!(out.contains("not_service  pass        4321  No service has"), "{out}");
    assert!(!out.contains("no_backend"));
    assert!(daemon.ok(&["drops", "--all"]).contains("no_backend"));
}

#[test]
fn config_verbs_report_and_refuse() {
    let daemon = daemon();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    assert!(daemon.ok(&["config", "test"]).contains("/etc/lbd/lbd.toml: good"));
    assert!(daemon.ok(&["config", "reload"]).contains("backend cp1006 added"));
    assert!(daemon.ok(&["config", "diff", &file("a.toml", "fine")]).contains("port 80 -> 8080"));
    let bad = file("b.toml", "bad");
    let err = daemon.fails(1, &["config", "test", &bad]);
    assert!(err.contains(&format!("{bad}:1:1: `bad` is not a key")), "{err}");
    daemon.fails(4, &["config", "test", "/nonexistent.toml"]);
    let big = file("c.toml", &"# many lines\n".repeat(20_000));
    assert!(daemon.ok(&["config", "test", &big]).contains("good"));
}

#[test]
fn shutdown_and_completions_work() {
    let daemon = daemon();
    assert!(daemon.ok(&["shutdown", "--detach"]).contains("forwarding ends"));
    assert!(daemon.ok(&["completions", "bash"]).contains("_lbctl"));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let daemon = daemon();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("lbctl"))
        .env("LBCTL_SOCKET", &daemon.socket)
        .args(["completions", "zsh"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
