//! What the guests said, as a table.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};

use super::{
    Story,
    guest::{NOTE, REFUSED},
    kernel::Kernel,
    qemu::Ended,
};
use crate::test::Tally;

/// The one series on which a plain refusal is an expected answer.
const MAY_REFUSE: &str = "5.10";
/// Lines of a guest that are shown when it failed.
const LAST_WORDS: usize = 25;

/// One story on one kernel.
#[derive(Debug)]
pub(super) struct Row {
    release: String,
    story: Story,
    took: Duration,
    verdict: Verdict,
    tests: Tally,
    notes: Vec<String>,
    last_words: Vec<String>,
    log: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    /// By name, on a kernel where that is allowed.
    Refused,
    Failed,
    /// The guest did not come to say how it ended: no verdict about the product.
    NoAnswer,
}

impl Verdict {
    fn of(ended: &Ended, series: &str, story: Story, tests: Tally) -> Self {
        match ended.status {
            _ if ended.timed_out => Self::NoAnswer,
            None => Self::NoAnswer,
            Some(REFUSED) if series == MAY_REFUSE => Self::Refused,
            Some(0) if story == Story::Packets && tests.passed == 0 => Self::Failed,
            Some(0) if tests.failed == 0 => Self::Passed,
            Some(_) => Self::Failed,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Refused => "refused",
            Self::Failed => "FAILED",
            Self::NoAnswer => "NO ANSWER",
        }
    }

    const fn is_good(self) -> bool {
        matches!(self, Self::Passed | Self::Refused)
    }
}

impl Row {
    pub(super) fn new(kernel: &Kernel, story: Story, ended: &Ended, log: &Path) -> Self {
        let mut tests = Tally::default();
        ended.lines.iter().for_each(|line| tests.add(line));
        let notes = ended.lines.iter().filter_map(|line| line.strip_prefix(NOTE)).map(str::to_owned);
        let last = &ended.lines[ended.lines.len().saturating_sub(LAST_WORDS)..];
        Self {
            release: kernel.release.clone(),
            story,
            took: ended.took,
            verdict: Verdict::of(ended, &kernel.series, story, tests),
            tests,
            notes: notes.collect(),
            last_words: last.to_vec(),
            log: Some(log.to_owned()),
        }
    }

    /// One whose guest could not be started.
    pub(super) fn broken(kernel: &Kernel, story: Story, error: &anyhow::Error) -> Self {
        Self {
            release: kernel.release.clone(),
            story,
            took: Duration::ZERO,
            verdict: Verdict::NoAnswer,
            tests: Tally::default(),
            notes: vec![format!("{error:#}")],
            last_words: Vec::new(),
            log: None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, seconds) = (self.story.name(), self.took.as_secs_f64());
        write!(f, "{:<28} {name:<8} {seconds:>7.1}  {:<9}", self.release, self.verdict.word())?;
        if self.tests != Tally::default() {
            write!(f, " {} passed, {} failed", self.tests.passed, self.tests.failed)?;
        }
        for note in &self.notes {
            write!(f, "\n    {note}")?;
        }
        if self.verdict.is_good() {
            return Ok(());
        }
        if let Some(log) = &self.log {
            write!(f, "\n    whole output: {} (the kernel's: .console)", log.display())?;
        }
        for line in &self.last_words {
            write!(f, "\n    | {line}")?;
        }
        Ok(())
    }
}

/// All rows by their place in it, which is not the order in which guests end.
#[derive(Debug, Default)]
pub(super) struct Report(BTreeMap<usize, Row>);

impl Report {
    pub(super) fn add(&mut self, place: usize, row: Row) {
        self.0.insert(place, row);
    }

    /// Prints the table; an error if anything in it is.
    pub(super) fn close(&self) -> Result<()> {
        println!("\n{:<28} {:<8} {:>7}  result", "kernel", "story", "seconds");
        for row in self.0.values() {
            println!("{row}");
        }
        let bad = self.0.values().filter(|row| !row.verdict.is_good());
        let bad: Vec<String> = bad.map(|row| format!("{} {}", row.release, row.story.name())).collect();
        if !bad.is_empty() {
            bail!("failed: {}", bad.join(", "));
        }
        if self.0.is_empty() {
            bail!("no guest ran");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: Option<i32>, timed_out: bool, series: &str, passed: u64, failed: u64) -> Verdict {
        let ended = Ended { lines: Vec::new(), status, timed_out, took: Duration::ZERO };
        Verdict::of(&ended, series, Story::Packets, Tally { passed, failed, ignored: 0 })
    }

    #[test]
    fn only_the_oldest_kernel_may_be_refused() {
        assert_eq!(verdict(Some(REFUSED), false, "5.10", 1, 0), Verdict::Refused);
        assert_eq!(verdict(Some(REFUSED), false, "6.1", 1, 0), Verdict::Failed);
    }

    #[test]
    fn a_guest_without_a_last_line_is_no_verdict() {
        assert_eq!(verdict(None, false, "6.1", 5, 0), Verdict::NoAnswer);
        assert_eq!(verdict(Some(0), true, "6.1", 5, 0), Verdict::NoAnswer);
    }

    #[test]
    fn success_without_a_test_is_a_failure() {
        assert_eq!(verdict(Some(0), false, "6.1", 0, 0), Verdict::Failed);
        assert_eq!(verdict(Some(0), false, "6.1", 3, 1), Verdict::Failed);
        assert_eq!(verdict(Some(0), false, "6.1", 3, 0), Verdict::Passed);
    }
}
