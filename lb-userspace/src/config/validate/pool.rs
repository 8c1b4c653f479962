//! `[pools.NAME]`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use super::{backend, check, cross::Places, number, share};
use crate::{
    config::{
        file,
        prime::{is_prime, neighbours},
        problem::Report,
        table::{Field, Named},
        value::ThresholdBy,
    },
    model::{
        Backend, BackendName, Combine, GUE_PORT, Method, Outliers, Pool, PoolName, Pooled, Ports, Threshold,
    },
};

/// Size of a pool's table that suits some hundred backends.
const DEFAULT_SLOTS: u64 = 65_537;
/// The largest table: rebuilding one stays a matter of milliseconds.
const MAX_SLOTS: u64 = 1_048_573;
/// Fewer slots than this for a backend make shares uneven by more than a per cent.
const SLOTS_PER_BACKEND: u64 = 100;

pub(super) fn pool(
    name: PoolName,
    span: &Range<usize>,
    file: file::Pool,
    ports: &BTreeSet<Ports>,
    places: &mut Places,
    report: &mut Report,
) -> Pool {
    let file::Pool {
        depool_threshold,
        threshold_by,
        combine,
        optimistic,
        allow_empty,
        slots,
        method,
        gue_port,
        outliers,
        checks,
        backends,
    } = file;
    // A list that is there but could not be read draws no second complaint.
    let backends_unreadable = matches!(backends, Field::Bad);
    let allow_empty = allow_empty.or(false);
    let default = Threshold::default();
    let written = backends.or(Named::default());
    let written_backends = written.0.len();
    let gue_span = gue_port.span();
    let usual = backend::Usual {
        method: method.or(Method::default()),
        gue_port: backend::gue_port(gue_port, GUE_PORT, report),
    };
    let backends = backend::backends(&name, written, usual, places, report);
    if let Some(span) = gue_span
        && written_backends == backends.len()
        && backends.values().all(|backend| backend.method != Method::Gue)
    {
        report
            .warning(span, "`gue_port` means nothing: no backend of the pool has `method = \"gue\"`")
            .with_help("write `method = \"gue\"` beside it, or remove it");
    }
    if !allow_empty && !backends_unreadable {
        serves_somebody(span, written_backends, &backends, report);
    }
    let slots_span = slots.span().unwrap_or_else(|| span.clone());
    let slots = self::slots(slots, report);
    enough_slots(slots, written_backends as u64, slots_span.clone(), report);
    places.slots(&name, slots_span);
    if checks.is_absent() && written_backends > 0 {
        report
            .warning(span.clone(), format!("pool `{name}` has no checks: its backends are taken to be up"))
            .with_help(format!("add one: `[[pools.{name}.checks]]` with `kind = \"tcp\"`"));
    }
    Pool {
        threshold: Threshold {
            fraction: share(depool_threshold, 1.0, default.fraction, "`depool_threshold`", report),
            by_weight: threshold_by.or(ThresholdBy::Count) == ThresholdBy::Weight,
        },
        checks: check::checks(checks.or(Vec::new()), ports, report),
        outliers: self::outliers(outliers),
        combine: combine.or(Combine::default()),
        optimistic: optimistic.or(false),
        allow_empty,
        slots,
        backends,
        name,
    }
}

fn outliers(field: Field<file::Outliers>) -> Outliers {
    let file::Outliers { lower_weight } = field.or(file::Outliers::default());
    Outliers { lower_weight: lower_weight.or(Outliers::default().lower_weight) }
}

/// Refuses a pool that can send traffic nowhere: a list edit must not do what failures may not.
fn serves_somebody(
    span: &Range<usize>,
    written: usize,
    backends: &BTreeMap<BackendName, Arc<Backend>>,
    report: &mut Report,
) {
    if written == 0 {
        report
            .error(span.clone(), "the pool has no backends")
            .with_help("add some under `backends`, or write `allow_empty = true` if that is meant");
    } else if written == backends.len() && backends.values().all(|backend| backend.weight.get() == 0) {
        report
            .error(span.clone(), "every backend of the pool has weight 0: it would serve nobody")
            .with_help("give one a weight, or write `allow_empty = true` to drain the whole pool");
    } else if written == backends.len()
        && backends.values().all(|b| b.pooled != Pooled::Yes || b.weight.get() == 0)
    {
        report
            .warning(
                span.clone(),
                "no backend of the pool has `pooled = \"yes\"` and a weight: it serves nobody",
            )
            .with_help("write `pooled = \"yes\"` for those that shall serve");
    }
}

fn slots(field: Field<u64>, report: &mut Report) -> u32 {
    let span = field.span();
    let slots = number(field, 2..=MAX_SLOTS, DEFAULT_SLOTS, "`slots`", report) as u32;
    if let Some(span) = span
        && !is_prime(slots)
    {
        let help = match neighbours(slots) {
            (Some(below), Some(above)) => format!("the nearest primes are {below} and {above}"),
            (Some(one), None) | (None, Some(one)) => format!("the nearest prime is {one}"),
            (None, None) => "65537 is a prime".to_owned(),
        };
        report.error(span, format!("{slots} is not a prime, as the table needs")).with_help(help);
    }
    slots
}

fn enough_slots(slots: u32, backends: u64, span: Range<usize>, report: &mut Report) {
    let wanted = backends * SLOTS_PER_BACKEND;
    if u64::from(slots) >= wanted {
        return;
    }
    let prime = |n: u64| neighbours(u32::try_from(n.min(MAX_SLOTS)).unwrap_or(u32::MAX)).1.unwrap_or(65_537);
    if u64::from(slots) < backends {
        report
            .error(
                span,
                format!("{slots} slots are fewer than the {backends} backends: some would get nothing"),
            )
            .with_help(format!("write `slots = {}`", prime(wanted)));
    } else {
        report
            .warning(span, format!("{slots} slots for {backends} backends spread the traffic unevenly"))
            .with_help(format!("write `slots = {}`: 100 for each backend", prime(wanted)));
    }
}
