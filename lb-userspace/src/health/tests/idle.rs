//! `idle`: with a stand-in under a paused clock, and on real connections.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        Checker, HealthEvent, Pass, ProbeError, Stage, Verdict,
        probe::{Loss, Success},
    },
    LOOPBACK, reset, spec,
    stand_in::{checker, only},
    target,
};
use crate::model::{CheckKind, CheckTarget};

const SECOND: Duration = Duration::from_secs(1);

fn idle(port: u16) -> CheckTarget {
    let mut spec = spec(CheckKind::Idle, port);
    spec.interval = SECOND * 3;
    spec.timeout = SECOND * 3;
    spec.jitter_per_mille = 0;
    target(spec)
}

/// A connection that is lost in this way after so long.
fn lost_after(time: Duration, how: Loss) -> Success {
    Success {
        pass: Pass::Connected,
        held: Some(Box::pin(async move {
            sleep(time).await;
            how
        })),
    }
}

#[tokio::test(start_paused = true)]
async fn accept_and_close_costs_one_connection_an_interval_and_is_up() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let (checker, mut events, _stop) = checker(8, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok(lost_after(Duration::ZERO, Loss::Closed)) }
    });
    checker.set_targets(&only(&idle(80)));
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Up);
    sleep(SECOND * 60).await;
    let connections = count.load(Ordering::Relaxed);
    assert!((20..=22).contains(&connections), "{connections} connections in a minute");
    assert!(events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_clean_close_of_an_old_connection_is_followed_by_another_at_once() {
    let opened = Arc::new(Mutex::new(Vec::new()));
    let log = opened.clone();
    let (checker, mut events, _stop) = checker(8, move |_| {
        log.lock().unwrap().push(Instant::now());
        async { Ok(lost_after(SECOND * 60, Loss::Closed)) }
    });
    let target = idle(80);
    checker.set_targets(&only(&target));
    events.recv().await.unwrap();
    sleep(SECOND * 61).await;
    let opened = opened.lock().unwrap().clone();
    assert_eq!(opened.len(), 2);
    assert!(opened[1] - opened[0] <= SECOND * 60 + Duration::from_millis(5));
    let status = checker.board().get(&target).unwrap();
    assert!(status.passes >= 20, "an open connection passes once an interval: {status:?}");
    assert!(events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_a_failure_at_once_and_the_way_back_takes_seconds() {
    let begin = Instant::now();
    let opened = Arc::new(Mutex::new(Vec::new()));
    let log = opened.clone();
    // Open for 30 s, then reset, refused for an hour, back again.
    let (checker, mut events, _stop) = checker(8, move |_| {
        log.lock().unwrap().push(begin.elapsed());
        async move {
            match begin.elapsed().as_secs() {
                0..30 => Ok(lost_after(SECOND * 30, Loss::Failed(ProbeError::Reset(Stage::Idle)))),
                30..3600 => Err(ProbeError::Refused),
                _ => Ok(lost_after(SECOND * 9999, Loss::Closed)),
            }
        }
    });
    checker.set_targets(&only(&idle(80)));
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Up);
    let up = Instant::now();
    let down = events.recv().await.unwrap();
    assert_eq!((down.verdict, down.detail.as_str()), (Verdict::Down, "connection reset while idle"));
    assert!(up.elapsed() <= SECOND * 30 + Duration::from_millis(5), "at once");
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Up);
    let back = begin.elapsed();
    assert!(back <= SECOND * 3606, "{back:?}: after an hour away it waits five seconds at most");
    let attempts = opened.lock().unwrap().len();
    assert!((710..740).contains(&attempts), "{attempts} attempts in an hour, so one in 5 s");
}

#[tokio::test(start_paused = true)]
async fn a_failed_check_on_request_gives_the_old_connection_up() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counter = opened.clone();
    let (checker, mut events, _stop) = checker(8, move |_| {
        let first = counter.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if first { Ok(lost_after(SECOND * 9999, Loss::Closed)) } else { Err(ProbeError::Refused) } }
    });
    let target = idle(80);
    checker.set_targets(&only(&target));
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Up);
    let results = checker.check_now([target.clone()]).await;
    assert_eq!(results, [(target.clone(), Err(ProbeError::Refused))]);
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Down);
    sleep(SECOND * 60).await;
    assert!(events.try_recv().is_err(), "the connection from before does not bring it up again");
    assert!(opened.load(Ordering::Relaxed) > 10, "it is tried again and again");
}

/// A real checker on one `idle` target of a real listener.
async fn real() -> (TcpListener, Checker, mpsc::Receiver<HealthEvent>, CheckTarget) {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let mut spec = spec(CheckKind::Idle, listener.local_addr().unwrap().port());
    spec.interval = Duration::from_millis(100);
    let target = target(spec);
    let (events, received) = mpsc::channel(8);
    let checker = Checker::spawn(events, None, CancellationToken::new());
    checker.set_targets(&only(&target));
    (listener, checker, received, target)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.unwrap().0
}

#[tokio::test]
async fn a_real_reset_brings_the_target_down_and_a_new_connection_up_again() {
    let (listener, _checker, mut events, _) = real().await;
    let connection = accept(&listener).await;
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Up);
    reset(connection);
    let down = events.recv().await.unwrap();
    assert_eq!((down.verdict, down.detail.as_str()), (Verdict::Down, "connection reset while idle"));
    let _connection = accept(&listener).await;
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Up);
}

#[tokio::test]
async fn a_real_close_is_no_failure_but_a_refused_reconnect_is() {
    let (listener, checker, mut events, target) = real().await;
    let mut connection = accept(&listener).await;
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Up);
    connection.write_all(b"220 a banner is ignored\r\n").await.unwrap();
    connection.shutdown().await.unwrap();
    let last = accept(&listener).await;
    assert!(events.try_recv().is_err(), "a clean close says nothing");
    assert_eq!(checker.board().get(&target).unwrap().failures, 0);
    drop(listener);
    drop(last);
    let down = events.recv().await.unwrap();
    assert_eq!((down.verdict, down.detail.as_str()), (Verdict::Down, "connection refused"));
}

#[tokio::test]
async fn removing_the_target_closes_the_connection() {
    use tokio::io::AsyncReadExt;
    let (listener, checker, mut events, _) = real().await;
    let mut connection = accept(&listener).await;
    assert_eq!(events.recv().await.unwrap().verdict, Verdict::Up);
    checker.set_targets(&std::collections::HashSet::new());
    let end = connection.read_u8().await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}
