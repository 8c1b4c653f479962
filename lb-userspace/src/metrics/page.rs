//! The status page: made on the server, without script, refreshed by the browser. Pure.

use std::fmt::Write;

use crate::api::{
    moment::Moment,
    types::{Backend, Connections, List, Pool, Service, Severity, Status},
    view,
};
use crate::model::endpoint::place;

/// The page's style sheet, a file of its own so that the page may forbid inline styles.
pub const STYLE: &str = include_str!("style.css");

/// What the page may load: its style sheet from here, nothing else.
pub const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page. `now` is in seconds since 1970.
pub fn render(moment: &Moment, now: u64) -> String {
    let status = view::status(moment);
    let list = view::list(moment);
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>lbd</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<meta http-equiv=\"refresh\" content=\"10\">\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n",
    );
    head(&mut out, &status, now);
    for service in &list.services {
        service_section(&mut out, service, &list, now);
    }
    for pool in list.pools.iter().filter(|pool| pool.summary.services.is_empty()) {
        let _ = writeln!(out, "<h2>pool {} of no service</h2>", escape(&pool.summary.name));
        backends(&mut out, pool, now);
    }
    out.push_str(
        "<p class=\"note\"><a href=\"/metrics\">metrics</a> <a href=\"/alerts\">alerts</a> \
         <a href=\"/pools\">pools</a> <a href=\"/api/v1/status\">JSON</a></p>\n</body>\n</html>\n",
    );
    out
}

fn head(out: &mut String, status: &Status, now: u64) {
    // Writing to a string cannot fail, here and below.
    let interfaces: Vec<_> = status
        .datapath
        .attachments
        .iter()
        .map(|a| format!(", {} ({}, {})", escape(&a.interface), escape(&a.mode), escape(&a.driver)))
        .collect();
    let _ = writeln!(
        out,
        "<h1>lbd {}</h1>\n<p>up {}, configuration {} old{}</p>",
        escape(&status.version),
        age(status.uptime),
        age(now.saturating_sub(status.config.loaded)),
        interfaces.concat(),
    );
    if status.alerts.is_empty() {
        out.push_str("<p class=\"ok\">all well</p>\n");
        return;
    }
    out.push_str("<ul>\n");
    for alert in &status.alerts {
        let word = match alert.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
        };
        let _ = writeln!(out, "<li><span class=\"{word}\">{word}</span> {}</li>", escape(&alert.text));
    }
    out.push_str("</ul>\n");
}

fn service_section(out: &mut String, service: &Service, list: &List, now: u64) {
    let addresses: Vec<_> = service
        .addresses
        .iter()
        .map(|address| format!("{}/{}", place(address, service.port), service.protocol))
        .collect();
    let _ = writeln!(
        out,
        "<h2>{} <span class=\"note\">{}, pool {}</span></h2>",
        escape(&service.name),
        addresses.join(" "),
        escape(&service.pool)
    );
    if let Some(pool) = list.pools.iter().find(|pool| pool.summary.name == service.pool) {
        backends(out, pool, now);
    }
}

fn backends(out: &mut String, pool: &Pool, now: u64) {
    let slots = pool.table.as_ref().map_or(0, |table| table.slots);
    out.push_str(
        "<table>\n<tr><th>backend</th><th>address</th><th>pooled</th><th>state</th><th class=\"n\">weight</th>\
         <th class=\"n\">share</th><th class=\"n\">active</th><th class=\"n\">inactive</th><th>since</th><th>note</th></tr>\n",
    );
    for b in &pool.members {
        row(out, b, slots, now);
    }
    out.push_str("</table>\n");
}

fn row(out: &mut String, b: &Backend, slots: u32, now: u64) {
    let share = match b.table {
        Some(share) if slots > 0 => format!("{:.1}%", f64::from(share.slots) * 100.0 / f64::from(slots)),
        _ => "-".to_owned(),
    };
    let mut note = b.why.clone();
    if let Some(problem) = &b.next_hop_problem
        && *problem != b.why
    {
        let _ = write!(note, " {problem}");
    }
    for finding in &b.outlier.findings {
        let _ = write!(note, " stands out: {}.", finding.text);
    }
    if let Some(lowered) = &b.lowered {
        let _ = write!(note, " weight lowered from {}", lowered.from);
    }
    let connections = |of: fn(&Connections) -> u64| match &b.connections {
        Some(c) if c.exact => of(c).to_string(),
        Some(c) => format!("~{}", of(c)),
        None => "-".to_owned(),
    };
    let state = b.state;
    let _ = writeln!(
        out,
        "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"{state}\">{state}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{share}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"note\">{}</td></tr>",
        escape(&b.name),
        b.address,
        b.pooled,
        b.weight,
        connections(|c| c.active),
        connections(|c| c.inactive),
        age(now.saturating_sub(b.since)),
        escape(note.trim()),
    );
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Text that cannot become markup.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
