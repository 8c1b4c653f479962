//! Checks → [`HealthEvent`].
//!
//! [`Checker`] runs one task per [`CheckTarget`]; equal targets of several pools run once. Only flips reach the coordinator; the
//! latest result of each check is on the [`Board`], which API and metrics read without asking anybody.
//!
//! | file | is |
//! |---|---|
//! | `hysteresis` | results → verdict: rise and fall (pure) |
//! | `schedule` | when the next check starts, when a lost connection is opened again (pure) |
//! | `body` | search for a text in a body that comes in chunks (pure) |
//! | `error` | why a check failed, in words |
//! | `deadline` | one time limit over all stages of a check |
//! | `probe` | the seam between prober and network; picks the probe by kind |
//! | `tcp`, `idle`, `http`, `tls` | one kind of probe each |
//! | `production` | the way of clients' packets: `via = "vip"` |
//! | `prober` | the task of one target |
//! | `board` | latest status of each target |
//! | `checker` | starts and stops probers |

mod board;
mod body;
mod checker;
mod deadline;
mod error;
mod http;
mod hysteresis;
mod idle;
mod probe;
mod prober;
mod production;
mod schedule;
mod tcp;
mod tls;

#[cfg(test)]
mod tests;

pub use board::{Board, CheckStatus};
pub use checker::{Checker, MAX_IN_FLIGHT};
pub use error::{ProbeError, Stage};
pub use probe::{CheckResult, Pass, Passed};
pub use production::{Fate, ProductionPath, Ready, Way};

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
