//! One time limit over all stages of a check.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{ProbeError, Stage};

/// When a check's time is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    whole: Duration,
}

impl Deadline {
    /// So long from now.
    pub(super) fn after(whole: Duration) -> Self {
        Self { at: Instant::now() + whole, whole }
    }

    /// Awaits one stage of the check for what is left of its time.
    pub(super) async fn within<T>(
        self,
        stage: Stage,
        work: impl Future<Output = Result<T, ProbeError>>,
    ) -> Result<T, ProbeError> {
        timeout_at(self.at, work).await.unwrap_or(Err(ProbeError::Timeout { stage, after: self.whole }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stages_share_one_limit_and_the_slow_one_is_named() {
        let begin = Instant::now();
        let deadline = Deadline::after(Duration::from_secs(5));
        let three_seconds = || async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok(())
        };
        assert_eq!(deadline.within(Stage::Connecting, three_seconds()).await, Ok(()));
        let error = deadline.within(Stage::Answer, three_seconds()).await.unwrap_err();
        assert_eq!(error.to_string(), "timed out after 5s while waiting for the answer");
        assert_eq!(begin.elapsed(), Duration::from_secs(5));
    }
}
