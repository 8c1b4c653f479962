//! All counters, and what a frame must add to them.

use std::collections::BTreeMap;

use aya::maps::{Map, MapData, PerCpuArray};
use lb_common::{counter::PinEvent, names, reason::Reason};
use lb_userspace::datapath::object::Object;

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
    packets: [PerCpuArray<MapData, [u64; 2]>; 2],
    events: [PerCpuArray<MapData, [u64; 4]>; 2],
    words: [PerCpuArray<MapData, u64>; 2],
}

impl Counters {
    pub(crate) fn of(object: &Object) -> Self {
        let data = |name| {
            let fd = object.map_fd(name).unwrap().try_clone_to_owned().unwrap();
            Map::from_map_data(MapData::from_fd(fd).unwrap()).unwrap()
        };
        Self {
            packets: [names::SERVICE_COUNTERS, names::BACKEND_COUNTERS].map(|n| data(n).try_into().unwrap()),
            events: [names::SERVICE_EVENTS, names::BACKEND_EVENTS].map(|n| data(n).try_into().unwrap()),
            words: [names::REASON_COUNTERS, names::PIN_COUNTERS].map(|n| data(n).try_into().unwrap()),
        }
    }

    /// All of them now, of indices below `used` (services, backends).
    pub(crate) fn read(&self, used: [u16; 2]) -> Counts {
        let all = |of: usize| -> BTreeMap<u16, Sums> {
            (0..used[of])
                .map(|index| {
                    let mut sum = Sums::default();
                    for cpu in self.packets[of].get(&u32::from(index), 0).unwrap().iter() {
                        (sum[0], sum[1]) = (sum[0] + cpu[0], sum[1] + cpu[1]);
                    }
                    for cpu in self.events[of].get(&u32::from(index), 0).unwrap().iter() {
                        (0..4).for_each(|i| sum[2 + i] += cpu[i]);
                    }
                    (index, sum)
                })
                .filter(|(_, sum)| *sum != Sums::default())
                .collect()
        };
        let one = |map: &PerCpuArray<MapData, u64>| {
            map.iter().map(|cpus| cpus.unwrap().iter().sum()).collect::<Vec<u64>>()
        };
        let [reasons, pins] = &self.words;
        Counts { reasons: one(reasons), pins: one(pins), services: all(0), backends: all(1) }
    }
}
