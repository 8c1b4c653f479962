//! From what is known to the answer: the next hop, or the sentence that says why there is none.

use std::net::IpAddr;

use super::{Table, watch::Watch};
use crate::{
    model::{Mac, NextHop},
    neighbour::facts::{LinkInfo, NoRoute, Route},
};

impl Table {
    /// The way to an address. None: not decided yet, so the last answer stands.
    pub(super) fn way(&self, address: IpAddr) -> Option<Result<NextHop, String>> {
        let watch = self.watches.get(&address)?;
        if let Some(refusal) = &watch.refusal {
            return Some(Err(refusal.clone()));
        }
        let ifindex = match watch.route.as_ref()? {
            Route::OnLink { ifindex } => *ifindex,
            Route::Gateway { gateway } => {
                return Some(Err(format!(
                    "{address} is behind gateway {gateway}; direct routing needs it on the same segment"
                )));
            }
            Route::Local => {
                return Some(Err(format!("{address} is an address of this host; a backend is another host")));
            }
            Route::NotUnicast(kind) => {
                return Some(Err(format!("{address} is a {kind} address, which no single host answers")));
            }
            Route::None(NoRoute::NoMatch) => return Some(Err(format!("no route to {address}"))),
            Route::None(NoRoute::Forbidden(kind)) => {
                return Some(Err(format!("no route to {address}: a route of type {kind} covers it")));
            }
            Route::None(NoRoute::Other(error)) => {
                return Some(Err(format!("no route to {address}: the lookup failed: {error}")));
            }
        };
        if !self.synced {
            return None;
        }
        let egress = match self.egress(address, ifindex) {
            Ok(egress) => egress,
            Err(why) => return Some(Err(why)),
        };
        match (watch.mac, &watch.failure) {
            (Some(dst_mac), _) => Some(Ok(NextHop { dst_mac, ..egress })),
            (None, Some(failure)) => Some(Err(failure.clone())),
            (None, None) => None,
        }
    }

    /// Everything of a next hop but the neighbour's MAC address.
    fn egress(&self, address: IpAddr, ifindex: u32) -> Result<NextHop, String> {
        let link = self.link_info(ifindex).ok_or_else(|| {
            format!("{address} is reached through interface {ifindex}, which does not exist")
        })?;
        let through = |rest: &str| format!("{address} is reached through {}, {rest}", link.name);
        if !link.up {
            return Err(through("which is down"));
        }
        let src_mac = link.mac.ok_or_else(|| through("which is not Ethernet"))?;
        let (ifindex, vlan) = match link.vlan {
            None => (ifindex, 0),
            Some(vlan) if vlan.service_tag => {
                return Err(through("which tags 802.1ad; direct routing tags 802.1Q only"));
            }
            Some(vlan) => {
                let lower = vlan
                    .lower
                    .and_then(|lower| self.link_info(lower))
                    .ok_or_else(|| through("whose lower interface is in another network namespace"))?;
                if lower.vlan.is_some() {
                    return Err(through("a VLAN inside a VLAN; direct routing writes one tag"));
                }
                if !lower.up {
                    return Err(through(&format!("whose lower interface {} is down", lower.name)));
                }
                (lower.ifindex, vlan.id)
            }
        };
        Ok(NextHop { dst_mac: Mac::default(), src_mac, ifindex, vlan, mtu: link.mtu })
    }

    /// Whether the interface an address is reached through can carry a question.
    pub(super) fn is_usable(&self, address: IpAddr) -> bool {
        self.watches
            .get(&address)
            .and_then(Watch::ifindex)
            .and_then(|ifindex| self.link_info(ifindex))
            .is_some_and(|link| link.up)
    }

    /// That nobody answers for an address, in words.
    pub(super) fn silent_text(&self, address: IpAddr) -> String {
        let protocol = if address.is_ipv4() { "ARP" } else { "neighbour discovery" };
        let ifindex = self.watches.get(&address).and_then(Watch::ifindex).unwrap_or_default();
        format!("{address} does not answer {protocol} on {}", self.link_name(ifindex))
    }

    pub(super) fn link_name(&self, ifindex: u32) -> String {
        self.link_info(ifindex).map_or_else(|| format!("interface {ifindex}"), |link| link.name.clone())
    }

    fn link_info(&self, ifindex: u32) -> Option<&LinkInfo> {
        self.links.get(&ifindex).map(|seen| &seen.value)
    }
}
