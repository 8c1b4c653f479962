//! What an operator may ask for, and what comes back. The API carries these as JSON, as they are.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{BackendId, BackendName, PoolName, Pooled, Weight};

/// Which backends a command is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// Backend name.
    pub backend: BackendName,
    /// Only in this pool; `None`: in every pool that has the name.
    pub pool: Option<PoolName>,
}

/// A change somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// Override `pooled`. `yes` removes an override where the file says yes already.
    Pooled {
        /// The wish.
        pooled: Pooled,
    },
    /// Override the weight; `None` removes the override.
    Weight {
        /// The weight.
        weight: Option<Weight>,
    },
}

/// A command with its circumstances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Who is concerned.
    pub selector: Selector,
    /// What should change.
    pub change: Change,
    /// Why, for whoever looks later.
    pub reason: Option<String>,
    /// The override ends by itself after so long (seconds).
    #[serde(rename = "for_seconds", with = "seconds")]
    pub lasts: Option<Duration>,
    /// Even below the depool threshold.
    pub force: bool,
    /// Only say what would happen.
    pub dry_run: bool,
}

/// What a command did, or would do, to one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which.
    pub backend: BackendId,
    /// Whether anything changed.
    pub changed: bool,
    /// One sentence: `pooled=yes -> pooled=no, draining`.
    pub summary: String,
}

/// Why a command was not carried out. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refused")]
pub enum Refusal {
    /// A policy forbids it; `--force` overrides.
    #[error("{message}")]
    Policy {
        /// Which rule, with its numbers, and how to insist.
        message: String,
    },
    /// There is no such backend or pool.
    #[error("{message}")]
    NotFound {
        /// What was looked for, and close names.
        message: String,
    },
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the signature serde asks for")]
    pub(super) fn serialize<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        d.map(|d| d.as_secs()).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(d)?.map(Duration::from_secs))
    }
}
