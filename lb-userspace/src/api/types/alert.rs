//! What needs an operator.

use serde::{Deserialize, Serialize};

/// How bad it is. Ordered: the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Someone should look in working hours.
    Warning,
    /// Users may notice.
    Critical,
}

/// Something that needs an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub text: String,
}
