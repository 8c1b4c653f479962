//! The daemon ends, well or badly, and another takes its place: nobody who uses the service notices.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    client::{Conversation, Download, Load},
    daemon::Lbd,
    site::{SERVICE, Site},
};

#[test]
fn killed_and_started_again_under_load_no_request_fails() {
    let Some(site) = Site::new() else { return };
    survives(&site, Lbd::kill);
}

#[test]
fn stopped_and_started_again_under_load_no_request_fails() {
    let Some(site) = Site::new() else { return };
    survives(&site, Lbd::terminate);
}

fn survives(site: &Site, end: impl Fn(Lbd)) {
    let mut lbd = site.start();
    let mut talk = Conversation::with(&site.client, SERVICE[1], "h2");
    let downloads = SERVICE.map(|vip| Download::from(&site.client, vip, "h1"));
    let load = Load::start(&site.client, &SERVICE);
    load.more(100);
    let digest = || -> Value { site.pool()["table"]["digest"].clone() };
    let before = digest();
    let mut connections = site.metric("lb_service_connections_total", &[]);
    for _ in 0..2 {
        end(lbd);
        assert!(site.attached());
        // Nobody is there, and forwarding goes on.
        load.more(100);
        downloads.iter().for_each(Download::goes_on);
        lbd = site.start_until_ready();
        // All at once, not one by one as their checks pass: they were adopted as serving.
        assert_eq!(digest(), before, "{:#}", site.pool());
        let now = site.metric("lb_service_connections_total", &[]);
        assert!(now >= connections + 100.0, "counters began anew: {now} after {connections}");
        connections = now;
        load.more(100);
        assert_eq!(talk.ask().expect("established connections live"), "h2");
    }
    site.until_logged("adopted the tables");
    site.until_logged("replaced the program of the running attachment");
    site.finish_downloads();
    downloads.into_iter().for_each(Download::end);
    load.end_without_failure();
}

#[test]
fn a_restart_during_a_drain_keeps_old_connections_where_they_are() {
    let Some(site) = Site::new() else { return };
    let lbd = site.start();
    let mut old: Vec<_> = SERVICE.map(|vip| Conversation::with(&site.client, vip, "h1")).into();
    let load = Load::start(&site.client, &SERVICE);
    site.ctl(&["depool", "h1"]);
    site.until_state("h1", "draining");
    // Born during the transition: pinned to their hosts.
    let mut young: Vec<_> = ["h2", "h3"]
        .into_iter()
        .map(|host| (host, Conversation::with(&site.client, SERVICE[0], host)))
        .collect();
    let mut judge = |moment: &str| {
        for talk in &mut old {
            assert_eq!(talk.ask().expect(moment), "h1", "{moment}");
        }
        for (host, talk) in &mut young {
            assert_eq!(talk.ask().expect(moment), *host, "{moment}");
        }
    };
    judge("before the restart");
    lbd.kill();
    load.more(50);
    judge("without a daemon");
    let lbd = site.start_until_ready();
    judge("after kill and start");
    let begin = std::time::Instant::now();
    load.more(100);
    assert!(!load.since(begin).contains_key("h1"), "{:?}", load.since(begin));
    // The way back in, with another restart in the middle of it.
    site.ctl(&["pool", "h1", "--wait=10s"]);
    judge("after it was pooled again");
    lbd.terminate();
    let _lbd = site.start_until_ready();
    judge("after the second restart");
    load.more(100);
    load.end_without_failure();
}

#[test]
fn an_interrupt_ends_it_as_a_term_does() {
    let Some(site) = Site::new() else { return };
    let lbd = site.start();
    lbd.signal(Signal::SIGINT);
    assert!(lbd.ended().success());
    assert!(site.attached());
    assert_eq!(site.requests(20).len(), 3);
}
