//! What only the whole file shows: addresses claimed twice, pools nobody uses, tables too small.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    ops::Range,
};

use crate::{
    config::{problem::Report, table::At},
    model::{BackendName, Config, PoolName, Protocol, ServiceName, Vip},
};

/// Slots of a pool begin at a cache line of this many.
const SLOTS_PER_LINE: u32 = 32;

/// Where things stand in the file.
#[derive(Default)]
pub(super) struct Places {
    vips: HashMap<Vip, (ServiceName, Range<usize>)>,
    vip_addresses: HashMap<IpAddr, (ServiceName, Range<usize>)>,
    backends: Vec<(PoolName, BackendName, At<IpAddr>)>,
    pools: Vec<At<String>>,
    slots: Vec<(PoolName, Range<usize>)>,
}

impl Places {
    pub(super) fn pool(&mut self, name: &At<String>) {
        self.pools.push(name.clone());
    }

    pub(super) fn slots(&mut self, pool: &PoolName, span: Range<usize>) {
        self.slots.push((pool.clone(), span));
    }

    pub(super) fn backend(&mut self, pool: &PoolName, backend: &BackendName, address: &At<IpAddr>) {
        self.backends.push((pool.clone(), backend.clone(), address.clone()));
    }

    /// Records a VIP; reports it when another service has it.
    pub(super) fn vip(
        &mut self,
        service: &ServiceName,
        at: &At<IpAddr>,
        port: u16,
        protocol: Protocol,
        report: &mut Report,
    ) {
        let vip = Vip { addr: at.value, port, protocol };
        self.vip_addresses.entry(at.value).or_insert_with(|| (service.clone(), at.span.clone()));
        if let Some((first, span)) = self.vips.get(&vip) {
            report
                .error(at.span.clone(), format!("{vip} belongs to service `{first}` already"))
                .with_also(span.clone(), format!("in service `{first}`"))
                .with_help("give one of the services another address or port");
        } else {
            self.vips.insert(vip, (service.clone(), at.span.clone()));
        }
    }
}

pub(super) fn check(config: &Config, places: &Places, report: &mut Report) {
    for (pool, backend, at) in &places.backends {
        if let Some((service, span)) = places.vip_addresses.get(&at.value) {
            report
                .error(
                    at.span.clone(),
                    format!("{} is a VIP of service `{service}` and cannot be a backend's address", at.value),
                )
                .with_also(span.clone(), "the VIP")
                .with_help(format!(
                    "write the address that only `{pool}/{backend}` has, not the one on its loopback"
                ));
        }
    }
    // A service that was refused may use the pool: nothing is said of unused pools then.
    if !report.has_errors() {
        let used: BTreeSet<&str> = config.services.values().map(|service| service.pool.as_str()).collect();
        for name in places.pools.iter().filter(|name| !used.contains(name.value.as_str())) {
            report
                .warning(name.span.clone(), format!("no service uses pool `{}`", name.value))
                .with_help("remove it, or name it in a service");
        }
    }
    limits(config, places, report);
}

fn limits(config: &Config, places: &Places, report: &mut Report) {
    let limits = &config.global.limits;
    let families = [("IPv4", true), ("IPv6", false)];
    for (family, v4) in families {
        let entries = places.vips.keys().filter(|vip| vip.addr.is_ipv4() == v4).count();
        let of_family = |span: &&(ServiceName, Range<usize>)| span.1.clone();
        if entries > limits.services as usize {
            let last = places.vips.values().max_by_key(|at| at.1.start).as_ref().map_or(0..0, of_family);
            report
                .error(
                    last,
                    format!(
                        "{entries} {family} addresses with ports are more than `limits.services`, {}",
                        limits.services
                    ),
                )
                .with_help(raise("services", entries, 65_535));
        }
    }
    if places.backends.len() > limits.backends as usize
        && let Some((.., at)) = places.backends.get(limits.backends as usize)
    {
        let count = places.backends.len();
        report
            .error(
                at.span.clone(),
                format!("{count} backends are more than `limits.backends`, {}", limits.backends),
            )
            .with_help(raise("backends", count, 32_767));
    }
    if let Some(name) = places.pools.get(limits.pools as usize) {
        let count = places.pools.len();
        report
            .error(name.span.clone(), format!("{count} pools are more than `limits.pools`, {}", limits.pools))
            .with_help(raise("pools", count, 65_535));
    }
    let mut total: u64 = 0;
    let mut crossed = None;
    for (pool, span) in &places.slots {
        let slots = config.pools.get(pool.as_str()).map_or(0, |pool| pool.slots);
        total += u64::from(slots.next_multiple_of(SLOTS_PER_LINE));
        if total > u64::from(limits.slots) && crossed.is_none() {
            crossed = Some(span.clone());
        }
    }
    if let Some(span) = crossed {
        report
            .error(
                span,
                format!(
                    "the pools need {total} slots, each rounded up to {SLOTS_PER_LINE}: more than `limits.slots`, {}",
                    limits.slots
                ),
            )
            .with_help(format!(
                "write a smaller `slots` in small pools (4099 suffices for 40 backends), or `slots = {}` under `[lbd.limits]`",
                total.next_power_of_two()
            ));
    }
}

fn raise(key: &str, count: usize, max: usize) -> String {
    if count > max {
        format!("{max} is the largest `{key}` under `[lbd.limits]`; spread the rest over other balancers")
    } else {
        format!("write `{key} = {}` under `[lbd.limits]`", count.next_power_of_two().min(max))
    }
}
