//! `POST /api/v1/...`: only on the socket, only for peers that may write.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, FromRef, State, rejection::JsonRejection},
    routing::post,
};

use super::{
    captures,
    control::{self, Control, ControlError},
    error::ApiError,
    peer::Writer,
    sources::Sources,
    types::{Candidate, CheckRuns, Command, Done, Outcomes, ReloadReport, Selector, Shutdown},
};

/// A daemon that does not answer for this long is stuck; the asker is told so.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Running checks takes as long as their timeouts.
pub const CHECK_PATIENCE: Duration = Duration::from_secs(50);

/// Largest configuration somebody may ask about: ten thousand backends are about 1 MiB.
pub const MAX_CONFIG: usize = 8 << 20;

/// What the socket's routes need.
#[derive(Clone, Debug)]
pub struct SocketState {
    /// For reading.
    pub sources: Sources,
    /// For changing.
    pub control: Arc<dyn Control>,
}

impl FromRef<SocketState> for Sources {
    fn from_ref(state: &SocketState) -> Self {
        state.sources.clone()
    }
}

type Answer<T> = Result<Json<T>, ApiError>;
type Body<T> = Result<Json<T>, JsonRejection>;

/// The routes.
pub fn routes() -> Router<SocketState> {
    Router::new()
        .route("/api/v1/command", post(command))
        .route("/api/v1/config/reload", post(reload))
        .route("/api/v1/config/test", post(config_test).layer(DefaultBodyLimit::max(MAX_CONFIG)))
        .route("/api/v1/config/diff", post(config_diff).layer(DefaultBodyLimit::max(MAX_CONFIG)))
        .route("/api/v1/checks/run", post(check_now))
        .route("/api/v1/shutdown", post(shutdown))
        .merge(captures::routes())
}

async fn within<T>(patience: Duration, answer: control::Answer<'_, T>) -> Result<T, ApiError> {
    match tokio::time::timeout(patience, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ControlError::Unavailable(format!(
            "lbd did not answer within {} s; whether it will still act on this is not known",
            patience.as_secs()
        ))
        .into()),
    }
}

async fn command(
    State(state): State<SocketState>,
    Extension(Writer(by)): Extension<Writer>,
    body: Body<Command>,
) -> Answer<Outcomes> {
    let Json(command) = body?;
    tracing::info!(by, ?command, "command");
    let outcomes = within(PATIENCE, state.control.command(command, by)).await?;
    Ok(Json(Outcomes { outcomes }))
}

async fn reload(
    State(state): State<SocketState>,
    Extension(Writer(by)): Extension<Writer>,
) -> Answer<ReloadReport> {
    Ok(Json(within(PATIENCE, state.control.reload(by)).await?))
}

async fn config_test(State(state): State<SocketState>, body: Body<Candidate>) -> Answer<ReloadReport> {
    let Json(candidate) = body?;
    Ok(Json(within(PATIENCE, state.control.config_test(candidate)).await?))
}

async fn config_diff(State(state): State<SocketState>, body: Body<Candidate>) -> Answer<ReloadReport> {
    let Json(candidate) = body?;
    Ok(Json(within(PATIENCE, state.control.config_diff(candidate)).await?))
}

async fn check_now(State(state): State<SocketState>, body: Body<Selector>) -> Answer<CheckRuns> {
    let Json(selector) = body?;
    let runs = within(CHECK_PATIENCE, state.control.check_now(selector)).await?;
    Ok(Json(CheckRuns { runs }))
}

async fn shutdown(
    State(state): State<SocketState>,
    Extension(Writer(by)): Extension<Writer>,
    body: Body<Shutdown>,
) -> Answer<Done> {
    let Json(Shutdown { detach }) = body?;
    within(PATIENCE, state.control.shutdown(detach, by)).await?;
    let done = if detach {
        "lbd takes the program off the interfaces and stops: forwarding ends"
    } else {
        "lbd stops; the last tables forward on"
    };
    Ok(Json(Done { done: done.to_owned() }))
}
