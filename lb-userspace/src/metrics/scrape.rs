//! One collection a second at most, however many scrape, and never on a worker of the runtime: reading the counters is system calls.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use prometheus::{Encoder, TextEncoder};
use tokio::sync::Mutex;

use super::{
    collect::{self, Samples},
    compat, process,
};
use crate::api::{error::ApiError, moment::Moment, sources::Sources};

/// A result is good for so long.
const FRESH: Duration = Duration::from_secs(1);

/// Collects, and remembers the latest result.
#[derive(Debug)]
pub struct Scraper {
    sources: Sources,
    pybal_names: bool,
    latest: Mutex<Option<(Instant, Bytes)>>,
}

impl Scraper {
    /// With PyBal's names too, if wanted.
    pub fn new(sources: Sources, pybal_names: bool) -> Self {
        Self { sources, pybal_names, latest: Mutex::default() }
    }

    /// The text format.
    pub async fn text(&self) -> Result<Bytes, ApiError> {
        let mut latest = self.latest.lock().await;
        if let Some((when, text)) = &*latest
            && when.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let (sources, pybal_names) = (self.sources.clone(), self.pybal_names);
        let collected = tokio::task::spawn_blocking(move || collect(&sources, pybal_names)).await;
        let text = match collected {
            Ok(Ok(text)) => Bytes::from(text),
            Ok(Err(error)) => return Err(failed(&error)),
            Err(error) => return Err(failed(&error)),
        };
        *latest = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}

fn failed(error: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(%error, "metrics could not be collected");
    ApiError::unavailable("the metrics could not be collected", "`journalctl -u lbd` says more")
}

/// Collects and encodes.
pub fn collect(sources: &Sources, pybal_names: bool) -> Result<Vec<u8>, prometheus::Error> {
    let moment = Moment::with_counters(sources);
    let mut samples = Samples::default();
    collect::collect(&moment, &mut samples);
    if pybal_names {
        compat::collect(&moment, &mut samples);
    }
    process::collect(sources.about.started, &mut samples);
    let mut text = Vec::new();
    TextEncoder::new().encode(&samples.into_families(), &mut text)?;
    Ok(text)
}
