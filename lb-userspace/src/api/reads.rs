//! `GET /api/v1/...`: what the socket and the HTTP port both answer.

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::Uri,
    routing::get,
};
use serde::Deserialize;

use super::{error::ApiError, lookups, moment::Moment, sources::Sources, types, view};
use crate::model::PoolName;

type Answer<T> = Result<Json<T>, ApiError>;

/// The routes. Unknown paths are left to whoever merges them.
pub fn routes() -> Router<Sources> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/list", get(list))
        .route("/api/v1/services", get(services))
        .route("/api/v1/services/{name}", get(service))
        .route("/api/v1/pools", get(pools))
        .route("/api/v1/pools/{name}", get(pool))
        .route("/api/v1/backends/{name}", get(backends))
        .route("/api/v1/drops", get(drops))
        .merge(lookups::routes())
}

/// Answer to a path nobody serves.
pub async fn unknown(uri: Uri) -> ApiError {
    ApiError::not_found(
        format!("there is nothing at {}", uri.path()),
        "the API begins at /api/v1/status; is lbctl newer than lbd?",
    )
}

/// Runs system calls away from the runtime's workers.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request's reader failed");
        ApiError::unavailable("reading the kernel's tables failed", "`journalctl -u lbd` says more")
    })
}

/// Everything at this moment.
pub(crate) async fn moment(sources: Sources) -> Result<Moment, ApiError> {
    blocking(move || Moment::with_counters(&sources)).await
}

async fn status(State(sources): State<Sources>) -> Json<types::Status> {
    Json(view::status(&Moment::without_counters(&sources)))
}

async fn list(State(sources): State<Sources>) -> Answer<types::List> {
    Ok(Json(view::list(&moment(sources).await?)))
}

async fn services(State(sources): State<Sources>) -> Answer<Vec<types::Service>> {
    Ok(Json(view::services(&moment(sources).await?)))
}

async fn service(State(sources): State<Sources>, Path(name): Path<String>) -> Answer<types::Service> {
    view::services(&moment(sources).await?)
        .into_iter()
        .find(|service| service.name == name)
        .map(Json)
        .ok_or_else(|| {
            ApiError::not_found(format!("there is no service {name}"), "`lbctl list` shows what there is")
        })
}

async fn pools(State(sources): State<Sources>) -> Answer<Vec<types::Pool>> {
    Ok(Json(view::pool::pools(&moment(sources).await?)))
}

async fn pool(State(sources): State<Sources>, Path(name): Path<String>) -> Answer<types::Pool> {
    let moment = moment(sources).await?;
    let view = moment.snapshot.pools.get(name.as_str()).ok_or_else(|| {
        ApiError::not_found(format!("there is no pool {name}"), "`lbctl list` shows what there is")
    })?;
    Ok(Json(view::pool::pool(&moment, view, &moment.backend_counts())))
}

#[derive(Deserialize)]
struct PoolQuery {
    pool: Option<PoolName>,
}

async fn backends(
    State(sources): State<Sources>,
    Path(name): Path<String>,
    query: Result<Query<PoolQuery>, QueryRejection>,
) -> Answer<types::Backends> {
    let Query(PoolQuery { pool }) = query?;
    let moment = moment(sources).await?;
    if let Some(pool) = &pool
        && !moment.snapshot.pools.contains_key(pool)
        && !moment.status.pools.contains_key(pool)
    {
        return Err(ApiError::not_found(
            format!("there is no pool {pool}"),
            "`lbctl list` shows what there is",
        ));
    }
    view::backends(&moment, &name, pool.as_ref()).map(Json).ok_or_else(|| {
        let place = pool.map_or_else(|| "any pool".to_owned(), |pool| format!("pool {pool}"));
        ApiError::not_found(
            format!("there is no backend {name} in {place}"),
            "`lbctl list` shows what there is; give the name as it is written there",
        )
    })
}

async fn drops(State(sources): State<Sources>) -> Answer<types::Drops> {
    let counters = blocking(move || sources.datapath.counters()).await?;
    match counters {
        Ok(counters) => Ok(Json(view::drops(&counters))),
        Err(error) => Err(ApiError::unavailable(
            format!("the counters could not be read: {error}"),
            "`journalctl -u lbd` says more",
        )),
    }
}
