//! Neighbour entries: who is reached by which, what the kernel says of them, and which it should keep.

use std::{net::IpAddr, time::Instant};

use super::{
    REFRESH, Request, Seen, Table,
    watch::{Failure, Watch},
};
use crate::neighbour::facts::Neighbour;

impl Table {
    /// A neighbour entry appeared or changed.
    pub(in crate::neighbour) fn neighbour(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        neighbour: Neighbour,
        now: Instant,
    ) {
        self.neighbours.insert((ifindex, address), Seen { value: neighbour, dump: self.dump });
        for user in self.users((ifindex, address)) {
            self.absorb(user, neighbour, now);
        }
    }

    /// A neighbour entry was deleted, as happens to all of an interface that goes down.
    pub(in crate::neighbour) fn neighbour_gone(&mut self, ifindex: u32, address: IpAddr, now: Instant) {
        self.neighbours.remove(&(ifindex, address));
        for user in self.users((ifindex, address)) {
            self.absorb(user, Neighbour::Pending, now);
            self.keep(user);
        }
    }

    /// The kernel refused [`Request::Keep`].
    pub(in crate::neighbour) fn keep_refused(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        why: &str,
        now: Instant,
    ) {
        for user in self.users((ifindex, address)) {
            self.changed.insert(user);
            self.schedule(user, |w| w.fail(Failure::Refused(why.to_owned()), now));
        }
    }

    /// From now on an address is reached by this entry.
    pub(super) fn join(&mut self, entry: (u32, IpAddr), address: IpAddr, now: Instant) {
        self.entries.entry(entry).or_default().insert(address);
        // An old failure is not an answer: nobody tried for us yet.
        let known = match self.neighbours.get(&entry).map(|seen| seen.value) {
            Some(resolved @ Neighbour::Resolved { .. }) => resolved,
            Some(Neighbour::Failed | Neighbour::Pending) | None => Neighbour::Pending,
        };
        self.absorb(address, known, now);
        self.keep(address);
    }

    /// From now on an address is not reached by this entry. The last one to leave lets go of it.
    pub(super) fn leave(&mut self, entry: (u32, IpAddr), address: IpAddr) {
        let Some(users) = self.entries.get_mut(&entry) else {
            return;
        };
        users.remove(&address);
        if !users.is_empty() {
            return;
        }
        self.entries.remove(&entry);
        let (ifindex, address) = entry;
        self.requests.remove(&Request::Keep { ifindex, address });
        if !self.is_permanent(entry) {
            self.requests.insert(Request::Release { ifindex, address });
        }
    }

    /// Asks the kernel to keep the entry of a watched address, unless it is the administrator's own or the link is down.
    pub(super) fn keep(&mut self, address: IpAddr) {
        let Some(entry) = self.watches.get(&address).and_then(Watch::entry) else {
            return;
        };
        if !self.is_permanent(entry) && self.is_usable(address) {
            let (ifindex, address) = entry;
            self.requests.insert(Request::Keep { ifindex, address });
        }
    }

    fn users(&self, entry: (u32, IpAddr)) -> Vec<IpAddr> {
        self.entries.get(&entry).into_iter().flatten().copied().collect()
    }

    fn absorb(&mut self, address: IpAddr, neighbour: Neighbour, now: Instant) {
        let refresh = (!self.managed).then_some(REFRESH);
        self.changed.insert(address);
        self.schedule(address, |w| w.absorb(neighbour, now, refresh));
    }

    fn is_permanent(&self, entry: (u32, IpAddr)) -> bool {
        matches!(
            self.neighbours.get(&entry),
            Some(Seen { value: Neighbour::Resolved { permanent: true, .. }, .. })
        )
    }
}
