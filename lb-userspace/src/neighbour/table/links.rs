//! Links: what follows from one that appears, changes or goes.

use std::{net::IpAddr, time::Instant};

use super::{Seen, Table, watch::Watch};
use crate::neighbour::facts::LinkInfo;

impl Table {
    /// A link appeared or changed.
    pub(in crate::neighbour) fn link(&mut self, link: LinkInfo, now: Instant) {
        let ifindex = link.ifindex;
        let up = link.up;
        let old = self.links.insert(ifindex, Seen { value: link, dump: self.dump }).map(|seen| seen.value);
        if old.as_ref() == self.link_info(ifindex) {
            return;
        }
        let came_up = up && !old.as_ref().is_some_and(|old| old.up);
        for address in self.through(ifindex) {
            self.changed.insert(address);
            if came_up && self.is_usable(address) {
                self.schedule(address, |w| w.start_over(now));
                self.keep(address);
            }
        }
        if old.is_none_or(|old| old.up != up) {
            // An interface that goes down takes IPv4 routes along without a word.
            self.routes_changed(now);
        }
    }

    /// A link was deleted.
    pub(in crate::neighbour) fn link_gone(&mut self, ifindex: u32, now: Instant) {
        if self.links.remove(&ifindex).is_some() {
            self.changed.extend(self.through(ifindex));
            self.routes_changed(now);
        }
    }

    pub(super) fn link_info(&self, ifindex: u32) -> Option<&LinkInfo> {
        self.links.get(&ifindex).map(|seen| &seen.value)
    }

    pub(super) fn link_name(&self, ifindex: u32) -> String {
        self.link_info(ifindex).map_or_else(|| format!("interface {ifindex}"), |link| link.name.clone())
    }

    /// Whether the interface an address is reached through can carry a question.
    pub(super) fn is_usable(&self, address: IpAddr) -> bool {
        self.watches
            .get(&address)
            .and_then(Watch::path)
            .and_then(|path| self.link_info(path.ifindex))
            .is_some_and(|link| link.up)
    }

    /// Addresses reached through an interface, or through a VLAN of it.
    fn through(&self, ifindex: u32) -> Vec<IpAddr> {
        let over = |egress: u32| {
            egress == ifindex
                || self
                    .link_info(egress)
                    .and_then(LinkInfo::vlan)
                    .is_some_and(|vlan| vlan.lower == Some(ifindex))
        };
        self.watches
            .iter()
            .filter(|(_, watch)| watch.path().is_some_and(|path| over(path.ifindex)))
            .map(|(address, _)| *address)
            .collect()
    }
}
