//! What a check asks: its mark, and what became of its packets. For any thread, without waiting.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use lb_common::probe::{ProbeEvent, ProbeFlow, flow};
use tokio::sync::watch;

use super::DesiredProbe;
use crate::datapath::region::Region;

/// Words of a [`ProbeFlow`], and the one with everything but our own address.
const WORDS: usize = size_of::<ProbeFlow>() / 8;
const WORD_LAST: usize = 2;

/// How a check's packets get on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// By this mark.
    Marked(u32),
    /// The kernel's table does not have it yet.
    Unknown,
    /// The same, but the backend's next hop is not known: packets are dropped.
    Unresolved(u32),
    /// Not at all; why.
    Never(Arc<str>),
}

/// What became of the last packet from a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The program has not seen any.
    Unseen,
    /// It went to the VIP, by the way of this mark.
    Sent(u32),
    /// It was dropped; why.
    Dropped(&'static str),
}

/// All ways of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub(super) problem: Option<Arc<str>>,
    pub(super) ways: BTreeMap<DesiredProbe, Way>,
}

impl Marks {
    /// One of them.
    pub fn way(&self, probe: &DesiredProbe) -> Way {
        match &self.problem {
            Some(why) => Way::Never(why.clone()),
            None => self.ways.get(probe).cloned().unwrap_or(Way::Unknown),
        }
    }
}

/// The asking side of [`super::Probes`].
#[derive(Debug)]
pub struct CheckPath {
    flows: Region,
    marks: watch::Sender<Arc<Marks>>,
}

impl CheckPath {
    pub(super) fn new(flows: Region) -> Self {
        Self { flows, marks: watch::Sender::default() }
    }

    pub(super) fn publish(&self, marks: Marks) {
        self.marks.send_if_modified(|last| {
            let differs = **last != marks;
            if differs {
                *last = Arc::new(marks);
            }
            differs
        });
    }

    /// Follows the ways.
    pub fn marks(&self) -> watch::Receiver<Arc<Marks>> {
        self.marks.subscribe()
    }

    /// Forgets what became of packets from a TCP port: a check begins there.
    pub fn begin(&self, port: u16) {
        self.last(port).store(0, Ordering::Release);
    }

    /// What became of the last packet from a TCP port.
    pub fn fate(&self, port: u16) -> Fate {
        let [_, _, p0, p1, last, ..] = self.last(port).load(Ordering::Acquire).to_ne_bytes();
        match last.checked_sub(1).and_then(|n| ProbeEvent::ALL.get(usize::from(n))) {
            None => Fate::Unseen,
            Some(ProbeEvent::Sent | ProbeEvent::Answered) => {
                Fate::Sent(lb_common::probe::MARK | u32::from(u16::from_ne_bytes([p0, p1])))
            }
            Some(why) => {
                let why = why.describe().trim().trim_end_matches('.');
                Fate::Dropped(why.strip_prefix("Dropped: ").unwrap_or(why))
            }
        }
    }

    fn last(&self, port: u16) -> &std::sync::atomic::AtomicU64 {
        self.flows.word(flow(port, false) as usize * WORDS + WORD_LAST)
    }
}
