//! Client ports that are used again while the pool changes.

use std::time::Instant;

use crate::{
    client,
    site::{HOSTS, SERVICE, Site},
};

#[test]
fn a_port_used_again_during_a_transition_gets_a_whole_connection() {
    let Some(site) = Site::new() else { return };
    let _lbd = site.start();
    // So few ports that each comes again within seconds, while what it was before is still pinned.
    let ports: Vec<u16> = (30_000..30_030).collect();
    let round = || {
        site.client.run(|| {
            for (i, port) in ports.iter().enumerate() {
                let vip = SERVICE[i % 2];
                let begin = Instant::now();
                let host = client::request_from(*port, vip)
                    .unwrap_or_else(|e| panic!("port {port} to {vip} after {:?}: {e}", begin.elapsed()));
                assert!(HOSTS.contains(&host.as_str()));
            }
        });
    };
    round();
    for (host, verb) in [("h1", "depool"), ("h1", "pool"), ("h2", "depool"), ("h2", "pool")] {
        site.ctl(&[verb, host]);
        site.until_state(host, if verb == "pool" { "serving" } else { "draining" });
        round();
        round();
    }
}
