//! `POST /api/v1/capture/...`: only on the socket, only for peers that may write: packets are other people's.

use axum::{
    Extension, Json, Router,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    routing::post,
};

use super::{
    error::ApiError,
    peer::Writer,
    reads::blocking,
    sources::Sources,
    types::{CaptureBatch, CaptureId, CaptureStarted, CaptureWish, Done},
    writes::SocketState,
};
use crate::datapath::capture::CaptureError;

type Answer<T> = Result<Json<T>, ApiError>;
type Body<T> = Result<Json<T>, JsonRejection>;

/// The routes.
pub fn routes() -> Router<SocketState> {
    Router::new()
        .route("/api/v1/capture/start", post(start))
        .route("/api/v1/capture/next", post(next))
        .route("/api/v1/capture/end", post(end))
}

impl From<CaptureError> for ApiError {
    fn from(error: CaptureError) -> Self {
        let text = error.to_string();
        match error {
            CaptureError::Busy => Self::new(StatusCode::CONFLICT, text, "wait for it, or end it"),
            CaptureError::Unknown => Self::not_found(text, "start another one with `lbctl capture`"),
            CaptureError::Wish(_) => Self::bad_request(text, "see `lbctl capture --help`"),
            CaptureError::Kernel(_) => Self::unavailable(text, "`journalctl -u lbd` says more"),
        }
    }
}

async fn start(
    State(sources): State<Sources>,
    Extension(Writer(by)): Extension<Writer>,
    body: Body<CaptureWish>,
) -> Answer<CaptureStarted> {
    let Json(wish) = body?;
    tracing::info!(by, ?wish, "capture");
    Ok(Json(blocking(move || sources.datapath.capture(&wish)).await??))
}

async fn next(State(sources): State<Sources>, body: Body<CaptureId>) -> Answer<CaptureBatch> {
    let Json(CaptureId { id }) = body?;
    Ok(Json(blocking(move || sources.datapath.captured(id)).await??))
}

async fn end(State(sources): State<Sources>, body: Body<CaptureId>) -> Answer<Done> {
    let Json(CaptureId { id }) = body?;
    blocking(move || sources.datapath.end_capture(id)).await??;
    Ok(Json(Done { done: "nothing is captured any more".into() }))
}
