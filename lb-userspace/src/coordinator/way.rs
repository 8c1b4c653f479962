//! The way to an address, and whether it will do for a backend's forwarding method.

use std::net::IpAddr;

use crate::model::{Backend, NextHop, Tunnel};

/// What the neighbour table said of an address.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    found: Option<Result<NextHop, String>>,
    /// The latest that worked, on the segment or behind a gateway.
    last: Option<NextHop>,
    /// The latest that worked on the segment.
    last_direct: Option<NextHop>,
}

impl Way {
    /// Notes the answer.
    pub(super) fn found(&mut self, next_hop: Result<NextHop, String>) {
        if let Ok(hop) = next_hop {
            self.last = Some(hop);
            if hop.gateway.is_none() {
                self.last_direct = Some(hop);
            }
        }
        self.found = Some(next_hop);
    }

    /// The way to a backend as it is now, or why it has none; `None` before the first answer.
    pub(super) fn now(&self, backend: &Backend, tunnel: &Tunnel) -> Option<Result<NextHop, String>> {
        Some(match self.found.as_ref()? {
            Ok(hop) => match unsuitable(backend, hop, tunnel) {
                None => Ok(*hop),
                Some(why) => Err(why),
            },
            Err(why) => Err(why.clone()),
        })
    }

    /// The latest way that worked for a backend.
    pub(super) fn last(&self, backend: &Backend, tunnel: &Tunnel) -> Option<NextHop> {
        let latest = if backend.method.is_tunnel() { self.last } else { self.last_direct };
        latest.filter(|hop| unsuitable(backend, hop, tunnel).is_none())
    }
}

/// Why a backend cannot be served over a next hop by its forwarding method.
fn unsuitable(backend: &Backend, hop: &NextHop, tunnel: &Tunnel) -> Option<String> {
    let address = backend.address;
    if !backend.method.is_tunnel() {
        return hop.gateway.map(|gateway| {
            format!(
                "{address} is behind gateway {gateway}; direct routing needs it on the same segment; \
                 method = \"ipip\" or \"gue\" goes through routers"
            )
        });
    }
    let (key, configured) = match address {
        IpAddr::V4(_) => ("source4", tunnel.source4.is_some()),
        IpAddr::V6(_) => ("source6", tunnel.source6.is_some()),
    };
    (!configured && hop.source.is_none()).then(|| {
        format!(
            "this host has no address from which to send to {address}, and a tunnel needs one; add one, or write \
             {key} in [lbd.tunnel]"
        )
    })
}
