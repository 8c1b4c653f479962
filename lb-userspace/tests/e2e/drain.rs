//! By hand: depool, drain, weight, pool again, under load and without a failed request.

use std::{fs, time::Instant};

use crate::{
    client::{Conversation, Download, Load},
    site::{SERVICE, Site},
};

#[test]
fn a_depool_under_load_fails_no_request_and_cuts_no_download() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    let mut talks: Vec<_> = SERVICE.map(|vip| Conversation::with(&site.client, vip, "h1")).into();
    let downloads = SERVICE.map(|vip| Download::from(&site.client, vip, "h1"));
    let load = Load::start(&site.client, &SERVICE);
    load.more(100);

    let said = site.ctl(&["depool", "h1", "--reason", "new disks"]);
    assert!(said.contains("h1") && said.contains("changed"), "{said}");
    site.until_state("h1", "draining");
    let drained = Instant::now();
    load.more(200);
    let answered = load.since(drained);
    assert!(!answered.contains_key("h1"), "new connections went to a depooled host: {answered:?}");
    for talk in &mut talks {
        assert_eq!(talk.ask().expect("established connections live"), "h1");
    }
    downloads.iter().for_each(Download::goes_on);
    // A second time: nothing to do, and that is fine.
    assert!(site.ctl(&["depool", "h1"]).contains("unchanged"));
    let status = site.ctl(&["status"]);
    assert!(status.contains("new disks"), "{status}");
    assert_eq!(site.http("/pools/cache/h1").1, "disabled/up/not pooled\n");
    // The host is in use: a short wait ends without success, and says what is left.
    let early = site.lbctl(&["depool", "h1", "--wait=1s"]);
    assert_eq!(early.code, 1, "{early:?}");
    assert!(early.stderr.contains("drain"), "{early:?}");

    site.finish_downloads();
    downloads.into_iter().for_each(Download::end);
    drop(talks);
    site.ctl(&["depool", "h1", "--wait=15s", "--quiet", "1s"]);
    load.more(50);
    let said = site.ctl(&["pool", "h1", "--wait=10s"]);
    assert!(said.contains("changed"), "{said}");
    let pooled = Instant::now();
    load.more(200);
    assert!(load.since(pooled).contains_key("h1"));
    assert!(site.ctl(&["pool", "h1"]).contains("unchanged"));
    load.end_without_failure();
}

#[test]
fn weights_move_shares_and_zero_drains() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    let mut talk = Conversation::with(&site.client, SERVICE[0], "h3");
    let load = Load::start(&site.client, &SERVICE);
    site.ctl(&["weight", "h1", "40", "--wait"]);
    let slots = |name: &str| site.member(name)["table"]["slots"].as_u64().expect("slots");
    assert_eq!((slots("h1") + slots("h2") + slots("h3"), slots("h1")), (1021, 681));
    site.ctl(&["weight", "h3", "0", "--wait"]);
    assert_eq!(slots("h3"), 0);
    let zero = Instant::now();
    load.more(100);
    assert!(!load.since(zero).contains_key("h3"), "{:?}", load.since(zero));
    assert_eq!(talk.ask().expect("established connections live"), "h3");
    site.ctl(&["weight", "h3", "reset", "--wait"]);
    let reset = Instant::now();
    load.more(200);
    assert!(load.since(reset).contains_key("h3"));
    assert_eq!(talk.ask().expect("established connections live"), "h3");
    load.end_without_failure();
}

#[test]
fn the_threshold_refuses_an_operator_who_does_not_insist() {
    let Some(site) = Site::new() else { return };
    site.configure(|settings| settings.threshold = 0.6);
    let _lbd = site.start();
    site.ctl(&["depool", "h1"]);
    site.until_state("h1", "draining");
    for dry in [&["depool", "h2", "--dry-run"][..], &["depool", "h2"]] {
        let refused = site.lbctl(dry);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("threshold") && refused.stderr.contains("--force"), "{refused:?}");
    }
    site.until_state("h2", "serving");
    let dry = site.ctl(&["depool", "h2", "--force", "--dry-run"]);
    assert!(dry.contains("would change"), "{dry}");
    site.until_state("h2", "serving");
    site.ctl(&["depool", "h2", "--force"]);
    site.until_state("h2", "draining");
    assert_eq!(site.requests(10).into_keys().collect::<Vec<_>>(), ["h3"]);
}

#[test]
fn an_override_outlives_the_daemon_and_a_spoilt_file_of_them_does_not_stop_it() {
    let Some(site) = Site::new() else { return };
    let lbd = site.start();
    site.ctl(&["depool", "h1", "--reason", "kernel upgrade"]);
    site.ctl(&["weight", "h2", "3"]);
    lbd.kill();
    let lbd = site.start_until_ready();
    site.until_state("h1", "draining");
    site.until_state("h2", "serving");
    assert_eq!(site.member("h2")["weight"], 3);
    let status = site.ctl(&["status"]);
    assert!(status.contains("kernel upgrade"), "{status}");
    site.until_metric("lb_overrides", &[], |n| n >= 1.0);
    lbd.terminate();

    let overrides = site.state().join("overrides.json");
    assert!(fs::metadata(&overrides).is_ok());
    fs::write(&overrides, "{\"version\": 1, \"overri").expect("writing the state file");
    let _lbd = site.start_until_ready();
    site.until_logged("set aside as");
    let aside = fs::read_dir(site.state())
        .expect("the state")
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("overrides.json.bad-"));
    assert!(aside, "{}", site.log());
    site.until_all("serving");
}
