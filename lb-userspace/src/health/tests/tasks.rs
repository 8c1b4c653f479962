//! Probers and checker, under a paused clock.

use std::{
    collections::HashSet,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc::error::TryRecvError},
    time::{Instant, sleep},
};

use super::{
    super::{ProbeError, Stage, Verdict},
    spec,
    stand_in::{checker, only, pass},
    target,
};
use crate::model::CheckKind;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn rise_and_fall_decide_which_results_are_reported() {
    let script = "+---+-++--+---++";
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let (checker, mut events, stop) = checker(1, move |_| {
        let n = counter.fetch_add(1, Ordering::Relaxed);
        let passes = script.as_bytes().get(n) == Some(&b'+');
        async move { if passes { pass() } else { Err(ProbeError::Refused) } }
    });
    let mut spec = spec(CheckKind::Tcp, 80);
    (spec.rise, spec.fall) = (NonZeroU32::new(2).unwrap(), NonZeroU32::new(3).unwrap());
    let target = target(spec);
    checker.set_targets(&only(&target));
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let event = events.recv().await.unwrap();
        assert_eq!(event.target, target);
        seen.push((count.load(Ordering::Relaxed), event.verdict, event.detail));
    }
    let ups = "connected".to_owned();
    let downs = "connection refused".to_owned();
    assert_eq!(
        seen,
        [
            (1, Verdict::Up, ups.clone()),
            (4, Verdict::Down, downs.clone()),
            (8, Verdict::Up, ups.clone()),
            (14, Verdict::Down, downs),
            (16, Verdict::Up, ups),
        ]
    );
    let status = checker.board().get(&target).unwrap();
    assert_eq!(status.verdict, Some(Verdict::Up));
    assert_eq!((status.passes, status.failures, status.streak), (7, 9, 2));
    assert_eq!((status.ups, status.downs), (3, 2));
    assert_eq!((status.ok(), status.text().as_str()), (Some(true), "connected"));
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_target_removed_during_its_check_reports_nothing() {
    let started = Arc::new(Notify::new());
    let signal = started.clone();
    let (checker, mut events, _stop) = checker(8, move |_| {
        signal.notify_one();
        async {
            sleep(SECOND).await;
            pass()
        }
    });
    let target = target(spec(CheckKind::Tcp, 80));
    checker.set_targets(&only(&target));
    started.notified().await;
    let asked = tokio::spawn({
        let (checker, target) = (checker.clone(), target.clone());
        async move { checker.check_now([target]).await }
    });
    tokio::task::yield_now().await;
    checker.set_targets(&HashSet::new());
    assert_eq!(checker.board().get(&target), None);
    assert_eq!(asked.await.unwrap(), [(target, Err(ProbeError::Removed))]);
    sleep(SECOND * 60).await;
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(checker.board().all(), []);
}

#[tokio::test(start_paused = true)]
async fn a_target_removed_while_the_queue_is_full_reports_nothing() {
    let (checker, mut events, _stop) = checker(1, |_| async { pass() });
    let first = target(spec(CheckKind::Tcp, 80));
    let second = target(spec(CheckKind::Tcp, 81));
    checker.set_targets(&only(&first));
    sleep(SECOND * 2).await;
    checker.set_targets(&HashSet::from([first.clone(), second.clone()]));
    sleep(SECOND * 2).await;
    let status = checker.board().get(&second).unwrap();
    assert_eq!(status.verdict, Some(Verdict::Up), "checked, but its event waits for room");
    checker.set_targets(&only(&first));
    assert_eq!(events.recv().await.unwrap().target, first);
    sleep(SECOND * 60).await;
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
}

#[tokio::test(start_paused = true)]
async fn equal_targets_run_once_and_unchanged_ones_keep_their_state() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let (checker, mut events, _stop) = checker(8, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { pass() }
    });
    let (one, same) = (target(spec(CheckKind::Tcp, 80)), target(spec(CheckKind::Tcp, 80)));
    assert!(!Arc::ptr_eq(&one.spec, &same.spec));
    checker.set_targets(&HashSet::from([one.clone(), same.clone()]));
    events.recv().await.unwrap();
    checker.set_targets(&only(&same));
    sleep(SECOND * 20).await;
    let checks = count.load(Ordering::Relaxed);
    assert!((2..=4).contains(&checks), "{checks} checks in 20 s at an interval of 10 s");
    assert_eq!(checker.board().get(&one).unwrap().passes, checks as u64);
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_starts_as_unknown() {
    let (checker, mut events, _stop) = checker(8, |_| async { pass() });
    let target = target(spec(CheckKind::Tcp, 80));
    checker.set_targets(&only(&target));
    events.recv().await.unwrap();
    checker.set_targets(&HashSet::new());
    checker.set_targets(&only(&target));
    assert_eq!(checker.board().get(&target).unwrap(), super::super::CheckStatus::default());
    assert_eq!(checker.board().get(&target).unwrap().text(), "not checked yet");
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Up);
}

#[tokio::test(start_paused = true)]
async fn a_check_asked_for_runs_at_once_and_counts() {
    let begin = Instant::now();
    let (checker, mut events, _stop) = checker(8, |_| async { Err(ProbeError::Refused) });
    let running = target(spec(CheckKind::Tcp, 80));
    let unknown = target(spec(CheckKind::Tcp, 81));
    checker.set_targets(&only(&running));
    let results = checker.check_now([running.clone(), unknown.clone()]).await;
    assert_eq!(begin.elapsed(), Duration::ZERO, "before the first scheduled check");
    assert_eq!(results, [(running.clone(), Err(ProbeError::Refused)), (unknown, Err(ProbeError::Removed))]);
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Down);
    assert_eq!(checker.board().get(&running).unwrap().failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_target_is_never_checked_twice_at_once() {
    let under_way = Arc::new(AtomicUsize::new(0));
    let finished = Arc::new(AtomicUsize::new(0));
    let (now, done) = (under_way.clone(), finished.clone());
    let (checker, _events, _stop) = checker(8, move |_| {
        assert_eq!(now.fetch_add(1, Ordering::SeqCst), 0, "another check is under way");
        let (now, done) = (now.clone(), done.clone());
        async move {
            sleep(SECOND * 25).await;
            now.fetch_sub(1, Ordering::SeqCst);
            done.fetch_add(1, Ordering::SeqCst);
            pass()
        }
    });
    let target = target(spec(CheckKind::Tcp, 80));
    checker.set_targets(&only(&target));
    sleep(SECOND * 20).await;
    let begin = Instant::now();
    let asked = (0..10).map(|_| checker.check_now([target.clone()]));
    for results in futures_util::future::join_all(asked).await {
        assert!(results[0].1.is_ok());
    }
    assert!(begin.elapsed() >= SECOND * 25, "a check under way is followed by a fresh one");
    assert!(finished.load(Ordering::SeqCst) <= 5, "requests are answered together");
    assert!(under_way.load(Ordering::SeqCst) <= 1);
}

#[tokio::test(start_paused = true)]
async fn trouble_of_this_host_moves_no_verdict() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let (checker, mut events, _stop) = checker(8, move |_| {
        let n = counter.fetch_add(1, Ordering::Relaxed);
        async move { if n == 0 { pass() } else { Err(ProbeError::Local("too many open files".into())) } }
    });
    let target = target(spec(CheckKind::Tcp, 80));
    checker.set_targets(&only(&target));
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Up);
    sleep(SECOND * 60).await;
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    let status = checker.board().get(&target).unwrap();
    assert_eq!((status.verdict, status.failures), (Some(Verdict::Up), 0));
    assert!(status.not_done >= 5, "{status:?}");
    assert_eq!(status.text(), "cannot check from here: too many open files");
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_checks_under_way_and_closes_the_queue() {
    let (checker, mut events, _stop) = checker(8, |_| async {
        sleep(SECOND * 3600).await;
        Err(ProbeError::Timeout { stage: Stage::Connecting, after: SECOND })
    });
    checker.set_targets(&only(&target(spec(CheckKind::Tcp, 80))));
    sleep(SECOND * 2).await;
    let begin = Instant::now();
    checker.stop().await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    checker.set_targets(&only(&target(spec(CheckKind::Tcp, 81))));
    drop(checker);
    assert_eq!(events.recv().await, None);
}
