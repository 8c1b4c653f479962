//! Time to rebuild and write pools' slots, and the services on them.

use std::time::Instant;

use anyhow::Result;
use lb_userspace::model::Disposition;

use crate::world::{SMALL, Site};

const TRIES: usize = 5;

/// Pools, services, backends and slots of each pool.
const SIZES: [[u32; 4]; 4] =
    [[1, 1, 20, 65_537], [1, 1, 100, 65_537], [100, 1000, 20, 16_381], [1000, 1000, 20, 2039]];

/// Best of several, in ms.
pub(crate) struct Rebuild {
    /// Pools, all of which change at once.
    pub(crate) pools: u32,
    /// Services on them.
    pub(crate) services: u32,
    /// Backends of each pool.
    pub(crate) backends: u32,
    /// Slots of each pool.
    pub(crate) slots: u32,
    /// All slots.
    pub(crate) ms: f64,
    /// The same after one backend of each went down.
    pub(crate) flap_ms: f64,
}

/// Times it for pools of several sizes.
pub(crate) fn rebuild() -> Result<Vec<Rebuild>> {
    let ms = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
    let mut rows = Vec::new();
    for [pools, services, backends, slots] in SIZES {
        let (mut whole, mut flap) = (f64::MAX, f64::MAX);
        for _ in 0..TRIES {
            let mut world =
                Site { services, pools, backends, slots, ..SMALL }.empty(|_| Disposition::Serving)?;
            let began = Instant::now();
            world.apply()?;
            whole = whole.min(ms(began));
            for pool in world.desired.pools.values_mut() {
                if let Some(backend) = pool.backends.values_mut().next() {
                    backend.disposition = Disposition::Down;
                }
            }
            world.desired.revision += 1;
            let began = Instant::now();
            world.apply()?;
            flap = flap.min(ms(began));
        }
        rows.push(Rebuild { pools, services, backends, slots, ms: whole, flap_ms: flap });
    }
    Ok(rows)
}
