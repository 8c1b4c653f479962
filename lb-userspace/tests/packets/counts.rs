//! All counters, and what a frame must add to them.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use lb_common::{counter::PinEvent, names, reason::Reason};
use lb_userspace::datapath::{counters, object::Object};

use crate::model::{Judged, Outcome};

/// Packets, bytes, SYNs, FINs, RSTs, SYNs sent again.
pub(crate) type Sums = [u64; 6];

/// All counters, summed over CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// By number.
    pub(crate) reasons: Vec<u64>,
    /// By number.
    pub(crate) pins: Vec<u64>,
    /// By index; those that are all zero left out.
    pub(crate) services: BTreeMap<u16, Sums>,
    /// By index; those that are all zero left out.
    pub(crate) backends: BTreeMap<u16, Sums>,
}

impl Counts {
    /// What must have been counted for a frame of so many bytes.
    pub(crate) fn add(&mut self, len: usize, judged: &Judged) {
        let effects = &judged.effects;
        if let Outcome::Stopped(why) | Outcome::Answered { why, .. } = &judged.outcome {
            self.reasons[*why as usize] += 1;
        }
        if let Some((service, backend, flags)) = effects.forwarded {
            let [fin, syn, rst, ack] = [0x01, 0x02, 0x04, 0x10].map(|bit| flags & bit != 0);
            let one = [1, len as u64, u64::from(syn && !ack), u64::from(fin && !rst), u64::from(rst), 0];
            let sum = |map: &mut BTreeMap<u16, Sums>, index: u16| {
                let sum = map.entry(index).or_default();
                *sum = std::array::from_fn(|i| sum[i] + one[i]);
            };
            sum(&mut self.backends, backend);
            if let Some(service) = service {
                sum(&mut self.services, service);
            }
        }
        if let Some(backend) = effects.retransmit {
            self.backends.entry(backend).or_default()[5] += 1;
        }
        for event in &effects.events {
            self.pins[*event as usize] += 1;
        }
    }

    pub(crate) fn pin(&self, event: PinEvent) -> u64 {
        self.pins[event as usize]
    }

    pub(crate) fn reason(&self, why: Reason) -> u64 {
        self.reasons[why as usize]
    }
}

/// The counters of a loaded object.
pub(crate) struct Counters {
    /// Of services and of backends.
    packets: [Table; 2],
    events: [Table; 2],
    /// Of reasons and of pins.
    words: [(Table, u32); 2],
}

/// A map by its name.
type Table = (&'static str, OwnedFd);

impl Counters {
    pub(crate) fn of(object: &Object) -> Self {
        let table = |name| (name, object.map_fd(name).unwrap().try_clone_to_owned().unwrap());
        Self {
            packets: [names::SERVICE_COUNTERS, names::BACKEND_COUNTERS].map(table),
            events: [names::SERVICE_EVENTS, names::BACKEND_EVENTS].map(table),
            words: [
                (table(names::REASON_COUNTERS), Reason::ALL.len() as u32),
                (table(names::PIN_COUNTERS), PinEvent::ALL.len() as u32),
            ],
        }
    }

    /// All of them now, of indices below `used` (services, backends).
    pub(crate) fn read(&self, used: [u16; 2]) -> Counts {
        let all = |of: usize| -> BTreeMap<u16, Sums> {
            let packets = sums::<2>(&self.packets[of], used[of].into());
            let events = sums::<4>(&self.events[of], used[of].into());
            let all = (0..).zip(packets.into_iter().zip(events));
            all.map(|(index, ([n, bytes], [syn, fin, rst, again]))| (index, [n, bytes, syn, fin, rst, again]))
                .filter(|(_, sum)| *sum != Sums::default())
                .collect()
        };
        let one = |(table, number): &(Table, u32)| -> Vec<u64> {
            sums::<1>(table, *number).into_iter().map(|[word]| word).collect()
        };
        let [reasons, pins] = &self.words;
        Counts { reasons: one(reasons), pins: one(pins), services: all(0), backends: all(1) }
    }
}

/// The first elements of a table, each summed over CPUs.
fn sums<const WORDS: usize>((name, fd): &Table, number: u32) -> Vec<[u64; WORDS]> {
    let add = |sum: &mut [u64; WORDS], of: &[u64; WORDS]| sum.iter_mut().zip(of).for_each(|(s, n)| *s += n);
    let found = counters::read(name, fd, number, add).unwrap();
    assert_eq!(found.len(), number as usize, "{name} is shorter");
    found
}
