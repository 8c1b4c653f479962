//! From what is known to the answer: the next hop, or the sentence that says why there is none.

use std::net::IpAddr;

use super::{Table, watch::Failure};
use crate::{
    model::{Mac, NextHop},
    neighbour::facts::{Kind, LinkInfo, NoRoute, Path, Route},
};

impl Table {
    /// The way to an address. None: not decided yet, so the last answer stands.
    pub(super) fn way(&self, address: IpAddr) -> Option<Result<NextHop, String>> {
        let watch = self.watches.get(&address)?;
        if let Some(refusal) = &watch.refusal {
            return Some(Err(refusal.clone()));
        }
        let path = match path(address, watch.route.as_ref()?) {
            Ok(path) => path,
            Err(why) => return Some(Err(why)),
        };
        if !self.synced {
            return None;
        }
        let egress = match self.egress(address, path) {
            Ok(egress) => egress,
            Err(why) => return Some(Err(why)),
        };
        match (watch.mac, &watch.failure) {
            (Some(dst_mac), _) => Some(Ok(NextHop { dst_mac, ..egress })),
            (None, Some(failure)) => Some(Err(self.failure_text(address, path, failure))),
            (None, None) => None,
        }
    }

    /// Everything of a next hop but the neighbour's MAC address.
    fn egress(&self, address: IpAddr, path: &Path) -> Result<NextHop, String> {
        let link = self.link_info(path.ifindex).ok_or_else(|| {
            format!("{address} is reached through interface {}, which does not exist", path.ifindex)
        })?;
        let through = |rest: &str| format!("{address} is reached through {}, {rest}", link.name);
        if !link.up {
            return Err(through("which is down"));
        }
        let src_mac = link.mac.ok_or_else(|| through("which is not Ethernet"))?;
        let (port, vlan) = match link.vlan() {
            None => (link, 0),
            Some(vlan) if vlan.service_tag => {
                return Err(through("which tags 802.1ad; lbd writes 802.1Q tags only"));
            }
            Some(vlan) => {
                let lower = vlan
                    .lower
                    .and_then(|lower| self.link_info(lower))
                    .ok_or_else(|| through("whose lower interface is in another network namespace"))?;
                if lower.vlan().is_some() {
                    return Err(through("a VLAN inside a VLAN; lbd writes one tag"));
                }
                if !lower.up {
                    return Err(through(&format!("whose lower interface {} is down", lower.name)));
                }
                (lower, vlan.id)
            }
        };
        if !self.generic
            && let Some(why) = takes_no_frames(port)
        {
            let what = if port.ifindex == link.ifindex {
                "which is ".to_owned()
            } else {
                format!("whose lower interface {} is ", port.name)
            };
            return Err(through(&format!("{what}{why}")));
        }
        Ok(NextHop {
            dst_mac: Mac::default(),
            src_mac,
            ifindex: port.ifindex,
            vlan,
            mtu: path.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
            gateway: path.gateway,
            source: path.source.filter(|source| is_source(*source)),
        })
    }

    /// Why there is no MAC address, in words.
    fn failure_text(&self, address: IpAddr, path: &Path, failure: &Failure) -> String {
        let link = self.link_name(path.ifindex);
        let asked = path.gateway.unwrap_or(address);
        let whose = path.gateway.map_or_else(String::new, |_| format!(", the gateway to {address},"));
        match failure {
            Failure::Silent => {
                let protocol = if asked.is_ipv4() { "ARP" } else { "neighbour discovery" };
                format!("{asked}{whose} does not answer {protocol} on {link}")
            }
            Failure::Refused(why) => {
                format!("the kernel refuses a neighbour entry for {asked}{whose} on {link}: {why}")
            }
        }
    }
}

/// Where a route leads, or why it leads to no next hop.
fn path(address: IpAddr, route: &Route) -> Result<&Path, String> {
    Err(match route {
        Route::Unicast(path) => return Ok(path),
        Route::Encapsulated(how) => {
            format!("the route to {address} wraps packets (`encap {how}`), which lbd's program does not do")
        }
        Route::Local => format!("{address} is an address of this host; a backend is another host"),
        Route::NotUnicast(kind) => format!("{address} is a {kind} address, which no single host answers"),
        Route::None(NoRoute::NoMatch) => format!("no route to {address}"),
        Route::None(NoRoute::Forbidden(kind)) => {
            format!("no route to {address}: a route of type {kind} covers it")
        }
        Route::None(NoRoute::Other(error)) => format!("no route to {address}: the lookup failed: {error}"),
    })
}

/// Why an interface cannot send frames of a program that runs in another one's driver, and what to do.
fn takes_no_frames(port: &LinkInfo) -> Option<String> {
    match &port.kind {
        Kind::Port | Kind::Vlan(_) | Kind::Bond { unable: None } => None,
        Kind::Bond { unable: Some(why) } => Some(format!(
            "a bond with {why}, which takes no frames from an XDP program; the modes balance-rr, active-backup, balance-xor \
             and 802.3ad do, with an xmit_hash_policy other than vlan+srcmac"
        )),
        Kind::Other(kind) => Some(format!(
            "of kind {kind}, which takes no frames from an XDP program in a driver; give the interface below it the address, \
             or write xdp_mode = \"generic\""
        )),
    }
}

/// Whether packets that a router forwards may come from this address.
fn is_source(address: IpAddr) -> bool {
    !address.is_unspecified() && !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
