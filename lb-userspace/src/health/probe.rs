//! The seam between prober and network.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use hyper::StatusCode;

use super::{
    ProbeError,
    deadline::Deadline,
    error::Reason,
    http, idle,
    production::{self, ProductionPath},
    tcp, tls,
};
use crate::model::{CheckKind, CheckTarget};

/// What a passing check saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// A connection was opened.
    Connected,
    /// `idle`: the connection is still open.
    StillOpen,
    /// HTTP: the answer was as wanted.
    Answered(StatusCode),
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.pad("connected"),
            Self::StillOpen => f.pad("connection still open"),
            Self::Answered(status) => Reason(*status).fmt(f),
        }
    }
}

/// A check that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// What it saw.
    pub pass: Pass,
    /// From its start to its result; for an `idle` connection: what opening it took.
    pub latency: Duration,
}

/// How one check ended.
pub type CheckResult = Result<Passed, ProbeError>;

/// What a probe brings back when it passes.
pub(super) struct Success {
    /// What it saw.
    pub(super) pass: Pass,
    /// `idle`: the connection, to be watched until it is lost or dropped.
    pub(super) held: Option<Held>,
}

impl From<Pass> for Success {
    fn from(pass: Pass) -> Self {
        Self { pass, held: None }
    }
}

/// A future boxed, so that a target between two checks has no room for one.
pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An open connection; resolves when it is lost, closes it when dropped.
pub(super) type Held = Boxed<'static, Loss>;

/// How a held connection was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The server closed it (FIN): says nothing.
    Closed,
    /// Reset, or the host stopped answering: a failure.
    Failed(ProbeError),
}

/// Does one check. The network, or a stand-in for tests.
pub(super) trait Probe: fmt::Debug + Send + Sync + 'static {
    /// One check from start to result, within the target's timeout.
    fn check<'a>(&'a self, target: &'a CheckTarget) -> Boxed<'a, Result<Success, ProbeError>>;
}

/// The real network.
#[derive(Debug, Default)]
pub(super) struct Network {
    tls: tls::Configs,
    production: Option<Arc<dyn ProductionPath>>,
}

impl Network {
    /// A network on which checks with [`crate::model::Via::Vip`] go by `production`; without, all go to the backends' own addresses.
    pub(super) fn new(production: Option<Arc<dyn ProductionPath>>) -> Self {
        Self { tls: tls::Configs::default(), production }
    }
}

impl Probe for Network {
    fn check<'a>(&'a self, target: &'a CheckTarget) -> Boxed<'a, Result<Success, ProbeError>> {
        let to = target.socket();
        let timeout = target.spec.timeout;
        // The wait for a way is none of the backend's doing, so its time begins after that.
        let marked = production::marked(self.production.as_ref(), target);
        // Each kind in its own box: a connect does not pay for the room of a TLS handshake.
        match &target.spec.kind {
            CheckKind::Tcp => Box::pin(async move {
                let marked = marked.await?;
                tcp::connect(to, Deadline::after(timeout), tcp::KeepAlive::Off, marked).await?;
                Ok(Pass::Connected.into())
            }),
            CheckKind::Idle => Box::pin(async move {
                let marked = marked.await?;
                let held = idle::open(to, Deadline::after(timeout), marked).await?;
                Ok(Success { pass: Pass::Connected, held: Some(held) })
            }),
            CheckKind::Http(http) => Box::pin(async move {
                let marked = marked.await?;
                let deadline = Deadline::after(timeout);
                let stream = tcp::connect(to, deadline, tcp::KeepAlive::Off, marked).await?;
                http::check(stream, http, deadline).await.map(Success::from)
            }),
            CheckKind::Https(http, tls) => Box::pin(async move {
                let marked = marked.await?;
                let deadline = Deadline::after(timeout);
                // Before connecting: a bad CA file is told as such, and the handshake follows the connect at once.
                let config = deadline.within(super::Stage::Tls, self.tls.get(tls)).await?;
                let stream = tcp::connect(to, deadline, tcp::KeepAlive::Off, marked).await?;
                let stream = tls::handshake(stream, config, &tls.sni, deadline).await?;
                http::check(stream, http, deadline).await.map(Success::from)
            }),
        }
    }
}
