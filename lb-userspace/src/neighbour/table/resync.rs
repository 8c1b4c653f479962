//! Starting over from what the kernel lists, after a start or after notifications were lost.

use std::{net::IpAddr, time::Instant};

use super::{Request, Table};

impl Table {
    /// A dump of all links and neighbours begins; whatever it does not confirm is gone.
    pub(in crate::neighbour) fn begin_dump(&mut self) {
        self.dump += 1;
    }

    /// The dump is complete. Routes are looked up again and entries asked for again, as their answers may have been lost too.
    pub(in crate::neighbour) fn end_dump(&mut self, now: Instant) {
        let dump = self.dump;
        self.synced = true;
        let links: Vec<u32> =
            self.links.iter().filter(|(_, seen)| seen.dump != dump).map(|(ifindex, _)| *ifindex).collect();
        for ifindex in links {
            self.link_gone(ifindex, now);
        }
        let neighbours: Vec<(u32, IpAddr)> =
            self.neighbours.iter().filter(|(_, seen)| seen.dump != dump).map(|(key, _)| *key).collect();
        for (ifindex, address) in neighbours {
            self.neighbour_gone(ifindex, address, now);
        }
        let addresses: Vec<IpAddr> = self
            .watches
            .iter()
            .filter(|(_, watch)| !watch.is_refused())
            .map(|(address, _)| *address)
            .collect();
        for address in addresses {
            self.requests.insert(Request::Lookup { address });
            self.keep(address);
            self.changed.insert(address);
        }
    }
}
