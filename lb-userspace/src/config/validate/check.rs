//! `[[pools.NAME.checks]]`.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    ops::Range,
    sync::Arc,
    time::Duration,
};

use super::{http, name, number, share};
use crate::{
    config::{
        duration, file,
        problem::Report,
        table::{At, Field},
        value::{Kind, Word},
    },
    model::{BackendName, CheckKind, CheckSpec, Ports, Via},
};

const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MAX_INTERVAL: Duration = Duration::from_hours(1);
const MIN_TIMEOUT: Duration = Duration::from_millis(10);
/// PyBal's intervals.
const INTERVAL: Duration = Duration::from_secs(10);
const IDLE_INTERVAL: Duration = Duration::from_secs(3);
/// PyBal's timeout.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn checks(
    list: Vec<At<file::Check>>,
    ports: &BTreeSet<Ports>,
    report: &mut Report,
) -> Vec<Arc<CheckSpec>> {
    let mut names: BTreeMap<Arc<str>, Range<usize>> = BTreeMap::new();
    let mut checks = Vec::new();
    for at in list {
        // The kind stands for a name that is not written, so that is where a clash is shown.
        let span = at.value.name.span().or_else(|| at.value.kind.span()).unwrap_or(at.span.clone());
        let Some(spec) = check(at, ports, report) else {
            continue;
        };
        if let Some(first) = names.get(&spec.name) {
            report
                .error(span, format!("two checks of the pool are named `{}`", spec.name))
                .with_also(first.clone(), "first here")
                .with_help(format!("give this one a name of its own: `name = \"{}-2\"`", spec.name));
            continue;
        }
        names.insert(spec.name.clone(), span);
        checks.push(Arc::new(spec));
    }
    checks
}

fn check(at: At<file::Check>, ports: &BTreeSet<Ports>, report: &mut Report) -> Option<CheckSpec> {
    let file::Check {
        kind,
        name,
        port,
        via,
        interval,
        timeout,
        jitter,
        rise,
        fall,
        url,
        method,
        headers,
        status,
        body_contains,
        tls,
    } = at.value;
    let name_is_bad = matches!(name, Field::Bad);
    let name = name
        .given()
        // The rules of a backend's name, as it stands in the same places.
        .map(|at| self::name::<BackendName>(&at.value, &at.span, report));
    let interval_span = interval.span();
    let kind_at = kind.given();
    let word = kind_at.as_ref().map(|at| at.value);
    let interval = self::interval(interval, word, report);
    let timeout = self::timeout(timeout, interval, interval_span, report);
    // Validated as per mille, so that equal checks compare equal.
    let jitter_per_mille = per_mille(share(jitter, 0.5, 0.1, "`jitter`", report));
    let rise = times(rise, "`rise`", report);
    let fall = times(fall, "`fall`", report);
    let port_given = !port.is_absent();
    let written_port = number(port, 1..=65_535, 0, "a port", report) as u16;
    let At { value: word, span } = kind_at?;
    let request = http::Request { url, method, headers, status, body_contains, tls };
    let kind = match word {
        Kind::Tcp | Kind::Idle => {
            request.refuse(word, report);
            Some(if word == Kind::Tcp { CheckKind::Tcp } else { CheckKind::Idle })
        }
        Kind::Http | Kind::Https => request.validate(word, &span, port_given, report),
    };
    let port = if port_given {
        (written_port != 0).then_some(written_port)
    } else {
        default_port(word, ports, span, report)
    };
    // A port that no service has is often one that only the host's own address listens on.
    let of_a_service = port.is_some_and(|port| ports.iter().any(|ports| ports.contains(port)));
    let usual_via = if of_a_service { Via::Vip } else { Via::Backend };
    let name: Arc<str> = match name {
        None if name_is_bad => return None,
        None => word.word().into(),
        Some(name) => name?.as_str().into(),
    };
    Some(CheckSpec {
        name,
        kind: kind?,
        port: port?,
        via: via.or(usual_via),
        interval,
        timeout,
        jitter_per_mille,
        rise,
        fall,
    })
}

fn interval(field: Field<Duration>, kind: Option<Kind>, report: &mut Report) -> Duration {
    let default = if kind == Some(Kind::Idle) { IDLE_INTERVAL } else { INTERVAL };
    let Some(at) = field.given() else { return default };
    if (MIN_INTERVAL..=MAX_INTERVAL).contains(&at.value) {
        return at.value;
    }
    report
        .error(at.span, format!("{} is out of range for `interval`", duration::format(at.value)))
        .with_help(format!(
            "write a time from `\"{}\"` to `\"{}\"`",
            duration::format(MIN_INTERVAL),
            duration::format(MAX_INTERVAL)
        ));
    // The longest, so that the timeout is not blamed for it.
    MAX_INTERVAL
}

fn timeout(
    field: Field<Duration>,
    interval: Duration,
    interval_span: Option<Range<usize>>,
    report: &mut Report,
) -> Duration {
    let Some(at) = field.given() else {
        return TIMEOUT.min(interval);
    };
    let interval_text = duration::format(interval);
    if at.value > interval {
        let problem =
            report.error(at.span, format!("the timeout is longer than the interval of {interval_text}"));
        problem.with_help(format!("write at most `\"{interval_text}\"`, or a longer interval"));
        if let Some(span) = interval_span {
            problem.with_also(span, "the interval");
        }
    } else if at.value < MIN_TIMEOUT {
        report
            .error(at.span, "the timeout is too short")
            .with_help(format!("write at least `\"{}\"`", duration::format(MIN_TIMEOUT)));
    }
    at.value
}

/// A share of at most 1.
fn per_mille(share: f64) -> u16 {
    #[expect(clippy::cast_sign_loss, reason = "shares are not negative")]
    let rounded = (share * 1000.0).round() as u16;
    rounded
}

fn times(field: Field<u64>, what: &str, report: &mut Report) -> NonZeroU32 {
    let times = number(field, 1..=1000, 1, what, report);
    u32::try_from(times).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

/// The port of the pool's services; of several, the one the kind is known for.
fn default_port(kind: Kind, ports: &BTreeSet<Ports>, span: Range<usize>, report: &mut Report) -> Option<u16> {
    let usual = match kind {
        Kind::Http => Some(80),
        Kind::Https => Some(443),
        Kind::Tcp | Kind::Idle => None,
    };
    if let Some(only) = ports.first().filter(|_| ports.len() == 1).and_then(|ports| ports.single()) {
        return Some(only);
    }
    if let Some(usual) = usual.filter(|usual| ports.is_empty() || ports.contains(&Ports::One(*usual))) {
        return Some(usual);
    }
    let (why, help) = match ports.first() {
        None => (
            "no service uses this pool".to_owned(),
            "write `port = ...` in this check, or a service that uses the pool".to_owned(),
        ),
        Some(first) => {
            let all = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let example = match first {
                Ports::One(port) | Ports::Range(port, _) => *port,
                Ports::All => usual.unwrap_or(80),
            };
            (
                format!("the services of this pool have ports {all}"),
                format!("write `port = {example}`, or another one, in this check"),
            )
        }
    };
    report.error(span, format!("which port to check is not clear: {why}")).with_help(help);
    None
}
