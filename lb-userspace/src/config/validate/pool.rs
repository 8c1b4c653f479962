//! `[pools.NAME]` and its backends.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Range,
    sync::Arc,
};

use super::{address, check, cross::Places, name, number, share};
use crate::{
    config::{
        file,
        prime::{is_prime, neighbours},
        problem::Report,
        table::{At, Field, Named},
        value::ThresholdBy,
    },
    model::{Backend, BackendName, Combine, Outliers, Pool, PoolName, Pooled, Threshold, Weight},
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
    ports: &BTreeSet<u16>,
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
        checks,
        backends,
    } = file;
    // A list that is there but could not be read draws no second complaint.
    let backends_unreadable = matches!(backends, Field::Bad);
    let allow_empty = allow_empty.or(false);
    let default = Threshold::default();
    let written = backends.or(Named::default());
    let written_backends = written.0.len();
    let backends = self::backends(&name, written, places, report);
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
        outliers: Outliers::default(),
        combine: combine.or(Combine::default()),
        optimistic: optimistic.or(false),
        allow_empty,
        slots,
        backends,
        name,
    }
}

fn backends(
    pool: &PoolName,
    written: Named<file::Backend>,
    places: &mut Places,
    report: &mut Report,
) -> BTreeMap<BackendName, Arc<Backend>> {
    let mut backends = BTreeMap::new();
    let mut addresses: BTreeMap<IpAddr, (BackendName, Range<usize>)> = BTreeMap::new();
    for (at, backend) in written.0 {
        let (Some(name), Some(backend)) = (name::<BackendName>(&at.value, &at.span, report), backend.given())
        else {
            continue;
        };
        let file::Backend { address, weight, pooled } = backend.value;
        let weight = weight_of(weight, report);
        let Some(address) = address.given() else { continue };
        usable(&address, report);
        if let Some((first, span)) = addresses.get(&address.value) {
            report
                .error(address.span, format!("{} is the address of `{first}` too", address.value))
                .with_also(span.clone(), "first here")
                .with_help(format!(
                    "give `{name}` its own address, or remove it; for a larger share raise `weight`"
                ));
            continue;
        }
        addresses.insert(address.value, (name.clone(), address.span.clone()));
        places.backend(pool, &name, &address);
        let backend = Backend {
            weight,
            pooled: pooled.or(Pooled::default()),
            ..Backend::new(name.clone(), address.value)
        };
        backends.insert(name, Arc::new(backend));
    }
    backends
}

fn usable(address: &At<IpAddr>, report: &mut Report) {
    if address.value.is_loopback() {
        // Checks work there, so a trial on one host does: said, not refused.
        report
            .warning(
                address.span.clone(),
                format!("{} is a loopback address: no packet can be forwarded there", address.value),
            )
            .with_help("write the backend's address on the network that it shares with this host");
    } else if let Some(why) = address::unusable(address.value) {
        report
            .error(address.span.clone(), format!("{} {why} and cannot be a backend's", address.value))
            .with_help(address::instead(address.value, "the backend's own address"));
    }
}

fn weight_of(field: Field<u64>, report: &mut Report) -> Weight {
    let default = Weight::default();
    let weight = number(field, 0..=u64::from(Weight::MAX), u64::from(default.get()), "a weight", report);
    u32::try_from(weight).ok().and_then(|weight| Weight::try_from(weight).ok()).unwrap_or(default)
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
