//! Checks on the way of clients' packets: a host that answers on its own address but has lost the VIP, or its end of the tunnel, is found.

use std::{net::IpAddr, path::PathBuf, process::Command};

use crate::{
    daemon::Lbd,
    site::{SERVICE, Settings, Site, VIP4, VIP6},
    until::until,
};

const BY_VIP: &str = r#"kind = "http", via = "vip", url = "http://cache.example.org/check", interval = "300ms", timeout = "300ms", jitter = 0, fall = 2"#;
const BY_ADDRESS: &str = r#"kind = "http", via = "backend", url = "http://cache.example.org/check", interval = "300ms", timeout = "300ms", jitter = 0, fall = 2"#;
/// A connection that is kept: its packets go on for as long as the check is wanted.
const IDLE_BY_VIP: &str = r#"kind = "idle", via = "vip", interval = "300ms", timeout = "300ms", jitter = 0"#;

/// The hosts' addresses of one family.
fn addresses(settings: &mut Settings, v4: bool) {
    for (n, (_, address, _)) in settings.hosts.iter_mut().enumerate() {
        let host = 11 + n;
        let text = if v4 { format!("10.9.0.{host}") } else { format!("fd09::{host}") };
        *address = text.parse().expect("an address");
    }
}

fn vip(v4: bool) -> IpAddr {
    if v4 { VIP4 } else { VIP6 }
}

/// Takes the VIP from a host, or gives it back.
fn vip_on(site: &Site, host: &str, v4: bool, there: bool) {
    let verb = if there { "add" } else { "del" };
    let (length, nodad) = if v4 { (32, "") } else { (128, if there { " nodad" } else { "" }) };
    site.host(host).namespace.ip(&format!("addr {verb} {}/{length} dev lo{nodad}\n", vip(v4)));
}

/// The host loses its VIP, is found, gets it again, and serves.
fn loss_is_found(site: &Site, v4: bool) {
    vip_on(site, "h2", v4, false);
    let member = site.until_state("h2", "down");
    assert!(member["why"].as_str().is_some_and(|why| why.contains("timed out")), "{member:#}");
    for other in ["h1", "h3"] {
        assert_eq!(site.member(other)["state"], "serving");
    }
    vip_on(site, "h2", v4, true);
    site.until_state("h2", "serving");
}

#[test]
fn a_host_that_lost_the_vip_is_found_by_the_vip() {
    let Some(site) = Site::new() else { return };
    for v4 in [true, false] {
        site.configure(|settings| {
            settings.check = BY_VIP;
            addresses(settings, v4);
        });
        let lbd = site.start();
        let check = site.member("h2")["checks"][0].clone();
        assert_eq!(check["vip"], vip(v4).to_string(), "{check:#}");
        loss_is_found(&site, v4);
        for event in ["sent", "answered"] {
            site.until_metric("lb_check_packets_total", &[&format!("event=\"{event}\"")], |n| n > 0.0);
        }
        assert!(
            site.ctl(&["show", "h2"])
                .contains(&format!("http to {}", std::net::SocketAddr::new(vip(v4), 80)))
        );
        lbd.terminate();
    }
}

#[test]
fn a_host_that_lost_the_vip_is_not_found_by_its_own_address() {
    let Some(site) = Site::new() else { return };
    site.configure(|settings| settings.check = BY_ADDRESS);
    let _lbd = site.start();
    vip_on(&site, "h2", true, false);
    let passes = || site.member("h2")["checks"][0]["last"]["passes"].as_u64().expect("a number");
    let before = passes();
    until("the check passes on", || (passes() > before + 3).then_some(()));
    assert_eq!(site.member("h2")["state"], "serving");
    assert_eq!(site.member("h2")["checks"][0]["vip"], serde_json::Value::Null);
}

#[test]
fn checks_work_while_the_vip_is_the_balancers_own_as_well() {
    let Some(site) = Site::new() else { return };
    site.balancer.ip(&format!("addr add {VIP4}/32 dev lo\naddr add {VIP6}/128 dev lo nodad\n"));
    // Nobody listens there: a check that went to this host's own address would fail, or pass for the wrong reason.
    for v4 in [true, false] {
        site.configure(|settings| {
            settings.check = BY_VIP;
            addresses(settings, v4);
        });
        let lbd = site.start();
        loss_is_found(&site, v4);
        assert_eq!(site.requests(20).len(), 3);
        lbd.terminate();
    }
}

#[test]
fn a_kept_connection_goes_by_the_vip_and_survives_many_others() {
    let Some(mut site) = Site::new() else { return };
    site.configure(|settings| settings.check = IDLE_BY_VIP);
    let lbd = site.start();
    let log = site.log();
    // Its reset comes from the VIP, at once.
    site.kill_server("h2");
    site.until_state("h2", "down");
    site.start_server("h2");
    site.until_state("h2", "serving");
    assert_eq!(site.log().matches("h1 serving -> ").count(), log.matches("h1 serving -> ").count());
    // Another daemon takes the place of one that could not tidy up.
    lbd.kill();
    let _lbd = site.start();
    loss_is_found_by_opening(&site);
}

/// A connection that is open says nothing of the VIP until it is used; a new one cannot be opened.
fn loss_is_found_by_opening(site: &Site) {
    vip_on(site, "h2", true, false);
    let run = site.lbctl(&["check", "now", "h2"]);
    assert_eq!(run.code, 1, "{run:?}");
    vip_on(site, "h2", true, true);
    site.until_state("h2", "serving");
}

/// `lbdecap` on every host of a site.
struct Decapsulators<'s> {
    site: &'s Site,
    pins: PathBuf,
}

impl<'s> Decapsulators<'s> {
    fn new(site: &'s Site) -> Self {
        // bpffs takes no dots.
        let all = Self { site, pins: PathBuf::from(format!("{}-decap", site.bpf.display())) };
        for (host, number) in ["h1", "h2", "h3"].into_iter().zip(11..) {
            all.attach(host, number);
        }
        all
    }

    fn attach(&self, host: &str, number: u8) {
        self.run(host, &format!("attach e0 --address 10.9.0.{number} --address fd09::{number}"));
    }

    fn run(&self, host: &str, words: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbdecap"));
        command.arg("--bpf-dir").arg(self.pins.join(host)).args(words.split(' '));
        let output = self.site.host(host).namespace.run(|| command.output().expect("lbdecap runs"));
        assert!(output.status.success(), "lbdecap {words}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Decapsulators<'_> {
    fn drop(&mut self) {
        if self.pins.exists() {
            until("the pins are removed", || std::fs::remove_dir_all(&self.pins).ok());
        }
    }
}

fn through_tunnels(method: &'static str) {
    let Some(site) = Site::new() else { return };
    // What XDP takes out of its tunnel on a veth must have its checksum.
    site.balancer.output("ethtool", &["-K", "e0", "tx", "off"]);
    let decapsulators = Decapsulators::new(&site);
    for v4 in [true, false] {
        site.configure(|settings| {
            settings.check = BY_VIP;
            settings.pool = method;
            addresses(settings, v4);
        });
        let lbd: Lbd = site.start();
        loss_is_found(&site, v4);
        assert!(site.request(SERVICE[usize::from(!v4)]).is_ok());
        // The host has the VIP, and its end of the tunnel is gone.
        decapsulators.run("h3", "detach e0");
        site.until_state("h3", "down");
        decapsulators.attach("h3", 13);
        site.until_state("h3", "serving");
        lbd.terminate();
    }
}

#[test]
fn a_host_behind_ipip_that_lost_the_vip_or_its_end_of_the_tunnel_is_found() {
    through_tunnels("method = \"ipip\"");
}

#[test]
fn a_host_behind_gue_that_lost_the_vip_or_its_end_of_the_tunnel_is_found() {
    through_tunnels("method = \"gue\"");
}
