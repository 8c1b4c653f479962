//! `lbctl where`: the live program's answer for one packet, as a walk.

pub mod args;

use std::{collections::BTreeMap, fmt::Write, path::Path};

use self::args::Args;
use super::{
    Context, Format,
    exit::Failure,
    output::{BAD, BOLD, GOOD, plain, styled},
    pcap,
};
use crate::{
    api::types::{Route, WhereQuery},
    datapath::{LONGEST_FRAME, hex},
};

/// Frames of a capture file that are asked about at most: each is a question of its own.
const MOST: usize = 10_000;

/// Runs it.
pub async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    if let Some(file) = &args.pcap {
        return of_file(context, file, args.all).await;
    }
    let mut answers = Vec::new();
    for (kind, query) in args.queries().map_err(Failure::Usage)? {
        answers.push((kind, ask(context, &query).await?));
    }
    if context.format == Format::Json {
        let by_kind: BTreeMap<_, _> = answers.iter().map(|(kind, route)| (kind.key(), route)).collect();
        return context.print_json(&by_kind);
    }
    context.print(&render(&args.title(), &answers))
}

async fn ask(context: &Context, query: &WhereQuery) -> Result<Route, Failure> {
    // What is wrong with it is said before a daemon is needed.
    query.probe().map_err(Failure::Usage)?;
    Ok(context.client.get(&format!("/api/v1/where?{}", query.text())).await?)
}

/// Asks about the first frame of a capture file, or all of them.
async fn of_file(context: &Context, file: &Path, all: bool) -> Result<(), Failure> {
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|error| Failure::NotFound {
        error: format!("{name}: {error}"),
        help: "give a file that tcpdump -w or `lbctl capture --write` wrote".into(),
    })?;
    let frames = pcap::frames(&bytes, if all { MOST } else { 1 })
        .map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    if frames.is_empty() {
        return Err(Failure::Usage(format!("{name}: there is no frame in it")));
    }
    let mut routes = Vec::new();
    for (i, frame) in frames.iter().enumerate() {
        // What is behind the headers decides nothing; the kernel takes a page at most.
        let frame = hex::of(&frame[..frame.len().min(LONGEST_FRAME)]);
        let route = ask(context, &WhereQuery { frame: Some(frame), ..WhereQuery::default() }).await?;
        if context.format != Format::Json {
            let title = format!("frame {}", i + 1);
            context.print(&render(&title, &[(Kind::Packet, route)]))?;
            continue;
        }
        routes.push(route);
    }
    if context.format == Format::Json { context.print_json(&routes) } else { Ok(()) }
}

/// What kind of packet was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A TCP connection's first.
    New,
    /// A later one.
    Established,
    /// As it was described.
    Packet,
}

impl Kind {
    const fn key(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Established => "established",
            Self::Packet => "packet",
        }
    }

    const fn describe(self) -> Option<&'static str> {
        match self {
            Self::New => Some("new connection"),
            Self::Established => Some("established connection"),
            Self::Packet => None,
        }
    }
}

/// Whether two answers tell the same; their questions differ.
fn same(a: &Route, b: &Route) -> bool {
    let bare = |route: &Route| Route { frame: String::new(), frame_out: None, ..route.clone() };
    bare(a) == bare(b)
}

/// The walk, one step per line. Kinds that share it are shown once.
pub fn render(title: &str, answers: &[(Kind, Route)]) -> String {
    let mut out = String::new();
    for (i, (_, route)) in answers.iter().enumerate() {
        if answers[..i].iter().any(|(_, shown)| same(shown, route)) {
            continue;
        }
        let kinds: Vec<_> =
            answers.iter().filter(|(_, r)| same(r, route)).filter_map(|(kind, _)| kind.describe()).collect();
        if !out.is_empty() {
            out.push('\n');
        }
        let kinds = if kinds.is_empty() { String::new() } else { format!(", {}", kinds.join(" or ")) };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", styled(BOLD, &format!("{title}{kinds}")));
        walk(&mut out, route);
    }
    out
}

/// One answer.
pub fn walk(out: &mut String, route: &Route) {
    let mut step = |name: &str, text: &str| {
        let _ = writeln!(out, "  {name:<9} {text}");
    };
    let or_nobody = |name: &Option<String>| plain(name.as_deref().unwrap_or("nobody"));
    if let Some(service) = &route.service {
        let pool = or_nobody(&route.pool);
        let quoted = if route.quoted { "; this is an ICMP error about a flow of it" } else { "" };
        step("service", &format!("{}, pool {pool}{quoted}", plain(service)));
    }
    if let Some((slot, slots)) = route.slot {
        step("slot", &format!("{slot} of {slots}"));
        match &route.base {
            Some(base) => step(
                "owner",
                &format!(
                    "{} for new connections, {} for older ones: the slot is in transition",
                    or_nobody(&route.cur),
                    plain(base)
                ),
            ),
            None => step("owner", &format!("{}: the slot is stable", or_nobody(&route.cur))),
        }
    }
    if let Some(by) = &route.decided_by {
        step("decided", &plain(decided(by)));
    }
    match (&route.reason, route.verdict.as_str()) {
        (None, "forward") => step(
            "verdict",
            &format!(
                "{} to {} {} {}",
                styled(GOOD, "forward"),
                or_nobody(&route.backend),
                route.address.map_or_else(String::new, |address| format!("({address})")),
                route.via.as_ref().map_or_else(String::new, |via| format!("at {}", plain(via))),
            ),
        ),
        (reason, verdict) => {
            let why = reason.as_ref().map_or_else(String::new, |(label, sentence)| {
                format!(": {} ({})", plain(sentence.trim()), plain(label))
            });
            let verdict = match verdict {
                "pass" => plain("to the kernel's own stack, unchanged"),
                "answer" => styled(GOOD, "answered by the program itself"),
                other => styled(BAD, other),
            };
            step("verdict", &format!("{verdict}{why}"));
        }
    }
    if let Some(outer) = &route.outer {
        let ports = outer.ports.map_or_else(String::new, |(from, to)| format!(", UDP {from} -> {to}"));
        let method = or_nobody(&route.method);
        step("tunnel", &format!("{method}, {} -> {}{ports}", outer.source, outer.destination));
    }
    if let Some(vlan) = route.vlan {
        step("leaves", &format!("with VLAN tag {vlan}"));
    }
    step("in short", &plain(&route.sentence));
}

fn decided(by: &str) -> &str {
    match by {
        "slot" => "by its slot",
        "pin" => "by a pin: this flow was seen since the slot began to move",
        "base" => "by the slot's base: no pin, so the flow is older than the transition",
        "cur" => "by the slot's new owner",
        "freeze" => "by the slot's base: so many connections begin that new ones are not pinned",
        "flow" => "by the tracked flow: this connection is known",
        "turn" => "by the scheduler's turn; another connection may take it first",
        "source" => "by the source's last connection: the service is sticky",
        "connection id" => "by the QUIC connection id",
        "fragment" => "by the first part of this packet",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_and_a_tag_are_steps_of_the_walk() {
        let route = Route {
            verdict: "forward".into(),
            sentence: "It goes.".into(),
            method: Some("gue".into()),
            outer: Some(crate::datapath::question::Outer {
                source: [172, 16, 3, 9].into(),
                destination: [10, 64, 0, 1].into(),
                ports: Some((49_152, 6_080)),
            }),
            vlan: Some(20),
            quoted: true,
            service: Some("text".into()),
            ..Route::default()
        };
        let text = anstream::adapter::strip_str(&render("x", &[(Kind::Packet, route)])).to_string();
        assert!(text.starts_with("x\n  service   text, pool nobody; this is an ICMP error"), "{text}");
        assert!(text.contains("  tunnel    gue, 172.16.3.9 -> 10.64.0.1, UDP 49152 -> 6080\n"), "{text}");
        assert!(text.ends_with("  leaves    with VLAN tag 20\n  in short  It goes.\n"), "{text}");
    }

    #[test]
    fn what_a_server_says_cannot_steer_the_terminal() {
        let route = Route { verdict: "\x1b[2J".into(), sentence: "\x1b]0;x\x07".into(), ..Route::default() };
        let text = anstream::adapter::strip_str(&render("x", &[(Kind::Packet, route)])).to_string();
        assert!(!text.contains('\x1b') && !text.contains('\x07'), "{text:?}");
    }
}
