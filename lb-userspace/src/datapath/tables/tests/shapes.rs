//! Services on prefixes and ranges of ports: what a restart finds of them, and what happens without room.

use lb_common::shape::MAX_ENTRIES;

use super::*;
use crate::{
    datapath::tables::memory::Trie,
    model::{Endpoint, Ports},
};

/// Lists there is room for in [`bank`].
const ROOM: u8 = 32;

fn endpoint(net: &str, ports: Ports) -> Endpoint {
    Endpoint { net: net.parse().unwrap(), ports, protocol: Protocol::Tcp }
}

fn on(endpoints: &[Endpoint]) -> DesiredService {
    DesiredService { endpoints: endpoints.to_vec(), ..service("text", 0) }
}

/// Where the prefixes lead, and what is there.
fn lists(site: &Site) -> Vec<(TrieKey, Vec<u64>)> {
    let bank = &site.kernel.bank;
    let entries = bank.entries(Trie::Prefixes4).unwrap();
    entries
        .into_iter()
        .map(|(key, value)| {
            let (start, len) = (value as u32 as usize, (value >> 32) as usize);
            (key, (start * 2..(start + len) * 2).map(|i| bank.load64(U64Map::Shapes, i)).collect())
        })
        .collect()
}

#[test]
fn a_restart_finds_lists_and_their_services_and_changes_nothing() {
    let mut all = desired(61, 0..2);
    let wide = [endpoint("203.0.113.0/24", Ports::All), endpoint("2001:db8::/64", Ports::Range(80, 90))];
    all.services.insert("wide".parse().unwrap(), on(&wide));
    all.services.insert("narrow".parse().unwrap(), on(&[endpoint("203.0.113.16/28", Ports::Range(80, 90))]));
    // Comes later, so that indices do not follow names.
    let mut site = Site::new(all);
    site.change(|d| {
        _ = d.services.insert("a".parse().unwrap(), on(&[endpoint("198.51.100.0/25", Ports::All)]));
    });
    let (services, before) = (site.tables.services().clone(), lists(&site));
    assert_eq!(services.len(), 4);

    site.tables =
        Tables::adopt(Rc::clone(&site.kernel.bank), &small(), settings(), site.kernel.tick).unwrap().0;
    let stores = site.kernel.bank.stores();
    let applied = site.apply();
    assert!(applied.fresh_services.is_empty(), "their counters go on");
    assert_eq!(site.tables.services(), &services);
    assert_eq!((lists(&site), site.kernel.bank.stores()), (before, stores));
}

#[test]
fn a_new_service_does_not_take_the_counters_of_a_wider_one_over() {
    let mut all = desired(61, 0..2);
    all.services.insert("wide".parse().unwrap(), on(&[endpoint("203.0.113.0/24", Ports::All)]));
    all.services.insert("near".parse().unwrap(), on(&[endpoint("203.0.113.16/28", Ports::One(80))]));
    let mut site = Site::new(all);
    let wide = site.tables.services()["wide"];
    site.tables =
        Tables::adopt(Rc::clone(&site.kernel.bank), &small(), settings(), site.kernel.tick).unwrap().0;
    let applied = site.change(|d| {
        _ = d.services.insert("a".parse().unwrap(), on(&[endpoint("203.0.113.16/28", Ports::All)]));
    });
    assert_eq!(site.tables.services()["wide"], wide);
    assert_eq!(applied.fresh_services, [site.tables.services()["a"]]);
}

#[test]
fn a_list_that_finds_no_room_leaves_its_prefix_the_one_it_has() {
    let nets = |ports: Ports| -> Vec<Endpoint> {
        (0..ROOM).map(|n| endpoint(&format!("203.0.{n}.0/24"), ports)).collect()
    };
    let mut all = desired(61, 0..2);
    all.services.insert("wide".parse().unwrap(), on(&nets(Ports::All)));
    let mut site = Site::new(all);
    let before = lists(&site);
    assert_eq!(before.len(), usize::from(ROOM));

    site.desired.services.insert("wide".parse().unwrap(), on(&nets(Ports::Range(80, 90))));
    let applied = site.tables.apply(&site.desired, site.kernel.tick);
    assert!(matches!(applied.problem, Some(Error::Full { limit: "services", .. })), "{:?}", applied.problem);
    assert_eq!(lists(&site), before);
    assert_eq!(site.tables.services4.len(), 2, "all else is done");

    // With half of them gone there is room for the others, once what they had has rested.
    let half = nets(Ports::Range(80, 90)).split_off(usize::from(ROOM / 2));
    site.desired.services.insert("wide".parse().unwrap(), on(&half));
    _ = site.tables.apply(&site.desired, site.kernel.tick);
    site.rest(GRACE as u16);
    site.apply();
    let after = lists(&site);
    assert_eq!(after.len(), half.len());
    assert!(after.iter().all(|(key, list)| before.iter().all(|old| (&old.0, &old.1) != (key, list))));
}

#[test]
fn a_prefix_that_leads_to_no_list_is_made_anew() {
    let mut all = desired(61, 0..2);
    all.services.insert("wide".parse().unwrap(), on(&[endpoint("203.0.113.0/24", Ports::All)]));
    let mut site = Site::new(all);
    let before = lists(&site);
    let (key, _) = before[0].clone();
    for nowhere in [u64::from(MAX_ENTRIES + 1) << 32, 7 | 1 << 32, 1 << 20 | 1 << 32, 0] {
        site.kernel.bank.put(Trie::Prefixes4, &key, nowhere).unwrap();
        site.tables =
            Tables::adopt(Rc::clone(&site.kernel.bank), &small(), settings(), site.kernel.tick).unwrap().0;
        site.apply();
        assert_eq!(lists(&site), before, "after {nowhere:#x}");
    }
}
