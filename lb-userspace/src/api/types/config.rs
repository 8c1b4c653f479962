//! Configurations somebody asks about.

use serde::{Deserialize, Serialize};

/// A configuration somebody asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its text with the name to show in problems; none: the daemon's own file, read again.
    pub file: Option<CandidateFile>,
}

/// A configuration's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateFile {
    /// Name to show.
    pub name: String,
    /// Text.
    pub text: String,
}

/// What a reload did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Where the configuration came from.
    pub source: String,
    /// One sentence per difference; empty when nothing differs.
    pub changes: Vec<String>,
    /// What was understood but will surprise, or needs a restart.
    pub warnings: Vec<String>,
}
