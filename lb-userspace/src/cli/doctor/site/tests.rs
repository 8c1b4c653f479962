use std::time::Instant;

use super::{super::finding::Level, *};
use crate::api::{
    fixture::Site,
    moment::Moment,
    types::{KernelFeature, NextHop},
    view,
};

fn levels(findings: &[Finding]) -> Vec<Level> {
    findings.iter().map(|finding| finding.level).collect()
}

fn moment() -> Moment {
    let mut moment = Moment::with_counters(&Site::new().sources);
    moment.now = Instant::now();
    moment
}

#[test]
fn what_the_kernel_lacks_is_named_with_what_it_means() {
    let feature = |present| KernelFeature {
        name: "jit".into(),
        present,
        lack: "packets cost ten times as much; sysctl net.core.bpf_jit_enable=1".into(),
    };
    let of = |present| kernel(&Kernel { release: "6.1".into(), features: vec![feature(present)] });
    assert_eq!(levels(&of(true)), [Level::Ok]);
    let lacking = of(false);
    assert_eq!(lacking[0].text, "no jit: packets cost ten times as much");
    assert_eq!(lacking[0].fix, "sysctl net.core.bpf_jit_enable=1");
}

#[test]
fn drift_a_refused_reload_and_alerts_are_found() {
    let mut status = view::status(&moment());
    let found = daemon(&status);
    assert!(found.iter().any(|f| f.level == Level::Bad && f.about == "alerts"), "{found:?}");
    assert!(found.iter().any(|f| f.level == Level::Ok && f.about == "tables"));
    status.datapath.drift_repaired = 2;
    status.config.problem = Some("x".into());
    status.datapath.attachments.clear();
    let found = daemon(&status);
    assert!(found.iter().any(|f| f.level == Level::Warn && f.text.starts_with("2 entries")));
    assert!(found.iter().any(|f| f.level == Level::Bad && f.text.contains("refused")));
    assert!(found.iter().any(|f| f.level == Level::Bad && f.text.contains("no interface")));
}

#[test]
fn a_backend_without_a_way_is_bad_and_an_inactive_one_is_not() {
    let mut list = view::list(&moment());
    let dir = tempfile::tempdir().unwrap();
    let host = Host::below(dir.path());
    // cp1004 of the site is inactive, and has none.
    assert!(backends(&list, &host).iter().all(|f| f.level == Level::Ok));
    let member =
        list.pools.iter_mut().find(|p| p.summary.name == "text_80").unwrap().members.first_mut().unwrap();
    member.next_hop = None;
    let found = backends(&list, &host);
    assert_eq!(found[0].level, Level::Bad);
    assert!(found[0].fix.contains("ip neigh show 10.64.0.1"), "{found:?}");
}

#[test]
fn a_tunnel_into_a_way_of_the_same_width_is_told() {
    let mut list = view::list(&moment());
    let dir = tempfile::tempdir().unwrap();
    let host = Host::below(dir.path());
    let member =
        list.pools.iter_mut().find(|p| p.summary.name == "text_80").unwrap().members.first_mut().unwrap();
    member.method = Method::Gue;
    let hop = |mtu| NextHop { mac: "02:00:00:00:00:01".into(), ifindex: 2, vlan: 0, mtu, gateway: None };
    member.next_hop = Some(hop(1_500));
    let narrow = tunnel(member, "p/b", &host).unwrap();
    assert!(narrow.level == Level::Warn && narrow.text.contains("above 1472 bytes"), "{narrow:?}");
    member.next_hop = Some(hop(1_528));
    assert_eq!(tunnel(member, "p/b", &host).unwrap().level, Level::Ok);
    member.next_hop = Some(hop(0));
    assert_eq!(tunnel(member, "p/b", &host), None, "nobody knows how wide it is");
}

#[test]
fn a_vip_of_this_host_is_mentioned_and_harmful_drops_are_warned_of() {
    let list = view::list(&moment());
    assert!(vips(&list, &["192.0.2.1".parse().unwrap()]).is_empty());
    let found = vips(&list, &["203.0.113.10".parse().unwrap()]);
    assert!(found[0].text.contains("203.0.113.10"), "{found:?}");
    let counters = moment().counters.unwrap();
    let mut counted = view::drops(&counters);
    assert_eq!(levels(&drops(&counted)), [Level::Ok]);
    counted.reasons.iter_mut().find(|d| d.reason == "no_backend").unwrap().packets = 3;
    assert_eq!(levels(&drops(&counted)), [Level::Warn]);
}
