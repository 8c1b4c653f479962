//! The task between the kernel, the [`Table`] and the channels.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use rtnetlink::{
    MulticastGroup,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::RouteNetlinkMessage,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time,
};
use tokio_util::sync::CancellationToken;

use super::{
    NeighbourEvent,
    facts::Request,
    message::{self, Notice},
    socket::{NetlinkSocket, Received},
    table::Table,
};
use crate::model::XdpMode;

/// Requests under way at once. The kernel answers within the call, so this bounds what waits in the receive buffer.
const IN_FLIGHT: usize = 32;
/// Pause before connections are opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Netlink cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch the kernel's neighbour table: netlink socket: {0}")]
pub struct WatcherError(#[from] io::Error);

/// Watches the way to a set of addresses.
#[derive(Debug)]
pub struct Watcher {
    task: JoinHandle<()>,
}

impl Watcher {
    /// Starts watching, in the network namespace of the calling thread. Must be called within a tokio runtime.
    ///
    /// `mode` is how the program is attached: it decides through which interfaces frames can leave.
    ///
    /// `addresses` is a level: the newest set counts. `events` may be as small as one wishes: while it is full, each address
    /// keeps only its newest answer, so a slow reader gets the truth late but never an outdated queue of it. The task ends when
    /// `stop` is cancelled or one of the channels is closed, and leaves the kernel's entries as they are, so that forwarding
    /// goes on undisturbed.
    pub fn spawn(
        addresses: watch::Receiver<BTreeSet<IpAddr>>,
        events: mpsc::Sender<NeighbourEvent>,
        mode: XdpMode,
        stop: CancellationToken,
    ) -> Result<Self, WatcherError> {
        let session = Session::open()?;
        let managed = std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .is_ok_and(|release| manages_neighbours(&release));
        let worker = Worker { table: Table::new(managed, mode == XdpMode::Generic), addresses, events };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = worker.run(session) => {}
            }
        });
        Ok(Self { task })
    }

    /// Waits for the task to end.
    pub async fn join(self) {
        if let Err(error) = self.task.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Whether a kernel of this release keeps neighbour entries fresh by itself (`NTF_EXT_MANAGED`). Older ones ignore the request
/// without a word.
fn manages_neighbours(release: &str) -> bool {
    let mut numbers = release.trim().split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 16),
        _ => false,
    }
}

/// The pair of sockets, and what was asked on them.
struct Session {
    /// Links and neighbours: dumps, requests and notifications on one socket, so that they arrive in the kernel's order.
    state: NetlinkSocket,
    /// Notifications on routes, which on a router with a full table are many; losing them only means looking up again.
    routes: NetlinkSocket,
    in_flight: BTreeMap<u32, Request>,
    dump: Dump,
}

/// Which dump is under way, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dump {
    Links(u32),
    Neighbours(u32),
    /// None: live.
    Done,
}

impl Session {
    fn open() -> io::Result<Self> {
        use MulticastGroup as G;
        Ok(Self {
            state: NetlinkSocket::open(&[G::Link, G::Neigh])?,
            routes: NetlinkSocket::open(&[
                G::Ipv4Route,
                G::Ipv6Route,
                G::Ipv4Rule,
                G::Ipv6Rule,
                G::Ipv4Ifaddr,
                G::Ipv6Ifaddr,
                G::Nexthop,
            ])?,
            in_flight: BTreeMap::new(),
            dump: Dump::Done,
        })
    }

    /// Takes a message on links or neighbours, or an answer.
    async fn take(&mut self, table: &mut Table, received: Received, now: Instant) -> io::Result<()> {
        let message = match received {
            Received::Message(message) => message,
            Received::Unreadable(why) => {
                tracing::debug!(why, "netlink message skipped");
                return Ok(());
            }
        };
        if self.state.is_answer(&message) {
            let number = message.header.sequence_number;
            if matches!(self.dump, Dump::Links(dump) | Dump::Neighbours(dump) if dump == number) {
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => note(table, message.into(), now),
                    NetlinkPayload::Done(_) => self.next_dump(table, now).await?,
                    // EBUSY and the like; opening again repeats the dump.
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            } else if let Some(request) = self.in_flight.remove(&number) {
                answer(table, request, message, now);
            }
        } else if let NetlinkPayload::InnerMessage(message) = message.payload {
            note(table, message.into(), now);
        }
        Ok(())
    }

    async fn next_dump(&mut self, table: &mut Table, now: Instant) -> io::Result<()> {
        self.dump = match self.dump {
            Dump::Links(_) => Dump::Neighbours(self.state.send(message::dump_neighbours()).await?),
            Dump::Neighbours(_) | Dump::Done => {
                table.end_dump(now);
                Dump::Done
            }
        };
        Ok(())
    }
}

/// Tells the table what the kernel announced.
fn note(table: &mut Table, notice: Notice, now: Instant) {
    match notice {
        Notice::Link(link) => table.link(link, now),
        Notice::LinkGone(ifindex) => table.link_gone(ifindex, now),
        Notice::Neighbour { ifindex, address, neighbour } => {
            table.neighbour(ifindex, address, neighbour, now);
        }
        Notice::NeighbourGone { ifindex, address } => table.neighbour_gone(ifindex, address, now),
        Notice::Network(first, last) => table.network_changed(first, last, now),
        Notice::Routes => table.routes_changed(now),
        Notice::Nothing => {}
    }
}

/// Tells the table what the kernel answered.
fn answer(table: &mut Table, request: Request, message: NetlinkMessage<RouteNetlinkMessage>, now: Instant) {
    let error = match &message.payload {
        NetlinkPayload::Error(error) => error.code.map(|code| Errno::from_raw(code.get().saturating_neg())),
        _ => None,
    };
    match (request, message.payload, error) {
        (
            Request::Lookup { address },
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)),
            _,
        ) => {
            table.route(address, message::route(address, &route), now);
        }
        (Request::Lookup { address }, _, Some(error)) => table.route(address, message::no_route(error), now),
        (Request::Keep { .. }, _, Some(Errno::EINVAL | Errno::EOPNOTSUPP)) if table.managed() => {
            tracing::warn!(
                "the kernel does not manage neighbour entries; using each from time to time instead"
            );
            table.do_without_managed(now);
        }
        (Request::Keep { ifindex, address }, _, Some(error)) => {
            table.keep_refused(ifindex, address, &message::refused(error, address), now);
        }
        // Acknowledged, or an entry to release that is already gone.
        _ => {}
    }
}

/// Takes a message on routes, rules, addresses or next hops.
fn take_route(table: &mut Table, received: Received, now: Instant) {
    match received {
        Received::Message(NetlinkMessage { payload: NetlinkPayload::InnerMessage(message), .. }) => {
            note(table, message.into(), now);
        }
        Received::Message(_) => {}
        // Next hop objects among others.
        Received::Unreadable(_) => table.routes_changed(now),
    }
}

/// Until then; for ever when nothing is due.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due.into()).await,
        None => pending().await,
    }
}

struct Worker {
    table: Table,
    addresses: watch::Receiver<BTreeSet<IpAddr>>,
    events: mpsc::Sender<NeighbourEvent>,
}

/// Why [`Worker::serve`] came back.
enum End {
    /// A channel was closed.
    Unwanted,
    /// The sockets must be opened again.
    Lost(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl Worker {
    async fn run(mut self, first: Session) {
        self.addresses.mark_changed();
        let mut next = Some(first);
        loop {
            let opened = next.take().map_or_else(Session::open, Ok);
            let error = match opened {
                Ok(mut session) => match self.serve(&mut session).await {
                    End::Unwanted => return,
                    End::Lost(error) => error,
                },
                Err(error) => error,
            };
            if error.raw_os_error() == Some(Errno::ENOBUFS as i32) {
                tracing::info!(
                    "netlink notifications came faster than they were read; reading all neighbours again"
                );
            } else {
                tracing::warn!(%error, "netlink connection lost; opening it again");
                time::sleep(REOPEN).await;
            }
        }
    }

    /// Serves one pair of sockets until it is lost.
    async fn serve(&mut self, session: &mut Session) -> End {
        self.table.begin_dump();
        match session.state.send(message::dump_links()).await {
            Ok(number) => session.dump = Dump::Links(number),
            Err(error) => return End::Lost(error),
        }
        loop {
            if let Err(end) = self.turn(session).await {
                return end;
            }
        }
    }

    /// Waits for one thing to happen, and does what follows from it.
    async fn turn(&mut self, session: &mut Session) -> Result<(), End> {
        let Self { table, addresses, events } = self;
        let due = table.next_due();
        tokio::select! {
            changed = addresses.changed() => {
                changed.map_err(|_| End::Unwanted)?;
                let wanted = addresses.borrow_and_update().clone();
                table.watch(&wanted);
            }
            permit = events.reserve(), if table.has_events() => {
                let permit = permit.map_err(|_| End::Unwanted)?;
                if let Some(event) = table.pop_event() {
                    permit.send(event);
                }
            }
            received = session.state.receive() => {
                let now = Instant::now();
                for message in received? {
                    session.take(table, message, now).await?;
                }
            }
            received = session.routes.receive() => {
                let now = Instant::now();
                match received {
                    Ok(received) => received.into_iter().for_each(|message| take_route(table, message, now)),
                    Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => table.routes_changed(now),
                    Err(error) => return Err(End::Lost(error)),
                }
            }
            () = at(due) => table.tick(Instant::now()),
        }
        if session.dump == Dump::Done {
            while session.in_flight.len() < IN_FLIGHT
                && let Some(request) = table.pop_request()
            {
                let number = session.state.send(message::request(request, table.managed())).await?;
                session.in_flight.insert(number, request);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_since_5_16_manage_neighbours() {
        assert!(manages_neighbours("5.16.0\n"));
        assert!(manages_neighbours("6.1.0-18-amd64"));
        assert!(manages_neighbours("6.18.44"));
        assert!(!manages_neighbours("5.15.148"));
        assert!(!manages_neighbours("4.19.0-26-amd64"));
        assert!(!manages_neighbours("unreadable"));
    }
}
