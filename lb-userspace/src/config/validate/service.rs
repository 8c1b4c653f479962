//! `[services.NAME]`: who reaches it, and by whom it is served. What it does with flows: [`super::rules`].

use std::{collections::BTreeSet, mem::take};

use super::{address, cross::Places, rules};
use crate::{
    config::{
        file,
        nearest::nearest,
        problem::Report,
        table::{At, Field, shorten},
    },
    model::{Endpoint, Net, PoolName, Protocols, Service, ServiceName, UdpClass},
};

/// None when something without a default is missing or bad; that is reported.
pub(super) fn service(
    name: ServiceName,
    mut file: file::Service,
    pools: &BTreeSet<String>,
    places: &mut Places,
    report: &mut Report,
) -> Option<Service> {
    let (vips, port, protocol) = (take(&mut file.vips), take(&mut file.port), take(&mut file.protocol));
    let (pool, udp_class) = (take(&mut file.pool), take(&mut file.udp_class));
    if let (Field::Given(class), Protocols::Tcp) = (&udp_class, protocols_of(&protocol)) {
        report
            .error(class.span.clone(), "`udp_class` means nothing for a TCP service")
            .with_help("remove it, or write `protocol = \"udp\"`");
    }
    let class_is_bad = matches!(udp_class, Field::Bad);
    let udp_class = udp_class.or(UdpClass::default());
    let protocols = protocol.or(Protocols::default());
    let ports = port.given().map(|at| at.value);
    let quic_span = file.quic_server_id.span();
    if class_is_bad {
        // Nobody knows whether a class that could not be read is the right one.
        file.quic_server_id = Field::Absent;
    }
    let rules = rules::rules(file, ports, udp_class, places, report);
    let vips = vips.given().map(|list| self::vips(list, report));
    let pool = pool.given().and_then(|at| self::pool(&at, pools, report));
    if let (Some(span), Some(pool), Some(id)) = (quic_span, &pool, rules.quic_id) {
        places.quic(&name, span, pool, id);
    }
    let (vips, ports) = (vips?, ports?);
    for vip in &vips {
        for protocol in protocols.list() {
            let endpoint = Endpoint { net: vip.value.0, ports, protocol: *protocol };
            places.endpoint(&name, endpoint, &vip.span, report);
        }
    }
    Some(Service {
        name,
        vips: vips.into_iter().map(|at| at.value.0).collect(),
        ports,
        protocols: protocols.list().to_vec(),
        pool: pool?,
        udp_class,
        rules,
    })
}

fn protocols_of(field: &Field<Protocols>) -> Protocols {
    match field {
        Field::Absent => Protocols::default(),
        Field::Given(at) => at.value,
        // Nobody knows what was meant; UDP draws no second complaint.
        Field::Bad => Protocols::Udp,
    }
}

fn vips(list: At<Vec<At<Net>>>, report: &mut Report) -> Vec<At<Net>> {
    if list.value.is_empty() {
        report.error(list.span, "a service needs an address").with_help("`vips = [\"192.0.2.1\"]`");
    }
    let mut seen: Vec<At<Net>> = Vec::new();
    for at in list.value {
        if let Some(why) = address::unusable_net(at.value.0) {
            report
                .error(at.span, format!("{} {why} and cannot be a VIP", at.value))
                .with_help(address::instead(at.value.0.addr(), "the address that clients connect to"));
        } else if let Some(why) = address::too_wide(at.value.0) {
            report
                .error(at.span, format!("{} {why}: that is no VIP", at.value))
                .with_help("write the addresses that clients connect to, or a longer prefix");
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
