//! Whether a walk has effects: the live program counts and pins, the dry run only reports.

use lb_common::{
    explain::{self, Explain},
    reason::Reason,
};

use crate::maps;

/// What a walk does besides finding the way.
pub trait Sink {
    /// Counts.
    const LIVE: bool;
    /// Reports.
    const TELLS: bool;
    /// Who it is when nothing may be remembered: for packets that only quote a flow.
    type Quiet: Sink;
    /// Reports a step; costs nothing in the live program.
    fn note(&mut self, step: impl FnOnce(&mut Explain));
    /// The same without effects on what is remembered.
    fn quiet(&self) -> Self::Quiet;
}

/// The attached program.
pub struct Live;

impl Sink for Live {
    const LIVE: bool = true;
    const TELLS: bool = false;
    type Quiet = Quiet;
    #[inline(always)]
    fn note(&mut self, _: impl FnOnce(&mut Explain)) {}
    #[inline(always)]
    fn quiet(&self) -> Quiet {
        Quiet
    }
}

/// The attached program where it only looks.
pub struct Quiet;

impl Sink for Quiet {
    const LIVE: bool = false;
    const TELLS: bool = false;
    type Quiet = Self;
    #[inline(always)]
    fn note(&mut self, _: impl FnOnce(&mut Explain)) {}
    #[inline(always)]
    fn quiet(&self) -> Self {
        Self
    }
}

/// The dry run.
#[derive(Clone, Copy)]
pub struct Dry(*mut Explain);

impl Dry {
    /// Starts a report.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        let dry = Self::going_on()?;
        // SAFETY: a valid map value.
        unsafe { *dry.0 = Explain::default() };
        Some(dry)
    }

    /// Goes on with the report that was started.
    #[inline(always)]
    pub fn going_on() -> Option<Self> {
        maps::EXPLAIN.get_ptr_mut(0).map(Self)
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
    const TELLS: bool = true;
    type Quiet = Self;
    #[inline(always)]
    fn note(&mut self, step: impl FnOnce(&mut Explain)) {
        // SAFETY: a valid map value; this program instance is its only writer here.
        step(unsafe { &mut *self.0 });
    }
    #[inline(always)]
    fn quiet(&self) -> Self {
        *self
    }
}
