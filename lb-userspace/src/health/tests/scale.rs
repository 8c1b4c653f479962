//! Many targets, under a paused clock.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        MAX_IN_FLIGHT, ProbeError, Verdict,
        hysteresis::Hysteresis,
        probe::Network,
        prober::{Prober, Shared},
        schedule::Schedule,
    },
    spec,
    stand_in::{checker, pass},
};
use crate::model::{CheckKind, CheckTarget};

const SECOND: Duration = Duration::from_secs(1);

fn targets(number: u32) -> HashSet<CheckTarget> {
    let spec = Arc::new(spec(CheckKind::Tcp, 80));
    (0..number)
        .map(|n| CheckTarget {
            address: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)),
            spec: spec.clone(),
            production: None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn two_thousand_targets_are_spread_and_lose_no_result() {
    let begin = Instant::now();
    let starts = Arc::new(Mutex::new(HashMap::<CheckTarget, Vec<Instant>>::new()));
    let log = starts.clone();
    // Each target passes ten times, then fails. The queue is small and its reader slow, so probers wait.
    let (checker, mut events, _stop) = checker(4, move |target| {
        let mut log = log.lock().unwrap();
        let mine = log.entry(target.clone()).or_default();
        mine.push(Instant::now());
        let passes = mine.len() <= 10;
        async move {
            sleep(Duration::from_millis(5)).await;
            if passes { pass() } else { Err(ProbeError::Refused) }
        }
    });
    let all = targets(2000);
    checker.set_targets(&all);
    let mut verdicts = HashMap::<CheckTarget, Vec<Verdict>>::new();
    for n in 0..4000 {
        let event = events.recv().await.unwrap();
        verdicts.entry(event.target).or_default().push(event.verdict);
        if n % 100 == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(verdicts.len(), all.len());
    assert!(verdicts.values().all(|seen| *seen == [Verdict::Up, Verdict::Down]));

    let starts = starts.lock().unwrap();
    let mut tenths = HashMap::<u128, u32>::new();
    for mine in starts.values() {
        assert!(mine[0] - begin <= SECOND, "a new target is checked within a second: {:?}", mine[0] - begin);
        for (n, pair) in mine.windows(2).enumerate() {
            let between = pair[1] - pair[0];
            // The timer has a grain of 1 ms.
            let (least, most) = (Duration::from_millis(8_990), Duration::from_millis(11_010));
            assert!((least..=most).contains(&between), "check {n}: {between:?}");
        }
        for start in mine {
            *tenths.entry((*start - begin).as_millis() / 100).or_default() += 1;
        }
    }
    // 2000 targets start within 1 s, so 200 in a tenth, plus or minus chance.
    let busiest = tenths.values().max().unwrap();
    assert!(*busiest < 300, "{busiest} checks started within 100 ms");
    let results: u64 = checker.board().all().iter().map(|(_, status)| status.passes + status.failures).sum();
    let started: usize = starts.values().map(Vec::len).sum();
    let under_way = started as u64 - results;
    assert!(under_way < 100, "{started} checks, {results} results");
}

#[tokio::test]
async fn a_target_between_two_checks_is_small() {
    let target = targets(1).into_iter().next().unwrap();
    let prober = Prober {
        shared: Arc::new(Shared {
            probe: Arc::new(Network::default()),
            turns: Semaphore::new(1),
            events: mpsc::channel(1).0,
            complained: Mutex::default(),
        }),
        requests: mpsc::channel(1).1,
        cell: Arc::default(),
        hysteresis: Hysteresis::new(NonZeroU32::MIN, NonZeroU32::MIN),
        schedule: Schedule::new(0, SECOND, 0, Instant::now().into_std()),
        target,
    };
    let task = prober.run(CancellationToken::new());
    let size = size_of_val(&task);
    assert!(size <= 2048, "{size} bytes: 10 000 targets would need {} KiB", size * 10_000 / 1024);
}

#[tokio::test(start_paused = true)]
async fn checks_in_flight_are_bounded_and_all_get_their_turn() {
    let in_flight = Arc::new(Mutex::new((0, 0)));
    let gauge = in_flight.clone();
    let (checker, mut events, _stop) = checker(8, move |_| {
        let gauge = gauge.clone();
        async move {
            {
                let mut gauge = gauge.lock().unwrap();
                gauge.0 += 1;
                gauge.1 = gauge.1.max(gauge.0);
            }
            sleep(SECOND * 5).await;
            gauge.lock().unwrap().0 -= 1;
            Err(ProbeError::Refused)
        }
    });
    let all = targets(MAX_IN_FLIGHT as u32 + 500);
    checker.set_targets(&all);
    let mut down = HashSet::new();
    while down.len() < all.len() {
        down.insert(events.recv().await.unwrap().target);
    }
    assert_eq!(in_flight.lock().unwrap().1, MAX_IN_FLIGHT);
}
