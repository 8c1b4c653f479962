//! Destination → service: exactly this address and port, else the longest prefix, and of its services the one with the fewest ports.

use std::{cmp::Reverse, net::IpAddr};

use lb_userspace::model::{Endpoint, Protocol};

use crate::view::{Service, View};

fn exact(endpoint: &Endpoint) -> bool {
    endpoint.net.prefix_len() == endpoint.net.max_prefix_len() && endpoint.ports.single().is_some()
}

/// The service of a destination.
pub(super) fn service<'v>(view: &View<'v>, dst: IpAddr, port: u16, proto: u8) -> Option<&'v Service> {
    let protocol = if proto == 6 { Protocol::Tcp } else { Protocol::Udp };
    let claims = |e: &Endpoint| e.protocol == protocol && e.ports.contains(port);
    let to = |e: &&(Endpoint, usize)| e.0.net.contains(&dst);
    if let Some((_, service)) = view.endpoints.iter().filter(to).find(|(e, _)| exact(e) && claims(e)) {
        return Some(&view.services[*service]);
    }
    let mut shaped: Vec<&(Endpoint, usize)> =
        view.endpoints.iter().filter(to).filter(|(e, _)| !exact(e)).collect();
    shaped.sort_by_key(|(e, _)| {
        let (first, last) = e.ports.bounds();
        (Reverse(e.net.prefix_len()), last - first)
    });
    // As many as are looked at.
    let (_, service) = shaped.into_iter().take(32).find(|(e, _)| claims(e))?;
    Some(&view.services[*service])
}

/// Whether an address is one of ours.
pub(super) fn is_vip(view: &View<'_>, addr: IpAddr) -> bool {
    view.endpoints.iter().any(|(e, _)| e.net.contains(&addr))
}
