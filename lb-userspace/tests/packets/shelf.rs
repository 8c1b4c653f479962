//! Loaded objects for one test after the other: verifying the programs takes a second here and half a minute in an emulated machine.
//! Whoever takes one gets tables as empty as those of a new one.

use std::{
    borrow::Cow,
    ops::Deref,
    sync::{Mutex, PoisonError, atomic::Ordering},
};

use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use lb_common::{hash::HashKey, names};
use lb_userspace::{
    datapath::{
        mapped::Mapped,
        object::{OBJECT, Object},
        tables::{Memory as _, Trie},
    },
    model::Limits,
};

use crate::clock;

/// Loaded, and of no use to anybody at the moment.
static SHELF: Mutex<Vec<(Limits, [u8; 32], Ticking, Object)>> = Mutex::new(Vec::new());

/// Objects of one size and secret to keep: as many as tests run at once.
const KEPT: usize = 2;

/// The object under test: the one that is built in, or `LB_TEST_OBJECT`, for trying whether a test sees a defect.
fn object() -> Cow<'static, [u8]> {
    std::env::var_os("LB_TEST_OBJECT")
        .map_or(Cow::Borrowed(OBJECT), |file| std::fs::read(file).unwrap().into())
}

/// By which clock a program dates what it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticking {
    /// The kernel's.
    Kernel,
    /// One that stands still (see [`crate::clock`]).
    Still,
}

/// An object for a test's time.
pub(crate) struct Lent {
    limits: Limits,
    secret: [u8; 32],
    ticking: Ticking,
    object: Option<Object>,
}

impl Lent {
    /// An object of this size, under this secret, with empty tables.
    pub(crate) fn new(limits: &Limits, secret: &[u8; 32], ticking: Ticking) -> Self {
        let found = {
            let mut shelf = SHELF.lock().unwrap_or_else(PoisonError::into_inner);
            let place = shelf.iter().position(|(l, s, t, _)| (l, s, t) == (limits, secret, &ticking));
            place.map(|place| shelf.swap_remove(place).3)
        };
        let object = found.map_or_else(
            || {
                let key = HashKey::from_secret(secret);
                let object = object();
                let object = match ticking {
                    Ticking::Kernel => object,
                    Ticking::Still => clock::stopped(&object).into(),
                };
                Object::load_bytes(&object, limits, key, None).unwrap()
            },
            |object| {
                wipe(&object);
                object
            },
        );
        Self { limits: *limits, secret: *secret, ticking, object: Some(object) }
    }
}

impl Deref for Lent {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.object.as_ref().expect("until it is given back")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut shelf = SHELF.lock().unwrap_or_else(PoisonError::into_inner);
        let same = shelf
            .iter()
            .filter(|(l, s, t, _)| (l, s, t) == (&self.limits, &self.secret, &self.ticking))
            .count();
        if let Some(object) = self.object.take().filter(|_| same < KEPT) {
            shelf.push((self.limits, self.secret, self.ticking, object));
        }
    }
}

/// Sets everything to zero but the mark under which key the tables are filled, and what is a program's own.
fn wipe(object: &Object) {
    let own = [names::EXPLAIN, names::PROBES, names::PROBE_FLOWS, names::PROBE_COUNTERS];
    for name in names::PINNED_MAPS.iter().chain(&own).copied().filter(|name| *name != names::IDENTITY) {
        match name {
            names::SERVICE_COUNTERS | names::BACKEND_COUNTERS => zero::<2>(object, name),
            names::SERVICE_EVENTS | names::BACKEND_EVENTS => zero::<4>(object, name),
            names::REASON_COUNTERS | names::PIN_COUNTERS | names::PROBE_COUNTERS => zero::<1>(object, name),
            names::ACCESS4 | names::ACCESS6 | names::PREFIXES4 | names::PREFIXES6 | names::SERVER_IDS => {}
            _ => {
                let region = object.region(name).unwrap();
                (0..region.words()).for_each(|i| region.word(i).store(0, Ordering::SeqCst));
            }
        }
    }
    let memory = Mapped::new(object).unwrap();
    for trie in Trie::ALL {
        for key in memory.entries(trie).unwrap().keys() {
            memory.remove(trie, key).unwrap();
        }
    }
}

fn zero<const WORDS: usize>(object: &Object, name: &str) {
    let fd = object.map_fd(name).unwrap().try_clone_to_owned().unwrap();
    let map = Map::from_map_data(MapData::from_fd(fd).unwrap()).unwrap();
    let mut map: PerCpuArray<MapData, [u64; WORDS]> = map.try_into().unwrap();
    let cpus = aya::util::nr_cpus().unwrap();
    for index in 0..map.len() {
        map.set(index, PerCpuValues::try_from(vec![[0; WORDS]; cpus]).unwrap(), 0).unwrap();
    }
}
