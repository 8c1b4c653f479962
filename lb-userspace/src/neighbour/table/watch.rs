//! One watched address: what is known of it, and when something is due.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{GRACE, GRACE_HELD, RETRY};
use crate::{
    model::{Mac, NextHop},
    neighbour::facts::{Neighbour, Path, Route},
};

/// Why there is no MAC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody answers.
    Silent,
    /// The kernel refuses the neighbour entry, in its words.
    Refused(String),
}

/// A watched address.
#[derive(Debug)]
pub(super) struct Watch {
    address: IpAddr,
    /// Why the kernel need not be asked.
    pub(super) refusal: Option<String>,
    /// None until the first lookup is answered.
    pub(super) route: Option<Route>,
    /// The last MAC address, until the neighbour is known to have failed.
    pub(super) mac: Option<Mac>,
    /// Whether the kernel doubts the MAC address and probes it.
    probing: bool,
    /// Why there is no MAC address.
    pub(super) failure: Option<Failure>,
    /// Whether we wait for an answer. Neither this nor a failure nor a MAC address: not begun.
    trying: bool,
    /// Attempts since the failure.
    attempts: u32,
    looked_up: Option<Instant>,
    route_due: Option<Instant>,
    neighbour_due: Option<Instant>,
    /// What was last said.
    said: Option<Result<NextHop, String>>,
}

/// What an expired timer asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fired {
    pub(super) lookup: bool,
    pub(super) keep: bool,
    pub(super) changed: bool,
}

impl Watch {
    pub(super) fn new(address: IpAddr) -> Self {
        Self {
            address,
            refusal: refusal(address),
            route: None,
            mac: None,
            probing: false,
            failure: None,
            trying: false,
            attempts: 0,
            looked_up: None,
            route_due: None,
            neighbour_due: None,
            said: None,
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Where the route leads, if it leads to the host.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.route {
            Some(Route::Unicast(path)) => Some(path),
            _ => None,
        }
    }

    /// The neighbour entry frames are sent by, with its interface: the host's own, or its gateway's.
    pub(super) fn entry(&self) -> Option<(u32, IpAddr)> {
        self.path().map(|path| (path.ifindex, path.gateway.unwrap_or(self.address)))
    }

    pub(super) fn due(&self) -> Option<Instant> {
        [self.route_due, self.neighbour_due].into_iter().flatten().min()
    }

    pub(super) fn set_route_due(&mut self, due: Instant) {
        self.route_due = Some(due);
    }

    pub(super) fn set_neighbour_due(&mut self, due: Instant) {
        self.neighbour_due = Some(due);
    }

    /// Brings the next lookup forward, but keeps the gap to the last one.
    pub(super) fn hasten_route(&mut self, due: Instant, gap: Duration) {
        let Some(last) = self.looked_up else { return }; // never needed, or asked and not yet answered
        let due = due.max(last + gap);
        self.route_due = Some(self.route_due.map_or(due, |already| already.min(due)));
    }

    /// Takes the answer to a lookup; whether it differs from the last one.
    pub(super) fn set_route(&mut self, route: Route, now: Instant) -> bool {
        self.looked_up = Some(now);
        if self.route.as_ref() == Some(&route) {
            return false;
        }
        let before = self.entry();
        self.route = Some(route);
        if before.is_some() && before == self.entry() {
            return true;
        }
        self.mac = None;
        self.failure = None;
        self.trying = false;
        self.attempts = 0;
        self.neighbour_due = None;
        true
    }

    /// Forgets a failure and tries afresh, as after a link came up. A MAC address still held stays.
    pub(super) fn start_over(&mut self, now: Instant) {
        self.failure = None;
        self.attempts = 0;
        self.trying = true;
        self.neighbour_due = Some(now + self.grace());
    }

    fn grace(&self) -> Duration {
        if self.mac.is_some() { GRACE_HELD } else { GRACE }
    }

    /// Takes the state of the neighbour entry.
    pub(super) fn absorb(&mut self, neighbour: Neighbour, now: Instant, refresh: Option<Duration>) {
        match neighbour {
            Neighbour::Resolved { mac, probing, .. } => {
                self.mac = Some(mac);
                self.probing = probing;
                self.trying = false;
                self.failure = None;
                self.attempts = 0;
                self.neighbour_due = refresh.map(|refresh| now + refresh);
            }
            // An entry that is flushed is announced as failed without a probe, then deleted. The neighbour is still there.
            Neighbour::Failed if self.failure.is_none() && (self.probing || self.mac.is_none()) => {
                self.fail(Failure::Silent, now);
            }
            Neighbour::Failed | Neighbour::Pending if self.failure.is_none() && !self.trying => {
                self.trying = true;
                self.neighbour_due = Some(now + self.grace());
            }
            Neighbour::Failed | Neighbour::Pending => {}
        }
    }

    /// The neighbour is not to be had for now; tried again later.
    pub(super) fn fail(&mut self, failure: Failure, now: Instant) {
        let pause = RETRY.0.saturating_mul(1 << self.attempts.min(8)).min(RETRY.1);
        self.mac = None;
        self.trying = false;
        self.failure = Some(failure);
        self.attempts = self.attempts.saturating_add(1);
        self.neighbour_due = Some(now + pause);
    }

    /// Handles what is due at `now`. `usable`: the link is up.
    pub(super) fn expire(&mut self, now: Instant, usable: bool, refresh: Option<Duration>) -> Fired {
        let mut fired = Fired::default();
        if self.route_due.is_some_and(|due| due <= now) {
            self.route_due = None;
            fired.lookup = true;
        }
        if self.neighbour_due.is_some_and(|due| due <= now) {
            self.neighbour_due = None;
            fired.changed = true;
            if !usable {
                // Nothing to ask through a dead link; it starts over when the link comes up.
                self.mac = None;
                self.trying = false;
                self.failure = None;
            } else if let Some(failure) = self.failure.take() {
                fired.keep = true;
                self.fail(failure, now);
            } else if self.trying {
                fired.keep = true;
                self.fail(Failure::Silent, now);
            } else if let Some(refresh) = refresh {
                fired.keep = true;
                self.neighbour_due = Some(now + refresh);
            }
        }
        fired
    }

    /// Whether this is news, and remembers it.
    pub(super) fn say(&mut self, next_hop: &Result<NextHop, String>) -> bool {
        if self.said.as_ref() == Some(next_hop) {
            return false;
        }
        self.said = Some(next_hop.clone());
        true
    }
}

/// Why an address can be no backend, whatever the kernel says.
fn refusal(address: IpAddr) -> Option<String> {
    let what = match address {
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4-mapped address; write it as IPv4",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            "link-local and names no interface; use a global or unique local address"
        }
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    };
    Some(format!("{address} is {what}"))
}
