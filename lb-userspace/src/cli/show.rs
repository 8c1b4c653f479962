//! `lbctl show`: one pool, service or backend in full.

use std::fmt::Write;

use super::{
    Context, Format,
    exit::Failure,
    list,
    output::{BAD, BOLD, GOOD, NONE, WARN, cell, columns, plain, state_style, styled},
    status::override_text,
    units::{age, estimate, latency, now, percent, rate, since},
};
use crate::api::{
    client::ClientError,
    types::{Backend, Backends, Check, List, Outlier, Pool, Service},
};

/// Arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// NAME, or KIND NAME where KIND is pool, service or backend (LVS: virtual, real, server)
    #[arg(value_name = "[KIND] NAME", num_args = 1..=2, required = true)]
    pub what: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pool,
    Service,
    Backend,
}

fn kind(word: &str) -> Result<Kind, Failure> {
    match word {
        "pool" => Ok(Kind::Pool),
        "service" | "virtual" | "vs" => Ok(Kind::Service),
        "backend" | "real" | "rs" | "server" | "host" => Ok(Kind::Backend),
        _ => Err(Failure::Usage(format!("`{word}` is not one of pool, service, backend"))),
    }
}

/// Runs it.
pub async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let (kind, name) = match args.what.as_slice() {
        [word, name] => (Some(kind(word)?), name.as_str()),
        [name] => (None, name.as_str()),
        _ => return Err(Failure::Usage("give one name".into())),
    };
    let wanted = |k: Kind| kind.is_none_or(|kind| kind == k);
    let list: List = context.client.get("/api/v1/list").await?;
    let mut found = false;
    if wanted(Kind::Service)
        && let Some(service) = list.services.iter().find(|service| service.name == name)
    {
        found = true;
        context.show(service, render_service)?;
    }
    if wanted(Kind::Pool)
        && let Some(pool) = list.pools.iter().find(|pool| pool.summary.name == name)
    {
        found = true;
        context.show(pool, |pool| render_pool(pool, &list, context.format == Format::Wide))?;
    }
    if wanted(Kind::Backend) && name.parse::<crate::model::BackendName>().is_ok() {
        match context.client.get::<Backends>(&format!("/api/v1/backends/{name}")).await {
            Ok(backends) => {
                found = true;
                context.show(&backends, |backends| render_backends(backends, &list, now()))?;
            }
            Err(ClientError::Answer { status: 404, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if found {
        return Ok(());
    }
    Err(Failure::NotFound {
        error: format!("there is no pool, service or backend {}", plain(name)),
        help: "`lbctl list` shows what there is".into(),
    })
}

fn field(out: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  {name:<14} {value}");
}

/// A service.
pub fn render_service(service: &Service) -> String {
    let mut out = format!("{}\n", styled(BOLD, &format!("service {}", service.name)));
    field(&mut out, "addresses", &list::endpoints(service).join(" "));
    field(&mut out, "pool", &plain(&service.pool));
    field(&mut out, "idle", &age(service.idle));
    field(&mut out, "drain timeout", &age(service.drain_timeout));
    if let Some(t) = service.traffic {
        field(&mut out, "packets", &t.packets.to_string());
        field(&mut out, "bytes", &t.bytes.to_string());
        field(&mut out, "connections", &t.connections.to_string());
        field(&mut out, "closes", &format!("{}, {} of them resets", t.closes, t.resets));
    }
    out
}

fn render_pool(pool: &Pool, list: &List, wide: bool) -> String {
    let only = List {
        services: Vec::new(),
        pools: vec![Pool {
            summary: crate::api::types::PoolSummary { services: Vec::new(), ..pool.summary.clone() },
            ..pool.clone()
        }],
    };
    let mut out = format!("{}\n", styled(BOLD, &format!("pool {}", pool.summary.name)));
    let services: Vec<_> = list
        .services
        .iter()
        .filter(|service| service.pool == pool.summary.name)
        .map(|service| format!("{} ({})", plain(&service.name), list::endpoints(service).join(" ")))
        .collect();
    field(&mut out, "services", &services.join(", "));
    field(
        &mut out,
        "threshold",
        &format!(
            "{}{}: {} of {} must stay up and enabled, {} are",
            pool.threshold,
            if pool.threshold_by_weight { " by weight" } else { "" },
            list::floor(pool.summary.total, pool.threshold),
            pool.summary.total,
            pool.summary.up_and_enabled
        ),
    );
    field(
        &mut out,
        "spare",
        match (pool.summary.can_depool, pool.could_not_depool_total) {
            (true, _) => "yes: one more may be taken out",
            (false, 0) => "no",
            (false, _) => "no, and the threshold had to act",
        },
    );
    if let Some(table) = &pool.table {
        field(
            &mut out,
            "table",
            &format!(
                "{}, {} slots, {} in transition",
                plain(&table.digest),
                table.slots,
                table.in_transition
            ),
        );
    }
    if !pool.checked {
        field(&mut out, "checks", "none: backends are taken to be up");
    }
    let table = list::render(&only, None, wide, now());
    // The first line repeats what stands above.
    out.push_str(table.split_once('\n').map_or("", |(_, rest)| rest));
    out
}

/// A backend in each of its pools.
pub fn render_backends(backends: &Backends, list: &List, now: u64) -> String {
    let mut out = String::new();
    for b in &backends.backends {
        if !out.is_empty() {
            out.push('\n');
        }
        let slots = list
            .pools
            .iter()
            .find(|pool| pool.summary.name == b.pool)
            .and_then(|pool| pool.table.as_ref())
            .map_or(0, |table| table.slots);
        render_backend(&mut out, b, slots, now);
    }
    for l in &backends.leaving {
        let _ = writeln!(
            out,
            "{}\n  gone from the configuration, {} slot(s) still drain",
            styled(BOLD, &format!("backend {}/{}", l.pool, l.name)),
            l.table.draining_slots
        );
    }
    out
}

fn render_backend(out: &mut String, b: &Backend, slots: u32, now: u64) {
    let _ = writeln!(out, "{}", styled(BOLD, &format!("backend {}/{}", b.pool, b.name)));
    let why = if b.why.is_empty() { String::new() } else { format!(": {}", plain(&b.why)) };
    field(
        out,
        "state",
        &format!(
            "{} since {}{why}",
            styled(state_style(b.state), &b.state.to_string()),
            age(since(b.since, now))
        ),
    );
    field(out, "pooled", &format!("{} (file: {})", b.pooled, b.configured_pooled));
    field(out, "weight", &format!("{} (file: {})", b.weight, b.configured_weight));
    if let Some(lowered) = &b.lowered {
        let text =
            format!("from {} {} ago: {}", lowered.from, age(since(lowered.since, now)), plain(&lowered.why));
        field(out, "lowered", &styled(WARN, &text));
    }
    if let Some(o) = &b.overridden {
        field(out, "override", &plain(&override_text(o, now)));
    }
    field(out, "address", &b.address.to_string());
    match (&b.next_hop, &b.next_hop_problem) {
        (Some(hop), _) => {
            let vlan = if hop.vlan == 0 { String::new() } else { format!(", VLAN {}", hop.vlan) };
            let via = hop.gateway.as_ref().map_or_else(String::new, |g| format!(" (gateway {})", plain(g)));
            field(
                out,
                "next hop",
                &format!("{}{via} by interface {}{vlan}, MTU {}", plain(&hop.mac), hop.ifindex, hop.mtu),
            );
        }
        (None, problem) => field(out, "next hop", &styled(BAD, problem.as_deref().unwrap_or("not known"))),
    }
    if let Some(share) = b.table {
        let quiet = share.quiet_for.map_or("no packet yet".into(), |q| format!("last packet {} ago", age(q)));
        field(
            out,
            "table",
            &format!(
                "{} of the slots, {} draining, {} pinned flows, {quiet}",
                percent(share.slots, slots),
                share.draining_slots,
                share.pins
            ),
        );
    }
    if let Some(c) = &b.connections {
        let from = if c.exact { "" } else { " (estimated from one flow in 64)" };
        field(
            out,
            "connections",
            &format!(
                "{} active, {} inactive{from}",
                estimate(c.active, c.exact),
                estimate(c.inactive, c.exact)
            ),
        );
    }
    if let Some(t) = b.traffic {
        field(
            out,
            "traffic",
            &format!(
                "{} packets, {} bytes, {} connections, {} closes, {} of them resets",
                t.packets, t.bytes, t.connections, t.closes, t.resets
            ),
        );
    }
    if let Some(r) = &b.rates {
        let mark = if r.estimated { "~" } else { "" };
        field(
            out,
            "per second",
            &format!(
                "{mark}{} new connections; {} SYN, {mark}{} of them repeated, {} FIN, {} RST (over {})",
                rate(r.new),
                rate(r.syns),
                rate(r.retransmits),
                rate(r.fins),
                rate(r.resets),
                age(whole_seconds(r.window))
            ),
        );
    }
    outlier(out, &b.outlier);
    let rows: Vec<_> = b.checks.iter().map(check_row).collect();
    out.push_str(&columns(&rows, "  "));
}

/// How it compares with its pool: what stands out, else the values.
fn outlier(out: &mut String, o: &Outlier) {
    for finding in &o.findings {
        let text = format!("{}, for {}", plain(&finding.text), age(finding.seconds));
        field(out, "stands out", &styled(WARN, &text));
    }
    let shown = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.2}"));
    let values: Vec<_> = o
        .measures
        .iter()
        .filter(|(_, m)| m.value.is_some())
        .map(|(measure, m)| format!("{} {} ({})", measure.as_str(), shown(m.value), shown(m.pool)))
        .collect();
    if !values.is_empty() {
        field(out, "like the pool", &format!("{}; in brackets the pool's median", values.join(", ")));
    }
}

fn check_row(check: &Check) -> Vec<super::output::Cell> {
    let (word, style) = match check.up {
        Some(true) => ("up", GOOD),
        Some(false) => ("down", BAD),
        None => ("unknown", NONE),
    };
    let last = check.last.as_ref().map_or("not run yet".into(), |last| {
        format!(
            "{}{}, {} ago, {} in a row; {} passed, {} failed",
            last.detail,
            last.latency.map_or_else(String::new, |seconds| format!(" in {}", latency(seconds))),
            age(whole_seconds(last.age)),
            last.streak,
            last.passes,
            last.failures
        )
    });
    let last = check.note.iter().fold(last, |last, note| format!("{last}; {note}"));
    vec![
        cell(format!("check {}", check.name)),
        cell(match check.vip {
            Some(vip) => format!("{} to {}", check.kind, std::net::SocketAddr::new(vip, check.port)),
            None => format!("{}/{}", check.kind, check.port),
        }),
        cell(word).style(style),
        cell(last),
    ]
}

#[expect(clippy::cast_sign_loss, reason = "ages are not negative, and the cast saturates")]
const fn whole_seconds(seconds: f64) -> u64 {
    seconds as u64
}
