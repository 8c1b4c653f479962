//! How the rest of the daemon talks to the coordinator.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::command::{Command, Outcome, Refusal};
use crate::model::Config;

/// Requests that wait. When it is full, who asks waits: an operator's command or a reload is late, nothing is lost.
pub(super) const REQUESTS: usize = 64;

/// Something somebody waits for.
#[derive(Debug)]
pub(super) enum Request {
    Command { command: Command, by: String, reply: oneshot::Sender<Result<Vec<Outcome>, Refusal>> },
    Reload { config: Arc<Config>, reply: oneshot::Sender<Result<Vec<String>, String>> },
    Preview { config: Arc<Config>, reply: oneshot::Sender<Result<Vec<String>, String>> },
    ReloadFailed(String),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// It was not done; nothing changed.
    #[error("{0}")]
    Refused(E),
    /// The daemon is shutting down.
    #[error("lbd is shutting down")]
    Stopped,
}

/// A way to the coordinator; clone it freely.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) requests: mpsc::Sender<Request>,
}

impl Handle {
    /// Carries out an operator's command; `by` is the login name. Returns after the overrides are on disk.
    pub async fn command(&self, command: Command, by: String) -> Result<Vec<Outcome>, CallError<Refusal>> {
        self.call(|reply| Request::Command { command, by, reply }).await
    }

    /// Puts a configuration in force, as a whole or not at all. Returns one sentence per change, or why it is refused.
    pub async fn reload(&self, config: Arc<Config>) -> Result<Vec<String>, CallError<String>> {
        self.call(|reply| Request::Reload { config, reply }).await
    }

    /// What [`Handle::reload`] would return. Nothing changes.
    pub async fn preview(&self, config: Arc<Config>) -> Result<Vec<String>, CallError<String>> {
        self.call(|reply| Request::Preview { config, reply }).await
    }

    /// The file could not be read or is wrong: shown and counted, else nothing changes.
    pub async fn reload_failed(&self, problem: String) {
        // When it has stopped there is nobody left to show it to.
        let _ = self.requests.send(Request::ReloadFailed(problem)).await;
    }

    async fn call<T, E>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Request,
    ) -> Result<T, CallError<E>> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| CallError::Stopped)?;
        answer.await.map_err(|_| CallError::Stopped)?.map_err(CallError::Refused)
    }
}
