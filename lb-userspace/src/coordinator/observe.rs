//! The data plane's counters → who stands out from his pool, and what is done about it.

use std::collections::BTreeSet;

use tracing::Level;

use super::{
    event::Now,
    state::{State, Turn},
};
use crate::{
    datapath::{self, BackendStatus, Status},
    model::{HashFields, PoolName, Service},
    outliers::Seen,
};

impl State {
    /// Looks at a reading of the counters, once.
    pub(super) fn observe(&mut self, status: &Status, now: Now, turn: &mut Turn) {
        if status.sample == self.sample {
            return;
        }
        self.sample = status.sample;
        let dealt = self.dealt_by_client();
        for (name, pool) in &mut self.pools {
            let Some(table) = status.pools.get(name) else { continue };
            let wanted = self.desired.pools.get(name);
            let seen = table.backends.iter().map(|(backend, there)| {
                let wanted = wanted.and_then(|pool| pool.backends.get(backend));
                let weight = wanted.filter(|b| b.disposition.takes_new()).map_or(0, |b| b.weight.get());
                (backend.clone(), seen(there, weight))
            });
            let by_client = dealt.contains(name);
            let Some(changes) = pool.watch.observe(now.instant, by_client, seen) else { continue };
            for change in changes {
                let (who, measure) = (&change.backend, change.measure.as_str());
                turn.log(match change.finding {
                    Some(finding) => {
                        pool.line(Level::WARN, who, format!("{who} stands out from its pool: {finding}"))
                    }
                    None => pool.line(Level::INFO, who, format!("{who} no longer stands out by {measure}")),
                });
            }
            let report = pool.watch.report();
            let lines = pool.weigh(&report, by_client, now);
            if !lines.is_empty() {
                turn.reweighed(lines);
                self.views.remove(name);
            }
        }
    }

    /// Pools in which one client's connections go to one backend.
    fn dealt_by_client(&self) -> BTreeSet<PoolName> {
        let by_client = |s: &Service| s.rules.persistence.is_some() || s.rules.hash != HashFields::FiveTuple;
        let users = self.users();
        let dealt = users.iter().filter(|(_, services)| services.iter().any(|s| by_client(s)));
        dealt.map(|(pool, _)| (*pool).clone()).collect()
    }
}

fn seen(there: &BackendStatus, weight: u32) -> Seen {
    let BackendStatus { count, connections, .. } = there;
    Seen {
        packets: count.packets,
        syns: count.syns,
        fins: count.closes.saturating_sub(count.resets),
        resets: count.resets,
        retransmits: count.retransmits,
        scale: if connections.exact { 1 } else { datapath::SAMPLE },
        active: connections.active,
        weight,
    }
}
