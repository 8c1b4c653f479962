//! Which changes of the configuration move established connections. Most do not; an operator has to know of the others before.

use crate::model::{Config, Pool, Protocol, Service, UdpClass};

/// A sentence for each service and pool whose established connections do not all stay where they are.
pub(super) fn disturbs(old: &Config, new: &Config) -> Vec<String> {
    let services = old.services.iter().filter_map(|(name, before)| {
        let why = service(before, new.services.get(name)?)?;
        Some(format!("service {name}: {why}"))
    });
    let pools = old.pools.iter().filter_map(|(name, before)| {
        let why = pool(before, new.pools.get(name)?)?;
        Some(format!("pool {name}: {why}"))
    });
    services.chain(pools).collect()
}

/// Whether its flows are remembered one by one.
fn tracks(service: &Service) -> bool {
    service.rules.tracks(service.protocols.contains(&Protocol::Udp) && service.udp_class != UdpClass::Quic)
}

fn service(before: &Service, after: &Service) -> Option<&'static str> {
    let [was, is] = [tracks(before), tracks(after)];
    if before.pool != after.pool && !(was && is) {
        Some(
            "with its new pool, established connections go to the new pool's backends, which do not know them",
        )
    } else if before.rules.hash != after.rules.hash && !(was && is) {
        Some(
            "with another `hash`, nearly all established connections go to other backends, which do not know them",
        )
    } else if was && !is {
        Some(
            "its flows are no longer remembered: those established connections break that are not where the pool's table sends \
             them. Drain it on another balancer first, or wait for a quiet hour",
        )
    } else {
        None
    }
}

fn pool(before: &Pool, after: &Pool) -> Option<&'static str> {
    match before.slots.cmp(&after.slots) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => {
            Some("with more `slots`, a few established connections go to other backends")
        }
        std::cmp::Ordering::Greater => {
            Some("with fewer `slots`, many established connections go to other backends")
        }
    }
}
