//! What reaches the coordinator.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use crate::{datapath::Status, health::HealthEvent, neighbour::NeighbourEvent};

/// The moment an event is handled.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic, for ages.
    pub instant: Instant,
    /// Wall clock, for what is shown or kept across restarts.
    pub wall: SystemTime,
}

/// Everything that needs no answer. Commands and reloads are [`State::command`](super::state::State::command) and
/// [`State::reload`](super::state::State::reload), because somebody waits for what they return.
#[derive(Clone, Debug)]
pub enum Event {
    /// The verdict on a check target changed. One nobody asked for (any more) is ignored.
    Health(HealthEvent),
    /// The way to an address changed. One nobody asked for (any more) is ignored.
    Neighbour(NeighbourEvent),
    /// The data plane's tables changed.
    Datapath(Arc<Status>),
    /// The configuration file could not be read or is wrong; nothing changes but what is shown.
    ReloadFailed(String),
    /// A second passed: overrides may have ended.
    Tick,
}
