//! From the start to the first answers: the load is spread, and every way to ask tells the same story.

use std::{net::SocketAddr, thread};

use serde_json::Value;

use crate::{
    client,
    site::{CLIENT4, CLIENT6, HOSTS, SERVICE, Site},
};

#[test]
fn requests_are_spread_over_all_hosts_and_every_report_says_so() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    assert_eq!(site.http("/livez").0, 200);
    assert!(site.attached());

    let answered = site.requests(60);
    assert_eq!(answered.keys().collect::<Vec<_>>(), HOSTS.iter().collect::<Vec<_>>(), "{answered:?}");
    // Each expects 40 of 120; the chance of fewer than 15 is below one in a million.
    assert!(answered.values().all(|n| *n >= 15), "{answered:?}");

    site.until_metric("lb_service_connections_total", &["service=\"web\""], |n| n >= 120.0);
    for (host, n) in &answered {
        let label = format!("backend=\"{host}\"");
        site.until_metric("lb_backend_connections_total", &[&label], |seen| seen >= f64::from(*n));
        site.until_metric("lb_backend_packets_total", &[&label], |seen| seen >= 4.0 * f64::from(*n));
    }
    site.until_metric("lb_up", &[], |n| n > 0.0);

    assert_eq!(site.http("/pools"), (200, "cache\n".to_owned()));
    let (status, pool) = site.http("/pools/cache");
    assert_eq!(status, 200);
    for host in HOSTS {
        assert!(pool.contains(host), "{pool}");
        let (status, line) = site.http(&format!("/pools/cache/{host}"));
        assert_eq!(status, 200);
        assert!(line.contains("enabled/up/pooled"), "{line}");
    }
    assert_eq!(site.http("/pools/cache/nobody").0, 404);
    assert!(site.http("/alerts").1.starts_with("OK"), "{}", site.http("/alerts").1);

    let status = site.ctl(&["status"]);
    assert!(status.contains("cache") && status.contains("e0"), "{status}");
    let list = site.ctl(&["list"]);
    assert!(HOSTS.iter().all(|host| list.contains(host)) && list.contains("serving"), "{list}");
    let ipvs = site.ctl(&["list", "--ipvs"]);
    assert!(ipvs.contains("TCP  10.9.1.1:80 ") && ipvs.contains("-> 10.9.0.11:80"), "{ipvs}");
    let show = site.ctl(&["show", "h1"]);
    assert!(show.contains("10.9.0.11"), "{show}");
    assert!(site.ctl(&["show", "cache"]).contains("h3"));
    site.ctl(&["drops"]);
    let check = site.ctl(&["check", "now", "h1"]);
    assert!(check.contains("ok"), "{check}");
    assert_eq!(site.lbctl(&["show", "nobody"]).code, 4);
    assert_eq!(site.lbctl(&["weight", "h1", "many"]).code, 2);
}

#[test]
fn where_says_what_the_program_then_does() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    for (vip, client) in SERVICE.iter().zip([CLIENT4, CLIENT6]) {
        for port in 20_000..20_012 {
            let source = SocketAddr::new(client, port);
            let answer = site.ctl(&["-o", "json", "where", &source.to_string(), &vip.to_string()]);
            let served = site.client.run(|| client::request_from(port, *vip)).expect("an answer");
            let answer: Value = serde_json::from_str(&answer).expect("JSON");
            let goes_to = format!("cache/{served}");
            assert_eq!(answer["new"]["backend"], goes_to, "{source} to {vip}: {answer:#}");
            assert_eq!(answer["new"]["verdict"], "forward", "{source} to {vip}: {answer:#}");
        }
    }
    let text = site.ctl(&["where", "10.9.0.1:20000", "10.9.1.1:80"]);
    assert!(text.contains("forward"), "{text}");
    let text = site.ctl(&["where", "10.9.0.1:20000", "10.9.1.1:8080"]);
    assert!(text.contains("stack"), "{text}");
}

#[test]
fn a_daemon_that_is_gone_is_told_from_one_that_refuses() {
    let Some(site) = Site::new() else { return };
    let gone = site.lbctl(&["status"]);
    assert_eq!(gone.code, 3, "{gone:?}");
    assert!(gone.stderr.contains("lbd"), "{gone:?}");
    let lbd = site.start_until_ready();
    // Several at once are no problem either.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| site.ctl(&["list"]));
        }
    });
    lbd.kill();
    assert_eq!(site.lbctl(&["status"]).code, 3);
}
