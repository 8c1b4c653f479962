//! The single owner of the state: event → state → effects → snapshot.
//!
//! [`State::apply`] is pure; this file runs it: wait, decide, act, publish.

pub mod adopted;
pub mod command;
mod commands;
pub mod effect;
pub mod event;
mod facts;
pub mod handle;
mod lowered;
mod member;
pub mod memory;
mod near;
mod observe;
pub mod overrides;
mod pool;
mod reload;
mod saver;
pub mod snapshot;
pub mod state;
pub mod store;
mod targets;
#[cfg(test)]
mod tests;
pub mod threshold;
mod view;
mod way;

pub use adopted::{Adopted, AdoptedBackend};
pub use effect::Effect;
pub use event::{Event, Now};
pub use handle::{CallError, Handle};
pub use overrides::Overrides;
pub use state::State;
pub use store::Store;

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{handle::Request, saver::Saver, snapshot::Snapshot};
use crate::{
    datapath::{Desired, Status},
    health::HealthEvent,
    model::CheckTarget,
    neighbour::NeighbourEvent,
};

/// The data plane gets a change when nothing else changed for so long …
const QUIET: Duration = Duration::from_millis(50);
/// … and at the latest after so long.
const COALESCE: Duration = Duration::from_millis(100);
/// Events of one kind handled between two snapshots, so that a storm does not make each event cost a snapshot.
const BATCH: usize = 256;
/// Overrides are looked at, and a snapshot is published, this often.
const TICK: Duration = Duration::from_secs(1);

/// Where events come from. The queues are bounded by whoever makes them; when one is full its sender waits.
#[derive(Debug)]
pub struct Inputs {
    /// Flips of checks.
    pub health: mpsc::Receiver<HealthEvent>,
    /// Changes of ways.
    pub neighbours: mpsc::Receiver<NeighbourEvent>,
    /// What the kernel has.
    pub status: watch::Receiver<Arc<Status>>,
}

/// Takes all the checks to run.
pub type SetTargets = Box<dyn Fn(&HashSet<CheckTarget>) + Send>;

/// Where decisions go; each takes the whole state wanted.
pub struct Outputs {
    /// Makes exactly these checks run, before it returns: a check that is removed and wanted again must start anew, as its old verdict
    /// is forgotten. So no channel that could skip a state in between. Must not block.
    pub targets: SetTargets,
    /// Addresses to watch.
    pub addresses: watch::Sender<BTreeSet<IpAddr>>,
    /// Tables to have. Nothing is sent before the first configuration is in force.
    pub desired: watch::Sender<Arc<Desired>>,
    /// For everybody to look at. At least one a second.
    pub snapshot: watch::Sender<Arc<Snapshot>>,
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs").finish_non_exhaustive()
    }
}

/// Runs the state.
#[derive(Debug)]
pub struct Coordinator {
    state: State,
    state_dir: PathBuf,
    saver: Saver,
    requests: mpsc::Receiver<Request>,
    inputs: Inputs,
    outputs: Outputs,
    /// Since when, and until when at the latest, a change waits for its way to the data plane.
    due: Option<(Instant, Instant)>,
}

impl Coordinator {
    /// A coordinator without configuration: its first one comes by [`Handle::reload`].
    pub fn new(state: State, store: Store, inputs: Inputs, outputs: Outputs) -> (Self, Handle) {
        let (sender, requests) = mpsc::channel(handle::REQUESTS);
        let state_dir = store.dir().to_owned();
        let saver = Saver::new(store);
        let coordinator = Self { state, state_dir, saver, requests, inputs, outputs, due: None };
        (coordinator, Handle { requests: sender })
    }

    /// Runs until `shutdown`; then what was promised to be saved is saved.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let memory = tokio::spawn(memory::keep(self.state_dir.clone(), self.outputs.desired.subscribe()));
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due.map(|(_, at)| at);
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(event) = self.inputs.health.recv() => {
                    self.apply(Event::Health(event));
                    for _ in 1..BATCH {
                        let Ok(event) = self.inputs.health.try_recv() else { break };
                        self.apply(Event::Health(event));
                    }
                }
                Some(event) = self.inputs.neighbours.recv() => {
                    self.apply(Event::Neighbour(event));
                    for _ in 1..BATCH {
                        let Ok(event) = self.inputs.neighbours.try_recv() else { break };
                        self.apply(Event::Neighbour(event));
                    }
                }
                Ok(()) = self.inputs.status.changed() => {
                    let status = Arc::clone(&self.inputs.status.borrow_and_update());
                    self.apply(Event::Datapath(status));
                }
                Some(request) = self.requests.recv() => self.serve(request),
                () = self.saver.progress() => continue,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                _ = tick.tick() => self.apply(Event::Tick),
            }
            if self.due.is_some_and(|(_, at)| at <= Instant::now()) {
                self.program();
            }
            self.publish();
        }
        while !self.saver.idle() {
            self.saver.progress().await;
        }
        // Without the senders it writes what is the latest and ends.
        drop(self.outputs);
        // It has no way to fail but to be stopped with the runtime.
        let _ = memory.await;
    }

    fn apply(&mut self, event: Event) {
        let effects = self.state.apply(event, now());
        self.perform(effects);
    }

    fn serve(&mut self, request: Request) {
        // Whoever asked may have gone; what he asked for is done all the same.
        match request {
            Request::Command { command, by, reply } => {
                let (result, effects) = self.state.command(&command, &by, now());
                let saves = effects.iter().any(|effect| matches!(effect, Effect::Save(_)));
                self.perform(effects);
                match result {
                    Ok(outcomes) if saves => self.saver.reply_when_saved(reply, outcomes),
                    result => drop(reply.send(result)),
                }
            }
            Request::Reload { config, reply } => {
                let (result, effects) = self.state.reload(&config, now());
                self.perform(effects);
                drop(reply.send(result));
            }
            Request::Preview { config, reply } => drop(reply.send(self.state.preview(&config, now()))),
            Request::ReloadFailed(problem) => self.apply(Event::ReloadFailed(problem)),
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Targets(targets) => (self.outputs.targets)(&targets),
                Effect::Addresses(addresses) => drop(self.outputs.addresses.send_replace(addresses)),
                Effect::Program { urgent } => {
                    let now = Instant::now();
                    let (first, due) = self.due.unwrap_or((now, now + COALESCE));
                    let at = if urgent { now } else { (now + QUIET).min(first + COALESCE) };
                    self.due = Some((first, if due <= now { due } else { at }));
                }
                Effect::Save(document) => self.saver.save(document),
                Effect::Log(line) => line.emit(),
            }
        }
    }

    /// Hands the data plane what it should have, if that is not what it was handed last.
    fn program(&mut self) {
        self.due = None;
        let desired = self.state.desired();
        self.outputs.desired.send_if_modified(|last| {
            let differs = last.revision != desired.revision;
            *last = desired;
            differs
        });
    }

    fn publish(&mut self) {
        let mut snapshot = self.state.snapshot(now());
        // A change that waits to be handed over is wanted already: whoever waits for the kernel to have it must not be told that it has.
        snapshot.revision += u64::from(self.due.is_some());
        self.outputs.snapshot.send_replace(Arc::new(snapshot));
    }
}

fn now() -> Now {
    Now { instant: Instant::now().into_std(), wall: SystemTime::now() }
}
