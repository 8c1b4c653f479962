//! `lbctl list`: services with their backends.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{
    Context, Format,
    exit::Failure,
    ipvs,
    output::{
        BAD, BOLD, CALM, Cell, DIM, GOOD, NONE, WARN, cell, columns, heading, number, plain, state_style,
        styled,
    },
    status::override_text,
    units::{self, age, estimate, latency, now, percent, short, since},
};
use crate::{
    api::types::{Backend, Connections, List, Method, Pool, Pooled, Rates, Service, Share, Standing},
    model::endpoint::place,
};

/// Between the two looks of `--rate`.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Arguments.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// In the shape of `ipvsadm -Ln`. Backends that get no connection at all are left out, draining ones have weight 0
    #[arg(long)]
    pub ipvs: bool,
    /// Look twice, a second apart, and show packets and connections per second
    #[arg(long)]
    pub rate: bool,
    /// Only this pool
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
}

/// Connections and packets per second, by pool and backend.
pub type Measured = BTreeMap<(String, String), (f64, f64)>;

/// Runs it.
pub async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let mut list: List = context.client.get("/api/v1/list").await?;
    let mut rates = None;
    if args.rate && context.format != Format::Json && !args.ipvs {
        let before = list;
        tokio::time::sleep(RATE_WINDOW).await;
        list = context.client.get("/api/v1/list").await?;
        rates = Some(measure(&before, &list, RATE_WINDOW.as_secs_f64()));
    }
    if let Some(only) = &args.pool {
        list.pools.retain(|pool| pool.summary.name == *only);
        list.services.retain(|service| service.pool == *only);
        if list.pools.is_empty() {
            return Err(Failure::NotFound {
                error: format!("there is no pool {only}"),
                help: "`lbctl list` shows what there is".into(),
            });
        }
    }
    if args.ipvs {
        if context.format == Format::Json {
            return Err(Failure::Usage(
                "--ipvs is a text format; leave out one of --ipvs and -o json".into(),
            ));
        }
        return context.print(&ipvs::render(&list));
    }
    let wide = context.format == Format::Wide;
    context.show(&list, |list| render(list, rates.as_ref(), wide, now()))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn measure(before: &List, after: &List, seconds: f64) -> Measured {
    let traffic = |list: &List| -> BTreeMap<_, _> {
        list.pools
            .iter()
            .flat_map(|pool| &pool.members)
            .filter_map(|b| Some(((b.pool.clone(), b.name.clone()), b.traffic?)))
            .collect()
    };
    let before = traffic(before);
    traffic(after)
        .into_iter()
        .filter_map(|(id, now)| {
            let then = before.get(&id)?;
            let per = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
            Some((id, (per(now.connections, then.connections), per(now.packets, then.packets))))
        })
        .collect()
}

/// The tables.
pub fn render(list: &List, rates: Option<&Measured>, wide: bool, now: u64) -> String {
    let mut out = String::new();
    for service in &list.services {
        let Some(pool) = list.pools.iter().find(|pool| pool.summary.name == service.pool) else {
            continue;
        };
        separate(&mut out);
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{}  {}  {}  {}  {}",
            styled(BOLD, &format!("SERVICE  {}", service.name)),
            endpoints(service).join(" "),
            methods(pool),
            service.scheduler.as_str(),
            pool_line(pool),
        );
        backends(&mut out, pool, rates, wide, now);
    }
    for pool in list.pools.iter().filter(|pool| pool.summary.services.is_empty()) {
        separate(&mut out);
        let _ = writeln!(out, "{}  {}", styled(BOLD, "POOL  of no service"), pool_line(pool));
        backends(&mut out, pool, rates, wide, now);
    }
    if out.is_empty() {
        out.push_str("no service and no pool is configured; see `lbctl config test`\n");
    }
    out
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
}

/// The forwarding methods of a pool's backends; of an empty pool the default.
fn methods(pool: &Pool) -> String {
    let mut words: Vec<String> = pool.members.iter().map(|b| b.method.to_string()).collect();
    words.sort_unstable();
    words.dedup();
    if words.is_empty() { Method::default().to_string() } else { words.join("+") }
}

/// A service's addresses with port and protocol.
pub fn endpoints(service: &Service) -> Vec<String> {
    service
        .addresses
        .iter()
        .map(|address| format!("{}/{}", place(address, service.port), service.protocol))
        .collect()
}

/// The least that must stay up and enabled: `ceil(N * threshold)`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the formula is in floats, and no pool has 2^53 backends"
)]
pub fn floor(total: u64, threshold: f64) -> u64 {
    (total as f64 * threshold).ceil() as u64
}

fn pool_line(pool: &Pool) -> String {
    let s = &pool.summary;
    let unit = if pool.threshold_by_weight { " by weight" } else { "" };
    let table = pool.table.as_ref().map_or("-", |table| table.digest.get(..8).unwrap_or(&table.digest));
    let up = format!("up {}/{}{unit} (floor {})", s.up_and_enabled, s.total, floor(s.total, pool.threshold));
    let style = if s.can_depool { NONE } else { WARN };
    format!("pool={}  {}  table {}", plain(&s.name), styled(style, &up), plain(table))
}

fn backends(out: &mut String, pool: &Pool, rates: Option<&Measured>, wide: bool, now: u64) {
    let mut names = vec!["BACKEND", "ADDRESS", "POOLED", "STATE", "WEIGHT", "SHARE", "ACTIVE", "INACT"];
    if rates.is_some() {
        names.extend(["CONN/S", "PKT/S"]);
    }
    if wide {
        names.extend(["NEW/S", "FIN/S", "RST/S", "PACKETS", "CONNS", "DRAINING", "PINS", "QUIET", "MAC"]);
    }
    names.extend(["CHECK", "SINCE", "NOTE"]);
    let slots = pool.table.as_ref().map_or(0, |table| table.slots);
    let mut rows = vec![heading(&names)];
    for b in &pool.members {
        let share = b.table.unwrap_or_default();
        let mut row = vec![
            cell(&b.name),
            cell(b.address.to_string()),
            cell(b.pooled.to_string()).style(if b.pooled == Pooled::Yes { NONE } else { CALM }),
            cell(b.state.to_string()).style(state_style(b.state)),
            number(weight(b)),
            number(percent(share.slots, slots)),
            connections(b, |c| c.active),
            connections(b, |c| c.inactive),
        ];
        if let Some(rates) = rates {
            let rate = rates.get(&(b.pool.clone(), b.name.clone()));
            row.push(number(rate.map_or("-".into(), |r| short(r.0))));
            row.push(number(rate.map_or("-".into(), |r| short(r.1))));
        }
        if wide {
            wide_cells(&mut row, b, share);
        }
        row.extend([check(b), cell(age(since(b.since, now))), cell(note(b, slots, now)).style(DIM)]);
        rows.push(row);
    }
    out.push_str(&columns(&rows, "  -> "));
    for l in &pool.leaving {
        let _ = writeln!(
            out,
            "  -> {}  gone from the configuration, {} slot(s) still drain",
            plain(&l.name),
            l.table.draining_slots
        );
    }
}

fn wide_cells(row: &mut Vec<Cell>, b: &Backend, share: Share) {
    let or_dash = |n: Option<u64>| number(n.map_or("-".into(), |n| n.to_string()));
    let rate = |of: fn(&Rates) -> f64| number(b.rates.as_ref().map_or("-".into(), |r| units::rate(of(r))));
    row.extend([
        new_rate(b),
        rate(|r| r.fins),
        rate(|r| r.resets),
        or_dash(b.traffic.map(|t| t.packets)),
        or_dash(b.traffic.map(|t| t.connections)),
        number(share.draining_slots.to_string()),
        number(share.pins.to_string()),
        number(share.quiet_for.map_or("-".into(), age)),
        cell(b.next_hop.as_ref().map_or("-", |hop| hop.mac.as_str())),
    ]);
}

/// `ActiveConn` or `InActConn`.
fn connections(b: &Backend, of: fn(&Connections) -> u64) -> Cell {
    number(b.connections.as_ref().map_or("-".into(), |c| estimate(of(c), c.exact)))
}

fn new_rate(b: &Backend) -> Cell {
    number(b.rates.map_or("-".into(), |r| {
        let mark = if r.estimated && r.retransmits > 0.0 { "~" } else { "" };
        format!("{mark}{}", units::rate(r.new))
    }))
}

/// `100`, or `100→20` when overridden or lowered.
pub fn weight(b: &Backend) -> String {
    if b.weight == b.configured_weight {
        b.weight.to_string()
    } else {
        format!("{}→{}", b.configured_weight, b.weight)
    }
}

/// The check that says most: the first that fails, else the first.
fn check(b: &Backend) -> Cell {
    let shown = b.checks.iter().find(|check| check.up == Some(false)).or_else(|| b.checks.first());
    match shown.map(|check| (check, &check.last)) {
        None => cell("-"),
        Some((check, None)) => cell(format!("{} not run yet", check.name)).style(WARN),
        Some((check, Some(last))) if last.ok => {
            cell(format!("{} ok in {}", check.name, last.latency.map_or("-".into(), latency))).style(GOOD)
        }
        Some((check, Some(last))) => cell(format!("{}: {}", check.name, last.detail)).style(BAD),
    }
}

fn note(b: &Backend, slots: u32, now: u64) -> String {
    let mut parts = Vec::new();
    if let Some(share) = b.table
        && share.draining_slots > 0
    {
        let quiet = share.quiet_for.map_or(String::new(), |quiet| format!(", quiet for {}", age(quiet)));
        parts.push(format!("draining {}{quiet}", percent(share.draining_slots, slots)));
    }
    if b.outlier.state == Standing::Suspect {
        let texts: Vec<_> = b.outlier.findings.iter().map(|f| f.text.as_str()).collect();
        parts.push(format!("stands out: {}", texts.join("; ")));
    }
    if let Some(lowered) = &b.lowered {
        parts.push(format!(
            "weight {} lowered to {} {} ago",
            lowered.from,
            b.weight,
            age(since(lowered.since, now))
        ));
    }
    if let Some(problem) = &b.next_hop_problem
        && b.pooled != Pooled::Inactive
    {
        parts.push(problem.clone());
    }
    match &b.overridden {
        Some(o) => parts.push(override_text(o, now)),
        None if !b.why.is_empty() && Some(&b.why) != b.next_hop_problem.as_ref() => parts.push(b.why.clone()),
        None => {}
    }
    parts.join("; ")
}
