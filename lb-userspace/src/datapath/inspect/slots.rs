//! A pool's slots as they are in the kernel, beside those that should be there. Pure.

use std::collections::BTreeMap;

use lb_common::slot::Slot;
use serde::{Deserialize, Serialize};

use crate::{
    datapath::{
        DesiredPool,
        digest::{self, Digest},
        maglev::{self, Share},
    },
    model::PoolName,
};

/// A slot that nobody owns, in [`Owners`].
pub const NOBODY: i32 = -1;

/// A pool's table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableReport {
    /// Pool.
    pub pool: String,
    /// Digest of the slots' owners, read from the kernel: equal on balancers that agree.
    pub digest: String,
    /// Digest of the owners that the wanted state gives; another one while a change is being written, or if somebody else wrote.
    pub wanted_digest: String,
    /// Slots.
    pub slots: u32,
    /// Slots in transition.
    pub in_transition: u32,
    /// Backends, wanted ones first, then those that only old flows are left of.
    pub backends: Vec<TableShare>,
    /// Slots whose owner differs from the wanted one, by both owners.
    pub differences: Vec<Difference>,
    /// Entries of all tables that somebody else had changed and that were repaired since lbd started.
    pub drift_repaired: u64,
    /// Slot by slot, if asked for.
    pub owners: Option<Owners>,
}

/// A backend's part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableShare {
    /// Name.
    pub name: String,
    /// Identity, the same on every balancer: 16 hexadecimal digits.
    pub id: String,
    /// Weight in force.
    pub weight: u32,
    /// New connections may go there.
    pub takes_new: bool,
    /// Slots it owns in the kernel.
    pub slots: u32,
    /// Slots it should own.
    pub wanted_slots: u32,
    /// Slots in transition whose old connections it keeps.
    pub draining_slots: u32,
    /// Its share of the weight of those that take new connections, 0.0 to 1.0.
    pub expected: f64,
}

/// Slots that one has in the kernel and another should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Owner in the kernel; `null` for nobody.
    pub has: Option<String>,
    /// Wanted owner.
    pub wanted: Option<String>,
    /// How many.
    pub slots: u32,
}

/// Who owns what: positions in [`TableReport::backends`], [`NOBODY`] for nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owners {
    /// Who gets each slot's new connections.
    pub cur: Vec<i32>,
    /// Slots in transition with the position of their old owner.
    pub base: Vec<(u32, i32)>,
}

/// What was read from the kernel.
#[derive(Clone, Debug, Default)]
pub(in crate::datapath) struct Found {
    /// The slots.
    pub(in crate::datapath) slots: Vec<Slot>,
    /// Bases of slots in transition.
    pub(in crate::datapath) bases: Vec<(u32, u16)>,
    /// Identities of the backends that are in there, by index.
    pub(in crate::datapath) ids: BTreeMap<u16, u64>,
    /// Names of backends that the wanted state does not have, by index.
    pub(in crate::datapath) others: BTreeMap<u16, String>,
}

/// Compares what was found with what is wanted.
pub(in crate::datapath) fn report(
    pool: &PoolName,
    found: &Found,
    wanted: &DesiredPool,
    seed: u64,
    owners: bool,
) -> TableReport {
    let mut backends: Vec<TableShare> = Vec::new();
    let mut positions: BTreeMap<u64, usize> = BTreeMap::new();
    let mut shares = Vec::new();
    for (name, backend) in &wanted.backends {
        let id = digest::backend_id(pool, name, backend.address);
        let (weight, takes_new) = (backend.weight.get(), backend.disposition.takes_new());
        shares.push(Share { id, weight, takes_new });
        positions.insert(id, backends.len());
        backends.push(TableShare {
            name: name.to_string(),
            id: Digest(id).to_string(),
            weight,
            takes_new,
            ..TableShare::default()
        });
    }
    let whole: f64 = backends.iter().filter(|b| b.takes_new).map(|b| f64::from(b.weight)).sum();
    for backend in backends.iter_mut().filter(|b| b.takes_new && whole > 0.0) {
        backend.expected = f64::from(backend.weight) / whole;
    }
    let mut position = |index: u16, backends: &mut Vec<TableShare>| -> Option<usize> {
        if index == 0 {
            return None;
        }
        // One whose record is gone already is told apart by its index.
        let id = found.ids.get(&index).copied().filter(|id| *id != 0).unwrap_or(u64::from(index));
        Some(*positions.entry(id).or_insert_with(|| {
            let name = found.others.get(&index).cloned().unwrap_or_else(|| format!("#{index}"));
            backends.push(TableShare { name, id: Digest(id).to_string(), ..TableShare::default() });
            backends.len() - 1
        }))
    };
    let target = resized(maglev::build(seed, &shares, wanted.slots), found.slots.len());
    let mut moved: BTreeMap<(Option<usize>, Option<usize>), u32> = BTreeMap::new();
    let mut cur = Vec::with_capacity(found.slots.len());
    for (slot, target) in found.slots.iter().zip(&target) {
        let has = position(slot.cur(), &mut backends);
        let wants = (usize::from(*target) < shares.len()).then_some(usize::from(*target));
        if let Some(has) = has {
            backends[has].slots += 1;
        }
        if let Some(wants) = wants {
            backends[wants].wanted_slots += 1;
        }
        if has != wants {
            *moved.entry((has, wants)).or_default() += 1;
        }
        cur.push(number(has));
    }
    let mut base = Vec::with_capacity(found.bases.len());
    for (slot, index) in &found.bases {
        let keeps = position(*index, &mut backends);
        if let Some(keeps) = keeps {
            backends[keeps].draining_slots += 1;
        }
        base.push((*slot, number(keeps)));
    }
    let id = |owner: &i32| {
        usize::try_from(*owner)
            .ok()
            .and_then(|i| u64::from_str_radix(&backends.get(i)?.id, 16).ok())
            .unwrap_or(0)
    };
    let name = |position: Option<usize>| position.map(|i| backends[i].name.clone());
    TableReport {
        pool: pool.to_string(),
        digest: Digest::of(cur.iter().map(id)).to_string(),
        wanted_digest: Digest::of(target.iter().map(|t| shares.get(usize::from(*t)).map_or(0, |s| s.id)))
            .to_string(),
        slots: cur.len() as u32,
        in_transition: base.len() as u32,
        differences: moved
            .into_iter()
            .map(|((has, wanted), slots)| Difference { has: name(has), wanted: name(wanted), slots })
            .collect(),
        drift_repaired: 0,
        owners: owners.then_some(Owners { cur, base }),
        backends,
    }
}

/// A table whose size could not be changed is dealt as large as it is.
fn resized(table: Vec<u16>, have: usize) -> Vec<u16> {
    let want = table.len();
    if have == want { table } else { (0..have).map(|i| table[i * want / have]).collect() }
}

fn number(position: Option<usize>) -> i32 {
    position.and_then(|i| i32::try_from(i).ok()).unwrap_or(NOBODY)
}

#[cfg(test)]
mod tests;
