//! `[services.NAME]`.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use super::{address, cross::Places, number};
use crate::{
    config::{
        duration, file,
        nearest::nearest,
        problem::Report,
        table::{At, Field, shorten},
    },
    model::{PoolName, Ports, Protocol, Rules, Service, ServiceName, UdpClass},
};

/// A pin's age has 16 bits of about a second each: beyond a few hours old and new could not be told apart.
const MAX_IDLE: Duration = Duration::from_hours(4);
/// Ages of pins and transitions are compared in 16 bits of about a second.
const MAX_DRAIN: Duration = Duration::from_hours(8);
const MIN_TIME: Duration = Duration::from_secs(1);

/// None when something without a default is missing or bad; that is reported.
pub(super) fn service(
    name: ServiceName,
    file: file::Service,
    pools: &BTreeSet<String>,
    places: &mut Places,
    report: &mut Report,
) -> Option<Service> {
    let file::Service { vips, port, protocol, pool, udp_class, idle, drain_timeout } = file;
    if let (Field::Given(class), Protocol::Tcp) = (&udp_class, protocol_of(&protocol)) {
        report
            .error(class.span.clone(), "`udp_class` means nothing for a TCP service")
            .with_help("remove it, or write `protocol = \"udp\"`");
    }
    let protocol = protocol.or(Protocol::Tcp);
    let port_is_good = matches!(port, Field::Given(_));
    // 0 stands for a bad port; nothing uses it, as the whole file is refused then.
    let port = number(port, 1..=65_535, 0, "a port", report) as u16;
    let vips = vips.given().map(|list| self::vips(list, report));
    let pool = pool.given().and_then(|at| self::pool(&at, pools, report));
    let idle = time(idle, Duration::from_mins(5), MAX_IDLE, "`idle`", report);
    let drain_timeout = time(drain_timeout, Duration::from_hours(1), MAX_DRAIN, "`drain_timeout`", report);
    let vips = vips?;
    if port_is_good && port > 0 {
        for vip in &vips {
            places.vip(&name, vip, port, protocol, report);
        }
    }
    Some(Service {
        name,
        vips: vips.into_iter().map(|at| at.value.into()).collect(),
        ports: Ports::One(port),
        protocols: vec![protocol],
        pool: pool?,
        udp_class: udp_class.or(UdpClass::default()),
        rules: Rules { idle, drain_timeout, ..Rules::default() },
    })
}

fn protocol_of(field: &Field<Protocol>) -> Protocol {
    match field {
        Field::Absent => Protocol::Tcp,
        Field::Given(at) => at.value,
        // Nobody knows what was meant; UDP draws no second complaint.
        Field::Bad => Protocol::Udp,
    }
}

fn vips(list: At<Vec<At<IpAddr>>>, report: &mut Report) -> Vec<At<IpAddr>> {
    if list.value.is_empty() {
        report.error(list.span, "a service needs an address").with_help("`vips = [\"192.0.2.1\"]`");
    }
    let mut seen: Vec<At<IpAddr>> = Vec::new();
    for at in list.value {
        if let Some(why) = address::unusable(at.value) {
            report
                .error(at.span, format!("{} {why} and cannot be a VIP", at.value))
                .with_help(address::instead(at.value, "the address that clients connect to"));
        } else if let Some(first) = seen.iter().find(|first| first.value == at.value) {
            report
                .error(at.span, format!("{} is written twice", at.value))
                .with_also(first.span.clone(), "first here")
                .with_help("remove one of them");
        } else {
            seen.push(at);
        }
    }
    seen
}

fn pool(at: &At<String>, pools: &BTreeSet<String>, report: &mut Report) -> Option<PoolName> {
    if pools.contains(&at.value) {
        // A known pool with a bad name is reported where it is declared.
        return at.value.parse().ok();
    }
    let help = nearest(&at.value, pools.iter().map(String::as_str)).map_or_else(
        || format!("declare it: `[pools.{}]`", shorten(&at.value)),
        |meant| format!("did you mean `\"{meant}\"`?"),
    );
    report.error(at.span.clone(), format!("there is no pool `{}`", shorten(&at.value))).with_help(help);
    None
}

/// A length of time of a service, or the default.
fn time(
    field: Field<Duration>,
    default: Duration,
    max: Duration,
    what: &str,
    report: &mut Report,
) -> Duration {
    let Some(at) = field.given() else { return default };
    if (MIN_TIME..=max).contains(&at.value) {
        return at.value;
    }
    report.error(at.span, format!("{} is out of range for {what}", duration::format(at.value))).with_help(
        format!("write a time from `\"{}\"` to `\"{}\"`", duration::format(MIN_TIME), duration::format(max)),
    );
    default
}
