//! The data plane's own thread: makes the kernel's tables equal to the latest wanted state, and tends them once a tick.
//!
//! It owns the tables; nobody else writes them. A rebuild of a large pool takes milliseconds, so it happens here and not where checks and commands are
//! served. Its input is a level (`watch`): a state that is overtaken by a newer one before it is applied is never seen.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use lb_common::{
    ABI_VERSION,
    counter::{Counters, Events},
    hash::HashKey,
    names,
};
use tokio::sync::watch;

use super::{
    Attachment, Count, Desired, Error, Fill, Status,
    attach::{self, Attached},
    digest, driver, kernel,
    live::{Live, Names},
    mapped::Mapped,
    object::Object,
    probe::{self, CheckPath, Probes},
    tables::{Adopted, Applied, Settings, Tables},
};
use crate::model::{BackendId, Config, Disposition, Limits, XdpMode};

/// What the data plane is started with; changing it needs a restart.
#[derive(Debug)]
pub struct Options {
    /// Interfaces to attach to.
    pub interfaces: Vec<String>,
    /// How.
    pub mode: XdpMode,
    /// Table sizes.
    pub limits: Limits,
    /// The cluster's secret.
    pub secret: [u8; 32],
    /// Where maps and links are pinned.
    pub dir: PathBuf,
}

impl Options {
    /// Longest packet that may come in by any interface now.
    fn ingress_mtu(&self) -> u32 {
        self.interfaces.iter().filter_map(|name| driver::mtu(name)).max().unwrap_or(0)
    }
}

/// A data plane with its tables open and nothing attached yet.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    object: Arc<Object>,
    tables: Tables<Mapped>,
    live: Arc<Live>,
    attached: Vec<Attached>,
    probes: Probes,
    /// Nobody else writes these tables while this is open.
    _lock: File,
    status: Status,
    quiet: BTreeMap<u16, Activity>,
    out: watch::Sender<Arc<Status>>,
    /// What a predecessor left in the kernel.
    pub adopted: Adopted,
}

/// A backend's counters, and when it last got a packet.
#[derive(Debug)]
struct Activity {
    count: Count,
    last: Option<Instant>,
}

impl Engine {
    /// Loads the object, adopting the tables that a predecessor of the same ABI left, and verifies the programs.
    pub fn open(options: Options) -> Result<Self, Error> {
        let tables_dir = options.dir.join(format!("tables_v{ABI_VERSION}"));
        std::fs::create_dir_all(&tables_dir).map_err(|e| {
            kernel(
                format!("creating {} (is bpffs mounted? mount -t bpf bpf /sys/fs/bpf)", tables_dir.display()),
                e,
            )
        })?;
        let lock = lock(&options.dir)?;
        let object = Object::load(&options.limits, HashKey::from_secret(&options.secret), Some(&tables_dir))?;
        let now = object.now()?;
        let settings = Settings { ingress_mtu: options.ingress_mtu(), ..object.settings(&options.secret) };
        let (tables, adopted) = Tables::adopt(Mapped::new(&object)?, &object.limits(), settings, now)
            .map_err(|e| kernel(format!("adopting the tables below {}", tables_dir.display()), e))?;
        if adopted.repaired > 0 {
            tracing::warn!(
                repaired = adopted.repaired,
                "the tables found in the kernel had entries that could not be right"
            );
        }
        let object = Arc::new(object);
        let live = Arc::new(Live::new(object.clone(), &options.secret)?);
        let probes = Probes::open(&object, &options.dir)?;
        Ok(Self {
            options,
            object,
            tables,
            live,
            _lock: lock,
            attached: Vec::new(),
            probes,
            status: Status::default(),
            quiet: BTreeMap::new(),
            out: watch::Sender::new(Arc::default()),
            adopted,
        })
    }

    /// The reading side.
    pub fn reader(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// The way that checks take.
    pub fn check_path(&self) -> Arc<CheckPath> {
        self.probes.path()
    }

    /// Follows what the kernel has.
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.out.subscribe()
    }

    /// What the tables of a predecessor do with each backend of `config` they know.
    pub fn adopted_backends(&self, config: &Config) -> Vec<(BackendId, Disposition)> {
        let mut found = Vec::new();
        for pool in config.pools.values() {
            for backend in pool.backends.values() {
                let id = digest::backend_id(&pool.name, &backend.name, backend.address);
                if let Some(disposition) = self.tables.disposition(id) {
                    found.push((
                        BackendId { pool: pool.name.clone(), backend: backend.name.clone() },
                        disposition,
                    ));
                }
            }
        }
        found
    }

    /// Makes the tables equal to `desired`, and attaches the program if it is not attached yet: it never runs on tables that are not
    /// whole.
    pub fn apply(&mut self, desired: &Desired) -> Result<(), Error> {
        let now = self.object.now()?;
        self.tables.set_ingress_mtu(self.options.ingress_mtu());
        let began = Instant::now();
        let applied = self.tables.apply(desired, now);
        self.reset_counters(&applied)?;
        if applied.slots_changed > 0 {
            tracing::debug!(slots = applied.slots_changed, took = ?began.elapsed(), revision = desired.revision, "tables written");
        }
        self.status.problem = applied.problem.map(|e| {
            tracing::error!(error = %e, "the tables cannot hold all that is configured");
            e.to_string()
        });
        self.status.revision = desired.revision;
        if self.attached.is_empty() {
            self.attach()?;
        }
        self.probes.apply(&self.object, desired);
        self.publish(true);
        Ok(())
    }

    /// A tick's work.
    pub fn sweep(&mut self) -> Result<(), Error> {
        let now = self.object.now()?;
        let swept = self.tables.sweep(now);
        if swept.drift_repaired > 0 {
            tracing::error!(
                entries = swept.drift_repaired,
                "somebody else changed the kernel's tables; repaired"
            );
        }
        if swept.cut > 0 || swept.backends_cut > 0 {
            tracing::warn!(
                slots = swept.cut,
                backends = swept.backends_cut,
                "drain_timeout: remaining flows were given up"
            );
        }
        self.status.drift_repaired += swept.drift_repaired;
        if swept.frozen != self.status.frozen {
            if swept.frozen {
                tracing::warn!(
                    "too many flows are pinned: new ones of slots in transition stay with the earlier owner"
                );
            } else {
                tracing::info!("flows are pinned again");
            }
        }
        self.status.frozen = swept.frozen;
        let limits = self.object.limits();
        self.status.pins = Fill { used: swept.pins.into(), limit: limits.pins.into() };
        self.status.flows = Fill { used: swept.flows, limit: limits.flows.into() };
        self.status.drift_repaired += self.probes.tend(&self.object);
        self.follow_interfaces()?;
        self.observe()?;
        self.publish(!swept.released.is_empty());
        Ok(())
    }

    /// Runs until the sender of wanted states is gone. A failure before the program is attached ends it: there is nothing to stand by
    /// for. Later ones are logged and tried again with the next tick.
    pub fn run(mut self, mut desired: watch::Receiver<Arc<Desired>>) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|e| kernel("starting the data plane's thread".into(), e))?;
        runtime.block_on(async {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut again = false;
            loop {
                let done = tokio::select! {
                    biased;
                    changed = desired.changed() => {
                        if changed.is_err() {
                            self.live.stop();
                            return Ok(());
                        }
                        self.take(&mut desired)
                    }
                    _ = tick.tick() => {
                        // What rested may have become free, and what failed may work now; an interface may take longer packets than before.
                        again |= self.tables.ingress_mtu() != self.options.ingress_mtu();
                        let retried = if again { self.take(&mut desired) } else { Ok(()) };
                        retried.and_then(|()| self.sweep())
                    }
                };
                again = self.status.problem.is_some();
                if let Err(e) = done {
                    if self.attached.is_empty() {
                        return Err(e);
                    }
                    tracing::error!(error = %e, "the kernel refused a change of the tables; trying again");
                    self.status.problem = Some(e.to_string());
                    self.publish(false);
                    again = true;
                }
            }
        })
    }

    fn take(&mut self, desired: &mut watch::Receiver<Arc<Desired>>) -> Result<(), Error> {
        let wanted = desired.borrow_and_update().clone();
        self.live.want(wanted.clone());
        self.apply(&wanted)
    }

    fn attach(&mut self) -> Result<(), Error> {
        let Options { interfaces, mode, dir, .. } = &self.options;
        let mut attached = Vec::new();
        for interface in interfaces {
            let one = match attach::attach(&self.object, interface, *mode, dir) {
                Ok(one) => one,
                Err(e) => {
                    // All or nothing: what a predecessor attached forwards on, what is new goes.
                    attached.into_iter().for_each(Attached::undo);
                    return Err(e);
                }
            };
            tracing::info!(interface, mode = one.about.mode, driver = one.about.driver, "attached");
            attached.push(one);
        }
        attach::detach_others(interfaces, *mode, dir)?;
        self.status.attachments =
            attached.iter().map(|a: &Attached| a.about.clone()).collect::<Vec<Attachment>>();
        self.attached = attached;
        self.probes.attach(&self.object, interfaces);
        Ok(())
    }

    /// An interface that was deleted and made again has lost its program.
    fn follow_interfaces(&mut self) -> Result<(), Error> {
        if self.attached.iter().all(Attached::holds) {
            return Ok(());
        }
        for one in &mut self.attached {
            if !one.holds() {
                let Options { mode, dir, .. } = &self.options;
                tracing::error!(
                    interface = one.about.interface,
                    "the interface is not the one lbd was attached to; attaching again"
                );
                *one = attach::attach(&self.object, &one.about.interface, *mode, dir)?;
            }
        }
        tracing::info!("attached again");
        Ok(())
    }

    /// An index that had another owner begins at zero: nobody's packets are counted as somebody else's.
    fn reset_counters(&self, applied: &Applied) -> Result<(), Error> {
        for (counters, events, fresh) in [
            (names::SERVICE_COUNTERS, names::SERVICE_EVENTS, &applied.fresh_services),
            (names::BACKEND_COUNTERS, names::BACKEND_EVENTS, &applied.fresh_backends),
        ] {
            for index in fresh {
                self.object.clear_counters::<{ size_of::<Counters>() / 8 }>(counters, u32::from(*index))?;
                self.object.clear_counters::<{ size_of::<Events>() / 8 }>(events, u32::from(*index))?;
            }
        }
        Ok(())
    }

    /// Reads the backends' counters, and notices who got packets since the last tick.
    fn observe(&mut self) -> Result<(), Error> {
        let names = self.live.names();
        let Some(highest) = names.backends.keys().next_back() else { return Ok(()) };
        let counts = self.live.backend_counts(*highest)?;
        let now = Instant::now();
        self.quiet.retain(|index, _| names.backends.contains_key(index));
        for index in names.backends.keys() {
            let Some(seen) = counts.get(usize::from(*index)).copied() else { continue };
            self.quiet
                .entry(*index)
                .and_modify(|a| {
                    if a.count.packets != seen.packets {
                        a.last = Some(now);
                    }
                    a.count = seen;
                })
                // Packets before we looked: after a restart nobody knows when, so the silence begins now.
                .or_insert(Activity { count: seen, last: (seen.packets > 0).then_some(now) });
        }
        self.status.sample += 1;
        Ok(())
    }

    fn publish(&mut self, names_changed: bool) {
        let mut pools = self.tables.status();
        let now = Instant::now();
        for (index, BackendId { pool, backend }) in self.tables.backends() {
            let Some(status) = pools.get_mut(pool).and_then(|p| p.backends.get_mut(backend)) else {
                continue;
            };
            let activity = self.quiet.get(&index);
            let quiet = activity.and_then(|a| a.last).map(|last| (now - last).as_secs());
            if let Some(Activity { count, .. }) = activity {
                status.count += *count;
            }
            // Two records of one name (it got another address): the busier one speaks.
            status.quiet_for = match (status.quiet_for, quiet) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        self.status.pools = pools;
        self.status.check_path_problem = self.probes.problem();
        let names = names_changed.then(|| Names {
            services: self.tables.services().iter().map(|(name, i)| (*i, name.clone())).collect(),
            pools: self.tables.pools().map(|(i, name)| (i, name.clone())).collect(),
            backends: self.tables.backends().map(|(i, id)| (i, id.clone())).collect(),
            slots: self.status.pools.iter().map(|(name, p)| (name.clone(), p.slots)).collect(),
        });
        let status = Arc::new(self.status.clone());
        self.live.publish(names, status.clone());
        self.out.send_replace(status);
    }
}

/// Takes the directory of the pins for this process; the kernel gives it back when the process ends, however it ends.
fn lock(dir: &Path) -> Result<File, Error> {
    let what = || format!("locking {}", dir.display());
    let file = File::open(dir).map_err(|e| kernel(what(), e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(kernel(
            what(),
            io::Error::other(
                "another lbd uses the tables there; end it first, or give this one another `bpf_dir`",
            ),
        )),
        Err(TryLockError::Error(e)) => Err(kernel(what(), e)),
    }
}

/// Takes the program off every interface and forgets the tables.
pub fn detach(dir: &Path) -> Result<(), Error> {
    probe::sweep_out();
    attach::detach_all(dir)
}
