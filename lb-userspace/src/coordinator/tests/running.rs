//! The loop, on a clock that only moves when everybody waits.

use std::{fs, path::Path};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{self, timeout},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    coordinator::{CallError, Coordinator, Handle, Inputs, Outputs, Store, memory},
    datapath::Status,
};

struct Running {
    handle: Handle,
    health: mpsc::Sender<HealthEvent>,
    neighbours: mpsc::Sender<NeighbourEvent>,
    status: watch::Sender<Arc<Status>>,
    targets: watch::Receiver<HashSet<CheckTarget>>,
    addresses: watch::Receiver<BTreeSet<IpAddr>>,
    desired: watch::Receiver<Arc<Desired>>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(state_dir: &Path) -> Self {
        let mut world = World::empty(Overrides::default(), Adopted::new());
        let snapshot = Arc::new(world.snapshot());
        let (health, health_events) = mpsc::channel(16);
        let (neighbours, neighbour_events) = mpsc::channel(16);
        let (status, statuses) = watch::channel(Arc::default());
        let (targets_out, targets) = watch::channel(HashSet::new());
        let (addresses_out, addresses) = watch::channel(BTreeSet::new());
        let (desired_out, desired) = watch::channel(Arc::default());
        let (snapshot_out, snapshot) = watch::channel(snapshot);
        let inputs = Inputs { health: health_events, neighbours: neighbour_events, status: statuses };
        let outputs = Outputs {
            targets: Box::new(move |targets| drop(targets_out.send_replace(targets.clone()))),
            addresses: addresses_out,
            desired: desired_out,
            snapshot: snapshot_out,
        };
        let (coordinator, handle) = Coordinator::new(world.state, Store::new(state_dir), inputs, outputs);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(coordinator.run(shutdown.clone()));
        Self { handle, health, neighbours, status, targets, addresses, desired, snapshot, shutdown, task }
    }

    async fn healthy(state_dir: &Path) -> Self {
        let mut running = Self::start(state_dir);
        let config = config(vec![pool("text", &["b1", "b2", "b3"])]);
        running.handle.reload(Arc::new(config)).await.unwrap();
        for address in running.addresses.borrow_and_update().clone() {
            running.neighbours.send(NeighbourEvent { address, next_hop: Ok(hop(address)) }).await.unwrap();
        }
        for name in ["b1", "b2", "b3"] {
            running.say(name, Verdict::Up).await;
        }
        let all = |d: &Arc<Desired>| d.pools["text"].backends.values().all(|b| b.disposition.takes_new());
        running.desired.wait_for(|d| !d.pools.is_empty() && all(d)).await.unwrap();
        running.desired.mark_unchanged();
        running
    }

    async fn say(&self, backend: &str, verdict: Verdict) {
        let of = address(backend);
        let target = self.targets.borrow().iter().find(|t| t.address == of).unwrap().clone();
        self.health.send(HealthEvent { target, verdict, detail: "said so".into() }).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_data_plane_hears_nothing_before_the_first_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path());
    assert!(timeout(Duration::from_secs(10), running.desired.changed()).await.is_err());
    running.handle.reload(Arc::new(config(vec![pool("text", &["b1"])]))).await.unwrap();
    running.desired.changed().await.unwrap();
    assert_eq!(running.desired.borrow_and_update().revision, 1);
    assert!(!running.snapshot.borrow().ready);
    running.status.send_replace(Arc::new(Status { revision: 1, ..Status::default() }));
    running.snapshot.wait_for(|s| s.ready).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hard_failure_reaches_the_data_plane_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::healthy(dir.path()).await;
    let start = time::Instant::now();
    running.say("b1", Verdict::Down).await;
    running.desired.changed().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(running.desired.borrow().pools["text"].backends["b1"].disposition, Disposition::Down);
}

#[tokio::test(start_paused = true)]
async fn other_changes_wait_for_quiet_but_no_longer_than_a_tenth_of_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::healthy(dir.path()).await;
    running.say("b1", Verdict::Down).await;
    running.desired.changed().await.unwrap();
    running.desired.mark_unchanged();

    let start = time::Instant::now();
    running.say("b1", Verdict::Up).await;
    running.desired.changed().await.unwrap();
    assert!((50..=55).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    running.desired.mark_unchanged();

    // Each of these starts the quiet time anew; the tenth of a second is not to be passed.
    let start = time::Instant::now();
    let revision = running.desired.borrow().revision;
    for n in 0..4_u8 {
        let b1 = address("b1");
        let moved = NextHop { dst_mac: Mac([2, 0, 0, 0, 9, n]), ..hop(b1) };
        running.neighbours.send(NeighbourEvent { address: b1, next_hop: Ok(moved) }).await.unwrap();
        if timeout(Duration::from_millis(30), running.desired.changed()).await.is_ok() {
            break;
        }
    }
    assert!((95..=105).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(running.desired.borrow().revision, revision + 1, "all in one");
}

#[tokio::test(start_paused = true)]
async fn a_command_is_answered_when_its_override_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::healthy(dir.path()).await;
    let outcomes = running.handle.command(pooled("b1", Pooled::No), "alice".into()).await.unwrap();
    assert!(outcomes[0].changed);
    let text = fs::read_to_string(dir.path().join("overrides.json")).unwrap();
    assert!(text.contains("\"alice\"") && text.contains("\"b1\""), "{text}");
    assert_eq!(running.snapshot.borrow().pools["text"].backends["b1"].disposition, Disposition::Draining);

    running.say("b2", Verdict::Down).await;
    let refused = running.handle.command(pooled("b3", Pooled::No), "alice".into()).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(Refusal::Policy { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_does_not_keep_an_operator_from_depooling_and_he_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().join("state");
    fs::write(&state_dir, "in the way").unwrap();
    let running = Running::healthy(&state_dir).await;
    let outcomes = running.handle.command(pooled("b1", Pooled::No), "alice".into()).await.unwrap();
    assert!(outcomes[0].summary.contains("not saved"), "{}", outcomes[0].summary);
    assert_eq!(running.snapshot.borrow().pools["text"].backends["b1"].disposition, Disposition::Draining);

    fs::remove_file(&state_dir).unwrap();
    time::sleep(Duration::from_secs(6)).await;
    running.shutdown.cancel();
    running.task.await.unwrap();
    assert!(state_dir.join("overrides.json").exists(), "tried again");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_published_every_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::healthy(dir.path()).await;
    for _ in 0..5 {
        running.snapshot.borrow_and_update();
        timeout(Duration::from_millis(1001), running.snapshot.changed()).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_reload_is_answered_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::healthy(dir.path()).await;
    let empty = Arc::new(config(vec![pool("text", &[])]));
    let preview = running.handle.preview(Arc::clone(&empty)).await.unwrap_err();
    assert_eq!(running.handle.reload(empty).await.unwrap_err(), preview);
    running.handle.reload_failed("line 3: what is this?".into()).await;
    let shown = |s: &Arc<Snapshot>| s.reload_problem.as_deref() == Some("line 3: what is this?");
    running.snapshot.wait_for(shown).await.unwrap();
    assert_eq!(running.snapshot.borrow().reloads, (0, 2));
}

#[tokio::test(start_paused = true)]
async fn after_the_shutdown_callers_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::healthy(dir.path()).await;
    running.shutdown.cancel();
    running.task.await.unwrap();
    let answer = running.handle.command(pooled("b1", Pooled::No), "alice".into()).await;
    assert_eq!(answer, Err(CallError::Stopped));
}

#[tokio::test(start_paused = true)]
async fn the_next_daemon_learns_who_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::healthy(dir.path()).await;
    running.say("b1", Verdict::Down).await;
    running.desired.changed().await.unwrap();
    running.shutdown.cancel();
    running.task.await.unwrap();

    let adopted = memory::load(dir.path());
    let names: Vec<_> = adopted.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["text/b2", "text/b3"]);
    let mut world = World::empty(Overrides::default(), adopted);
    world.reload(config(vec![pool("text", &["b1", "b2", "b3"])])).unwrap();
    assert_eq!(world.line(), "b1=out b2=serving b3=serving");
}
