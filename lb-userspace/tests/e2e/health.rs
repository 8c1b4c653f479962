//! Hosts that fail and come back: by their checks, by their neighbour entry, with another MAC address.

use std::time::{Duration, Instant};

use crate::{
    client::Load,
    site::{SERVICE, Site},
};

/// `fall` × interval + timeout of the site's check.
const DETECTION: Duration = Duration::from_millis(2 * 200 + 200);
/// Coalescing of changes, and a machine that has other work.
const MARGIN: Duration = Duration::from_millis(900);

#[test]
fn a_dead_host_leaves_in_time_and_comes_back() {
    let Some(mut site) = Site::new() else { return };
    let _lbd = site.start();
    let load = Load::start(&site.client, &SERVICE);
    load.more(50);
    let killed = Instant::now();
    site.kill_server("h2");
    site.until_state("h2", "down");
    let out = Instant::now();
    load.more(150);
    let answered = load.since(out);
    assert!(!answered.contains_key("failed") && !answered.contains_key("h2"), "{answered:?}");
    let last = load.last_failure().expect("requests failed while the host was dead and in");
    assert!(last - killed < DETECTION + MARGIN, "requests went to it for {:?}", last - killed);
    assert!(site.member("h2")["why"].as_str().is_some_and(|why| !why.is_empty()));
    site.until_metric("lb_backend_up", &["backend=\"h2\""], |n| n <= 0.0);
    let failing = site.lbctl(&["check", "now", "h2"]);
    assert_eq!(failing.code, 1, "{failing:?}");

    site.start_server("h2");
    site.until_state("h2", "serving");
    let back = Instant::now();
    load.more(150);
    let answered = load.since(back);
    assert!(!answered.contains_key("failed") && answered.contains_key("h2"), "{answered:?}");
}

#[test]
fn the_threshold_keeps_failing_hosts_in_rather_than_empty_the_pool() {
    let Some(mut site) = Site::new() else { return };
    site.configure(|settings| settings.threshold = 0.6);
    let _lbd = site.start();
    site.kill_server("h1");
    site.until_state("h1", "down");
    site.kill_server("h2");
    site.until_state("h2", "held");
    site.kill_server("h3");
    site.until_state("h3", "held");
    assert!(site.http("/alerts").1.starts_with("CRITICAL"), "{}", site.http("/alerts").1);
    for host in ["h1", "h2", "h3"] {
        site.start_server(host);
    }
    site.until_all("serving");
    assert_eq!(site.requests(40).len(), 3);
}

#[test]
fn a_host_that_no_neighbour_entry_leads_to_is_out_until_it_answers_again() {
    let Some(site) = Site::new() else { return };
    // Without checks: only the neighbour speaks.
    site.configure(|settings| settings.check = "");
    let _lbd = site.start();
    site.host("h2").namespace.ip("link set e0 down\n");
    let member = site.until_state("h2", "out");
    assert!(member["next_hop_problem"].as_str().is_some_and(|why| why.contains("10.9.0.12")), "{member:#}");
    assert!(!site.requests(40).contains_key("h2"));
    assert!(site.ctl(&["status"]).contains("h2"));
    // IPv6 addresses go with the link, IPv4 ones stay.
    site.host("h2").namespace.ip("link set e0 up\naddr add fd09::12/64 dev e0 nodad\n");
    site.host("h2").namespace.ip("link set e0 up\n");
    site.until_state("h2", "serving");
    assert!(site.requests(40).contains_key("h2"));
}

#[test]
fn a_changed_mac_address_is_followed() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    assert_eq!(site.member("h2")["next_hop"]["mac"], "02:00:00:00:00:0c");
    site.host("h2").namespace.ip("link set e0 address 02:00:00:00:00:99\n");
    crate::until::until("the new MAC address is in use", || {
        (site.member("h2")["next_hop"]["mac"] == "02:00:00:00:00:99").then_some(())
    });
    site.until_state("h2", "serving");
    assert!(site.requests(40).contains_key("h2"));
}
