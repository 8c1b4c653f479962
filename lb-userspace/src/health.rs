//! Checks → [`HealthEvent`].
//!
//! [`Checker`] runs one task per [`CheckTarget`]; equal targets of several pools run once. Only flips reach the coordinator; the
//! latest result of each check is on the [`Board`], which API and metrics read without asking anybody.

use crate::model::CheckTarget;

/// What the checks of one target say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// `rise` passes in a row, or the first result ever was a pass.
    Up,
    /// `fall` failures in a row, or the first result ever was a failure.
    Down,
}

/// The verdict on a target changed, or was reached for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthEvent {
    /// Which.
    pub target: CheckTarget,
    /// The verdict from here on.
    pub verdict: Verdict,
    /// Why, for people: `connection refused`, `503 Service Unavailable, wanted 200-299`.
    pub detail: String,
}
