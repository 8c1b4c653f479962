//! The routes of the HTTP port. Only GET and HEAD: writing goes through the socket.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Router,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{page, pybal, scrape::Scraper};
use crate::api::{
    error::ApiError,
    moment::Moment,
    reads,
    sources::Sources,
    view::{self, alerts::STUCK_AFTER_SECONDS},
};

/// The routes, with PyBal's metric names if wanted.
pub fn router(sources: &Sources, pybal_metrics: bool) -> Router {
    let scraper = Arc::new(Scraper::new(sources.clone(), pybal_metrics));
    let metrics = Router::new().route("/metrics", get(scrape)).with_state(scraper);
    Router::new()
        .route("/", get(status_page))
        .route("/style.css", get(style))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/api/{*rest}", get(reads::unknown))
        .merge(reads::routes())
        .fallback(pybal_answer)
        .with_state(sources.clone())
        .merge(metrics)
        .layer(middleware::from_fn(read_only))
}

async fn read_only(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = next.run(request).await;
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        return response;
    }
    let refusal = ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("this port is read-only: no {}", request.method()),
        "changes go through lbctl on the balancer itself",
    );
    ([(ALLOW, "GET, HEAD")], refusal).into_response()
}

async fn scrape(State(scraper): State<Arc<Scraper>>) -> Result<Response, ApiError> {
    let text = scraper.text().await?;
    Ok(([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

/// 200 while the coordinator works. A supervisor that restarts on failure cures a stuck one; traffic flows meanwhile.
async fn livez(State(sources): State<Sources>) -> Response {
    let age = sources.snapshot().published.elapsed().as_secs_f64();
    if age <= STUCK_AFTER_SECONDS {
        return "ok\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("the coordinator has not published its state for {age:.0} s: lbd should be restarted; traffic flows on\n"),
    )
        .into_response()
}

/// 200 once the first configuration is in force and in the kernel.
async fn readyz(State(sources): State<Sources>) -> Response {
    if sources.snapshot().ready {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "starting: the first configuration is not in the kernel yet\n")
        .into_response()
}

async fn status_page(State(sources): State<Sources>) -> Response {
    let now = view::unix(SystemTime::now());
    (
        [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, page::POLICY),
            (CACHE_CONTROL, "no-store"),
        ],
        page::render(&Moment::without_counters(&sources), now),
    )
        .into_response()
}

async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], page::STYLE).into_response()
}

async fn pybal_answer(State(sources): State<Sources>, uri: Uri, headers: HeaderMap) -> Response {
    let json = headers.get_all(ACCEPT).iter().any(|value| value == "application/json");
    let reply = pybal::answer(&sources.snapshot(), uri.path(), json);
    (
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::NOT_FOUND),
        [(CONTENT_TYPE, reply.content_type)],
        reply.body,
    )
        .into_response()
}
