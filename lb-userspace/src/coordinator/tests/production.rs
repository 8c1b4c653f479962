//! Checks on the way of clients' packets: what the data plane is told of them.

use super::*;
use crate::{datapath::probe::DesiredProbe, model::Production};

fn by_vip(name: &str, backends: &[&str]) -> Pool {
    let mut pool = pool(name, backends);
    Arc::make_mut(&mut pool.checks[0]).via = Via::Vip;
    pool
}

fn with_vip(mut config: Config, vip: &str) -> Config {
    for service in config.services.values_mut() {
        Arc::make_mut(service).vips = vec![vip.parse::<IpAddr>().unwrap().into()];
    }
    config
}

fn probe(backend: &str, vip: &str) -> DesiredProbe {
    let production = Production { vip: vip.parse().unwrap(), method: Method::Dr, gue_port: 0 };
    DesiredProbe { address: address(backend), production }
}

const VIP: &str = "198.51.100.1";

#[test]
fn each_way_comes_with_its_next_hop_as_it_is() {
    let world = &mut World::cold(vec![by_vip("text", &["b1", "b2"])]);
    assert_eq!(world.desired().probes, [(probe("b1", VIP), None), (probe("b2", VIP), None)].into());
    world.find_way("b1");
    let hop = Some(hop(address("b1")));
    assert_eq!(world.desired().probes, [(probe("b1", VIP), hop), (probe("b2", VIP), None)].into());
    // Forwarding may go on by the last way; a check must not say that there is one.
    world.lose_way("b1");
    assert_eq!(world.desired().probes[&probe("b1", VIP)], None);
}

#[test]
fn pools_of_the_same_hosts_share_a_way_and_inactive_backends_have_none() {
    let world = &mut World::cold(vec![by_vip("text", &["b1", "b2"]), by_vip("upload", &["b1"])]);
    assert_eq!(world.desired().probes.len(), 2);
    assert_eq!(world.targets.len(), 2);
    world.run(&pooled("b2", Pooled::Inactive)).unwrap();
    assert_eq!(world.desired().probes.keys().collect::<Vec<_>>(), [&probe("b1", VIP)]);
}

#[test]
fn checks_of_own_addresses_need_no_way() {
    let world = &mut World::cold(vec![pool("text", &["b1"])]);
    assert!(world.desired().probes.is_empty());
    assert!(!world.targets.is_empty());
}

#[test]
fn a_changed_vip_is_checked_anew_and_depools_nobody_meanwhile() {
    let mut world = World::healthy(by_vip("text", &["b1", "b2"]));
    assert_eq!(world.line(), "b1=serving b2=serving");
    world.reload(with_vip(config(vec![by_vip("text", &["b1", "b2"])]), "198.51.100.9")).unwrap();
    assert_eq!(
        world.desired().probes.keys().collect::<Vec<_>>(),
        [&probe("b1", "198.51.100.9"), &probe("b2", "198.51.100.9")]
    );
    assert_eq!(world.line(), "b1=serving b2=serving");
    world.down("b2");
    assert_eq!(world.line(), "b1=serving b2=down");
}
