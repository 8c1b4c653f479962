//! From start to end.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub(super) use super::control::Ending;
use super::{args::Args, control::Levers, production::Production};
use crate::{
    api::{
        peer, serve, socket,
        sources::{About, Sources},
        writes::SocketState,
    },
    config::{Secret, secret},
    coordinator::{
        Adopted, AdoptedBackend, Coordinator, Inputs, Now, Outputs, State, Store, memory, snapshot::Snapshot,
    },
    datapath::{
        self, Desired,
        engine::{Engine, Options},
    },
    health::{Checker, HealthEvent},
    metrics,
    model::{Config, Disposition},
    neighbour::{NeighbourEvent, Watcher},
};

/// Flips of checks on their way to the coordinator. When it is full the prober waits, and so does its next check.
const HEALTH_QUEUE: usize = 1024;
/// Changes of neighbours on their way. When it is full each address keeps its newest answer.
const NEIGHBOUR_QUEUE: usize = 1024;
/// A coordinator that has not published for so long does not get the watchdog fed.
const STUCK: Duration = Duration::from_secs(5);
/// Tasks have so long to end.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the daemon until it is told to end, or something it cannot do without fails.
pub(super) fn run(args: &Args, config: Config) -> Result<Ending> {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = env!("LB_GIT_HASH"),
        abi = datapath::ABI,
        config = %args.config.display(),
        "lbd starts"
    );
    raise_file_limit();
    let global = config.global.clone();
    let key = secret::of(&global).context("reading the flow hash's secret")?;
    let engine = Engine::open(Options {
        interfaces: global.interfaces.clone(),
        mode: global.xdp_mode,
        limits: global.limits,
        secret: *key.bytes(),
        dir: global.bpf_dir.clone(),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let ending = runtime.block_on(serve(args, Arc::new(config), engine, key))?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    if ending == Ending::Detach || args.detach_on_exit {
        datapath::engine::detach(&global.bpf_dir)?;
        tracing::info!("detached: nothing is forwarded any more");
    } else {
        tracing::info!("lbd ends; the kernel forwards on by the last tables");
    }
    Ok(ending)
}

async fn serve(args: &Args, config: Arc<Config>, engine: Engine, secret: Secret) -> Result<Ending> {
    let global = &config.global;
    let stop = CancellationToken::new();
    let mut tasks: JoinSet<&'static str> = JoinSet::new();

    // Before anything takes long: a signal that comes early must not have its default effect.
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    // Sockets first: when one is taken, nothing has been started yet.
    let group = peer::group(&global.socket_group);
    let control_socket = socket::bind(&global.socket, group)?;
    let mut http = Vec::new();
    for address in &global.http {
        http.push(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("listening on {address} (`http` in [lbd])"))?,
        );
    }

    let (health_sender, health) = mpsc::channel::<HealthEvent>(HEALTH_QUEUE);
    let (neighbour_sender, neighbours) = mpsc::channel::<NeighbourEvent>(NEIGHBOUR_QUEUE);
    let addresses = watch::Sender::new(BTreeSet::<IpAddr>::new());
    let desired = watch::Sender::new(Arc::<Desired>::default());

    let production = Arc::new(Production(engine.check_path()));
    let checker = Checker::spawn(health_sender, Some(production), stop.clone());
    let watcher = Watcher::spawn(addresses.subscribe(), neighbour_sender, global.xdp_mode, stop.clone())
        .context("watching the kernel's neighbours")?;

    let follower = checker.clone();
    let store = Store::new(&global.state_dir);
    let overrides = store.load(SystemTime::now());
    let now = Now { instant: Instant::now(), wall: SystemTime::now() };
    let mut state = State::new(overrides, adopted(&engine, &config), now);
    let snapshot: watch::Sender<Arc<Snapshot>> = watch::Sender::new(Arc::new(state.snapshot(now)));
    let latest = snapshot.subscribe();
    let (coordinator, handle) = Coordinator::new(
        state,
        store,
        Inputs { health, neighbours, status: engine.status() },
        Outputs {
            targets: Box::new(move |targets| follower.set_targets(targets)),
            addresses,
            desired: desired.clone(),
            snapshot,
        },
    );

    let sources = Sources {
        snapshot: latest.clone(),
        checks: Arc::new(checker.board()),
        datapath: engine.reader(),
        about: About {
            version: env!("CARGO_PKG_VERSION"),
            abi: datapath::ABI,
            started: SystemTime::now(),
            started_at: Instant::now(),
        },
    };
    let (end, mut ends) = mpsc::channel(4);
    let levers = Arc::new(Levers {
        path: args.config.clone(),
        started_with: config.clone(),
        in_force: Mutex::new(config.clone()),
        reloading: tokio::sync::Mutex::new(()),
        coordinator: handle.clone(),
        checker: checker.clone(),
        snapshot: latest.clone(),
        end,
        secret,
    });

    let coordinator_stop = CancellationToken::new();
    let mut coordinator = tokio::spawn(coordinator.run(coordinator_stop.clone()));
    let (engine_failed, mut engine_failure) = oneshot::channel();
    let wishes = desired.subscribe();
    let engine = std::thread::Builder::new()
        .name("datapath".into())
        .spawn(move || {
            if let Err(e) = engine.run(wishes) {
                // Nobody listens only when the daemon is ending anyway.
                let _ = engine_failed.send(e);
            }
        })
        .context("starting the data plane's thread")?;

    // The first configuration; `drop` of the senders below ends the engine.
    handle
        .reload(config.clone())
        .await
        .map_err(|e| anyhow::anyhow!("the configuration cannot be put in force: {e}"))?;
    let state = SocketState { sources: sources.clone(), control: levers.clone() };
    tasks.spawn(named(
        "the control socket",
        serve::socket(control_socket, serve::socket_router(state, group), stop.clone()),
    ));
    for listener in http {
        let router = metrics::http::router(&sources, global.pybal_metrics);
        tasks.spawn(named("the HTTP port", serve::tcp(listener, router, stop.clone())));
    }
    tasks.spawn(named("the service manager", notify(latest, stop.clone())));

    let ending = loop {
        tokio::select! {
            failure = &mut engine_failure => {
                // Without the data plane there is nothing to stand by for.
                let e = failure.map_or_else(|_| anyhow::anyhow!("the data plane's thread ended"), anyhow::Error::from);
                return Err(e);
            }
            ended = &mut coordinator => {
                anyhow::bail!("the coordinator ended: {}", ended.map_or_else(|e| e.to_string(), |()| "nobody told it to".into()));
            }
            Some(ended) = tasks.join_next() => {
                anyhow::bail!("{} ended before its time", ended.unwrap_or("a task (it panicked)"));
            }
            Some(ending) = ends.recv() => break ending,
            _ = terminate.recv() => break Ending::Leave,
            _ = interrupt.recv() => break Ending::Leave,
            _ = hangup.recv() => {
                let levers = levers.clone();
                tokio::spawn(async move {
                    let _ = sd_notify::notify(&reloading());
                    if let Err(e) = levers.reload("SIGHUP").await {
                        tracing::error!("{e}");
                    }
                    let _ = sd_notify::notify(&[NotifyState::Ready]);
                });
            }
        }
    };

    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    stop.cancel();
    let all = async {
        checker.stop().await;
        watcher.join().await;
        // Without this sender and the coordinator's, who follows the wanted tables ends: the engine, and the coordinator's memory,
        // for which the coordinator waits.
        drop(desired);
        // Last: a command under way gets its answer and its override gets to disk.
        coordinator_stop.cancel();
        if let Err(e) = coordinator.await {
            tracing::error!(error = %e, "the coordinator ended badly");
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(e) = ended {
                tracing::error!(error = %e, "a task ended badly");
            }
        }
    };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::error!("not everything ended within {} s", GRACE.as_secs());
    }
    // Whoever still holds a sender keeps the thread waiting; the process ends all the same.
    let patience = Instant::now() + GRACE;
    while !engine.is_finished() && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if !engine.is_finished() {
        tracing::error!("the data plane's thread does not end");
    } else if engine.join().is_err() {
        tracing::error!("the data plane's thread ended badly");
    }
    Ok(ending)
}

async fn named(name: &'static str, work: impl Future<Output = ()>) -> &'static str {
    work.await;
    name
}

/// Who served and who drained when the daemon before this one ended: what the kernel's tables show, and what it wrote down. The tables are
/// the truth, but know nothing of a backend whose flows only pins hold, nor the names of those that the file no longer has.
fn adopted(engine: &Engine, config: &Config) -> Adopted {
    if engine.adopted.backends == 0 {
        return Adopted::new();
    }
    let mut all = memory::load(&config.global.state_dir);
    for (id, disposition) in engine.adopted_backends(config) {
        let Some(backend) = config.pools.get(&id.pool).and_then(|pool| pool.backends.get(&id.backend)) else {
            continue;
        };
        let agrees = all.get(&id).is_some_and(|written| {
            written.address == backend.address
                && (disposition == Disposition::Out
                    || written.disposition.takes_new() == disposition.takes_new())
        });
        if !agrees {
            let found = AdoptedBackend {
                address: backend.address,
                weight: backend.weight,
                disposition,
                method: backend.method,
                gue_port: backend.gue_port,
                server_id: backend.server_id,
            };
            all.insert(id, found);
        }
    }
    tracing::info!(backends = all.len(), "adopted the tables of the daemon before this one");
    all
}

/// Tells the service manager when we are ready, and feeds its watchdog while the coordinator works.
async fn notify(mut snapshot: watch::Receiver<Arc<Snapshot>>, stop: CancellationToken) {
    let feed = sd_notify::watchdog_enabled().map(|limit| limit / 3);
    let mut tick = tokio::time::interval(feed.unwrap_or(Duration::from_secs(1)));
    let mut ready = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = snapshot.changed(), if !ready => {
                if changed.is_err() {
                    return;
                }
            }
            _ = tick.tick() => {}
        }
        let (published, now_ready) = {
            let snapshot = snapshot.borrow();
            (snapshot.published, snapshot.ready)
        };
        if now_ready && !ready {
            ready = true;
            tracing::info!("ready");
            let _ = sd_notify::notify(&[NotifyState::Ready]);
        }
        if feed.is_some() && published.elapsed() < STUCK {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }
}

fn reloading() -> Vec<NotifyState<'static>> {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now().ok());
    states
}

/// Each `idle` check and each client holds a descriptor: take what the service manager allows.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(e) = raised {
        tracing::warn!(error = %e, "the limit of open files stays as it is");
    }
}
