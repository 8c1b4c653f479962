//! `lbctl list --ipvs`: the shape of `ipvsadm -Ln`, for eyes and scripts that know it. What a stateless table does not know (`ActiveConn`,
//! `InActConn`) is `-`.

use std::fmt::Write;

use crate::{
    api::types::{Backend, Disposition, List, Net, Pool, Protocol},
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
            let _ = writeln!(out, "{protocol}  {} mh", place(net, service.port));
            for b in pool.into_iter().flat_map(members) {
                let _ = writeln!(
                    out,
                    "  -> {:<28} {:<7} {:<6} {:<10} {:<10}",
                    place(&Net(b.address.into()), service.port),
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
