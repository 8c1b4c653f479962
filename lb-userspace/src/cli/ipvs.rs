//! `lbctl list --ipvs`: the shape of `ipvsadm -Ln`, for eyes and scripts that know it. What a stateless table does not know (`ActiveConn`,
//! `InActConn`) is `-`.

use std::{fmt::Write, net::SocketAddr};

use crate::api::types::{Backend, Disposition, List, Pool, Protocol};

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
        let protocol = match service.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        let pool = list.pools.iter().find(|pool| pool.summary.name == service.pool);
        for address in &service.addresses {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{protocol}  {} mh", SocketAddr::new(*address, service.port));
            for b in pool.into_iter().flat_map(members) {
                let _ = writeln!(
                    out,
                    "  -> {:<28} {:<7} {:<6} {:<10} {:<10}",
                    SocketAddr::new(b.address, service.port).to_string(),
                    "Route",
                    if b.state == Disposition::Draining { 0 } else { b.weight },
                    "-",
                    "-"
                );
            }
        }
    }
    out
}

/// What LVS would have in its table: those that get new connections, and draining ones.
fn members(pool: &Pool) -> impl Iterator<Item = &Backend> {
    pool.members.iter().filter(|b| b.state.keeps_old())
}
