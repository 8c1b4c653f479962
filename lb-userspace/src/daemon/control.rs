//! What operators may do, carried out: by API and by signal the same way.

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{mpsc, watch};

use crate::{
    api::{
        control::{Answer, Control, ControlError},
        types::{Candidate, CheckRun, Command, Outcome, Refusal, ReloadReport, Selector},
    },
    config::{self, Diff, Loaded, Problems, Secret},
    coordinator::{CallError, Handle, snapshot::Snapshot},
    datapath::preview,
    health::Checker,
    model::{CheckTarget, Config},
};

/// How the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Forwarding goes on.
    Leave,
    /// Forwarding goes on, and the daemon stays away: an operator asked for it.
    Stay,
    /// The program leaves the interfaces, and the daemon stays away.
    Detach,
}

/// The daemon's levers.
#[derive(Debug)]
pub(super) struct Levers {
    pub(super) path: PathBuf,
    /// The configuration this process was started with: what of it differs needs a restart.
    pub(super) started_with: Arc<Config>,
    /// Held during a reload.
    pub(super) reloading: tokio::sync::Mutex<()>,
    /// The configuration in force.
    pub(super) in_force: Mutex<Arc<Config>>,
    pub(super) coordinator: Handle,
    pub(super) checker: Checker,
    pub(super) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(super) end: mpsc::Sender<Ending>,
    /// Of the flow hash: decides who owns which slot.
    pub(super) secret: Secret,
}

impl Levers {
    /// Reads the file again and puts it in force, as a whole or not at all.
    pub(super) async fn reload(&self, by: &str) -> Result<ReloadReport, ControlError> {
        // One at a time: of two, the one that read the older file must not win.
        let _one = self.reloading.lock().await;
        tracing::info!(by, path = %self.path.display(), "reloading the configuration");
        let loaded = match read(self.path.clone()).await? {
            Ok(loaded) => loaded,
            Err(problems) => {
                self.coordinator.reload_failed(first_line(&problems)).await;
                return Err(ControlError::Problems(problems.to_string()));
            }
        };
        let config = Arc::new(loaded.config.clone());
        let changes = self.coordinator.reload(config.clone()).await.map_err(refused)?;
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = config;
        for warning in &loaded.warnings {
            tracing::warn!(line = warning.line(), "{}: {}", self.path.display(), warning.message());
        }
        Ok(self.report(&self.path, &loaded, changes))
    }

    fn report(&self, source: &Path, loaded: &Loaded, changes: Vec<String>) -> ReloadReport {
        let mut warnings: Vec<String> =
            loaded.warnings.iter().map(|w| format!("line {}: {}", w.line(), w.message())).collect();
        let restart = config::diff(&self.started_with, &loaded.config);
        if restart.needs_restart() {
            warnings.push(format!(
                "needs a restart of lbd (forwarding goes on meanwhile): {}",
                restart_keys(&restart)
            ));
        }
        ReloadReport { source: source.display().to_string(), changes, warnings }
    }

    /// One sentence for each pool whose new connections would be spread otherwise.
    fn moves(&self, old: &Config, new: &Config) -> Vec<String> {
        new.pools
            .iter()
            .filter_map(|(name, after)| {
                let before = old.pools.get(name).filter(|before| *before != after)?;
                let share = preview::moved(self.secret.bytes(), before, after);
                let fate = match after.slots.cmp(&before.slots) {
                    Ordering::Equal => "established ones stay",
                    Ordering::Greater => "a few established ones at the borders of slots break",
                    Ordering::Less => "MANY ESTABLISHED ONES BREAK, because the table shrinks",
                };
                (share > 0.0).then(|| {
                    format!(
                        "pool {name}: {:.1} % of new connections would go to another backend; {fate}",
                        share * 100.0
                    )
                })
            })
            .collect()
    }

    async fn candidate(&self, candidate: Candidate) -> Result<(PathBuf, Loaded), ControlError> {
        let parsed = match candidate.file {
            None => (self.path.clone(), read(self.path.clone()).await?),
            Some(file) => {
                let path = PathBuf::from(&file.name);
                let at = path.clone();
                let parsed = tokio::task::spawn_blocking(move || config::parse(&file.text, &at)).await;
                (path, parsed.map_err(|e| broken(&e))?)
            }
        };
        match parsed {
            (path, Ok(loaded)) => Ok((path, loaded)),
            (_, Err(problems)) => Err(ControlError::Problems(problems.to_string())),
        }
    }

    async fn run_checks(&self, selector: Selector) -> Result<Vec<CheckRun>, ControlError> {
        let snapshot = self.snapshot.borrow().clone();
        let mut wanted: Vec<(String, String, CheckTarget)> = Vec::new();
        let mut known = false;
        for (name, pool) in &snapshot.pools {
            if selector.pool.as_ref().is_some_and(|p| p != name) {
                continue;
            }
            if let Some(backend) = pool.backends.get(&selector.backend) {
                known = true;
                wanted.extend(
                    backend
                        .checks
                        .iter()
                        .map(|c| (name.to_string(), selector.backend.to_string(), c.clone())),
                );
            }
        }
        if !known {
            let message = match &selector.pool {
                Some(pool) => {
                    format!("there is no backend {} in pool {pool}; `lbctl list` shows all", selector.backend)
                }
                None => format!("there is no backend {}; `lbctl list` shows all", selector.backend),
            };
            return Err(Refusal::NotFound { message }.into());
        }
        let results = self.checker.check_now(wanted.iter().map(|(_, _, target)| target.clone())).await;
        Ok(wanted
            .into_iter()
            .filter_map(|(pool, backend, target)| {
                let (_, result) = results.iter().find(|(t, _)| *t == target)?;
                let (ok, detail, latency) = match result {
                    Ok(passed) => (true, passed.pass.to_string(), Some(passed.latency.as_secs_f64())),
                    Err(e) => (false, e.to_string(), None),
                };
                Some(CheckRun { pool, backend, check: target.spec.name.to_string(), ok, detail, latency })
            })
            .collect())
    }
}

impl Control for Levers {
    fn command(&self, command: Command, by: String) -> Answer<'_, Vec<Outcome>> {
        Box::pin(async move {
            self.coordinator.command(command, by).await.map_err(|e| match e {
                CallError::Refused(refusal) => refusal.into(),
                CallError::Stopped => ControlError::Unavailable(CallError::<String>::Stopped.to_string()),
            })
        })
    }

    fn reload(&self, by: String) -> Answer<'_, ReloadReport> {
        Box::pin(async move { Levers::reload(self, &by).await })
    }

    fn config_test(&self, candidate: Candidate) -> Answer<'_, ReloadReport> {
        Box::pin(async move {
            let (path, loaded) = self.candidate(candidate).await?;
            Ok(self.report(&path, &loaded, Vec::new()))
        })
    }

    fn config_diff(&self, candidate: Candidate) -> Answer<'_, ReloadReport> {
        Box::pin(async move {
            let (path, loaded) = self.candidate(candidate).await?;
            // What the rules would refuse is refused here too.
            self.coordinator.preview(Arc::new(loaded.config.clone())).await.map_err(refused)?;
            let in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let diff = config::diff(&in_force, &loaded.config);
            let mut changes = diff.lines();
            if !diff.is_empty() {
                changes.extend(self.moves(&in_force, &loaded.config));
            }
            Ok(self.report(&path, &loaded, changes))
        })
    }

    fn check_now(&self, selector: Selector) -> Answer<'_, Vec<CheckRun>> {
        Box::pin(self.run_checks(selector))
    }

    fn shutdown(&self, detach: bool, by: String) -> Answer<'_, ()> {
        Box::pin(async move {
            tracing::info!(by, detach, "shutdown was asked for");
            let ending = if detach { Ending::Detach } else { Ending::Stay };
            self.end
                .send(ending)
                .await
                .map_err(|_| ControlError::Unavailable("lbd is shutting down already".into()))
        })
    }
}

async fn read(path: PathBuf) -> Result<Result<Loaded, Problems>, ControlError> {
    tokio::task::spawn_blocking(move || config::load(&path)).await.map_err(|e| broken(&e))
}

fn broken(e: &tokio::task::JoinError) -> ControlError {
    ControlError::Unavailable(format!("reading the configuration failed: {e}"))
}

fn refused(e: CallError<String>) -> ControlError {
    match e {
        CallError::Refused(message) => Refusal::Policy { message }.into(),
        CallError::Stopped => ControlError::Unavailable(e.to_string()),
    }
}

/// The first problem and how many there are: for status and log, where a page of text has no room.
fn first_line(problems: &Problems) -> String {
    let mut all = problems.iter();
    let Some(first) = all.next() else { return "the configuration has problems".to_owned() };
    let more = match all.count() {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    format!("{}:{}:{}: {}{more}", first.path().display(), first.line(), first.column(), first.message())
}

fn restart_keys(diff: &Diff) -> String {
    diff.restart.iter().map(|k| k.key.as_str()).collect::<Vec<_>>().join(", ")
}
