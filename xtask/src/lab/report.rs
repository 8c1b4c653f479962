//! The closing table: every request is in exactly one row, by the time at which it ended.

use std::{fmt::Write as _, time::Duration};

use super::{
    client::event::{Kind, Request, now},
    load::Log,
    site::Family,
};

/// A step of the story, from its beginning to the next one's.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) from: u64,
    /// What was seen, for people.
    pub(super) seen: Vec<String>,
    /// What should not have been.
    pub(super) problems: Vec<String>,
}

impl Step {
    pub(super) fn begin(name: &'static str) -> Self {
        Self { name, from: now(), seen: Vec::new(), problems: Vec::new() }
    }
}

/// A host was dead: whatever was sent to it in this time may fail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) host: &'static str,
    pub(super) from: u64,
    /// From here on nothing may be sent to it.
    pub(super) until: u64,
}

impl Outage {
    /// Whether this failure is its doing. A dead host resets and refuses at once, so the failure ends soon after the outage; a request
    /// that never got an answer has no host's name, so it must have begun in the outage or been on its way into it. A slow transfer
    /// first reads what the kernel has received of it, megabytes, and only then meets the end.
    fn explains(&self, request: &Request) -> bool {
        const AT_ONCE: u64 = 1_000_000;
        const BUFFERED: u64 = 20_000_000;
        let late = if request.kind.is_transfer() && request.host.is_some() { BUFFERED } else { AT_ONCE };
        let concerned = match &request.host {
            Some(host) => host == self.host,
            None => request.start + AT_ONCE >= self.from,
        };
        concerned && request.start <= self.until && (self.from..self.until + late).contains(&request.end)
    }
}

/// Requests of one step.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    requests: usize,
    /// Failures of an outage.
    excused: usize,
    failed: usize,
    /// The slowest request but transfers, in milliseconds.
    slowest: u64,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<[String; 6]>,
    remarks: Vec<String>,
    problems: Vec<String>,
    /// Requests by kind, whole ones and all.
    kinds: Vec<String>,
}

impl Report {
    /// Adds a family's story.
    pub(super) fn add(&mut self, family: Family, steps: &[Step], outage: Option<Outage>, log: &Log) {
        for (n, step) in steps.iter().enumerate() {
            // The first row takes what ended before it, too; the last has no end.
            let from = if n == 0 { 0 } else { step.from };
            let until = steps.get(n + 1).map_or(u64::MAX, |next| next.from);
            let mut examples = Vec::new();
            let count = count(log, from, until, outage, &mut examples);
            let title = format!("{} {}", family.name(), step.name);
            self.remarks.extend(step.seen.iter().map(|seen| format!("{title}: {seen}")));
            self.problems.extend(step.problems.iter().map(|problem| format!("{title}: {problem}")));
            if count.failed > 0 {
                self.problems.push(format!(
                    "{title}: {} requests failed: {}",
                    count.failed,
                    examples.join("; ")
                ));
            }
            let end = steps.get(n + 1).map_or_else(now, |next| next.from);
            let well = count.failed == 0 && step.problems.is_empty();
            self.rows.push([
                title,
                format!("{:.1}", Duration::from_micros(end.saturating_sub(step.from)).as_secs_f64()),
                count.requests.to_string(),
                count.failed.to_string(),
                if count.excused > 0 { format!("{} of the dead host", count.excused) } else { String::new() },
                format!("{} ms{}", count.slowest, if well { "" } else { "  <- WRONG" }),
            ]);
        }
        for kind in Kind::ALL {
            let all: Vec<&Request> = log.requests.iter().filter(|r| r.kind == kind).collect();
            let whole = all.iter().filter(|r| r.error.is_none()).count();
            self.kinds.push(format!("{} {}: {whole} whole of {}", family.name(), kind.name(), all.len()));
            if all.is_empty() {
                self.problems.push(format!("{}: no request of the kind: {}", family.name(), kind.name()));
            }
        }
    }

    /// What should not have been seen.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The table as text.
    pub(super) fn render(&self) -> String {
        let head = ["step", "seconds", "requests", "failed", "excused", "slowest"].map(str::to_owned);
        let width = |column: usize| {
            self.rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let widths = [0, 1, 2, 3, 4, 5].map(width);
        let mut text = String::new();
        for row in [&head].into_iter().chain(&self.rows) {
            let [name, numbers @ .., last] = row;
            _ = write!(text, "{name:<0$}", widths[0]);
            for (number, width) in numbers.iter().zip(&widths[1..]) {
                _ = write!(text, "  {number:>width$}");
            }
            _ = writeln!(text, "  {last}");
        }
        for (title, lines) in [("What was seen", &self.remarks), ("Requests by kind", &self.kinds)] {
            _ = writeln!(text, "\n{title}:");
            for line in lines {
                _ = writeln!(text, "  {line}");
            }
        }
        text
    }
}

/// Counts what ended in a step; `examples` gets the first failures that nothing excuses.
fn count(log: &Log, from: u64, until: u64, outage: Option<Outage>, examples: &mut Vec<String>) -> Count {
    let mut count = Count::default();
    for request in log.requests.iter().filter(|r| (from..until).contains(&r.end)) {
        count.requests += 1;
        if !request.kind.is_transfer() {
            count.slowest = count.slowest.max(request.milliseconds());
        }
        let Some(error) = &request.error else { continue };
        if outage.is_some_and(|outage| outage.explains(request)) {
            count.excused += 1;
            continue;
        }
        count.failed += 1;
        if examples.len() < 5 {
            let host = request.host.as_deref().unwrap_or("an unknown host");
            examples.push(format!("{} via {:?} on {host}: {error}", request.kind.name(), request.via));
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::client::event::Via;

    fn request(host: Option<&str>, start: u64, end: u64, error: Option<&str>) -> Request {
        Request {
            id: start,
            kind: Kind::Short,
            via: Via::Http,
            host: host.map(str::to_owned),
            opened: true,
            start,
            end,
            error: error.map(str::to_owned),
        }
    }

    const SECOND: u64 = 1_000_000;
    const OUTAGE: Outage = Outage { host: "b1", from: 10 * SECOND, until: 11 * SECOND };

    #[test]
    fn an_outage_excuses_its_own_host_and_time_only() {
        let (from, until) = (OUTAGE.from, OUTAGE.until);
        let explains = |host, start, end| OUTAGE.explains(&request(host, start, end, Some("broken")));
        assert!(explains(Some("b1"), 0, from), "a long transfer on it is cut");
        assert!(explains(None, until, until + 1), "refused until it is found out");
        assert!(explains(None, from - 1, from + 1), "on its way when it died");
        assert!(!explains(Some("b2"), from, from + 1), "another host");
        assert!(!explains(None, until + 1, until + 2), "found out too late");
        assert!(!explains(None, from - 2, from - 1), "before it died");
        assert!(!explains(None, 0, from + 1), "hung long before it died");
        assert!(!explains(None, from, from + 10 * SECOND), "hung instead of being refused");
        assert!(!explains(Some("b1"), 0, from + 10 * SECOND), "a short request has no buffer to live on");
        let transfer = |host, end| {
            let kind = Kind::Download;
            OUTAGE.explains(&Request { kind, ..request(Some(host), 0, end, Some("cut")) })
        };
        assert!(transfer("b1", from + 10 * SECOND), "a slow download reads what was received first");
        assert!(!transfer("b2", from + 10 * SECOND), "another host's download");
    }

    #[test]
    fn a_failure_nothing_excuses_is_a_problem_with_its_reason() {
        let log = Log {
            requests: vec![
                request(Some("b2"), 10, 20, None),
                request(Some("b2"), OUTAGE.from, OUTAGE.from + 1, Some("body: cut")),
                request(None, OUTAGE.from, OUTAGE.from + 1, Some("connect: refused")),
            ],
            ..Log::default()
        };
        let mut examples = Vec::new();
        let count = count(&log, 0, u64::MAX, Some(OUTAGE), &mut examples);
        assert_eq!(count, Count { requests: 3, excused: 1, failed: 1, slowest: 0 });
        assert!(examples[0].contains("on b2: body: cut"), "{examples:?}");
    }

    #[test]
    fn every_request_is_in_one_row() {
        let log = Log {
            requests: vec![
                request(None, 1, 2, None),
                request(None, 5, 10, None),
                request(None, 9, 500, None),
            ],
            ..Log::default()
        };
        let steps = [4, 10].map(|from| Step { from, ..Step::begin("x") });
        let mut report = Report::default();
        report.add(Family::V4, &steps, None, &log);
        let requests: Vec<&str> = report.rows.iter().map(|row| row[2].as_str()).collect();
        assert_eq!(requests, ["1", "2"]);
    }
}
