//! A service that tracks every flow: its connections are counted, and a drain waits for the last one.

use crate::{
    client::Conversation,
    site::{SERVICE, Site},
    until::until,
};

#[test]
fn connections_are_counted_and_a_drain_waits_for_the_last_one_however_silent() {
    let Some(site) = Site::new() else { return };
    site.configure(|settings| settings.service = "tracking = \"always\"");
    let _lbd = site.start();
    let mut talks: Vec<_> = SERVICE.map(|vip| Conversation::with(&site.client, vip, "h1")).into();
    let active = |wanted: u64| {
        until(&format!("h1 has {wanted} active connections"), || {
            let connections = &site.member("h1")["connections"];
            assert_eq!(connections["exact"], true);
            (connections["active"] == wanted).then_some(())
        });
    };
    active(talks.len() as u64);
    let row = site.ctl(&["list", "--ipvs"]);
    assert!(row.lines().any(|line| line.contains(" 2          ")) && !row.contains('~'), "{row}");

    // Nothing is said for longer than `--quiet`: the connections are there all the same.
    let early = site.lbctl(&["depool", "h1", "--wait=5s", "--quiet", "1s"]);
    assert_eq!(early.code, 1, "{early:?}");
    assert!(early.stderr.contains("2 active connection(s)"), "{early:?}");
    for talk in &mut talks {
        assert_eq!(talk.ask().expect("established connections live"), "h1");
    }
    drop(talks);
    site.ctl(&["depool", "h1", "--wait=20s"]);
    active(0);

    let status = site.ctl(&["status"]);
    assert!(status.contains("flows tracked "), "{status}");
    let metrics = site.http("/metrics").1;
    assert!(
        metrics.contains(
            r#"lb_backend_current_connections{pool="cache",backend="h1",state="active",estimated="false"} 0"#
        ),
        "{metrics}"
    );
}
