//! `lbctl pool`, `depool`, `weight`.

use std::time::Duration;

use clap::Args;

use super::{
    Context, Format,
    exit::Failure,
    output::{CALM, DIM, cell, columns},
    units::parse_duration,
    wait::{self, Goal},
};
use crate::{
    api::types::{Change, Command, Outcomes, Pooled, Selector},
    model::{BackendName, PoolName, Weight},
};

/// What every change takes.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Backend, or POOL/BACKEND
    #[arg(value_name = "BACKEND")]
    pub host: String,
    /// Only in this pool; without it, in every pool that has the backend
    #[arg(long, value_name = "POOL")]
    pub pool: Option<PoolName>,
    /// Why, for whoever looks later
    #[arg(long)]
    pub reason: Option<String>,
    /// The change ends by itself after so long, for example 30m
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub lasts: Option<Duration>,
    /// Only say what would happen
    #[arg(long)]
    pub dry_run: bool,
    /// Even below the depool threshold
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `pool`.
#[derive(Clone, Debug, Args)]
pub struct PoolArgs {
    /// Whom and how.
    #[command(flatten)]
    pub common: Common,
    /// Return when it serves; give up after TIMEOUT (5m)
    #[arg(long, value_name = "TIMEOUT", num_args = 0..=1, require_equals = true, default_missing_value = "5m", value_parser = parse_duration)]
    pub wait: Option<Duration>,
}

/// Arguments of `depool`.
#[derive(Clone, Debug, Args)]
pub struct DepoolArgs {
    /// Whom and how.
    #[command(flatten)]
    pub common: Common,
    /// Return when it carries no more connections; give up after TIMEOUT (1h)
    #[arg(long, value_name = "TIMEOUT", num_args = 0..=1, require_equals = true, default_missing_value = "1h", value_parser = parse_duration)]
    pub wait: Option<Duration>,
    /// With --wait, unless all connections are tracked: not a single packet for so long counts as no more connections
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub quiet: Duration,
    /// As if it were not configured: no checks, and it does not count for the threshold
    #[arg(long)]
    pub inactive: bool,
}

/// Arguments of `weight`.
#[derive(Clone, Debug, Args)]
pub struct WeightArgs {
    /// Whom and how.
    #[command(flatten)]
    pub common: Common,
    /// 0 to 10000, or `reset` for the file's weight; 0 takes no new connections
    #[arg(value_name = "N|reset", value_parser = parse_weight)]
    pub weight: NewWeight,
    /// Return when the new table is in the kernel; give up after TIMEOUT (1m)
    #[arg(long, value_name = "TIMEOUT", num_args = 0..=1, require_equals = true, default_missing_value = "1m", value_parser = parse_duration)]
    pub wait: Option<Duration>,
}

/// A weight, or the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewWeight(pub Option<Weight>);

fn parse_weight(text: &str) -> Result<NewWeight, String> {
    if text == "reset" {
        return Ok(NewWeight(None));
    }
    let n: u32 = text.parse().map_err(|_| format!("`{text}` is neither a number nor `reset`"))?;
    Weight::try_from(n).map(|weight| NewWeight(Some(weight))).map_err(|error| error.to_string())
}

/// Runs `pool`.
pub async fn pool(context: &Context, args: &PoolArgs) -> Result<(), Failure> {
    let change = Change::Pooled { pooled: Pooled::Yes };
    carry_out(context, &args.common, change, args.wait.map(|limit| (Goal::Serving, limit))).await
}

/// Runs `depool`.
pub async fn depool(context: &Context, args: &DepoolArgs) -> Result<(), Failure> {
    let pooled = if args.inactive { Pooled::Inactive } else { Pooled::No };
    let goal = Goal::Drained { quiet: args.quiet };
    carry_out(context, &args.common, Change::Pooled { pooled }, args.wait.map(|limit| (goal, limit))).await
}

/// Runs `weight`.
pub async fn weight(context: &Context, args: &WeightArgs) -> Result<(), Failure> {
    let change = Change::Weight { weight: args.weight.0 };
    carry_out(context, &args.common, change, args.wait.map(|limit| (Goal::Written, limit))).await
}

/// `POOL/BACKEND` or `BACKEND` with `--pool`.
pub fn selector(host: &str, pool: Option<&PoolName>) -> Result<Selector, Failure> {
    let (in_host, backend) = match host.split_once('/') {
        Some((pool, backend)) => (Some(pool), backend),
        None => (None, host),
    };
    let usage = |error: crate::model::name::NameError| Failure::Usage(format!("{host}: {error}"));
    let in_host: Option<PoolName> = in_host.map(str::parse).transpose().map_err(usage)?;
    let backend: BackendName = backend.parse().map_err(usage)?;
    if let (Some(a), Some(b)) = (&in_host, pool)
        && a != b
    {
        return Err(Failure::Usage(format!("{host} and --pool {b} name two pools; give one")));
    }
    Ok(Selector { backend, pool: in_host.or_else(|| pool.cloned()) })
}

async fn carry_out(
    context: &Context,
    common: &Common,
    change: Change,
    wait: Option<(Goal, Duration)>,
) -> Result<(), Failure> {
    let command = Command {
        selector: selector(&common.host, common.pool.as_ref())?,
        change,
        reason: common.reason.clone(),
        lasts: common.lasts,
        force: common.force,
        dry_run: common.dry_run,
    };
    let outcomes: Outcomes = context.client.post("/api/v1/command", &command).await?;
    if context.format == Format::Json {
        context.print_json(&outcomes)?;
    } else {
        context.print(&render(&outcomes, common.dry_run))?;
    }
    match wait {
        Some((goal, limit)) if !common.dry_run => {
            wait::run(&context.client, &command.selector, goal, limit).await
        }
        _ => Ok(()),
    }
}

/// One line per backend.
pub fn render(outcomes: &Outcomes, dry_run: bool) -> String {
    let rows: Vec<_> = outcomes
        .outcomes
        .iter()
        .map(|outcome| {
            let (word, style) = match (outcome.changed, dry_run) {
                (true, false) => ("changed", CALM),
                (true, true) => ("would change", CALM),
                (false, _) => ("unchanged", DIM),
            };
            vec![cell(outcome.backend.to_string()), cell(word).style(style), cell(&outcome.summary)]
        })
        .collect();
    columns(&rows, "")
}
