//! What a change of a pool would do to its table, before it is done. Pure.

use super::{
    digest,
    maglev::{self, Share},
};
use crate::model::{Pool, Pooled};

/// The part of a pool's slots, 0.0 to 1.0, whose owner differs between two configurations of it with every backend up: new
/// connections of these slots go elsewhere, established ones stay.
pub fn moved(secret: &[u8; 32], old: &Pool, new: &Pool) -> f64 {
    let seed = digest::seed(secret);
    let (before, after) = (owners(seed, old), owners(seed, new));
    if after.is_empty() {
        return 1.0;
    }
    // Tables of different sizes divide the same hash space: each new slot is compared with the old one that had its middle.
    let differs = after.iter().enumerate().filter(|(i, id)| {
        let middle = (2 * i + 1) * before.len() / (2 * after.len());
        before.get(middle) != Some(id)
    });
    let share = |n: usize| u32::try_from(n).map_or(f64::MAX, f64::from);
    share(differs.count()) / share(after.len())
}

/// The owner's id of each slot, 0 for nobody.
fn owners(seed: u64, pool: &Pool) -> Vec<u64> {
    let shares: Vec<Share> = pool
        .backends
        .values()
        .filter(|b| b.pooled != Pooled::Inactive)
        .map(|b| Share {
            id: digest::backend_id(&pool.name, &b.name, b.address),
            weight: b.weight.get(),
            takes_new: b.pooled == Pooled::Yes,
        })
        .collect();
    maglev::build(seed, &shares, pool.slots)
        .into_iter()
        .map(|owner| shares.get(usize::from(owner)).map_or(0, |s| s.id))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::model::{Backend, Combine, Outliers, Threshold};

    fn pool(weights: &[u32]) -> Pool {
        let backends: BTreeMap<_, _> = weights
            .iter()
            .enumerate()
            .map(|(i, weight)| {
                let name: crate::model::BackendName = format!("b{i}").parse().unwrap();
                let address = [10, 0, 0, i as u8].into();
                let backend =
                    Backend { weight: (*weight).try_into().unwrap(), ..Backend::new(name.clone(), address) };
                (name, Arc::new(backend))
            })
            .collect();
        Pool {
            name: "p".parse().unwrap(),
            backends,
            checks: Vec::new(),
            combine: Combine::All,
            threshold: Threshold::default(),
            outliers: Outliers::default(),
            optimistic: false,
            allow_empty: false,
            slots: 1021,
        }
    }

    #[test]
    fn nothing_changed_moves_nothing_and_a_third_host_takes_about_a_third() {
        let two = pool(&[10, 10]);
        assert!(moved(&[1; 32], &two, &two).abs() < f64::EPSILON);
        let share = moved(&[1; 32], &two, &pool(&[10, 10, 10]));
        assert!((0.30..0.45).contains(&share), "{share}");
    }

    #[test]
    fn a_larger_table_of_the_same_hosts_is_still_a_change() {
        let small = pool(&[10, 10]);
        let large = Pool { slots: 4093, ..small.clone() };
        assert!(moved(&[1; 32], &small, &large) > 0.0);
    }
}
