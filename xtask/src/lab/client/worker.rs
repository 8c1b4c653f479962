//! Who asks for what, how often.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_rustls::rustls::ClientConfig;

use super::{
    connection::{Connection, Pace, Upload},
    event::{Event, Kind, Request, Via, now},
};
use crate::lab::site::OBJECTS;

/// Workers of each kind. Enough for every host to have some of each, little enough for two cores.
const SHORT: usize = 6;
const KEEPALIVE: usize = 9;
const TRANSFERS: usize = 6;
/// From the first transfer of a kind to the next one.
const TRANSFER_DELAY: Duration = Duration::from_millis(700);
/// Between two requests of a worker.
const SHORT_PAUSE: Duration = Duration::from_millis(15);
const KEEPALIVE_PAUSE: Duration = Duration::from_millis(40);
/// A keep-alive connection is given up after so long, and another one opened.
const KEEPALIVE_LIFE: Duration = Duration::from_secs(6);
/// After a failure, so that a dead host is not asked in a tight loop.
const FAILURE_PAUSE: Duration = Duration::from_millis(20);
/// 10 MiB in 12 s.
const DOWNLOAD_PACE: Pace = Pace { bytes: 88 << 10, pause: Duration::from_millis(100) };
/// 2 MiB in 12 s.
const UPLOAD_SIZE: usize = 2 << 20;
const UPLOAD_PACE: Pace = Pace { bytes: 18 << 10, pause: Duration::from_millis(100) };
const UPLOAD_PATIENCE: Duration = Duration::from_secs(40);
/// Events that wait to be printed; a worker waits when it is full, as the lab that does not read is the one that is slow.
const QUEUE: usize = 1024;

/// What every worker has.
#[derive(Clone)]
struct Worker {
    target: IpAddr,
    tls: Arc<ClientConfig>,
    events: mpsc::Sender<Event>,
    stop: watch::Receiver<bool>,
    ids: Arc<AtomicU64>,
}

/// Sends load until standard input ends, then lets transfers finish.
pub(super) async fn run(target: IpAddr, tls: Arc<ClientConfig>) -> Result<()> {
    let (events, mut queue) = mpsc::channel(QUEUE);
    let (stopper, stop) = watch::channel(false);
    let worker = Worker { target, tls, events, stop, ids: Arc::default() };
    let mut workers = JoinSet::new();
    for n in 0..SHORT {
        workers.spawn(worker.clone().short(n));
    }
    for n in 0..KEEPALIVE {
        workers.spawn(worker.clone().keepalive(Via::ALL[n % 3]));
    }
    for n in 0..TRANSFERS {
        // Not all in step, so that each event meets transfers of several ages; soon, so that the first one does.
        let delay = TRANSFER_DELAY * n as u32;
        workers.spawn(worker.clone().transfer(Kind::Download, Via::ALL[n % 3], delay));
        workers.spawn(worker.clone().transfer(Kind::Upload, Via::ALL[(n + 1) % 3], delay));
    }
    drop(worker);
    std::thread::spawn(move || {
        // Whatever comes is not for us; only the end matters, also that of a lab which was killed.
        _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        _ = stopper.send(true);
    });
    while let Some(event) = queue.recv().await {
        println!("{}", serde_json::to_string(&event)?);
    }
    while let Some(ended) = workers.join_next().await {
        ended?;
    }
    Ok(())
}

/// One text, for the lab's own questions.
pub(super) async fn get_once(target: IpAddr, port: u16, path: &str) -> Result<String> {
    Connection::open_plain(SocketAddr::new(target, port)).await?.text(path).await
}

impl Worker {
    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// A connection for each request: each kind of connection in turn, now and then a larger object.
    async fn short(self, first: usize) {
        let mut n = first;
        while !self.stopped() {
            let via = Via::ALL[n % 3];
            let (path, size) = if n.is_multiple_of(8) { OBJECTS[1] } else { OBJECTS[0] };
            n += 1;
            let start = now();
            let mut host = None;
            let result = async {
                let mut connection = Connection::open(self.target, via, &self.tls, false).await?;
                let result = connection.get(&format!("/{path}"), size, None).await;
                host = connection.host.take();
                result
            }
            .await;
            self.ended(self.id(), Kind::Short, via, host, true, start, result).await;
            sleep(SHORT_PAUSE).await;
        }
    }

    /// Many requests on a connection, then another connection.
    async fn keepalive(self, via: Via) {
        let (path, size) = OBJECTS[0];
        while !self.stopped() {
            let start = now();
            let opened = Instant::now();
            let mut connection = match Connection::open(self.target, via, &self.tls, false).await {
                Ok(connection) => connection,
                Err(error) => {
                    self.ended(self.id(), Kind::Keepalive, via, None, true, start, Err(error)).await;
                    continue;
                }
            };
            let (mut start, mut first) = (start, true);
            while !self.stopped() && opened.elapsed() < KEEPALIVE_LIFE {
                let result = connection.get(&format!("/{path}"), size, None).await;
                let failed = result.is_err();
                self.ended(self.id(), Kind::Keepalive, via, connection.host.clone(), first, start, result)
                    .await;
                if failed {
                    break;
                }
                sleep(KEEPALIVE_PAUSE).await;
                (start, first) = (now(), false);
            }
        }
    }

    /// One transfer after the other, each on a connection of its own whose host is known before the transfer begins.
    async fn transfer(mut self, kind: Kind, via: Via, delay: Duration) {
        tokio::select! {
            () = sleep(delay) => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
        while !self.stopped() {
            let (id, start) = (self.id(), now());
            let mut host = None;
            let result = self.one_transfer(id, kind, via, &mut host).await;
            self.ended(id, kind, via, host, true, start, result).await;
        }
    }

    async fn one_transfer(&self, id: u64, kind: Kind, via: Via, host: &mut Option<String>) -> Result<()> {
        let mut connection = Connection::open(self.target, via, &self.tls, kind == Kind::Download).await?;
        connection.get(&format!("/{}", OBJECTS[0].0), OBJECTS[0].1, None).await?;
        host.clone_from(&connection.host);
        if let Some(host) = host.clone() {
            self.tell(Event::Began { id, host, at: now() }).await;
        }
        if kind == Kind::Upload {
            return connection
                .upload("/upload", Upload::paced(UPLOAD_SIZE, UPLOAD_PACE), UPLOAD_PATIENCE)
                .await;
        }
        let (path, size) = OBJECTS[2];
        connection.get(&format!("/{path}"), size, Some(DOWNLOAD_PACE)).await
    }

    #[expect(clippy::too_many_arguments, reason = "it is the event's fields, filled in one place")]
    async fn ended(
        &self,
        id: u64,
        kind: Kind,
        via: Via,
        host: Option<String>,
        opened: bool,
        start: u64,
        result: Result<()>,
    ) {
        let error = result.err().map(|error| format!("{error:#}"));
        let failed = error.is_some();
        self.tell(Event::Ended(Request { id, kind, via, host, opened, start, end: now(), error })).await;
        if failed {
            sleep(FAILURE_PAUSE).await;
        }
    }

    async fn tell(&self, event: Event) {
        // Without a reader there is nothing left to count for.
        _ = self.events.send(event).await;
    }
}
