//! File → model: the only place that rejects what is well formed. Every table is taken apart key by key, so that a key added to the
//! file cannot be forgotten here.

mod address;
mod backend;
mod check;
mod cross;
mod global;
mod http;
mod pool;
mod rules;
mod service;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use super::{
    file,
    problem::Report,
    table::{Field, Named},
};
use crate::model::{Config, PoolName, Ports, ServiceName, name::NameError};

/// The model of a file. What cannot be used is reported and left out; the result means something only when nothing was.
pub(super) fn config(file: file::File, report: &mut Report) -> Config {
    let file::File { lbd, pools, services } = file;
    let mut places = cross::Places::default();
    let global = global::global(lbd.or(file::Global::default()), &mut places, report);
    let pools = pools.or(Named::default());
    let services = services.or(Named::default());
    let ports = ports_by_pool(&services);
    let known: BTreeSet<String> = pools.0.iter().map(|(name, _)| name.value.clone()).collect();

    let mut config = Config { global, services: BTreeMap::new(), pools: BTreeMap::new() };
    for (name, pool) in pools.0 {
        places.pool(&name);
        if let (Some(key), Some(pool)) =
            (self::name::<PoolName>(&name.value, &name.span, report), pool.given())
        {
            let ports = ports.get(&name.value).cloned().unwrap_or_default();
            let pool = pool::pool(key.clone(), &name.span, pool.value, &ports, &mut places, report);
            config.pools.insert(key, Arc::new(pool));
        }
    }
    for (name, service) in services.0 {
        if let (Some(key), Some(service)) =
            (self::name::<ServiceName>(&name.value, &name.span, report), service.given())
            && let Some(service) = service::service(key.clone(), service.value, &known, &mut places, report)
        {
            config.services.insert(key, Arc::new(service));
        }
    }
    cross::check(&config, &places, report);
    config
}

/// The ports under which each pool is used.
fn ports_by_pool(services: &Named<file::Service>) -> BTreeMap<String, BTreeSet<Ports>> {
    let mut ports: BTreeMap<String, BTreeSet<Ports>> = BTreeMap::new();
    for (_, service) in &services.0 {
        if let Field::Given(service) = service
            && let (Field::Given(pool), Field::Given(port)) = (&service.value.pool, &service.value.port)
        {
            ports.entry(pool.value.clone()).or_default().insert(port.value);
        }
    }
    ports
}

fn name<N: std::str::FromStr<Err = NameError>>(
    text: &str,
    span: &Range<usize>,
    report: &mut Report,
) -> Option<N> {
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            report
                .error(span.clone(), error.to_string())
                .with_help("begin with a letter or a digit, such as `cp1` or `\"cp1.example.org\"`");
            None
        }
    }
}

/// A number within its range, or the default.
fn number(
    field: Field<u64>,
    range: RangeInclusive<u64>,
    default: u64,
    what: &str,
    report: &mut Report,
) -> u64 {
    let Some(at) = field.given() else { return default };
    if range.contains(&at.value) {
        return at.value;
    }
    report.error(at.span, format!("{} is out of range for {what}", at.value)).with_help(format!(
        "write a number from {} to {}",
        range.start(),
        range.end()
    ));
    default
}

/// A number of a table size, or the default.
fn number32(
    field: Field<u64>,
    range: RangeInclusive<u32>,
    default: u32,
    what: &str,
    report: &mut Report,
) -> u32 {
    let range = u64::from(*range.start())..=u64::from(*range.end());
    // In range, so it fits.
    number(field, range, u64::from(default), what, report) as u32
}

/// A share between 0 and `max`, or the default.
fn share(field: Field<f64>, max: f64, default: f64, what: &str, report: &mut Report) -> f64 {
    let Some(at) = field.given() else { return default };
    // Written so that "not a number" is refused too.
    if (0.0..=max).contains(&at.value) {
        return at.value;
    }
    let help = if at.value > 1.0 && at.value <= 100.0 * max {
        format!("for {} % write `{}`", at.value, at.value / 100.0)
    } else {
        format!("write a number from 0 to {max}")
    };
    report.error(at.span, format!("{what} is out of range")).with_help(help);
    default
}
