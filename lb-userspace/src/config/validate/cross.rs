//! What only the whole file shows: addresses claimed twice, pools nobody uses, tables too small.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    ops::Range,
};

use ipnet::IpNet;

use crate::{
    config::{problem::Report, table::At},
    model::{BackendName, Config, Endpoint, Method, Net, PoolName, Ports, Protocol, QuicId, ServiceName},
};

/// Slots of a pool begin at a cache line of this many.
const SLOTS_PER_LINE: u32 = 32;
/// Names listed in a message.
const MAX_NAMES: usize = 5;

/// A service, and where the VIP stands.
type Claim = (ServiceName, Range<usize>);

/// Where things stand in the file.
#[derive(Default)]
pub(super) struct Places {
    endpoints: HashMap<Endpoint, Claim>,
    /// Of each prefix and protocol the ranges of ports: first → last.
    ranges: HashMap<(IpNet, Protocol), BTreeMap<u16, (u16, Claim)>>,
    vips: HashMap<IpNet, Claim>,
    backends: Vec<(PoolName, BackendName, At<IpAddr>)>,
    pools: Vec<At<String>>,
    slots: Vec<(PoolName, Range<usize>)>,
    sources: Vec<At<Net>>,
    prefixes: Vec<(IpNet, Range<usize>)>,
    quic: Vec<(ServiceName, Range<usize>, PoolName, QuicId)>,
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

    pub(super) fn tunnel_source(&mut self, net: Net, span: Range<usize>) {
        self.sources.push(At { value: net, span });
    }

    pub(super) fn prefix(&mut self, net: IpNet, span: Range<usize>) {
        self.prefixes.push((net, span));
    }

    pub(super) fn quic(&mut self, service: &ServiceName, span: Range<usize>, pool: &PoolName, id: QuicId) {
        self.quic.push((service.clone(), span, pool.clone(), id));
    }

    /// Records an endpoint; reports it when a packet could not be told to be this service's or another one's.
    pub(super) fn endpoint(
        &mut self,
        service: &ServiceName,
        endpoint: Endpoint,
        span: &Range<usize>,
        report: &mut Report,
    ) {
        let claim = || (service.clone(), span.clone());
        self.vips.entry(endpoint.net).or_insert_with(claim);
        if let Some((first, also)) = self.endpoints.get(&endpoint) {
            report
                .error(span.clone(), format!("{endpoint} belongs to service `{first}` already"))
                .with_also(also.clone(), format!("in service `{first}`"))
                .with_help("give one of the services another address or port");
            return;
        }
        if let Ports::Range(first, last) = endpoint.ports {
            let ranges = self.ranges.entry((endpoint.net, endpoint.protocol)).or_default();
            // Those recorded do not overlap, so of those that begin before this one's end the last one ends last.
            if let Some((from, (to, (other, also)))) =
                ranges.range(..=last).next_back().filter(|(_, (to, _))| *to >= first)
            {
                report
                    .error(
                        span.clone(),
                        format!("{endpoint} overlaps ports {from}-{to} of service `{other}`"),
                    )
                    .with_also(also.clone(), format!("in service `{other}`"))
                    .with_help(
                        "make the ranges disjoint; a single port may lie within a range, and wins there",
                    );
                return;
            }
            ranges.insert(first, (last, claim()));
        }
        self.endpoints.insert(endpoint, claim());
    }

    /// The VIP in which an address lies.
    fn vip_of(&self, lengths: &BTreeSet<(bool, u8)>, addr: IpAddr) -> Option<(Net, &Claim)> {
        lengths.iter().filter(|(v4, _)| *v4 == addr.is_ipv4()).find_map(|(_, length)| {
            let net = IpNet::new(addr, *length).ok()?.trunc();
            self.vips.get(&net).map(|claim| (Net(net), claim))
        })
    }
}

pub(super) fn check(config: &Config, places: &Places, report: &mut Report) {
    let lengths: BTreeSet<(bool, u8)> =
        places.vips.keys().map(|net| (net.addr().is_ipv4(), net.prefix_len())).collect();
    for (pool, backend, at) in &places.backends {
        if let Some((net, (service, span))) = places.vip_of(&lengths, at.value) {
            let message = if net.single().is_some() {
                format!("{} is a VIP of service `{service}` and cannot be a backend's address", at.value)
            } else {
                format!(
                    "{} lies in the VIPs {net} of service `{service}` and cannot be a backend's address",
                    at.value
                )
            };
            report.error(at.span.clone(), message).with_also(span.clone(), "the VIP").with_help(format!(
                "write the address that only `{pool}/{backend}` has, not the one on its loopback"
            ));
        }
        let is_tunnel = |name: &PoolName, backend: &BackendName| {
            let found = config.pools.get(name).and_then(|pool| pool.backends.get(backend));
            found.is_some_and(|backend| backend.method != Method::Dr)
        };
        if let Some(source) = places.sources.iter().find(|source| source.value.0.contains(&at.value))
            && is_tunnel(pool, backend)
        {
            report
                .error(
                    at.span.clone(),
                    format!("{} lies in {}, from which tunnelled packets come: the host would drop them as its own", at.value, source.value),
                )
                .with_also(source.span.clone(), "the outer source")
                .with_help("write an outer source that no backend has");
        }
    }
    server_ids(config, places, report);
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

/// Each backend of a service that looks at connection ids has a number that fits into them.
fn server_ids(config: &Config, places: &Places, report: &mut Report) {
    for (service, span, pool, id) in &places.quic {
        let Some(backends) = config.pools.get(pool).map(|pool| &pool.backends) else {
            continue;
        };
        let names = |wrong: &dyn Fn(Option<u16>) -> bool| {
            let names: Vec<String> =
                backends.values().filter(|b| wrong(b.server_id)).map(|b| format!("`{}`", b.name)).collect();
            match names.len().checked_sub(MAX_NAMES) {
                None | Some(0) => names.join(", "),
                Some(more) => format!("{} and {more} more", names[..MAX_NAMES].join(", ")),
            }
        };
        let missing = names(&|id| id.is_none());
        if !missing.is_empty() {
            report
                .error(span.clone(), format!("backends of pool `{pool}` have no `server_id`: {missing}"))
                .with_help(format!(
                    "write `server_id = ...` in each: the number that its server puts into connection ids; or remove `quic_server_id` from `{service}`"
                ));
        }
        let long = names(&|number| id.len == 1 && number.is_some_and(|number| number > 255));
        if !long.is_empty() {
            report
                .error(
                    span.clone(),
                    format!("the `server_id` of these backends does not fit into one byte: {long}"),
                )
                .with_help("write `length = 2`, or numbers up to 255");
        }
    }
}

fn limits(config: &Config, places: &Places, report: &mut Report) {
    let limits = &config.global.limits;
    let families = [("IPv4", true), ("IPv6", false)];
    for (family, v4) in families {
        let entries = places.endpoints.keys().filter(|endpoint| endpoint.net.addr().is_ipv4() == v4).count();
        if entries > limits.services as usize {
            let last = places.endpoints.values().max_by_key(|(_, span)| span.start);
            let last = last.map_or(0..0, |(_, span)| span.clone());
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
        let mut prefixes = places.prefixes.iter().filter(|(net, _)| net.addr().is_ipv4() == v4);
        let count = prefixes.clone().count();
        if let Some((_, span)) = prefixes.nth(limits.prefixes as usize) {
            report
                .error(
                    span.clone(),
                    format!(
                        "{count} {family} prefixes in `block` and `allow` are more than `limits.prefixes`, {}",
                        limits.prefixes
                    ),
                )
                .with_help(raise("prefixes", count, 1 << 24));
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
