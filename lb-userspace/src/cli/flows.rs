//! `lbctl flows`: what the kernel's tables remember of flows.

use std::fmt::Write;

use super::{
    Context,
    exit::Failure,
    output::{BOLD, DIM, WARN, cell, columns, heading, number, plain, styled},
    route,
    units::percent,
};
use crate::api::types::{Ages, FlowKind, FlowReport, Remembered, WhereQuery};

/// Arguments.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "The tables hold no addresses: flows can be counted, and one can be looked up by its two ends, but they cannot be \
                        listed. A flow in a stable slot of a service that is not tracked is remembered nowhere, and needs not be."
)]
pub struct Args {
    /// A pool, a backend as POOL/BACKEND, or a client as 198.51.100.7:40000
    #[arg(value_name = "POOL[/BACKEND] | SRC:PORT")]
    pub what: Option<String>,
    /// With a client: the service's address, for example 203.0.113.10:443
    #[arg(value_name = "DST:PORT", requires = "what")]
    pub dst: Option<String>,
    /// With a client: protocol
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp")]
    pub protocol: String,
}

/// Runs it.
pub async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    if let Some(dst) = &args.dst {
        let query = WhereQuery {
            src: args.what.clone(),
            dst: Some(dst.clone()),
            protocol: Some(args.protocol.clone()),
            first: Some(false),
            ..WhereQuery::default()
        };
        query.probe().map_err(Failure::Usage)?;
        let report: FlowReport = context.client.get(&format!("/api/v1/flow?{}", query.text())).await?;
        let title = format!("{} -> {dst} {}", args.what.as_deref().unwrap_or_default(), args.protocol);
        return context.show(&report, |report| one(&title, report));
    }
    let path = match &args.what {
        None => "/api/v1/flows".to_owned(),
        Some(what) if what.contains([':', ' ', '?', '&', '#', '%']) => {
            return Err(Failure::Usage(format!(
                "`{what}` is no pool; for one flow give both ends: lbctl flows 198.51.100.7:40000 203.0.113.10:443"
            )));
        }
        Some(what) => match what.split_once('/') {
            None => format!("/api/v1/flows?pool={what}"),
            Some((pool, backend)) => format!("/api/v1/flows?pool={pool}&backend={backend}"),
        },
    };
    let all: Remembered = context.client.get(&path).await?;
    context.show(&all, render)
}

const fn word(kind: FlowKind) -> &'static str {
    match kind {
        FlowKind::PinProbation => "pin, first packet only",
        FlowKind::PinProtected => "pin",
        FlowKind::FlowNew => "tracked, new",
        FlowKind::FlowEstablished => "tracked, established",
        FlowKind::FlowClosing => "tracked, closing",
        FlowKind::Source => "sticky source",
    }
}

/// Entries by backend, kind and time since they were used.
pub fn render(all: &Remembered) -> String {
    let names = ["POOL", "BACKEND", "WHAT", "ALL", "<1s", "<10s", "<1m", "<5m", "OLDER"];
    let mut rows = vec![heading(&names)];
    for of in &all.backends {
        for (kind, ages) in &of.kinds {
            let Ages(classes) = ages;
            let mut row =
                vec![cell(&of.pool), cell(&of.backend), cell(word(*kind)), number(ages.total().to_string())];
            row.extend(classes.iter().map(|n| number(n.to_string())));
            rows.push(row);
        }
    }
    let mut out = if rows.len() == 1 {
        "no flow is remembered: all slots are stable, or there is no traffic\n".to_owned()
    } else {
        columns(&rows, "")
    };
    let used: Vec<String> = all
        .tables
        .iter()
        .filter(|table| table.room > 0)
        .map(|table| {
            let part = |n: u64| u32::try_from(n / table.room.div_ceil(1 << 31)).unwrap_or(u32::MAX);
            let full = format!("{} {}", table.table, percent(part(table.used), part(table.room)));
            if table.used * 4 > table.room * 3 { styled(WARN, &full) } else { plain(&full) }
        })
        .collect();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\n{} {}", styled(BOLD, "tables:"), used.join(", "));
    let note = format!(
        "times are since the last packet, to {:.1} s; addresses are not kept: `lbctl flows SRC:PORT DST:PORT` looks one flow up",
        all.resolution
    );
    let _ = writeln!(out, "{}", styled(DIM, &note));
    out
}

/// One flow.
pub fn one(title: &str, report: &FlowReport) -> String {
    let mut out = format!("{}\n", styled(BOLD, title));
    if report.known.is_empty() {
        out.push_str("  known     by no table: it goes where its slot says\n");
    }
    for known in &report.known {
        let closing = if known.closing { ", FIN or RST seen" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  known     {}: {}, last packet {:.0}s ago{closing}",
            word(known.kind),
            plain(&known.backend),
            known.age,
        );
    }
    route::walk(&mut out, &report.route);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::types::{RememberedOf, TableUse};

    #[test]
    fn an_empty_site_says_so_and_a_full_table_stands_out() {
        let mut all = Remembered {
            tables: vec![TableUse { table: "FLOWS".into(), used: 9, room: 10 }],
            backends: Vec::new(),
            resolution: 1.0,
        };
        let text = render(&all);
        assert!(text.starts_with("no flow is remembered"), "{text}");
        assert!(text.contains(&styled(WARN, "FLOWS 90.0%")), "{text}");
        all.backends.push(RememberedOf {
            pool: "p".into(),
            backend: "b\x1b".into(),
            kinds: BTreeMap::from([(FlowKind::Source, Ages([1, 0, 0, 0, 2]))]),
        });
        let text = anstream::adapter::strip_str(&render(&all)).to_string();
        assert!(text.contains("sticky source    3    1     0    0    0      2\n"), "{text}");
        assert!(!text.contains('\x1b'));
    }
}
