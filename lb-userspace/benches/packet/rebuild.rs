//! Time to rebuild and write a pool's slots.

use std::time::Instant;

use anyhow::Result;
use lb_userspace::model::Disposition;

use crate::world::{SMALL, Site};

const TRIES: usize = 5;

/// Best of several, in ms.
pub(crate) struct Rebuild {
    /// Backends of the pool.
    pub(crate) backends: u32,
    /// All slots.
    pub(crate) ms: f64,
    /// The same after one backend went down.
    pub(crate) flap_ms: f64,
}

/// Times it for pools of several sizes.
pub(crate) fn rebuild() -> Result<Vec<Rebuild>> {
    let ms = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
    let mut rows = Vec::new();
    for backends in [20, 100] {
        let (mut whole, mut flap) = (f64::MAX, f64::MAX);
        for _ in 0..TRIES {
            let mut world = Site { backends, ..SMALL }.empty(|_| Disposition::Serving)?;
            let began = Instant::now();
            world.apply()?;
            whole = whole.min(ms(began));
            if let Some(b) =
                world.desired.pools.values_mut().next().and_then(|p| p.backends.values_mut().next())
            {
                b.disposition = Disposition::Down;
            }
            world.desired.revision += 1;
            let began = Instant::now();
            world.apply()?;
            flap = flap.min(ms(began));
        }
        rows.push(Rebuild { backends, ms: whole, flap_ms: flap });
    }
    Ok(rows)
}
