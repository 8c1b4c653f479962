//! What the server asks the daemon to do. The daemon implements it; the server adds who asked and a time limit.

use std::fmt;

use futures_util::future::BoxFuture;

use super::types::{Candidate, CheckRun, Command, Outcome, Refusal, ReloadReport, Selector};

/// Why something was not done. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// A policy forbids it, or there is no such thing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The configuration has problems: all of them, as they should be shown.
    #[error("{0}")]
    Problems(String),
    /// The daemon cannot do it now: it is stopping, or a queue is full.
    #[error("{0}")]
    Unavailable(String),
}

/// An answer that takes time.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ControlError>>;

/// The daemon, as far as an operator may change it. `by` is the login name of the asking user, for logs and overrides.
pub trait Control: Send + Sync + fmt::Debug {
    /// Carries out a command; answers when the coordinator has decided.
    fn command(&self, command: Command, by: String) -> Answer<'_, Vec<Outcome>>;
    /// Reads the configuration again and puts it in force.
    fn reload(&self, by: String) -> Answer<'_, ReloadReport>;
    /// Parses and validates a configuration; changes nothing. `changes` of the report stays empty.
    fn config_test(&self, candidate: Candidate) -> Answer<'_, ReloadReport>;
    /// Says what a reload with this configuration would change; changes nothing.
    fn config_diff(&self, candidate: Candidate) -> Answer<'_, ReloadReport>;
    /// Runs the checks of the selected backends at once and waits for their results. The results count like any other.
    fn check_now(&self, selector: Selector) -> Answer<'_, Vec<CheckRun>>;
    /// Begins to stop. Answers before the socket closes. With `detach` the program leaves the interfaces, so forwarding ends; without
    /// it the last tables forward on.
    fn shutdown(&self, detach: bool, by: String) -> Answer<'_, ()>;
}
