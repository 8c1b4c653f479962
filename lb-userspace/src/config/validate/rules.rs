//! What a service does with flows: scheduling, tracking, persistence, protection.

use std::{collections::HashMap, ops::Range, time::Duration};

use super::{cross::Places, number};
use crate::{
    config::{
        duration, file,
        problem::Report,
        table::{At, Field},
        value::{Schedule, Word},
    },
    model::{HashFields, Net, Persistence, Ports, QuicId, Rules, Scheduler, Tracking, UdpClass},
};

/// A pin's age has 16 bits of about a second each: beyond a few hours old and new could not be told apart.
const MAX_IDLE: Duration = Duration::from_hours(4);
/// Ages of pins and transitions are compared in 16 bits of about a second.
const MAX_DRAIN: Duration = Duration::from_hours(8);
const MIN_TIME: Duration = Duration::from_secs(1);
/// More than a host can receive.
const MAX_NEW_PER_SECOND: u64 = 100_000_000;
/// A QUIC connection id has at most 20 bytes, and a server id at least one, at most two of them.
const MAX_ID_OFFSET: u64 = 18;

/// What is written of flows, whatever else has been taken out of `file`. `ports` are the service's, none when they could not be read.
pub(super) fn rules(
    file: file::Service,
    ports: Option<Ports>,
    udp_class: UdpClass,
    places: &mut Places,
    report: &mut Report,
) -> Rules {
    let file::Service {
        scheduler,
        hash,
        tracking,
        idle,
        drain_timeout,
        persistence,
        persistence_prefix4,
        persistence_prefix6,
        block,
        allow,
        max_new_per_second,
        quic_server_id,
        vips: _,
        port: _,
        protocol: _,
        pool: _,
        udp_class: _,
    } = file;
    let default = Rules::default();
    let (scheduler, hash, tracking) = self::scheduler(scheduler, hash, tracking, ports, report);
    let (block, allow) = prefixes(block, allow, places, report);
    Rules {
        hash,
        tracking,
        scheduler,
        idle: time(idle, MAX_IDLE, "`idle`", report).unwrap_or(default.idle),
        drain_timeout: time(drain_timeout, MAX_DRAIN, "`drain_timeout`", report)
            .unwrap_or(default.drain_timeout),
        persistence: self::persistence(persistence, persistence_prefix4, persistence_prefix6, report),
        block,
        allow,
        max_new_per_second: ceiling(max_new_per_second, report),
        quic_id: quic_id(quic_server_id, udp_class, report),
    }
}

/// What the three keys mean together.
fn scheduler(
    scheduler: Field<Schedule>,
    hash: Field<HashFields>,
    tracking: Field<Tracking>,
    ports: Option<Ports>,
    report: &mut Report,
) -> (Scheduler, HashFields, Tracking) {
    let unclear = matches!(scheduler, Field::Bad);
    let span = scheduler.span();
    let (scheduler, usual) = match scheduler.or(Schedule::Named(Scheduler::Maglev)) {
        Schedule::Named(scheduler) => (scheduler, HashFields::FiveTuple),
        Schedule::Source => (Scheduler::Maglev, HashFields::Source),
    };
    if scheduler == Scheduler::Maglev {
        if let Field::Given(at) = &hash
            && at.value == HashFields::DestinationPort
            && ports.is_some_and(|ports| ports.single().is_some())
            && !unclear
        {
            report
                .warning(at.span.clone(), "the service has one port only: all its flows go to one backend")
                .with_help("write another `hash`, or serve a range of ports: `port = \"8000-8099\"`");
        }
        return (scheduler, hash.or(usual), tracking.or(Tracking::default()));
    }
    let word = Schedule::Named(scheduler).word();
    let mut refuse = |at: Range<usize>, message: String, help: String| {
        let problem = report.error(at, message);
        problem.with_help(help);
        if let Some(span) = &span {
            problem.with_also(span.clone(), "the scheduler");
        }
    };
    if let Field::Given(at) = &hash {
        let message = format!("the scheduler \"{word}\" does not hash: `hash` means nothing");
        let help = "remove it, or write `scheduler = \"maglev\"`";
        refuse(at.span.clone(), message, help.to_owned());
    }
    if let Field::Given(At { value: Tracking::Auto, span }) = &tracking {
        let message =
            format!("the scheduler \"{word}\" needs every flow remembered: `tracking` is \"always\"");
        let help = "remove it, write `tracking = \"always\"`, or `scheduler = \"maglev\"`";
        refuse(span.clone(), message, help.to_owned());
    }
    (scheduler, HashFields::default(), Tracking::Always)
}

fn persistence(
    timeout: Field<Duration>,
    prefix4: Field<u64>,
    prefix6: Field<u64>,
    report: &mut Report,
) -> Option<Persistence> {
    let absent = timeout.is_absent();
    for (field, key) in [(&prefix4, "persistence_prefix4"), (&prefix6, "persistence_prefix6")] {
        if let (true, Field::Given(at)) = (absent, field) {
            report
                .error(at.span.clone(), format!("`{key}` means nothing without `persistence`"))
                .with_help("add `persistence = \"5m\"`, or remove it");
        }
    }
    // In range, so they fit.
    let prefix4 = number(prefix4, 1..=32, 32, "`persistence_prefix4`", report) as u8;
    let prefix6 = number(prefix6, 1..=128, 128, "`persistence_prefix6`", report) as u8;
    let timeout = time(timeout, MAX_IDLE, "`persistence`", report)?;
    Some(Persistence { timeout, prefix4, prefix6 })
}

/// The two lists, in which each prefix stands once.
fn prefixes(
    block: Field<Vec<At<Net>>>,
    allow: Field<Vec<At<Net>>>,
    places: &mut Places,
    report: &mut Report,
) -> (Vec<ipnet::IpNet>, Vec<ipnet::IpNet>) {
    let mut seen: HashMap<Net, (&str, Range<usize>)> = HashMap::new();
    let mut list = |field: Field<Vec<At<Net>>>, key: &'static str| {
        let mut kept = Vec::new();
        for at in field.or(Vec::new()) {
            if let Some((other, first)) = seen.get(&at.value) {
                let message = if *other == key {
                    format!("{} is written twice", at.value)
                } else {
                    format!("{} is in `{other}` and in `{key}`", at.value)
                };
                report
                    .error(at.span, message)
                    .with_also(first.clone(), "first here")
                    .with_help("remove one of them");
                continue;
            }
            seen.insert(at.value, (key, at.span.clone()));
            places.prefix(at.value.0, at.span);
            kept.push(at.value.0);
        }
        kept
    };
    (list(block, "block"), list(allow, "allow"))
}

fn ceiling(field: Field<u64>, report: &mut Report) -> Option<u32> {
    if !matches!(field, Field::Given(_)) {
        return None;
    }
    let ceiling = number(field, 1..=MAX_NEW_PER_SECOND, 1, "`max_new_per_second`", report);
    u32::try_from(ceiling).ok()
}

fn quic_id(field: Field<file::QuicServerId>, class: UdpClass, report: &mut Report) -> Option<QuicId> {
    let At { value: file::QuicServerId { offset, length }, span } = field.given()?;
    if class != UdpClass::Quic {
        report
            .error(span, "`quic_server_id` means nothing for a service that is not QUIC")
            .with_help("write `protocol = \"udp\"` and `udp_class = \"quic\"`, or remove it");
        return None;
    }
    Some(QuicId {
        // In range, so they fit.
        offset: number(offset, 0..=MAX_ID_OFFSET, 1, "`offset`", report) as u8,
        len: number(length, 1..=2, 2, "`length`", report) as u8,
    })
}

/// A length of time of a service; none when it is absent or bad.
fn time(field: Field<Duration>, max: Duration, what: &str, report: &mut Report) -> Option<Duration> {
    let at = field.given()?;
    if (MIN_TIME..=max).contains(&at.value) {
        return Some(at.value);
    }
    report.error(at.span, format!("{} is out of range for {what}", duration::format(at.value))).with_help(
        format!("write a time from `\"{}\"` to `\"{}\"`", duration::format(MIN_TIME), duration::format(max)),
    );
    None
}
