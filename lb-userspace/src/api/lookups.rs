//! `GET /api/v1/...` for those who want to know exactly: one packet, one flow, the tables slot by slot, counters of this moment.

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::Deserialize;

use super::{
    error::ApiError,
    reads::{blocking, moment},
    sources::Sources,
    types::{
        FlowReport, Kernel, KernelFeature, Remembered, TableQuery, TableReport, Tables, Top, WhereQuery,
    },
    view,
};
use crate::{
    datapath::{self, Route, kernel_check},
    model::PoolName,
};

type Answer<T> = Result<Json<T>, ApiError>;
type Asked<T> = Result<Query<T>, QueryRejection>;

/// The routes.
pub fn routes() -> Router<Sources> {
    Router::new()
        .route("/api/v1/where", get(route))
        .route("/api/v1/flow", get(flow))
        .route("/api/v1/flows", get(flows))
        .route("/api/v1/tables", get(tables))
        .route("/api/v1/pools/{name}/table", get(table))
        .route("/api/v1/top", get(top))
        .route("/api/v1/kernel", get(kernel))
}

impl From<datapath::Error> for ApiError {
    fn from(error: datapath::Error) -> Self {
        match error {
            datapath::Error::Probe(why) => Self::bad_request(why.to_string(), "see `lbctl where --help`"),
            error => Self::unavailable(
                format!("the kernel's tables could not be asked: {error}"),
                "`journalctl -u lbd` says more",
            ),
        }
    }
}

fn probe(query: &WhereQuery) -> Result<datapath::Probe, ApiError> {
    query.probe().map_err(|why| ApiError::bad_request(why, "see `lbctl where --help`"))
}

async fn route(State(sources): State<Sources>, query: Asked<WhereQuery>) -> Answer<Route> {
    let probe = probe(&query?.0)?;
    Ok(Json(blocking(move || sources.datapath.route(&probe)).await??))
}

async fn flow(State(sources): State<Sources>, query: Asked<WhereQuery>) -> Answer<FlowReport> {
    let probe = probe(&query?.0)?;
    Ok(Json(blocking(move || sources.datapath.flow(&probe)).await??))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FlowsQuery {
    pool: Option<String>,
    backend: Option<String>,
}

async fn flows(State(sources): State<Sources>, query: Asked<FlowsQuery>) -> Answer<Remembered> {
    let FlowsQuery { pool, backend } = query?.0;
    let snapshot = sources.snapshot();
    let status = sources.datapath.status();
    if let Some(name) = &pool
        && !snapshot.pools.contains_key(name.as_str())
        && !status.pools.contains_key(name.as_str())
    {
        return Err(no_pool(name));
    }
    if let Some(name) = &backend {
        let there = snapshot.pools.iter().any(|(p, view)| {
            pool.as_ref().is_none_or(|pool| pool == p.as_str()) && view.backends.contains_key(name.as_str())
        }) || status.pools.iter().any(|(p, view)| {
            pool.as_ref().is_none_or(|pool| pool == p.as_str()) && view.backends.contains_key(name.as_str())
        });
        if !there {
            return Err(ApiError::not_found(
                format!("there is no backend {name} here"),
                "`lbctl list` shows what there is",
            ));
        }
    }
    let mut all = blocking(move || sources.datapath.flows()).await??;
    all.backends.retain(|of| {
        pool.as_ref().is_none_or(|pool| *pool == of.pool)
            && backend.as_ref().is_none_or(|backend| *backend == of.backend)
    });
    Ok(Json(all))
}

async fn tables(State(sources): State<Sources>, query: Asked<TableQuery>) -> Answer<Tables> {
    let owners = query?.0.owners;
    let tables = blocking(move || sources.datapath.tables(owners)).await??;
    Ok(Json(Tables { tables }))
}

async fn table(
    State(sources): State<Sources>,
    Path(name): Path<String>,
    query: Asked<TableQuery>,
) -> Answer<TableReport> {
    let owners = query?.0.owners;
    let pool: PoolName = name.parse().map_err(|_| no_pool(&name))?;
    let found = blocking(move || sources.datapath.table(&pool, owners)).await??;
    found.map(Json).ok_or_else(|| no_pool(&name))
}

fn no_pool(name: &str) -> ApiError {
    ApiError::not_found(format!("there is no pool {name}"), "`lbctl list` shows what there is")
}

async fn top(State(sources): State<Sources>) -> Answer<Top> {
    let moment = moment(sources).await?;
    view::top::top(&moment).map(Json).ok_or_else(|| {
        ApiError::unavailable("the counters could not be read", "`journalctl -u lbd` says more")
    })
}

async fn kernel() -> Answer<Kernel> {
    let (release, features) = blocking(|| {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        (release.trim().to_owned(), kernel_check::features())
    })
    .await?;
    let features = features
        .rows()
        .into_iter()
        .map(|(name, present, lack)| KernelFeature { name: name.into(), present, lack: lack.into() })
        .collect();
    Ok(Json(Kernel { release, features }))
}
