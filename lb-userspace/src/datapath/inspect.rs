//! Looking into the kernel's tables without disturbing whoever writes them: read-only mappings, one look at a time, each of bounded work.

pub mod flows;
pub(super) mod outcome;
pub(super) mod outer;
pub(super) mod sentence;
pub mod slots;
pub mod summary;
pub(super) mod view;

use self::{
    flows::{FlowReport, Remembered},
    slots::TableReport,
};
use super::{
    Error,
    capture::{Batch, CaptureError, Started, Wish},
    question::Probe,
};
use crate::model::PoolName;

/// What operators may look at in detail. Waits for a look of somebody else that is under way, never for the engine.
pub trait Inspect: Send + Sync + std::fmt::Debug {
    /// The flows that the tables remember, counted per backend and age. An answer may be a second old.
    fn flows(&self) -> Result<Remembered, Error>;
    /// Where one flow goes and which tables know it.
    fn flow(&self, probe: &Probe) -> Result<FlowReport, Error>;
    /// The slots of a pool in the kernel, compared with what is wanted; `None` if the kernel has no such pool. With `owners` also slot by
    /// slot.
    fn table(&self, pool: &PoolName, owners: bool) -> Result<Option<TableReport>, Error>;
    /// The same of all pools, by name.
    fn tables(&self, owners: bool) -> Result<Vec<TableReport>, Error>;
    /// Begins to copy dropped packets. It ends by itself; see [`super::capture`].
    fn capture(&self, wish: &Wish) -> Result<Started, CaptureError>;
    /// What was copied since the last call; waits at most a second for something.
    fn captured(&self, id: u64) -> Result<Batch, CaptureError>;
    /// Ends a capture at once.
    fn end_capture(&self, id: u64) -> Result<(), CaptureError>;
}
