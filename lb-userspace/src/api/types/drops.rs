//! Packets that were not forwarded, and what happened to pins.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/drops`: packets that were not forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Every reason.
    pub reasons: Vec<Drop>,
    /// What happened in slots in transition.
    pub pins: Vec<PinCount>,
}

/// Packets of one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// Label.
    pub reason: String,
    /// `pass`, `drop`, or `answer`: the packet was answered by the program itself.
    pub verdict: String,
    /// One sentence.
    pub describe: String,
    /// Packets.
    pub packets: u64,
}

/// Events of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinCount {
    /// Label.
    pub event: String,
    /// How many.
    pub count: u64,
}
