//! `POST /api/v1/capture/...`: copies of dropped packets.

pub use crate::datapath::capture::{
    Batch as CaptureBatch, Sample as CaptureSample, Started as CaptureStarted, Wish as CaptureWish,
};
use serde::{Deserialize, Serialize};

/// Body of `next` and `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureId {
    /// As `start` said.
    pub id: u64,
}
