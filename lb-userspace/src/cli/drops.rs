//! `lbctl drops`: packets that were not forwarded, by reason: passed to the kernel, dropped, or answered; and what happened to
//! remembered flows.

use std::time::{Duration, Instant};

use super::{
    Context, Format,
    exit::Failure,
    output::{BAD, DIM, NONE, cell, columns, heading, number},
    units::short,
};
use crate::api::types::Drops;

/// Arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Look again every second and show rates; ends with Ctrl-C
    #[arg(long, short)]
    pub watch: bool,
    /// Also reasons that never happened
    #[arg(long, short)]
    pub all: bool,
}

/// Runs it.
pub async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let mut drops: Drops = context.client.get("/api/v1/drops").await?;
    if !args.watch {
        return context.show(&drops, |drops| render(drops, None, args.all));
    }
    if context.format == Format::Json {
        return Err(Failure::Usage("--watch is for people; poll `lbctl drops -o json` instead".into()));
    }
    loop {
        let begin = Instant::now();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let next: Drops = context.client.get("/api/v1/drops").await?;
        let text = render(&next, Some((&drops, begin.elapsed())), args.all);
        context.print(&format!("{text}\n"))?;
        drops = next;
    }
}

/// The tables. With an older look also the rates since.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
pub fn render(now: &Drops, before: Option<(&Drops, Duration)>, all: bool) -> String {
    let mut names = vec!["REASON", "VERDICT", "PACKETS"];
    if before.is_some() {
        names.push("PER S");
    }
    names.push("MEANING");
    let mut rows = vec![heading(&names)];
    for drop in now.reasons.iter().filter(|drop| all || drop.packets > 0) {
        let harmful = drop.verdict == "drop" && drop.packets > 0;
        let mut row = vec![
            cell(&drop.reason),
            cell(&drop.verdict).style(if harmful { BAD } else { NONE }),
            number(drop.packets.to_string()),
        ];
        if let Some((before, time)) = before {
            let then =
                before.reasons.iter().find(|old| old.reason == drop.reason).map_or(0, |old| old.packets);
            let rate = drop.packets.saturating_sub(then) as f64 / time.as_secs_f64().max(0.001);
            row.push(number(short(rate)));
        }
        row.push(cell(&drop.describe).style(DIM));
        rows.push(row);
    }
    let mut out =
        if rows.len() == 1 { "every packet so far was forwarded\n".into() } else { columns(&rows, "") };
    let mut events = vec![heading(&["FLOWS", "EVENTS"])];
    let wanted = now.pins.iter().filter(|pin| all || pin.count > 0);
    events.extend(wanted.map(|pin| vec![cell(&pin.event), number(pin.count.to_string())]));
    if events.len() > 1 {
        out.push('\n');
        out.push_str(&columns(&events, ""));
    }
    out
}
