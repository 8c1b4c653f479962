//! A daemon may be killed between any two stores.

use super::*;

/// Applies `change` in a daemon that is killed after every possible number of stores, then restarts it. At no moment does a
/// flow whose owner lives move, and the end is always the same.
fn survives(site: &Site, change: impl Fn(&mut Desired), exempt: &BTreeSet<u64>, name: &str) -> Site {
    let mut wanted = site.desired.clone();
    change(&mut wanted);
    let run = |budget: u64| {
        let bank = site.kernel.bank.killed_after(budget);
        // The killed daemon's image is that of one that has just adopted the tables.
        let (mut tables, _) =
            Tables::adopt(Rc::clone(&bank), &small(), settings(), site.kernel.tick).unwrap();
        tables.apply(&site.desired, site.kernel.tick);
        tables.apply(&wanted, site.kernel.tick);
        let kernel =
            Kernel { bank: Rc::clone(&bank), tick: site.kernel.tick.wrapping_add(1), pin_idle: IDLE };
        let mut after = Site {
            kernel,
            tables,
            desired: wanted.clone(),
            flows: site.flows.clone(),
            opened: site.opened,
            probed: site.probed,
        };
        let stores = bank.stores();
        let check = |site: &Site, when: &str| {
            let moved: Vec<u64> = site.talk().difference(exempt).copied().collect();
            assert!(moved.is_empty(), "{name}, killed after {budget} of {stores} stores, {when}: {moved:x?}");
        };
        check(&after, "before the restart");
        bank.restarted();
        let (tables, adopted) = Tables::adopt(bank, &small(), settings(), after.kernel.tick).unwrap();
        assert_eq!(adopted.repaired, 0, "{name}, killed after {budget} of {stores} stores");
        after.tables = tables;
        check(&after, "adopted");
        after.apply();
        check(&after, "applied");
        after.kernel.tick = after.kernel.tick.wrapping_add(1);
        let swept = after.tables.sweep(after.kernel.tick);
        assert_eq!(swept.drift_repaired, 0);
        check(&after, "swept");
        (stores, after)
    };
    let (stores, end) = run(u64::MAX);
    for budget in 0..stores {
        let (_, after) = run(budget);
        let (got, want) = (after.status(), end.status());
        let slots = |s: &PoolStatus| s.backends.values().map(|b| b.slots).collect::<Vec<_>>();
        assert_eq!((&got.digest, slots(&got)), (&want.digest, slots(&want)), "{name} {budget}");
    }
    assert!(stores > 0, "{name} changes something");
    end
}

#[test]
fn a_daemon_killed_between_any_two_stores_leaves_tables_that_forward_right() {
    let nobody = BTreeSet::new();
    let mut site = Site::new(desired(31, 0..5));
    site.open(400);
    let talk = |mut site: Site| {
        site.open(60);
        site.run(3, "between changes");
        site
    };
    site = talk(survives(&site, |d| set(d, 0, Disposition::Draining), &nobody, "drain"));
    let dead = BTreeSet::from([id("text", 1)]);
    site = survives(&site, |d| set(d, 1, Disposition::Down), &dead, "down during a drain");
    site.flows.retain(|f| !dead.contains(&f.owner));
    site = talk(site);
    site = talk(survives(
        &site,
        |d| {
            set(d, 0, Disposition::Serving);
            set(d, 1, Disposition::Serving);
        },
        &nobody,
        "both back",
    ));
    site = talk(survives(
        &site,
        |d| {
            text(d).backends.insert(backend_name(7), backend(7));
            text(d).backends.remove(&backend_name(2));
            text(d).backends.get_mut(&backend_name(3)).unwrap().weight = 30.try_into().unwrap();
        },
        &nobody,
        "added, removed and weighed",
    ));
    let site = talk(survives(
        &site,
        |d| {
            d.pools.insert(pool_name("upload"), pool(61, 0..3));
            d.services.insert("upload".parse().unwrap(), service("upload", 80));
        },
        &nobody,
        "a second pool",
    ));
    survives(
        &site,
        |d| {
            d.pools.remove("upload");
            d.services.remove("upload");
        },
        &nobody,
        "the second pool removed",
    );
}

#[test]
fn a_first_start_killed_anywhere_can_be_repeated() {
    let wanted = desired(31, 0..5);
    let whole = bank().killed_after(u64::MAX);
    let (mut tables, _) = Tables::adopt(Rc::clone(&whole), &small(), settings(), 0).unwrap();
    tables.apply(&wanted, 0);
    for budget in 0..whole.stores() {
        let killed = bank().killed_after(budget);
        let (mut tables, _) = Tables::adopt(Rc::clone(&killed), &small(), settings(), 0).unwrap();
        tables.apply(&wanted, 0);
        killed.restarted();
        let (mut tables, adopted) = Tables::adopt(Rc::clone(&killed), &small(), settings(), 1).unwrap();
        assert_eq!(adopted.repaired, 0);
        assert!(tables.apply(&wanted, 1).problem.is_none());
        let kernel = Kernel { bank: killed, tick: 1, pin_idle: IDLE };
        let owners: BTreeSet<u64> = (0..500).map(|n| kernel.packet(0, mix(n), true)).collect();
        assert_eq!(owners, (0..5).map(|n| id("text", n)).collect(), "{budget}");
    }
}
