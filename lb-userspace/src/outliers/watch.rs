//! A pool: observe, judge, wait for it to last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    measure::{Crowd, MEASURES, Measure, Subject, Value, new},
    report::{BackendReport, Finding, Rates, Report},
    window::{SLICE, Totals, Window},
};
use crate::model::BackendName;

/// Judgements in a row, one every five seconds, that make a backend suspect …
const ENTER: u8 = 3;
/// … and that end it: a minute.
const LEAVE: u8 = 12;
/// A backend has served for so long before its active connections are compared with others': it begins with none.
const SETTLED: Duration = Duration::from_mins(10);

/// One backend at one moment. Counters since any time; one that is lower than before began anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Packets forwarded.
    pub packets: u64,
    /// Connection attempts (SYN), repetitions included.
    pub syns: u64,
    /// Packets with FIN and without RST.
    pub fins: u64,
    /// Packets with RST.
    pub resets: u64,
    /// Repetitions, of the flows that are tracked.
    pub retransmits: u64,
    /// Connections that each tracked flow stands for: 1 if all are tracked.
    pub scale: u32,
    /// Active connections, already multiplied.
    pub active: u64,
    /// Weight in force; 0 if it gets no new connections, and then it is not compared.
    pub weight: u32,
}

/// A backend began or ceased to stand out.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Who.
    pub backend: BackendName,
    /// In what.
    pub measure: Measure,
    /// How, when it began; `None` when it ended.
    pub finding: Option<Finding>,
}

/// What is known of one measure of one backend.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    finding: Option<Finding>,
    /// Judgements in a row that say otherwise.
    doubts: u8,
}

#[derive(Clone, Debug)]
struct Track {
    last: Seen,
    window: Window,
    /// Since when it gets new connections.
    serves: Option<Instant>,
    standings: [Standing; MEASURES],
}

/// Follows one pool.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// When the slice began that is being filled.
    began: Option<Instant>,
    tracks: BTreeMap<BackendName, Track>,
    report: Arc<Report>,
}

impl Watch {
    /// The latest judgement.
    pub fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }

    /// Takes the counters of a moment, about one a second. `by_client`: connections are dealt by client, so that one busy client weighs on
    /// one backend. Returns what changed if it was time to judge.
    pub fn observe(
        &mut self,
        now: Instant,
        by_client: bool,
        seen: impl Iterator<Item = (BackendName, Seen)>,
    ) -> Option<Vec<Change>> {
        let began = *self.began.get_or_insert(now);
        let passed = u64::try_from(now.saturating_duration_since(began).as_nanos() / SLICE.as_nanos())
            .unwrap_or(u64::MAX);
        let changes = (passed > 0).then(|| {
            let whole = u32::try_from(passed).unwrap_or(u32::MAX);
            self.began = Some(SLICE.checked_mul(whole).and_then(|t| began.checked_add(t)).unwrap_or(now));
            for track in self.tracks.values_mut() {
                track.window.turn(passed);
            }
            self.judge(now, by_client)
        });
        self.count(now, seen);
        changes
    }

    fn count(&mut self, now: Instant, seen: impl Iterator<Item = (BackendName, Seen)>) {
        let mut there = BTreeSet::new();
        let (mut fresh, mut weights) = (0.0, 0.0);
        let mut shares = Vec::new();
        for (name, seen) in seen {
            there.insert(name.clone());
            let Some(track) = self.tracks.get_mut(&name) else {
                self.tracks.insert(name, Track::new(seen, now));
                continue;
            };
            let added = track.add(seen, now);
            if let Some(added) = added
                && seen.weight > 0
            {
                fresh += added;
                weights += f64::from(seen.weight);
                shares.push((name, f64::from(seen.weight)));
            }
        }
        // Each moment's connections are dealt by that moment's weights, so that a change of weight is nobody's fault.
        for (name, weight) in shares {
            if let Some(track) = self.tracks.get_mut(&name) {
                track.window.current.expected += narrow(fresh * weight / weights);
            }
        }
        self.tracks.retain(|name, _| there.contains(name));
    }

    fn judge(&mut self, now: Instant, by_client: bool) -> Vec<Change> {
        let mut report = Report::default();
        let mut changes = Vec::new();
        let totals: Vec<Totals> = self.tracks.values().map(|track| track.window.totals()).collect();
        for ((name, track), totals) in self.tracks.iter().zip(&totals) {
            let rates = track.rates(totals);
            report.backends.insert(name.clone(), BackendReport { rates, ..BackendReport::default() });
        }
        let subjects: Vec<Subject> =
            self.tracks.values().zip(totals).map(|(track, totals)| track.subject(totals, now)).collect();
        for (at, measure) in Measure::ALL.into_iter().enumerate() {
            // Who gets no new connections is no measure for those who do.
            let mut values = measure.values(&subjects);
            for (value, subject) in values.iter_mut().zip(&subjects) {
                *value = value.filter(|_| subject.weight > 0.0);
            }
            let crowd = Crowd::of(&values);
            report.medians[at] = crowd.map(|crowd| crowd.median);
            let judged = crowd.filter(|_| measure.judged(by_client));
            for ((name, track), value) in self.tracks.iter_mut().zip(values) {
                let change = track.standings[at].look(measure, value, judged, track.last.weight > 0, now);
                if let Some(finding) = change {
                    changes.push(Change { backend: name.clone(), measure, finding });
                }
                if let Some(shown) = report.backends.get_mut(name) {
                    shown.values[at] = value.map(|v| v.value);
                    shown.findings.extend(track.standings[at].finding);
                }
            }
        }
        self.report = Arc::new(report);
        changes
    }
}

impl Standing {
    /// One judgement. Returns the finding that is new, or that there is none any more.
    fn look(
        &mut self,
        measure: Measure,
        value: Option<Value>,
        crowd: Option<Crowd>,
        serves: bool,
        now: Instant,
    ) -> Option<Option<Finding>> {
        if !serves {
            self.doubts = 0;
            return self.finding.take().map(|_| None);
        }
        let was = self.finding.is_some();
        let extreme = match (value, crowd) {
            (Some(value), Some(crowd)) if crowd.extreme(measure, value, was) => {
                Some((value.value, crowd.median))
            }
            _ => None,
        };
        if let (Some(finding), Some((value, median))) = (&mut self.finding, extreme) {
            (finding.value, finding.median) = (value, median);
        }
        if extreme.is_some() == was {
            self.doubts = 0;
            return None;
        }
        self.doubts += 1;
        match extreme {
            Some((value, median)) if self.doubts >= ENTER => {
                *self = Self { finding: Some(Finding { measure, value, median, since: now }), doubts: 0 };
                Some(self.finding)
            }
            None if self.doubts >= LEAVE => {
                *self = Self::default();
                Some(None)
            }
            _ => None,
        }
    }
}

impl Track {
    fn new(seen: Seen, now: Instant) -> Self {
        Self {
            last: seen,
            window: Window::default(),
            serves: (seen.weight > 0).then_some(now),
            standings: [Standing::default(); MEASURES],
        }
    }

    /// Adds what happened since the last look; returns the new connections among it. `None` when the counters began anew.
    fn add(&mut self, seen: Seen, now: Instant) -> Option<f64> {
        let last = std::mem::replace(&mut self.last, seen);
        self.serves = if seen.weight == 0 { None } else { self.serves.or(Some(now)) };
        let slice = &mut self.window.current;
        slice.active = narrow(wide(seen.active));
        let since = |now: u64, then: u64| now.checked_sub(then).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let packets = since(seen.packets, last.packets)?;
        let syns = since(seen.syns, last.syns)?;
        let fins = since(seen.fins, last.fins)?;
        let resets = since(seen.resets, last.resets)?;
        let retransmits = since(seen.retransmits, last.retransmits)?;
        slice.packets = slice.packets.saturating_add(packets);
        slice.syns = slice.syns.saturating_add(syns);
        slice.fins = slice.fins.saturating_add(fins);
        slice.resets = slice.resets.saturating_add(resets);
        slice.retransmits = slice.retransmits.saturating_add(retransmits);
        Some(f64::from(syns) - f64::from(seen.scale) * f64::from(retransmits))
    }

    fn subject(&self, totals: Totals, now: Instant) -> Subject {
        Subject {
            totals,
            scale: f64::from(self.last.scale.max(1)),
            weight: f64::from(self.last.weight),
            settled: self.serves.is_some_and(|since| now.saturating_duration_since(since) >= SETTLED),
        }
    }

    fn rates(&self, totals: &Totals) -> Option<Rates> {
        let scale = f64::from(self.last.scale.max(1));
        let per = |count: f64| count / totals.seconds;
        (totals.seconds > 0.0).then(|| Rates {
            window: totals.seconds,
            new: per(new(totals, scale).max(0.0)),
            syns: per(totals.syns),
            fins: per(totals.fins),
            resets: per(totals.resets),
            retransmits: per((scale * totals.retransmits).min(totals.syns)),
            estimated: scale > 1.0,
        })
    }
}

/// A number to compare with others: the last digits do not matter.
#[expect(clippy::cast_precision_loss, reason = "compared, not counted")]
fn wide(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, reason = "compared, not counted")]
fn narrow(number: f64) -> f32 {
    number as f32
}
