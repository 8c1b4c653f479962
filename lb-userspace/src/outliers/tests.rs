//! A pool of hosts whose behaviour is made up second by second.

use std::time::{Duration, Instant};

use super::{
    Change, Measure, Report,
    watch::{Seen, Watch},
};

/// What a host sees and does in a second.
#[derive(Clone, Copy)]
struct Second {
    syns: u64,
    /// Packets after the first one, for each connection.
    packets: u64,
    fins: u64,
    resets: u64,
    /// As counted, so of tracked flows only.
    retransmits: u64,
    active: u64,
}

/// A host that works: each connection sends five more packets and a FIN.
fn works(syns: u64) -> Second {
    Second { syns, packets: 5, fins: syns, resets: syns / 50, retransmits: 0, active: 20 * syns }
}

struct Pool {
    now: Instant,
    watch: Watch,
    seen: Vec<Seen>,
    by_client: bool,
    changes: Vec<Change>,
    dice: u64,
}

impl Pool {
    fn of(hosts: usize) -> Self {
        let seen = Seen { scale: 1, weight: 10, ..Seen::default() };
        Self {
            now: Instant::now(),
            watch: Watch::default(),
            seen: vec![seen; hosts],
            by_client: false,
            changes: Vec::new(),
            dice: 7,
        }
    }

    /// The same numbers in every run.
    fn random(&mut self, below: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % below.max(1)
    }

    fn run(&mut self, seconds: u64, host: impl Fn(&mut Self, usize) -> Second) {
        for _ in 0..seconds {
            for i in 0..self.seen.len() {
                let s = host(self, i);
                let seen = &mut self.seen[i];
                seen.packets += s.syns * (1 + s.packets);
                seen.syns += s.syns;
                seen.fins += s.fins;
                seen.resets += s.resets;
                seen.retransmits += s.retransmits;
                seen.active = s.active;
            }
            self.now += Duration::from_secs(1);
            let seen: Vec<_> =
                self.seen.iter().enumerate().map(|(i, s)| (format!("h{i}").parse().unwrap(), *s)).collect();
            let changes = self.watch.observe(self.now, self.by_client, seen.into_iter());
            self.changes.extend(changes.into_iter().flatten());
        }
    }

    fn report(&self) -> Report {
        Report::clone(&self.watch.report())
    }

    /// `h3 refused`, of all that stand out.
    fn suspects(&self) -> Vec<String> {
        let report = self.report();
        let of = |(name, b): (&crate::model::BackendName, &super::BackendReport)| {
            b.findings.iter().map(|f| format!("{name} {}", f.measure.as_str())).collect::<Vec<_>>()
        };
        report.backends.iter().flat_map(of).collect()
    }
}

#[test]
fn a_host_that_refuses_every_connection_is_found_by_what_follows() {
    let mut pool = Pool::of(10);
    pool.run(120, |_, i| match i {
        // Its resets go to the client past the balancer, and the client has nothing more to say.
        3 => Second { packets: 0, fins: 0, resets: 0, active: 0, ..works(20) },
        _ => works(20),
    });
    assert_eq!(pool.suspects(), ["h3 refused"]);
    let finding = pool.report().backends["h3"].findings[0];
    assert_eq!(finding.to_string(), "100 % of its connection attempts come to nothing (pool's median 0 %)");
    assert_eq!(pool.changes.len(), 1, "said once: {:?}", pool.changes);
}

#[test]
fn a_host_whose_clients_reset_their_connections_is_found() {
    let mut pool = Pool::of(10);
    pool.run(120, |_, i| if i == 4 { Second { fins: 2, resets: 18, ..works(20) } } else { works(20) });
    assert_eq!(pool.suspects(), ["h4 resets"]);
}

#[test]
fn a_host_that_accepts_nothing_is_found_by_repeated_attempts() {
    // Each client tries four times.
    let deaf = Second { packets: 0, fins: 0, resets: 0, retransmits: 15, active: 0, ..works(20) };
    let mut pool = Pool::of(10);
    pool.run(120, |_, i| if i == 5 { deaf } else { works(20) });
    assert_eq!(pool.suspects(), ["h5 retransmits", "h5 refused"]);
    let rates = pool.report().backends["h5"].rates.unwrap();
    assert!((rates.syns - 20.0).abs() < 0.1 && (rates.new - 5.0).abs() < 0.1, "{rates:?}");
    assert!(!rates.estimated);
}

#[test]
fn repeated_attempts_are_found_in_the_sample_as_well() {
    let mut pool = Pool::of(10);
    for seen in &mut pool.seen {
        seen.scale = 64;
    }
    pool.run(180, |pool, i| {
        let tracked = (0..120).filter(|_| pool.random(64) == 0).count() as u64;
        match i {
            5 => Second { retransmits: tracked, packets: 1, fins: 0, ..works(160) },
            _ => Second { retransmits: u64::from(pool.random(20) == 0), ..works(120) },
        }
    });
    assert!(pool.suspects().contains(&"h5 retransmits".to_owned()), "{:?}", pool.suspects());
    assert!(pool.suspects().iter().all(|s| s.starts_with("h5 ")), "{:?}", pool.suspects());
    assert!(pool.report().backends["h5"].rates.unwrap().estimated);
}

#[test]
fn a_host_that_fails_fast_and_attracts_connections_is_found() {
    // As `wlc` deals: whoever has none left gets the next one.
    let mut pool = Pool::of(10);
    pool.run(120, |_, i| match i {
        7 => Second { packets: 3, active: 0, ..works(90) },
        _ => Second { active: 40, ..works(2) },
    });
    assert_eq!(pool.suspects(), ["h7 connections"]);
    let report = pool.report();
    let value = report.backends["h7"].values[0].unwrap();
    assert!((value - 900.0 / 108.0).abs() < 0.1, "ten times its share at most: {value}");
}

#[test]
fn a_host_whose_connections_do_not_end_is_found() {
    let mut pool = Pool::of(10);
    pool.run(800, |_, i| Second { active: if i == 2 { 5_000 } else { 400 }, ..works(20) });
    assert_eq!(pool.suspects(), ["h2 active"]);
}

#[test]
fn a_host_that_was_just_pooled_is_not_compared_by_its_active_connections() {
    let mut pool = Pool::of(4);
    let long_lived = |_: &mut Pool, i| Second { active: if i == 0 { 5_000 } else { 400 }, ..works(20) };
    pool.run(590, long_lived);
    assert!(pool.suspects().is_empty());
    pool.run(60, long_lived);
    assert_eq!(pool.suspects(), ["h0 active"]);
    pool.seen[0].weight = 0;
    pool.run(10, long_lived);
    assert!(pool.suspects().is_empty(), "who drains is not compared");
    pool.seen[0].weight = 10;
    pool.run(500, long_lived);
    assert!(pool.suspects().is_empty(), "and begins anew");
}

#[test]
fn a_healthy_pool_with_bursts_and_weights_never_alarms() {
    for scale in [1, 64] {
        let mut pool = Pool::of(12);
        for (i, seen) in pool.seen.iter_mut().enumerate() {
            (seen.scale, seen.weight) = (scale, 10 * (1 + i as u32 % 3));
        }
        pool.run(1_200, |pool, i| {
            let weight = u64::from(pool.seen[i].weight);
            // Browsers open six connections at once.
            let syns = 6 * (0..weight / 2).filter(|_| pool.random(4) == 0).count() as u64;
            let resets = (0..syns).filter(|_| pool.random(10) == 0).count() as u64;
            let retransmits = (0..syns)
                .filter(|_| pool.random(100) < 2 && pool.random(u64::from(scale)) == 0)
                .count() as u64;
            let active = weight * 30 + pool.random(weight * 10);
            Second { syns, packets: 3 + pool.random(20), fins: syns, resets, retransmits, active }
        });
        assert_eq!(pool.changes, [], "scale {scale}");
        assert!(pool.report().medians.iter().all(Option::is_some), "{:?}", pool.report().medians);
    }
}

#[test]
fn tiny_pools_and_idle_pools_have_no_middle_to_stand_out_from() {
    let refuses = Second { packets: 0, fins: 0, resets: 0, active: 0, ..works(20) };
    let mut tiny = Pool::of(2);
    tiny.run(300, |_, i| if i == 0 { refuses } else { works(20) });
    assert_eq!(tiny.changes, []);
    assert_eq!(tiny.report().medians, [None; 5]);

    let mut idle = Pool::of(10);
    idle.run(900, |pool, i| {
        let syns = u64::from(pool.random(20) == 0);
        let packets = if i == 0 { 0 } else { 5 };
        Second { syns, packets, fins: 0, resets: syns, retransmits: 0, active: syns * 30 }
    });
    assert_eq!(idle.changes, []);
}

#[test]
fn a_flood_that_hits_all_alike_is_nobodys_fault() {
    let mut pool = Pool::of(10);
    pool.run(120, |pool, _| Second { packets: 0, fins: 0, resets: 0, ..works(1_000 + pool.random(300)) });
    assert_eq!(pool.changes, []);
    assert!(pool.report().medians[4].unwrap() > 0.99);
}

#[test]
fn two_bad_hosts_of_five_are_found_and_a_bad_half_blames_nobody() {
    let refuses = Second { packets: 0, fins: 0, ..works(20) };
    let mut pool = Pool::of(5);
    pool.run(120, |_, i| if i < 2 { refuses } else { works(20) });
    assert_eq!(pool.suspects(), ["h0 refused", "h1 refused"]);
    let mut pool = Pool::of(6);
    pool.run(120, |_, i| if i < 3 { refuses } else { works(20) });
    assert_eq!(pool.suspects(), [""; 0]);
}

#[test]
fn a_short_burst_is_forgiven_and_an_outlier_is_kept_until_it_behaved_for_a_minute() {
    let refuses = Second { packets: 0, fins: 0, ..works(20) };
    let mut pool = Pool::of(10);
    pool.run(60, |_, _| works(20));
    pool.run(8, |_, i| if i == 1 { refuses } else { works(20) });
    pool.run(120, |_, _| works(20));
    assert_eq!(pool.changes, []);

    pool.run(90, |_, i| if i == 1 { refuses } else { works(20) });
    assert_eq!(pool.suspects(), ["h1 refused"]);
    pool.run(60, |_, _| works(20));
    assert_eq!(pool.suspects(), ["h1 refused"], "the minute that was judged is barely over");
    pool.run(65, |_, _| works(20));
    assert!(pool.suspects().is_empty());
    let said: Vec<_> = pool.changes.iter().map(|c| c.finding.is_some()).collect();
    assert_eq!(said, [true, false]);
}

#[test]
fn a_change_of_weight_is_nobodys_fault() {
    let mut pool = Pool::of(6);
    pool.run(60, |_, _| works(30));
    pool.seen[0].weight = 100;
    pool.run(90, |_, i| if i == 0 { works(120) } else { works(12) });
    assert_eq!(pool.changes, []);
    let value = pool.report().backends["h0"].values[0].unwrap();
    assert!((value - 1.0).abs() < 0.05, "{value}");
}

#[test]
fn where_clients_choose_the_backend_many_connections_prove_nothing() {
    let mut pool = Pool::of(6);
    pool.by_client = true;
    pool.run(900, |_, i| if i == 0 { works(500) } else { works(20) });
    assert_eq!(pool.changes, []);
    assert!(pool.report().backends["h0"].values[0].unwrap() > 4.0, "shown all the same");
    assert!(!Measure::Connections.blames_backend(true) && Measure::Resets.blames_backend(true));
}

#[test]
fn counters_that_begin_anew_are_no_burst() {
    let mut pool = Pool::of(4);
    pool.run(60, |_, _| works(20));
    let (scale, weight) = (1, 10);
    pool.seen[2] = Seen { scale, weight, ..Seen::default() };
    pool.run(30, |_, _| works(20));
    assert_eq!(pool.changes, []);
    let rates = pool.report().backends["h2"].rates.unwrap();
    assert!(rates.syns > 18.0 && rates.syns < 20.1, "{rates:?}");
}
