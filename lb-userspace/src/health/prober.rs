//! The task of one target: waits, checks, records, reports.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    CheckResult, HealthEvent, Pass, Passed, ProbeError, Verdict,
    board::Cell,
    hysteresis::Hysteresis,
    probe::{Held, Loss, Probe},
    schedule::Schedule,
};
use crate::model::{CheckKind, CheckTarget};

/// Where to send the result of a check somebody asked for.
pub(super) type Reply = oneshot::Sender<CheckResult>;

/// What all probers of a checker share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) probe: Arc<dyn Probe>,
    /// Bounds the checks in flight over all targets. Waiting for a turn is not counted in a check's timeout.
    pub(super) turns: Semaphore,
    /// When it is full the prober waits and does no further checks: nothing is lost, results get older.
    pub(super) events: mpsc::Sender<HealthEvent>,
    /// When we last complained that this host cannot check.
    pub(super) complained: Mutex<Option<Instant>>,
}

/// Trouble of this host concerns every target: it is logged no more often than this.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// One target's task. Its checks follow each other, so there are never two at once.
#[derive(Debug)]
pub(super) struct Prober {
    pub(super) target: CheckTarget,
    pub(super) shared: Arc<Shared>,
    pub(super) requests: mpsc::Receiver<Reply>,
    pub(super) cell: Arc<Cell>,
    pub(super) hysteresis: Hysteresis,
    pub(super) schedule: Schedule,
}

/// An `idle` connection that is open.
struct Open {
    held: Held,
    since: Instant,
    /// What opening it took.
    latency: Duration,
}

enum Wake {
    Due,
    Asked(Reply),
    Lost(Loss),
}

impl Prober {
    /// Runs until stopped. A stop takes effect at once, also in the middle of a check.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.work()).await;
    }

    async fn work(mut self) {
        let mut open: Option<Open> = None;
        let mut next = Instant::from_std(self.schedule.first());
        loop {
            let wake = tokio::select! {
                biased;
                Some(reply) = self.requests.recv() => Wake::Asked(reply),
                loss = lost(open.as_mut()) => Wake::Lost(loss),
                () = sleep_until(next) => Wake::Due,
            };
            match wake {
                Wake::Lost(Loss::Closed) => {
                    if let Some(closed) = open.take() {
                        next = self.reopen(&closed);
                    }
                }
                Wake::Lost(Loss::Failed(error)) => {
                    open = None;
                    self.record(Err(error)).await;
                    next = self.next(false);
                }
                Wake::Due => {
                    let still_open =
                        open.as_ref().map(|open| Passed { pass: Pass::StillOpen, latency: open.latency });
                    let result = match still_open {
                        Some(passed) => Ok(passed),
                        None => self.check(&mut open).await,
                    };
                    self.record(result).await;
                    next = self.next(open.is_some());
                }
                Wake::Asked(reply) => {
                    let mut replies = vec![reply];
                    // Who asked before this check began is answered by it too.
                    while let Ok(another) = self.requests.try_recv() {
                        replies.push(another);
                    }
                    let result = self.check(&mut open).await;
                    for reply in replies {
                        // Whoever asked may have gone away.
                        let _ = reply.send(result.clone());
                    }
                    self.record(result).await;
                    // The grid stands, unless this check ran past the next start or an `idle` connection changed.
                    if self.is_idle() || next <= Instant::now() {
                        next = self.next(open.is_some());
                    }
                }
            }
        }
    }

    /// When a connection that the server has closed is opened again.
    fn reopen(&self, closed: &Open) -> Instant {
        let now = Instant::now().into_std();
        Instant::from_std(self.schedule.reconnect_after_close(closed.since.into_std(), now))
    }

    /// One check. A new `idle` connection takes the place of the old one.
    async fn check(&self, open: &mut Option<Open>) -> CheckResult {
        // The semaphore is never closed; were it, checks would go on unbounded rather than stop.
        let _turn = self.shared.turns.acquire().await;
        let since = Instant::now();
        match self.shared.probe.check(&self.target).await {
            Ok(success) => {
                let latency = since.elapsed();
                *open = success.held.map(|held| Open { held, since, latency });
                Ok(Passed { pass: success.pass, latency })
            }
            Err(error) => {
                if error.counts() {
                    *open = None;
                }
                Err(error)
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.target.spec.kind == CheckKind::Idle
    }

    fn next(&mut self, is_open: bool) -> Instant {
        let now = Instant::now().into_std();
        let at = if self.is_idle() && !is_open {
            let failures = self.hysteresis.failures_while_down();
            self.schedule.reconnect_after_failure(failures, now)
        } else {
            self.schedule.advance(now)
        };
        Instant::from_std(at)
    }

    /// Puts a result on the board and, if it changes the verdict, into log and queue.
    async fn record(&mut self, result: CheckResult) {
        let counts = result.as_ref().err().is_none_or(ProbeError::counts);
        if !counts {
            self.complain(&result);
        }
        let passed = result.is_ok();
        let first = self.hysteresis.verdict().is_none();
        let flip = if counts { self.hysteresis.record(passed) } else { None };
        let (streak, verdict) = (self.hysteresis.streak(), self.hysteresis.verdict());
        let now = SystemTime::now();
        let text = self.cell.while_running(|status| {
            status.verdict = verdict;
            status.streak = streak;
            status.at = Some(now);
            status.at_instant = Some(Instant::now().into_std());
            match (counts, passed) {
                (false, _) => status.not_done += 1,
                (true, true) => status.passes += 1,
                (true, false) => status.failures += 1,
            }
            match flip {
                Some(Verdict::Up) => status.ups += 1,
                Some(Verdict::Down) => status.downs += 1,
                None => {}
            }
            if flip.is_some() {
                status.since = Some(now);
            }
            status.last = Some(result);
            flip.map(|_| status.text())
        });
        if let (Some(verdict), Some(Some(detail))) = (flip, text) {
            self.report(verdict, first, detail).await;
        }
    }

    fn complain(&self, result: &CheckResult) {
        let now = Instant::now();
        let complained = &self.shared.complained;
        let mut last = complained.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = result
            && last.is_none_or(|last| now - last >= COMPLAIN_EVERY)
        {
            *last = Some(now);
            let (address, port) = (self.target.address, self.target.spec.port);
            tracing::error!(
                %address, port, reason = %error,
                "health checks cannot be done, perhaps more than this one; verdicts stand as they are"
            );
        }
    }

    async fn report(&self, verdict: Verdict, first: bool, detail: String) {
        let spec = &self.target.spec;
        let (address, port, check, kind) = (self.target.address, spec.port, &*spec.name, spec.kind.as_str());
        match verdict {
            Verdict::Down => {
                tracing::warn!(%address, port, check, kind, reason = detail, "check failed");
            }
            // Ten thousand healthy backends are no news when the daemon starts.
            Verdict::Up if first => {
                tracing::debug!(%address, port, check, kind, result = detail, "check passes");
            }
            Verdict::Up => {
                tracing::info!(%address, port, check, kind, result = detail, "check passes again");
            }
        }
        // An error means that nobody listens any more: the daemon is stopping.
        if let Ok(place) = self.shared.events.reserve().await {
            let event = HealthEvent { target: self.target.clone(), verdict, detail };
            // Under the cell's lock, so that nothing is sent once `set_targets` has removed the target.
            self.cell.while_running(|_| place.send(event));
        }
    }
}

/// Resolves when the connection is lost; never without one.
async fn lost(open: Option<&mut Open>) -> Loss {
    match open {
        Some(open) => open.held.as_mut().await,
        None => std::future::pending().await,
    }
}
