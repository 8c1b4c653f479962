//! Ten hosts of which one misbehaves: who is named, whose weight is lowered, how far, and when it comes back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::*;
use crate::{
    datapath::{BackendStatus, Connections, Count, PoolStatus, Status},
    model::{HashFields, Outliers},
    outliers::Measure,
};

/// What a host does in a second.
#[derive(Clone, Copy)]
enum Host {
    Works,
    /// It answers every attempt with RST: the client says nothing more.
    Refuses,
    /// It takes no connection: each client tries three times more.
    Deaf,
    /// It ends what it gets at once; under `wlc` it gets what the others together get.
    FailsFast,
}

struct Site {
    world: World,
    counts: BTreeMap<String, Count>,
    sample: u64,
}

fn ten(lower_weight: bool) -> Pool {
    let names: Vec<_> = (1..=10).map(|i| format!("b{i}")).collect();
    let mut pool = pool("text", &names.iter().map(String::as_str).collect::<Vec<_>>());
    pool.outliers = Outliers { lower_weight };
    for name in &names {
        edit(&mut pool, name, |b| b.weight = Weight::try_from(100).unwrap());
    }
    pool
}

impl Site {
    fn new(pool: Pool) -> Self {
        Self { world: World::healthy(pool), counts: BTreeMap::new(), sample: 0 }
    }

    /// Seconds in which `b3` is so, and the others work.
    fn run(&mut self, seconds: u64, host: Host) {
        self.run_all(seconds, |name| if name == "b3" { host } else { Host::Works });
    }

    fn run_all(&mut self, seconds: u64, host: impl Fn(&str) -> Host) {
        for _ in 0..seconds {
            self.world.pass(1);
            let desired = self.world.desired();
            let mut pool = PoolStatus::default();
            for (name, wanted) in &desired.pools["text"].backends {
                let served =
                    if wanted.disposition.takes_new() { u64::from(wanted.weight.get()) / 5 } else { 0 };
                let (syns, more, closes, resets, repeated, active) = match host(name.as_str()) {
                    Host::Works => (served, 5, served, 0, 0, 400),
                    Host::Refuses => (served, 0, 0, 0, 0, 0),
                    Host::Deaf => (4 * served, 0, 0, 0, 3 * served, 0),
                    Host::FailsFast => (9 * served, 3, 9 * served, 0, 0, 0),
                };
                let count = self.counts.entry(name.to_string()).or_default();
                *count += Count {
                    packets: syns * (1 + more),
                    bytes: 0,
                    syns,
                    closes,
                    resets,
                    retransmits: repeated,
                };
                let connections = Connections { active, inactive: 0, exact: true };
                let there =
                    BackendStatus { slots: 1, count: *count, connections, ..BackendStatus::default() };
                pool.backends.insert(name.clone(), there);
            }
            self.sample += 1;
            let status = Status {
                revision: desired.revision,
                sample: self.sample,
                pools: BTreeMap::from([("text".parse().unwrap(), pool)]),
                ..Status::default()
            };
            self.world.apply(Event::Datapath(Arc::new(status)));
        }
    }

    fn weight(&mut self, backend: &str) -> u32 {
        let weight = self.world.wanted(backend).weight;
        assert_eq!(self.world.view(backend).weight, weight, "what is shown is what is wanted");
        weight.get()
    }

    /// `b3 refused`
    fn suspects(&mut self) -> Vec<String> {
        let report = Arc::clone(&self.world.snapshot().reports["text"]);
        let all =
            report.backends.iter().flat_map(|(name, b)| b.findings.iter().map(move |f| (name, f.measure)));
        all.map(|(name, measure)| format!("{name} {}", measure.as_str())).collect()
    }
}

#[test]
fn a_host_that_answers_rst_to_everything_is_named_and_its_weight_stays_unless_the_pool_says_otherwise() {
    let mut site = Site::new(ten(false));
    site.run(60, Host::Works);
    assert!(site.suspects().is_empty());
    site.run(60, Host::Refuses);
    assert_eq!(site.suspects(), ["b3 refused"]);
    assert!(site.world.logged("b3 stands out from its pool: "), "{:?}", site.world.log);
    assert_eq!(site.weight("b3"), 100);
    assert!(site.world.view("b3").lowered.is_none());
    site.run(200, Host::Works);
    assert!(site.suspects().is_empty());
    assert!(site.world.logged("b3 no longer stands out by refused"));
}

#[test]
fn a_suspects_weight_falls_by_halves_to_an_eighth_and_comes_back_the_same_way() {
    let mut site = Site::new(ten(true));
    site.run(60, Host::Works);
    let mut weights = vec![site.weight("b3")];
    for _ in 0..400 {
        site.run(1, Host::Refuses);
        let weight = site.weight("b3");
        if weights.last() != Some(&weight) {
            weights.push(weight);
        }
    }
    assert_eq!(weights, [100, 50, 25, 13]);
    let view = site.world.view("b3");
    let lowered = view.lowered.unwrap();
    assert_eq!(lowered.from.get(), 100);
    assert!(lowered.why.contains("come to nothing"), "{}", lowered.why);
    assert!(site.world.logged("weight of b3 lowered to 13 of 100: "));
    assert_eq!(view.configured_weight.get(), 100);
    for other in ["b1", "b2", "b10"] {
        assert_eq!(site.weight(other), 100);
    }
    weights.clear();
    for _ in 0..400 {
        site.run(1, Host::Works);
        let weight = site.weight("b3");
        if weights.last() != Some(&weight) {
            weights.push(weight);
        }
    }
    assert_eq!(weights, [13, 25, 50, 100]);
    let pool = site.world.pool();
    assert_eq!((pool.weights_lowered, pool.weights_raised), (3, 3));
    assert!(pool.backends["b3"].lowered.is_none());
}

#[test]
fn steps_are_a_minute_apart() {
    let mut site = Site::new(ten(true));
    site.run(60, Host::Works);
    let mut last = None;
    for _ in 0..300 {
        let before = site.weight("b3");
        site.run(1, Host::Refuses);
        if site.weight("b3") != before {
            let now = site.world.now.instant;
            if let Some(last) = last {
                assert!(now - last >= Duration::from_mins(1), "{:?}", now - last);
            }
            last = Some(now);
        }
    }
    assert!(last.is_some());
}

#[test]
fn a_host_that_accepts_nothing_is_named_by_repeated_attempts() {
    let mut site = Site::new(ten(true));
    site.run(60, Host::Works);
    site.run(90, Host::Deaf);
    assert_eq!(site.suspects(), ["b3 retransmits", "b3 refused"]);
    assert!(site.weight("b3") < 100);
}

#[test]
fn a_host_that_fails_fast_and_attracts_connections_gets_fewer() {
    let mut site = Site::new(ten(true));
    site.run(60, Host::Works);
    site.run(90, Host::FailsFast);
    assert_eq!(site.suspects(), ["b3 connections"]);
    assert!(site.weight("b3") < 100);
}

#[test]
fn where_connections_are_dealt_by_client_nobody_pays_for_a_busy_one() {
    let mut site = Site::new(ten(true));
    let mut config = config(vec![ten(true)]);
    let service = config.services.values_mut().next().unwrap();
    Arc::make_mut(service).rules.hash = HashFields::Source;
    site.world.reload(config).unwrap();
    site.run(150, Host::FailsFast);
    assert!(site.suspects().is_empty());
    let report = Arc::clone(&site.world.snapshot().reports["text"]);
    assert!(report.backends["b3"].values[Measure::Connections as usize].unwrap() > 4.0, "shown all the same");
    assert_eq!(site.weight("b3"), 100);
}

#[test]
fn no_more_weight_is_lowered_than_the_threshold_lets_go() {
    let mut pool = ten(true);
    pool.threshold = Threshold { fraction: 0.75, by_weight: false };
    // Four bad ones; 2.5 of ten may go. The heavy one weighs as much as two.
    edit(&mut pool, "b9", |b| b.weight = Weight::try_from(200).unwrap());
    let bad = |name: &str| if ["b1", "b2", "b3", "b9"].contains(&name) { Host::Refuses } else { Host::Works };
    let mut site = Site::new(pool);
    site.run(60, Host::Works);
    site.run_all(400, bad);
    assert_eq!(site.suspects().len(), 4);
    let lowered: Vec<_> =
        (1..=10).map(|i| format!("b{i}")).filter(|b| site.world.view(b).lowered.is_some()).collect();
    assert_eq!(lowered, ["b1", "b2"], "200 of 1100; with b3 it would be 300, of which 275 may go");
}

#[test]
fn when_others_fail_the_lowered_ones_are_needed_again() {
    let mut pool = ten(true);
    pool.threshold = Threshold { fraction: 0.7, by_weight: false };
    let mut site = Site::new(pool);
    site.run(60, Host::Works);
    site.run(90, Host::Refuses);
    assert!(site.weight("b3") < 100);
    for failed in ["b4", "b5"] {
        site.world.down(failed);
    }
    assert!(site.weight("b3") < 100, "seven of ten are up without it");
    site.world.down("b6");
    assert_eq!(site.weight("b3"), 100);
    assert!(site.world.logged("weight of b3 is 100 again: the depool threshold lets go no more"));
    site.run(120, Host::Refuses);
    assert_eq!(site.weight("b3"), 100, "it stays suspect, and stays");
    assert_eq!(site.suspects(), ["b3 refused"]);
}

#[test]
fn an_operators_weight_wins_even_if_it_is_the_files() {
    let mut site = Site::new(ten(true));
    site.run(60, Host::Works);
    site.run(90, Host::Refuses);
    assert!(site.weight("b3") < 100);
    let outcome = site.world.run(&weight("b3", 100)).unwrap();
    assert!(outcome[0].changed && outcome[0].summary.contains("-> 100"), "{}", outcome[0].summary);
    assert_eq!(site.weight("b3"), 100);
    assert!(site.world.view("b3").overridden.is_some(), "said and kept");
    site.run(300, Host::Refuses);
    assert_eq!(site.weight("b3"), 100);
    assert!(!site.world.run(&weight("b3", 100)).unwrap()[0].changed);

    site.world.run(&weight("b3", 40)).unwrap();
    site.run(120, Host::Refuses);
    assert_eq!(site.weight("b3"), 40);
    site.world.run(&command("b3", Change::Weight { weight: None })).unwrap();
    site.run(90, Host::Refuses);
    assert!(site.weight("b3") < 100, "without the override it is lowered again");
}

#[test]
fn who_goes_down_or_is_depooled_begins_anew() {
    let mut site = Site::new(ten(true));
    site.run(60, Host::Works);
    site.run(90, Host::Refuses);
    assert!(site.weight("b3") < 100);
    site.world.depool("b3").unwrap();
    assert_eq!(site.weight("b3"), 100);
    site.run(10, Host::Works);
    assert!(site.suspects().is_empty(), "who gets no new connections is not compared");
}

#[test]
fn a_reload_that_forbids_it_gives_the_weight_back() {
    let mut site = Site::new(ten(true));
    site.run(60, Host::Works);
    site.run(90, Host::Refuses);
    assert!(site.weight("b3") < 100);
    site.world.reload(config(vec![ten(false)])).unwrap();
    assert_eq!(site.weight("b3"), 100);
    assert_eq!(site.suspects(), ["b3 refused"], "what is known of the hosts survives a reload");
}

#[test]
fn a_status_without_a_new_reading_counts_nothing() {
    let mut site = Site::new(ten(true));
    site.run(60, Host::Works);
    let before = site.world.snapshot().reports["text"].clone();
    site.sample -= 1;
    site.run(1, Host::Works);
    for _ in 0..30 {
        site.world.pass(1);
        site.world.apply(Event::Datapath(Arc::new(Status { sample: site.sample, ..Status::default() })));
    }
    assert_eq!(*site.world.snapshot().reports["text"], *before);
}
