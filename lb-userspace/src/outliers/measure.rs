//! What is looked at, and when a value is extreme.

use serde::{Deserialize, Serialize};

use super::{
    statistics::{median, spread},
    window::Totals,
};

/// Something in which a backend can stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// New connections, as a multiple of its share by weight.
    Connections,
    /// Active connections for its weight, as a multiple of the pool's median.
    Active,
    /// Resets from clients per connection attempt.
    Resets,
    /// The part of the connection attempts that repeats one which nothing answered.
    Retransmits,
    /// The part of the connection attempts that nothing followed, at least: refused, or not answered.
    Refused,
}

/// How many there are.
pub const MEASURES: usize = 5;

/// Fewer backends than these have no middle to stand out from.
const LEAST_BACKENDS: usize = 3;
/// Fewer connection attempts in the window prove nothing.
const LEAST_ATTEMPTS: f64 = 50.0;
/// Standard deviations of the pool beyond which a backend is not one of the many.
const SPREADS: f64 = 6.0;

/// How much more than the pool's median is extreme. All must hold.
struct Rule {
    /// More than the median by this.
    excess: f64,
    /// More than the median times this.
    factor: f64,
    /// More than chance explains: standard deviations of the value itself.
    noises: f64,
}

/// One backend's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) value: f64,
    /// How far chance alone can move it: a standard deviation.
    noise: f64,
    /// So much happened that it may be called extreme.
    telling: bool,
}

/// What measures are taken of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) totals: Totals,
    /// Connections each tracked flow stands for: 1 if all are tracked.
    pub(super) scale: f64,
    /// Share of new connections in force.
    pub(super) weight: f64,
    /// It has served for so long that its connections can be compared with others'.
    pub(super) settled: bool,
}

impl Measure {
    /// All, in the order of reports.
    pub const ALL: [Self; MEASURES] =
        [Self::Connections, Self::Active, Self::Resets, Self::Retransmits, Self::Refused];

    /// Its word, in API and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Active => "active",
            Self::Resets => "resets",
            Self::Retransmits => "retransmits",
            Self::Refused => "refused",
        }
    }

    /// Whether only the backend can have caused it. Where connections are dealt by client, one busy client is enough for many connections.
    pub const fn blames_backend(self, by_client: bool) -> bool {
        match self {
            Self::Connections | Self::Active | Self::Refused => !by_client,
            Self::Resets | Self::Retransmits => true,
        }
    }

    /// Whether it is judged. The value is always shown.
    pub(super) const fn judged(self, by_client: bool) -> bool {
        match self {
            Self::Connections | Self::Active => !by_client,
            Self::Resets | Self::Retransmits | Self::Refused => true,
        }
    }

    /// For people: how a backend stands out.
    pub fn sentence(self, value: f64, median: f64) -> String {
        let percent = |part: f64| format!("{:.0} %", part * 100.0);
        match self {
            Self::Connections => {
                format!("gets {value:.1} times its share of new connections (pool's median {median:.1})")
            }
            Self::Active => {
                format!("has {value:.1} times the active connections that its pool has for that weight")
            }
            Self::Resets => format!("{value:.2} resets per connection attempt (pool's median {median:.2})"),
            Self::Retransmits => format!(
                "{} of its connection attempts repeat one that nothing answered (pool's median {})",
                percent(value),
                percent(median)
            ),
            Self::Refused => format!(
                "{} of its connection attempts come to nothing (pool's median {})",
                percent(value),
                percent(median)
            ),
        }
    }

    const fn rule(self) -> Rule {
        match self {
            // Browsers open several connections at once, so chance moves them more than independent ones.
            Self::Connections => Rule { excess: 0.5, factor: 2.0, noises: 6.0 },
            Self::Active => Rule { excess: 2.0, factor: 3.0, noises: 5.0 },
            Self::Resets => Rule { excess: 0.1, factor: 2.0, noises: 4.0 },
            Self::Retransmits => Rule { excess: 0.1, factor: 2.0, noises: 2.5 },
            Self::Refused => Rule { excess: 0.3, factor: 2.0, noises: 2.0 },
        }
    }

    /// The values of all that are compared; `None` where too little happened.
    pub(super) fn values(self, subjects: &[Subject]) -> Vec<Option<Value>> {
        match self {
            Self::Active => active(subjects),
            Self::Connections => subjects.iter().map(connections).collect(),
            Self::Resets => subjects.iter().map(resets).collect(),
            Self::Retransmits => subjects.iter().map(retransmits).collect(),
            Self::Refused => subjects.iter().map(refused).collect(),
        }
    }
}

/// The many that a value is compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    pub(super) median: f64,
    spread: f64,
}

impl Crowd {
    /// `None` when too few can be compared.
    pub(super) fn of(values: &[Option<Value>]) -> Option<Self> {
        let mut known: Vec<f64> = values.iter().flatten().map(|v| v.value).collect();
        if known.len() < LEAST_BACKENDS {
            return None;
        }
        let median = median(&mut known)?;
        Some(Self { median, spread: spread(&known, median) })
    }

    /// Whether a value stands out. One that did stays extreme until it is less than half as far out.
    pub(super) fn extreme(&self, measure: Measure, value: Value, was: bool) -> bool {
        let Rule { excess, factor, noises } = measure.rule();
        let far = if was { 0.5 } else { 1.0 };
        let beyond = value.value - self.median;
        value.telling
            && beyond > far * excess
            && beyond > far * (factor - 1.0) * self.median
            && beyond > far * SPREADS * self.spread
            && beyond > far * noises * value.noise
    }
}

fn enough(totals: &Totals) -> bool {
    totals.syns >= LEAST_ATTEMPTS
}

/// New connections: attempts less repetitions. May be below zero when the repetitions are an estimate.
pub(super) fn new(totals: &Totals, scale: f64) -> f64 {
    totals.syns - scale * totals.retransmits
}

fn connections(s: &Subject) -> Option<Value> {
    let new = new(&s.totals, s.scale).max(0.0);
    let expected = s.totals.expected;
    if expected < 20.0 {
        return None;
    }
    let guessed = if s.scale > 1.0 { s.scale * s.scale * s.totals.retransmits } else { 0.0 };
    Some(Value {
        value: new / expected,
        noise: (expected + guessed).sqrt() / expected,
        telling: new >= LEAST_ATTEMPTS,
    })
}

fn active(subjects: &[Subject]) -> Vec<Option<Value>> {
    let settled = |s: &&Subject| s.settled && s.weight > 0.0 && s.totals.seconds > 0.0;
    let mut units: Vec<f64> = subjects.iter().filter(settled).map(|s| s.totals.active / s.weight).collect();
    let unit = median(&mut units).unwrap_or(0.0);
    subjects
        .iter()
        .map(|s| {
            settled(&s).then(|| {
                let fair = (unit * s.weight).max(1.0);
                Value {
                    value: s.totals.active / fair,
                    noise: (s.scale * s.totals.active).sqrt() / fair,
                    telling: s.totals.active >= LEAST_ATTEMPTS,
                }
            })
        })
        .collect()
}

fn resets(s: &Subject) -> Option<Value> {
    let Totals { syns, resets, .. } = s.totals;
    enough(&s.totals).then(|| Value {
        value: resets / syns,
        noise: resets.max(1.0).sqrt() / syns,
        telling: resets >= 20.0,
    })
}

fn retransmits(s: &Subject) -> Option<Value> {
    let Totals { syns, retransmits, .. } = s.totals;
    // Eight attempts of the sample, at the least.
    (enough(&s.totals) && syns >= 8.0 * s.scale).then(|| Value {
        value: (s.scale * retransmits / syns).min(1.0),
        noise: s.scale * retransmits.max(1.0).sqrt() / syns,
        telling: retransmits >= 8.0,
    })
}

/// A connection that is answered sends at least two packets more: whoever has less than two for each attempt refused some.
fn refused(s: &Subject) -> Option<Value> {
    let Totals { syns, packets, .. } = s.totals;
    enough(&s.totals).then(|| Value {
        value: (1.0 - (packets - syns) / (2.0 * syns)).clamp(0.0, 1.0),
        noise: 1.0 / syns.sqrt(),
        telling: true,
    })
}
