//! The configuration changes under a running daemon: wholly or not at all.

use std::{fs, net::SocketAddr, time::Instant};

use nix::sys::signal::Signal;

use crate::{
    client::{Conversation, Load},
    site::{SERVICE, Site, VIP4, VIP6},
    until::until,
};

/// Another service of the same pool.
const SECOND: &str = "[services.second]\nvips = [\"10.9.1.1\", \"fd09:1::1\"]\nport = 81\npool = \"cache\"\n";

/// A check of its own port: two services have two.
const CHECK: &str = r#"kind = "tcp", port = 80, interval = "200ms", timeout = "200ms", jitter = 0, fall = 2"#;

#[test]
fn services_backends_and_weights_come_and_go_without_a_failed_request() {
    let Some(site) = Site::new() else { return };
    site.configure(|settings| settings.check = CHECK);
    let lbd = site.start();
    let mut talk = Conversation::with(&site.client, SERVICE[0], "h3");
    let load = Load::start(&site.client, &SERVICE);
    load.more(50);

    // Nothing changed: nothing happens.
    let said = site.ctl(&["config", "reload"]);
    assert!(said.contains("nothing changed"), "{said}");

    let second = [VIP4, VIP6].map(|vip| SocketAddr::new(vip, 81));
    assert!(second.iter().all(|to| site.request(*to).is_err()));
    site.configure(|settings| {
        settings.check = CHECK;
        settings.further = SECOND.to_owned();
    });
    let said = site.ctl(&["config", "diff"]);
    assert!(said.contains("would change") && said.contains("second"), "{said}");
    assert!(second.iter().all(|to| site.request(*to).is_err()), "a diff changes nothing");
    let said = site.ctl(&["config", "reload"]);
    assert!(said.contains("second"), "{said}");
    for to in second {
        until("the new service answers", || site.request(to).ok());
    }

    // By signal: a host goes, another gets more, the service goes again.
    site.configure(|settings| {
        settings.check = CHECK;
        settings.hosts.pop();
        settings.hosts[0].2 = 30;
    });
    lbd.signal(Signal::SIGHUP);
    until("the pool has two hosts", || (site.pool()["members"].as_array()?.len() == 2).then_some(()));
    site.until_all("serving");
    until("h1 has three quarters", || (site.member("h1")["table"]["slots"] == 766).then_some(()));
    let reloaded = Instant::now();
    load.more(150);
    assert!(!load.since(reloaded).contains_key("h3"), "{:?}", load.since(reloaded));
    assert_eq!(talk.ask().expect("a removed host keeps its connections"), "h3");
    assert!(second.iter().all(|to| site.request(*to).is_err()));
    site.until_metric("lb_config_last_reload_successful", &[], |n| n > 0.0);
    load.end_without_failure();
}

#[test]
fn a_bad_file_changes_nothing_and_all_its_problems_are_told() {
    let Some(site) = Site::new() else { return };
    let lbd = site.start();
    let good = fs::read_to_string(site.config()).expect("the configuration");
    let bad = good.replace("port = 80", "port = 99999").replace("slots = 1021", "slots = \"many\"")
        + "wieght = 3\n";
    fs::write(site.config(), &bad).expect("writing the configuration");
    for verb in ["test", "reload", "diff"] {
        let ran = site.lbctl(&["config", verb]);
        assert_eq!(ran.code, 1, "{verb}: {ran:?}");
        for problem in ["99999", "slots", "wieght", "lbd.toml:"] {
            assert!(ran.stderr.contains(problem), "{verb} says nothing of {problem}: {}", ran.stderr);
        }
    }
    site.until_metric("lb_config_last_reload_successful", &[], |n| n <= 0.0);
    let status = site.ctl(&["status"]);
    assert!(status.contains("reload"), "{status}");
    // The same by signal, and a file that is no TOML at all, and none.
    let reloads = || site.metric("lb_config_reloads_total", &[]);
    for text in [Some(bad.as_str()), Some("[lbd\u{0}"), None] {
        let before = reloads();
        match text {
            Some(text) => fs::write(site.config(), text).expect("writing the configuration"),
            None => fs::remove_file(site.config()).expect("removing the configuration"),
        }
        lbd.signal(Signal::SIGHUP);
        until("the reload is refused", || (reloads() > before).then_some(()));
        site.until_metric("lb_config_last_reload_successful", &[], |n| n <= 0.0);
        assert_eq!(site.requests(20).len(), 3);
    }
    fs::write(site.config(), &good).expect("writing the configuration");
    site.ctl(&["config", "test"]);
    site.ctl(&["config", "reload"]);
    site.until_metric("lb_config_last_reload_successful", &[], |n| n > 0.0);
}

#[test]
fn a_reload_that_would_empty_a_pool_is_refused() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    let good = fs::read_to_string(site.config()).expect("the configuration");
    // Only strangers, none of which can be reached.
    site.configure(|settings| {
        settings.hosts = vec![("h9", "10.9.0.99".parse().expect("an address"), 10)];
    });
    let ran = site.lbctl(&["config", "reload"]);
    let text = format!("{ran:?}");
    if ran.code == 0 {
        // Not refused: then the old hosts must go on until a new one serves.
        assert_eq!(site.requests(20).len(), 3, "{text}");
        // Once the stranger is known to fail, the pool lives on hosts that the file does not name: what comes then could not be worse.
        fs::write(site.config(), &good).expect("writing the configuration");
        let ran = site.lbctl(&["config", "reload"]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    // Hosts that all have weight 0, and no hosts.
    for settings in ["weight = 0", ""] {
        let empty: String = good
            .lines()
            .filter_map(|line| match (line.contains("address ="), settings) {
                (true, "") => None,
                (true, weight) => Some(line.replace("weight = 10", weight) + "\n"),
                _ => Some(line.to_owned() + "\n"),
            })
            .collect();
        fs::write(site.config(), empty).expect("writing the configuration");
        let ran = site.lbctl(&["config", "reload"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("cache"), "{ran:?}");
        assert_eq!(site.requests(20).len(), 3);
    }
    // A file in which everybody is disabled.
    fs::write(site.config(), good.replace("weight = 10", "pooled = \"no\""))
        .expect("writing the configuration");
    let ran = site.lbctl(&["config", "reload"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(site.requests(20).len(), 3);
}
