//! Connections and the tables that remember them → samples. Pure.

use super::{collect::Samples, names};
use crate::{
    api::moment::Moment,
    datapath::{SAMPLE, Status},
    model::{BackendId, PoolName},
};

const fn word(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

/// The connections of a pool's backends, also of those that are gone from the configuration.
pub(super) fn current(moment: &Moment, pool: &PoolName, samples: &mut Samples) {
    let Some(status) = moment.status.pools.get(pool) else { return };
    for (backend, there) in &status.backends {
        let connections = there.connections;
        for (state, count) in [("active", connections.active), ("inactive", connections.inactive)] {
            let labels = [pool.as_str(), backend.as_str(), state, word(!connections.exact)];
            samples.count(&names::BACKEND_CURRENT, &labels, count);
        }
    }
}

/// A backend's repeated connection attempts, multiplied where they were counted in the sample.
pub(super) fn retransmits(moment: &Moment, id: &BackendId, counted: u64, samples: &mut Samples) {
    let there = moment.status.pools.get(&id.pool).and_then(|pool| pool.backends.get(&id.backend));
    let exact = there.is_some_and(|there| there.connections.exact);
    let count = if exact { counted } else { counted.saturating_mul(SAMPLE.into()) };
    let labels = [id.pool.as_str(), id.backend.as_str(), word(!exact)];
    samples.count(&names::BACKEND_RETRANSMITS, &labels, count);
}

/// How full the tables of flows are, and how the program is attached.
pub(super) fn tables(status: &Status, samples: &mut Samples) {
    samples.count(&names::PINNED, &[], status.pins.used);
    samples.count(&names::PINNED_LIMIT, &[], status.pins.limit);
    samples.count(&names::TRACKED, &[], status.flows.used);
    samples.count(&names::TRACKED_LIMIT, &[], status.flows.limit);
    samples.flag(&names::FROZEN, &[], status.frozen);
    for a in &status.attachments {
        let labels = [a.interface.as_str(), a.mode, a.driver.as_str(), word(a.frags)];
        samples.flag(&names::INTERFACE_INFO, &labels, true);
    }
}
