//! `lbctl where`: the live program's answer for one packet, as a walk.

use std::{fmt::Write, net::SocketAddr};

use super::{
    Context, Format,
    exit::Failure,
    output::{BAD, BOLD, GOOD, plain, styled},
};
use crate::{
    api::types::{Protocol, Route},
    datapath,
};

/// Arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Client, for example 198.51.100.7:40000; IPv6 in brackets
    #[arg(value_name = "SRC:PORT", value_parser = parse_socket)]
    pub src: SocketAddr,
    /// Service address, for example 203.0.113.10:443
    #[arg(value_name = "DST:PORT", value_parser = parse_socket)]
    pub dst: SocketAddr,
    /// Protocol
    #[arg(value_enum, default_value_t)]
    pub protocol: Transport,
    /// TCP: only a packet of an established connection, not a new one
    #[arg(long)]
    pub established: bool,
}

/// Protocol of the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
        }
    }
}

fn parse_socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address with its port, as 198.51.100.7:40000 or [2001:db8::7]:40000".into())
}

/// Runs it.
pub async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    if args.src.is_ipv4() != args.dst.is_ipv4() {
        return Err(Failure::Usage("source and destination are of different families".into()));
    }
    let ask = async |first: bool| -> Result<Route, Failure> {
        let path = format!(
            "/api/v1/where?src={}&dst={}&protocol={}&first={first}",
            args.src,
            args.dst,
            Protocol::from(args.protocol)
        );
        Ok(context.client.get(&path).await?)
    };
    let routes = match (args.protocol, args.established) {
        (Transport::Udp, _) => vec![(Kind::Packet, ask(false).await?)],
        (Transport::Tcp, true) => vec![(Kind::Established, ask(false).await?)],
        (Transport::Tcp, false) => {
            vec![(Kind::New, ask(true).await?), (Kind::Established, ask(false).await?)]
        }
    };
    if context.format == Format::Json {
        let by_kind: std::collections::BTreeMap<_, _> =
            routes.iter().map(|(kind, route)| (kind.key(), route)).collect();
        return context.print_json(&by_kind);
    }
    context.print(&render(args, &routes))
}

/// What kind of packet was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A TCP connection's first.
    New,
    /// A later one.
    Established,
    /// UDP.
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

    const fn describe(self) -> &'static str {
        match self {
            Self::New => "new connection",
            Self::Established => "established connection",
            Self::Packet => "any packet",
        }
    }
}

/// The walk, one step per line. Kinds that share it are shown once.
pub fn render(args: &Args, routes: &[(Kind, datapath::Route)]) -> String {
    let mut out = String::new();
    for (i, (_, route)) in routes.iter().enumerate() {
        if routes[..i].iter().any(|(_, shown)| shown == route) {
            continue;
        }
        let same: Vec<_> =
            routes.iter().filter(|(_, r)| r == route).map(|(kind, _)| kind.describe()).collect();
        if !out.is_empty() {
            out.push('\n');
        }
        let question =
            format!("{} -> {} {}, {}", args.src, args.dst, Protocol::from(args.protocol), same.join(" or "));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", styled(BOLD, &question));
        walk(&mut out, route);
    }
    out
}

fn walk(out: &mut String, route: &datapath::Route) {
    let mut step = |name: &str, text: &str| {
        let _ = writeln!(out, "  {name:<9} {text}");
    };
    let or_nobody = |name: &Option<String>| plain(name.as_deref().unwrap_or("nobody"));
    if let Some(service) = &route.service {
        let pool = or_nobody(&route.pool);
        step("service", &format!("{}, pool {pool}", plain(service)));
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
        let sentence = match by.as_str() {
            "slot" => "by its slot",
            "pin" => "by a pin: this flow was seen since the slot began to move",
            "base" => "by the slot's base: no pin, so the flow is older than the transition",
            "cur" => "by the slot's new owner",
            other => other,
        };
        step("decided", &plain(sentence));
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
                other => styled(BAD, other),
            };
            step("verdict", &format!("{verdict}{why}"));
        }
    }
}
