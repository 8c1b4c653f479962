//! `lbctl list --ipvs`: the shape of `ipvsadm -Ln`, for eyes and scripts that know it. Estimates of `ActiveConn` and
//! `InActConn` begin with `~`; before the kernel has a table they are `-`.

use std::fmt::Write;

use super::units::estimate;
use crate::{
    api::types::{Backend, Connections, Disposition, List, Net, Pool, Protocol, Scheduler, Service},
    model::endpoint::place,
};

/// The text.
pub fn render(list: &List) -> String {
    let slots: u64 =
        list.pools.iter().filter_map(|pool| pool.table.as_ref()).map(|table| u64::from(table.slots)).sum();
    let mut out = format!(
        "IP Virtual Server version {} (lbd, slots={slots})\n\
         Prot LocalAddress:Port Scheduler Flags\n\
         \x20 -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n",
        env!("CARGO_PKG_VERSION")
    );
    for service in &list.services {
        let pool = list.pools.iter().find(|pool| pool.summary.name == service.pool);
        let protocols = service.protocol.list().iter();
        for (protocol, net) in protocols.flat_map(|p| service.addresses.iter().map(move |net| (p, net))) {
            let protocol = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{protocol}  {} {}", place(net, service.port), scheduler(service));
            for b in pool.into_iter().flat_map(members) {
                let count = |of: fn(&Connections) -> u64| {
                    b.connections.as_ref().map_or("-".to_owned(), |c| estimate(of(c), c.exact))
                };
                let _ = writeln!(
                    out,
                    "  -> {:<28} {:<7} {:<6} {:<10} {:<10}",
                    place(&Net(b.address.into()), service.port),
                    if b.method.is_tunnel() { "Tunnel" } else { "Route" },
                    if b.state == Disposition::Draining { 0 } else { b.weight },
                    count(|c| c.active),
                    count(|c| c.inactive)
                );
            }
        }
    }
    out
}

/// LVS's word: its Maglev is `mh`.
fn scheduler(service: &Service) -> &'static str {
    match service.scheduler {
        Scheduler::Maglev => "mh",
        other => other.as_str(),
    }
}

/// What LVS would have in its table: those that get new connections, and draining ones.
fn members(pool: &Pool) -> impl Iterator<Item = &Backend> {
    pool.members.iter().filter(|b| b.state.keeps_old())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_ranges_and_schedulers_are_shown_in_ipvsadms_columns() {
        let list: List = serde_json::from_value(serde_json::json!({
            "services": [{
                "name": "media", "addresses": ["203.0.113.64/28", "2001:db8::1"], "port": "8000-8099",
                "protocol": "tcp+udp", "pool": "media", "scheduler": "wlc", "udp_class": "dns", "idle": 300,
                "drain_timeout": 3600, "traffic": null
            }],
            "pools": []
        }))
        .expect("a list");
        let text = render(&list);
        let lines: Vec<&str> = text.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "TCP  203.0.113.64/28:8000-8099 wlc",
                "TCP  [2001:db8::1]:8000-8099 wlc",
                "UDP  203.0.113.64/28:8000-8099 wlc",
                "UDP  [2001:db8::1]:8000-8099 wlc"
            ]
        );
    }
}
