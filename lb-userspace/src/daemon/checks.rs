//! The checks' board, as the API reads it.

use crate::{
    api::sources::{CheckBoard, CheckStatus},
    health::Board,
    model::CheckTarget,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Checks(pub(super) Board);

impl CheckBoard for Checks {
    fn get(&self, target: &CheckTarget) -> Option<CheckStatus> {
        let status = self.0.get(target)?;
        Some(CheckStatus {
            verdict: status.verdict,
            ok: status.ok()?,
            detail: status.text(),
            latency: status.latency().unwrap_or_default(),
            when: status.at_instant?,
            streak: status.streak,
            passes: status.passes,
            failures: status.failures,
            ups: status.ups,
            downs: status.downs,
        })
    }
}
