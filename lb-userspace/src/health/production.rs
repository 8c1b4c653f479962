//! Checks by the way of clients' packets: the seam to whoever knows it, and the wait until it is there.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{ProbeError, deadline::Deadline, tcp};
use crate::model::CheckTarget;

/// A way that is not known yet is awaited so long; the check's own time begins after that.
const TAKE_UP: Duration = Duration::from_secs(5);

/// How a check's packets get on the way of clients' packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Its socket has this mark.
    Marked(u32),
    /// The same, but the backend's next hop is not known: packets would be dropped.
    Unresolved(u32),
    /// The data plane has not taken it up yet.
    Unknown,
    /// This host cannot: the check goes to the backend's own address. Status says why.
    Never,
}

/// What became of the last packet of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The data plane has not seen any.
    Unseen,
    /// It went the way of this mark.
    Sent(u32),
    /// It was dropped; why.
    Dropped(&'static str),
}

/// Something that resolves to a [`Way`].
pub type Ready<'a> = Pin<Box<dyn Future<Output = Way> + Send + 'a>>;

/// The way of clients' packets, as the data plane offers it.
pub trait ProductionPath: fmt::Debug + Send + Sync + 'static {
    /// How to take it to this target now.
    fn way(&self, target: &CheckTarget) -> Way;
    /// Resolves when the answer is, or has become, one that does not change by itself: marked or never.
    fn ready<'a>(&'a self, target: &'a CheckTarget) -> Ready<'a>;
    /// A check is about to connect from this TCP port.
    fn begin(&self, port: u16);
    /// What became of the last packet from this TCP port.
    fn fate(&self, port: u16) -> Fate;
}

/// A way and its mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marked<'p> {
    pub(super) path: &'p dyn ProductionPath,
    pub(super) mark: u32,
}

/// The mark for a check; `None` when it goes to the backend's own address.
pub(super) async fn marked<'p>(
    path: Option<&'p Arc<dyn ProductionPath>>,
    target: &CheckTarget,
) -> Result<Option<Marked<'p>>, ProbeError> {
    let Some(path) = path.filter(|_| target.production.is_some()) else { return Ok(None) };
    let path: &dyn ProductionPath = &**path;
    let mut way = path.way(target);
    loop {
        way = match way {
            Way::Never => return Ok(None),
            Way::Marked(mark) => return Ok(Some(Marked { path, mark })),
            Way::Unknown => match timeout(TAKE_UP, path.ready(target)).await {
                Ok(way) => way,
                Err(_) if matches!(path.way(target), Way::Unresolved(_)) => path.way(target),
                Err(_) => {
                    return Err(ProbeError::Local(
                        "the data plane has not taken up the way to the VIP".into(),
                    ));
                }
            },
            Way::Unresolved(mark) => {
                let deadline = Deadline::after(target.spec.timeout);
                tokio::select! {
                    way = path.ready(target) => way,
                    // The kernel asks for the next hop's address only when there is something to send.
                    tried = tcp::connect(target.socket(), deadline, tcp::KeepAlive::Off, Some(Marked { path, mark })) => {
                        tried?;
                        return Ok(Some(Marked { path, mark }));
                    }
                }
            }
        };
    }
}

impl Marked<'_> {
    /// After a connect from `port`: whether its packets went where they should, or the reason why it failed.
    pub(super) fn judge<T>(self, port: u16, result: Result<T, ProbeError>) -> Result<T, ProbeError> {
        match (self.path.fate(port), result) {
            (Fate::Sent(mark), Ok(done)) if mark == self.mark => Ok(done),
            (Fate::Dropped(why), _) => Err(ProbeError::Path(why)),
            // Something answered at the backend's own address: that is not what was asked.
            (Fate::Unseen | Fate::Sent(_), Ok(_)) => Err(ProbeError::Local(
                "its packets left by an interface that lbd does not know of: see `ip route get` to the backend".into(),
            )),
            (_, Err(error)) => Err(error),
        }
    }
}
