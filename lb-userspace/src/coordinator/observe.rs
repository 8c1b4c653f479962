//! The data plane's counters → who stands out from his pool, and what is done about it.

use std::collections::BTreeMap;

use tracing::Level;

use super::{
    event::Now,
    state::{State, Turn},
};
use crate::{
    datapath::{self, BackendStatus, Status},
    model::{HashFields, PoolName, Rules, Scheduler, Service},
    outliers::{Dealt, Seen},
};

impl State {
    /// Looks at a reading of the counters, once.
    pub(super) fn observe(&mut self, status: &Status, now: Now, turn: &mut Turn) {
        if status.sample == self.sample {
            return;
        }
        self.sample = status.sample;
        let dealt = self.dealt();
        for (name, pool) in &mut self.pools {
            let Some(table) = status.pools.get(name) else { continue };
            let wanted = self.desired.pools.get(name);
            let seen = table.backends.iter().map(|(backend, there)| {
                let wanted = wanted.and_then(|pool| pool.backends.get(backend));
                let weight = wanted.filter(|b| b.disposition.takes_new()).map_or(0, |b| b.weight.get());
                (backend.clone(), seen(there, weight))
            });
            let dealt = dealt.get(name).copied().unwrap_or_default();
            let Some(changes) = pool.watch.observe(now.instant, dealt, seen) else { continue };
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
            let lines = pool.weigh(&report, dealt, now);
            if !lines.is_empty() {
                turn.reweighed(lines);
                self.views.remove(name);
            }
        }
    }

    /// How each pool's new connections find their backend.
    fn dealt(&self) -> BTreeMap<PoolName, Dealt> {
        let of = |services: &Vec<&Service>| {
            let mut ways = services.iter().map(|s| dealt(&s.rules));
            let first = ways.next().unwrap_or_default();
            if ways.all(|way| way == first) { first } else { Dealt::ByClient }
        };
        self.users().iter().map(|(pool, services)| ((*pool).clone(), of(services))).collect()
    }
}

fn dealt(rules: &Rules) -> Dealt {
    if rules.persistence.is_some() || rules.hash != HashFields::FiveTuple {
        return Dealt::ByClient;
    }
    match rules.scheduler {
        Scheduler::Rr | Scheduler::Lc => Dealt::Alike,
        Scheduler::Maglev | Scheduler::Wrr | Scheduler::Wlc | Scheduler::Sed => Dealt::ByWeight,
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
