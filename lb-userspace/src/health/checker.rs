//! Starts and stops probers.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures_util::future::join_all;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Board, CheckResult, HealthEvent, ProbeError,
    hysteresis::Hysteresis,
    probe::{Network, Probe},
    prober::{Prober, Reply, Shared},
    production::ProductionPath,
    schedule::Schedule,
};
use crate::model::CheckTarget;

/// Checks in flight at once, over all targets; further ones wait for their turn. Each has one socket. A backend that swallows
/// packets keeps its turn for a whole timeout, so there are enough for a large site with a rack or two in the dark.
pub const MAX_IN_FLIGHT: usize = 4096;

/// Requests of [`Checker::check_now`] that wait for one target. They are answered together by its next check; when there are more,
/// whoever asks waits.
const MAX_REQUESTS: usize = 4;

/// Runs the checks. Clones are handles to the same checker.
#[derive(Clone, Debug)]
pub struct Checker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    stop: CancellationToken,
    runtime: Handle,
    /// Makes the schedule of this daemon differ from that of its peers, which check the same backends.
    salt: u64,
    running: Mutex<HashMap<CheckTarget, Running>>,
    board: Board,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    requests: mpsc::Sender<Reply>,
}

impl Checker {
    /// A checker without targets, on the runtime this is called in. Verdicts go to `events`; when that queue is full, probers wait
    /// and nothing is lost. `stop` ends all checks.
    ///
    /// Checks by the VIP go by `production`; without it, to the backends' own addresses.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(
        events: mpsc::Sender<HealthEvent>,
        production: Option<Arc<dyn ProductionPath>>,
        stop: CancellationToken,
    ) -> Self {
        Self::with_probe(events, stop, Arc::new(Network::new(production)), rand::random())
    }

    /// The same with another network and a known salt.
    pub(super) fn with_probe(
        events: mpsc::Sender<HealthEvent>,
        stop: CancellationToken,
        probe: Arc<dyn Probe>,
        salt: u64,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                shared: Arc::new(Shared {
                    probe,
                    turns: Semaphore::new(MAX_IN_FLIGHT),
                    events,
                    complained: Mutex::default(),
                }),
                stop,
                runtime: Handle::current(),
                salt,
                running: Mutex::default(),
                board: Board::default(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Makes exactly these targets run. Those that run already go on undisturbed; those that are no longer wanted stop at once, and
    /// when this has returned nothing more is sent about them (an event sent before may still be in the queue).
    pub fn set_targets(&self, wanted: &HashSet<CheckTarget>) {
        let inner = &*self.inner;
        if inner.stop.is_cancelled() {
            return;
        }
        let mut running = inner.running();
        running.retain(|target, prober| {
            let keep = wanted.contains(target);
            if !keep {
                prober.stop.cancel();
                inner.board.remove(target);
            }
            keep
        });
        for target in wanted {
            if !running.contains_key(target) {
                running.insert(target.clone(), inner.start(target));
            }
        }
    }

    /// Checks these targets at once and awaits the results, which count as usual. A check under way is not a fresh one: it is awaited
    /// and followed by another. Targets that do not run, or are removed meanwhile, answer [`ProbeError::Removed`].
    ///
    /// Not for whoever receives the events: with a full queue both would wait for each other.
    pub async fn check_now(
        &self,
        targets: impl IntoIterator<Item = CheckTarget>,
    ) -> Vec<(CheckTarget, CheckResult)> {
        let asked: Vec<_> = {
            let running = self.inner.running();
            targets
                .into_iter()
                .map(|target| {
                    let requests = running.get(&target).map(|prober| prober.requests.clone());
                    (target, requests)
                })
                .collect()
        };
        join_all(asked.into_iter().map(|(target, requests)| async {
            let result = ask(requests).await.unwrap_or(Err(ProbeError::Removed));
            (target, result)
        }))
        .await
    }

    /// The status of all targets.
    pub fn board(&self) -> Board {
        self.inner.board.clone()
    }

    /// Stops all checks and waits until their tasks are gone.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

async fn ask(requests: Option<mpsc::Sender<Reply>>) -> Option<CheckResult> {
    let (reply, result) = oneshot::channel();
    requests?.send(reply).await.ok()?;
    result.await.ok()
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, HashMap<CheckTarget, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, target: &CheckTarget) -> Running {
        let spec = &target.spec;
        let (requests, received) = mpsc::channel(MAX_REQUESTS);
        let stop = self.stop.child_token();
        let now = tokio::time::Instant::now().into_std();
        let prober = Prober {
            target: target.clone(),
            shared: self.shared.clone(),
            requests: received,
            cell: self.board.add(target.clone()),
            hysteresis: Hysteresis::new(spec.rise, spec.fall),
            schedule: self.schedule(target, now),
        };
        self.tasks.spawn_on(prober.run(stop.clone()), &self.runtime);
        Running { stop, requests }
    }

    fn schedule(&self, target: &CheckTarget, now: Instant) -> Schedule {
        let mut hasher = DefaultHasher::new();
        self.salt.hash(&mut hasher);
        target.hash(&mut hasher);
        let spec = &target.spec;
        Schedule::new(hasher.finish(), spec.interval, spec.jitter_per_mille, now)
    }
}
