//! `lbctl check`.

use clap::Subcommand;

use super::{
    Context,
    change::selector,
    exit::Failure,
    output::{BAD, GOOD, cell, columns},
    units::latency,
};
use crate::{
    api::types::{CheckRun, CheckRuns},
    model::PoolName,
};

/// The verbs.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Run a backend's checks at once; exit 1 if one fails
    Now {
        /// Backend, or POOL/BACKEND
        #[arg(value_name = "BACKEND")]
        host: String,
        /// Only in this pool
        #[arg(long, value_name = "POOL")]
        pool: Option<PoolName>,
    },
}

/// Runs it.
pub async fn run(context: &Context, verb: &Verb) -> Result<(), Failure> {
    let Verb::Now { host, pool } = verb;
    let selector = selector(host, pool.as_ref())?;
    let runs: CheckRuns = context.client.post("/api/v1/checks/run", &selector).await?;
    context.show(&runs, |runs| render(&runs.runs))?;
    match runs.runs.iter().filter(|run| !run.ok).count() {
        0 => Ok(()),
        n => Err(Failure::refused(format!("{n} of {} checks failed", runs.runs.len()), "")),
    }
}

/// One line per check.
pub fn render(runs: &[CheckRun]) -> String {
    if runs.is_empty() {
        return "no checks are configured for it: it is taken to be up\n".into();
    }
    let rows: Vec<_> = runs
        .iter()
        .map(|run| {
            vec![
                cell(format!("{}/{}", run.pool, run.backend)),
                cell(&run.check),
                if run.ok { cell("ok").style(GOOD) } else { cell("failed").style(BAD) },
                cell(match run.latency {
                    Some(seconds) => format!("{} in {}", run.detail, latency(seconds)),
                    None => run.detail.clone(),
                }),
            ]
        })
        .collect();
    columns(&rows, "")
}
