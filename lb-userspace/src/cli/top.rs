//! `lbctl top`: rates of services and backends, looked at again every second.

mod screen;

use std::{collections::BTreeMap, fmt::Write, io::IsTerminal, time::Duration};

use self::screen::Screen;
use super::{
    Context, Format,
    exit::Failure,
    output::{BAD, BOLD, Cell, NONE, cell, columns, heading, number, state_style, styled},
    units::short,
};
use crate::api::types::{Top, Traffic};

/// Arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Show one second's rates and end; the default when the output is no terminal
    #[arg(long)]
    pub once: bool,
    /// Only this pool
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// Seconds between two looks
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub interval: u64,
}

/// Runs it.
pub async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let every = Duration::from_secs(args.interval);
    let mut before = look(context, args).await?;
    let live = !args.once && context.format != Format::Json && std::io::stdout().is_terminal();
    if !live {
        tokio::time::sleep(every).await;
        let now = look(context, args).await?;
        let rates = Rates::between(&before, &now);
        return context.show(&rates, |rates| render(rates, usize::MAX));
    }
    let mut screen = Screen::open()?;
    screen.show(&styled(BOLD, "looking for a second; q ends"))?;
    loop {
        if screen.wait(every).await? {
            return Ok(());
        }
        let now = look(context, args).await?;
        screen.show(&render(&Rates::between(&before, &now), screen.rows()))?;
        before = now;
    }
}

async fn look(context: &Context, args: &Args) -> Result<Top, Failure> {
    let mut top: Top = context.client.get("/api/v1/top").await?;
    if let Some(pool) = &args.pool {
        top.services.retain(|service| service.pool == *pool);
        top.backends.retain(|backend| backend.pool == *pool);
        if top.backends.is_empty() && top.services.is_empty() {
            return Err(Failure::NotFound {
                error: format!("there is no pool {pool}"),
                help: "`lbctl list` shows what there is".into(),
            });
        }
    }
    Ok(top)
}

/// What went on between two looks, a second.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Rates {
    /// Seconds between the looks.
    pub seconds: f64,
    /// Packets dropped.
    pub dropped: f64,
    /// Services, the busiest first.
    pub services: Vec<Row>,
    /// Backends, the busiest first.
    pub backends: Vec<Row>,
}

/// A service or a backend.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Row {
    /// Pool.
    pub pool: String,
    /// Name.
    pub name: String,
    /// State of a backend.
    pub state: Option<crate::model::Disposition>,
    /// Share of its pool's slots, 0.0 to 1.0, of a backend.
    pub share: Option<f64>,
    /// Packets.
    pub packets: f64,
    /// Bits, as the frames are on the wire between their addresses and their ends.
    pub bits: f64,
    /// New connections.
    pub connections: f64,
    /// Connections now; of a service nobody counts them.
    pub active: Option<u64>,
    /// Opening and closing ones.
    pub inactive: Option<u64>,
    /// The two are exact, not estimated from a sample.
    pub exact: bool,
}

impl Rates {
    /// Of two looks. What was not there before counts from zero.
    pub fn between(before: &Top, now: &Top) -> Self {
        // Two looks at the same moment have nothing between them.
        let seconds = (now.at - before.at).max(0.001);
        let row = |pool: &str, name: &str, now: Traffic, then: Option<Traffic>| {
            let then = then.unwrap_or_default();
            let rate = |now: u64, then: u64| per_second(now.saturating_sub(then), seconds);
            Row {
                pool: pool.to_owned(),
                name: name.to_owned(),
                state: None,
                share: None,
                packets: rate(now.packets, then.packets),
                bits: 8.0 * rate(now.bytes, then.bytes),
                connections: rate(now.connections, then.connections),
                active: None,
                inactive: None,
                exact: true,
            }
        };
        let then: BTreeMap<_, _> = before.services.iter().map(|s| (s.name.as_str(), s.traffic)).collect();
        let mut services: Vec<Row> = now
            .services
            .iter()
            .map(|s| row(&s.pool, &s.name, s.traffic, then.get(s.name.as_str()).copied()))
            .collect();
        let then: BTreeMap<_, _> =
            before.backends.iter().map(|b| ((b.pool.as_str(), b.name.as_str()), b.traffic)).collect();
        let mut backends: Vec<Row> = now
            .backends
            .iter()
            .map(|b| {
                let then = then.get(&(b.pool.as_str(), b.name.as_str())).copied();
                Row {
                    state: b.state,
                    share: Some(b.share),
                    active: Some(b.connections.active),
                    inactive: Some(b.connections.inactive),
                    exact: b.connections.exact,
                    ..row(&b.pool, &b.name, b.traffic, then)
                }
            })
            .collect();
        // Sorted stably: rows of equal rates do not dance.
        services.sort_by(|a, b| b.bits.total_cmp(&a.bits));
        backends.sort_by(|a, b| b.bits.total_cmp(&a.bits));
        let dropped = per_second(now.dropped.saturating_sub(before.dropped), seconds);
        Self { seconds, dropped, services, backends }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(n: u64, seconds: f64) -> f64 {
    n as f64 / seconds
}

/// The screen, at most `lines` lines of it; what does not fit is said.
pub fn render(rates: &Rates, lines: usize) -> String {
    let sum = |of: fn(&Row) -> f64| rates.services.iter().map(of).sum::<f64>();
    let dropped =
        styled(if rates.dropped > 0.0 { BAD } else { NONE }, &format!("{} dropped/s", short(rates.dropped)));
    let mut out = format!(
        "{}  {} pkt/s  {}bit/s  {} new/s  {dropped}\n\n",
        styled(BOLD, "lbd"),
        short(sum(|r| r.packets)),
        short(sum(|r| r.bits)),
        short(sum(|r| r.connections)),
    );
    // Heading, blank lines and the sentence about the rest.
    let room = lines.saturating_sub(7);
    let of_services = rates.services.len().min(room / 2).max(1.min(rates.services.len()));
    let of_backends = room.saturating_sub(of_services).min(rates.backends.len());
    let names = ["SERVICE", "POOL", "PKT/S", "BIT/S", "NEW/S"];
    let mut rows = vec![heading(&names)];
    rows.extend(rates.services.iter().take(of_services).map(|row| {
        let mut cells = vec![cell(&row.name), cell(&row.pool)];
        cells.extend(numbers(row));
        cells
    }));
    out.push_str(&columns(&rows, ""));
    out.push('\n');
    let names = ["BACKEND", "POOL", "STATE", "SHARE", "PKT/S", "BIT/S", "NEW/S", "ACTIVE", "INACTIVE"];
    let mut rows = vec![heading(&names)];
    rows.extend(rates.backends.iter().take(of_backends).map(|row| {
        let state = row.state.map_or("gone".to_owned(), |state| state.to_string());
        let style = row.state.map_or(NONE, state_style);
        let mut cells = vec![
            cell(&row.name),
            cell(&row.pool),
            cell(state).style(style),
            number(row.share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}%", share * 100.0))),
        ];
        cells.extend(numbers(row));
        // An estimate says that it is one.
        let mark = if row.exact { "" } else { "~" };
        cells.extend(
            [row.active, row.inactive]
                .map(|n| number(n.map_or_else(|| "-".to_owned(), |n| format!("{mark}{n}")))),
        );
        cells
    }));
    out.push_str(&columns(&rows, ""));
    let hidden = rates.services.len() - of_services + (rates.backends.len() - of_backends);
    if hidden > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "and {hidden} more; --pool shows fewer");
    }
    out
}

fn numbers(row: &Row) -> [Cell; 3] {
    [row.packets, row.bits, row.connections].map(|n| number(short(n)))
}

#[cfg(test)]
mod tests;
