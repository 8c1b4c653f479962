//! One thing that was looked at. Pure.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::output::{BAD, Cell, DIM, GOOD, WARN, cell, columns};

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Traffic suffers, or will.
    Bad,
    /// It works, but not as well as it could, or not for long.
    Warn,
    /// Well.
    Ok,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was looked at.
    pub about: String,
    /// What was found.
    pub text: String,
    /// What to type, or to do; empty for what is well.
    pub fix: String,
}

impl Finding {
    /// Something well.
    pub fn ok(about: impl Into<String>, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, about: about.into(), text: text.into(), fix: String::new() }
    }

    /// Something unwise.
    pub fn warn(about: impl Into<String>, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warn, about: about.into(), text: text.into(), fix: fix.into() }
    }

    /// Something bad.
    pub fn bad(about: impl Into<String>, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Bad, about: about.into(), text: text.into(), fix: fix.into() }
    }
}

/// The worst first; what is well only with `all`, else as a number.
pub fn render(findings: &[Finding], all: bool) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().filter(|f| all || f.level != Level::Ok).collect();
    sorted.sort_by_key(|finding| finding.level);
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for finding in &sorted {
        let (word, style) = match finding.level {
            Level::Bad => ("bad", BAD),
            Level::Warn => ("warn", WARN),
            Level::Ok => ("ok", GOOD),
        };
        rows.push(vec![cell(word).style(style), cell(&finding.about), cell(&finding.text)]);
        if !finding.fix.is_empty() {
            rows.push(vec![cell(""), cell(""), cell(format!("-> {}", finding.fix)).style(DIM)]);
        }
    }
    let mut out = columns(&rows, "");
    let well = findings.iter().filter(|finding| finding.level == Level::Ok).count();
    if !all && well > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{well} things are well; --all lists them");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_with_what_to_type() {
        let findings = [
            Finding::ok("a", "fine"),
            Finding::warn("b", "slow", "ethtool"),
            Finding::bad("c", "broken\x1b", "reboot"),
        ];
        let text = anstream::adapter::strip_str(&render(&findings, false)).to_string();
        assert_eq!(
            text,
            "bad   c  broken\u{fffd}\n         -> reboot\nwarn  b  slow\n         -> ethtool\n1 things are well; --all lists them\n"
        );
        assert!(render(&findings, true).contains("fine"));
    }
}
