//! Answers to writes.

use serde::{Deserialize, Serialize};

use super::Outcome;

/// Answer to `POST /api/v1/command`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// One per backend concerned.
    pub outcomes: Vec<Outcome>,
}

/// Body of `POST /api/v1/shutdown`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// Also take the program off the interfaces: forwarding ends.
    #[serde(default)]
    pub detach: bool,
}

/// Answer of writes that have nothing to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// One sentence.
    pub done: String,
}

/// Body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub help: String,
}
