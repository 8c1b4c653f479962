//! A network whose answers a test decides.

use std::{collections::HashSet, fmt, sync::Arc};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::{
    Checker, HealthEvent, Pass, ProbeError,
    probe::{Boxed, Probe, Success},
};
use crate::model::CheckTarget;

pub(super) type Answer = Result<Success, ProbeError>;

pub(super) struct StandIn<F>(F);

impl<F> fmt::Debug for StandIn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandIn")
    }
}

impl<F> Probe for StandIn<F>
where
    F: Fn(&CheckTarget) -> Boxed<'static, Answer> + Send + Sync + 'static,
{
    fn check<'a>(&'a self, target: &'a CheckTarget) -> Boxed<'a, Answer> {
        (self.0)(target)
    }
}

/// A checker on such a network, the queue it writes to, and what stops it.
pub(super) fn checker<F, Fut>(
    queue: usize,
    answer: F,
) -> (Checker, mpsc::Receiver<HealthEvent>, CancellationToken)
where
    F: Fn(&CheckTarget) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    let (events, received) = mpsc::channel(queue);
    let stop = CancellationToken::new();
    let probe = StandIn(move |target: &CheckTarget| -> Boxed<'static, Answer> { Box::pin(answer(target)) });
    let checker = Checker::with_probe(events, stop.clone(), Arc::new(probe), 42);
    (checker, received, stop)
}

#[expect(clippy::unnecessary_wraps, reason = "an answer, as checks give it")]
pub(super) fn pass() -> Answer {
    Ok(Pass::Connected.into())
}

pub(super) fn only(target: &CheckTarget) -> HashSet<CheckTarget> {
    HashSet::from([target.clone()])
}
