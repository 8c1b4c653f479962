//! Whether a walk has effects: the live program counts and pins, the dry run only reports.

use lb_common::{
    explain::{self, Explain},
    reason::Reason,
};

use crate::maps;

/// What a walk does besides finding the way.
pub trait Sink {
    /// Counts and pins.
    const LIVE: bool;
    /// Reports a step; costs nothing in the live program.
    fn note(&mut self, step: impl FnOnce(&mut Explain));
}

/// The attached program.
pub struct Live;

impl Sink for Live {
    const LIVE: bool = true;
    #[inline(always)]
    fn note(&mut self, _: impl FnOnce(&mut Explain)) {}
}

/// The dry run.
pub struct Dry(*mut Explain);

impl Dry {
    /// Starts a report.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        let report = maps::EXPLAIN.get_ptr_mut(0)?;
        // SAFETY: a valid map value.
        unsafe { *report = Explain::default() };
        Some(Self(report))
    }

    /// The walk ended early.
    #[inline(always)]
    pub fn stopped(&mut self, why: Reason) {
        self.note(|e| {
            e.flags &= !explain::FORWARDED;
            e.reason = why as u32;
        });
    }
}

impl Sink for Dry {
    const LIVE: bool = false;
    #[inline(always)]
    fn note(&mut self, step: impl FnOnce(&mut Explain)) {
        // SAFETY: a valid map value; this program instance is its only writer here.
        step(unsafe { &mut *self.0 });
    }
}
