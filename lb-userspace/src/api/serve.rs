//! Connections: bounded in number, in time and in size, so that no client can hold up another or the daemon.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::Request,
    middleware,
    response::{IntoResponse, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::Gid;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::{
    error::ApiError,
    peer::{self, Peer},
    reads,
    socket::ControlSocket,
    writes::{self, SocketState},
};

/// Largest body of a request.
pub const MAX_BODY: usize = 64 << 10;
/// Largest head of a request.
const MAX_HEAD: usize = 64 << 10;
/// A head must be complete after so long; a kept-alive connection may idle as long.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A request must be answered after so long, its body read included.
const REQUEST_TIME: Duration = Duration::from_mins(1);
/// A connection lives no longer.
const LIFE: Duration = Duration::from_mins(5);
/// When stopping, requests under way have so long to end.
const GRACE: Duration = Duration::from_secs(2);
/// Connections at once, per listener. Further ones wait in the kernel's queue until one ends.
pub const CONNECTIONS: usize = 128;

/// The socket's routes: reads for everyone who can connect, writes for writers.
pub fn socket_router(state: SocketState, group: Option<Gid>) -> Router {
    let writes = writes::routes().layer(middleware::from_fn_with_state(group, peer::only_writers));
    reads::routes()
        .with_state::<SocketState>(state.sources.clone())
        .merge(writes)
        .fallback(reads::unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(state)
}

async fn wrong_method(request: axum::extract::Request) -> ApiError {
    ApiError::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        format!("{} does not do {}", request.uri().path(), request.method()),
        "reads are GET, changes are POST",
    )
}

/// Serves the control socket until `stop`, then lets requests under way end.
pub async fn socket(socket: ControlSocket, router: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Some(permit) = permit(&slots, &stop).await else {
            break;
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = socket.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let peer = stream.peer_cred().ok().map(|c| Peer { uid: c.uid(), gid: c.gid() });
                let work = connection(stream, router.clone(), peer, stop.clone());
                tokio::spawn(async move {
                    work.await;
                    drop(permit);
                });
            }
            Err(error) => pause(&error, &stop).await,
        }
    }
    drain(&slots).await;
}

/// Serves TCP until `stop`, then lets requests under way end.
pub async fn tcp(listener: TcpListener, router: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Some(permit) = permit(&slots, &stop).await else {
            break;
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let work = connection(stream, router.clone(), None, stop.clone());
                tokio::spawn(async move {
                    work.await;
                    drop(permit);
                });
            }
            Err(error) => pause(&error, &stop).await,
        }
    }
    drain(&slots).await;
}

async fn permit(
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<tokio::sync::OwnedSemaphorePermit> {
    if slots.available_permits() == 0 {
        tracing::warn!("{CONNECTIONS} connections are open: further ones wait");
    }
    tokio::select! {
        () = stop.cancelled() => None,
        permit = Arc::clone(slots).acquire_owned() => permit.ok(),
    }
}

/// Out of file descriptors, most likely: trying again at once would only burn the CPU.
async fn pause(error: &std::io::Error, stop: &CancellationToken) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
}

async fn drain(slots: &Semaphore) {
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(GRACE, slots.acquire_many(all)).await;
}

/// Serves one connection.
async fn connection<I>(io: I, router: Router, peer: Option<Peer>, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let mut router = router.clone();
        async move {
            let answer = tokio::time::timeout(REQUEST_TIME, router.call(request)).await;
            Ok::<Response, Infallible>(match answer {
                Ok(Ok(response)) => response,
                Err(_) => ApiError::new(
                    axum::http::StatusCode::REQUEST_TIMEOUT,
                    format!("the request took longer than {} s", REQUEST_TIME.as_secs()),
                    "send the whole body at once; if you did, lbd is overloaded",
                )
                .into_response(),
            })
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(io), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
        () = tokio::time::sleep(LIFE) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(REQUEST_TIME, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}
