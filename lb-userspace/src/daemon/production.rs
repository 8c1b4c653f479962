//! Joins the checks to the data plane's way: neither knows the other.

use std::sync::Arc;

use crate::{
    datapath::probe::{self, CheckPath, DesiredProbe},
    health::{Fate, ProductionPath, Ready, Way},
    model::CheckTarget,
};

/// The data plane's way, as checks want to see it.
#[derive(Debug)]
pub(super) struct Production(pub(super) Arc<CheckPath>);

impl ProductionPath for Production {
    fn way(&self, target: &CheckTarget) -> Way {
        key(target).map_or(Way::Never, |key| told(&self.0.marks().borrow().way(&key)))
    }

    fn ready<'a>(&'a self, target: &'a CheckTarget) -> Ready<'a> {
        Box::pin(async move {
            let Some(key) = key(target) else { return Way::Never };
            let mut marks = self.0.marks();
            let settled = |way: &probe::Way| matches!(way, probe::Way::Marked(_) | probe::Way::Never(_));
            // The sender lives as long as `self`.
            match marks.wait_for(|marks| settled(&marks.way(&key))).await {
                Ok(marks) => told(&marks.way(&key)),
                Err(_) => Way::Unknown,
            }
        })
    }

    fn begin(&self, port: u16) {
        self.0.begin(port);
    }

    fn fate(&self, port: u16) -> Fate {
        match self.0.fate(port) {
            probe::Fate::Unseen => Fate::Unseen,
            probe::Fate::Sent(mark) => Fate::Sent(mark),
            probe::Fate::Dropped(why) => Fate::Dropped(why),
        }
    }
}

fn key(target: &CheckTarget) -> Option<DesiredProbe> {
    Some(DesiredProbe { address: target.address, production: target.production? })
}

fn told(way: &probe::Way) -> Way {
    match way {
        probe::Way::Marked(mark) => Way::Marked(*mark),
        probe::Way::Unresolved(mark) => Way::Unresolved(*mark),
        probe::Way::Unknown => Way::Unknown,
        probe::Way::Never(_) => Way::Never,
    }
}
