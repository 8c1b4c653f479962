//! The arguments of `lbctl where`, and the questions they stand for. Pure.

use std::path::PathBuf;

use clap::ValueEnum;

use super::Kind;
use crate::api::types::WhereQuery;

/// Arguments.
#[derive(Clone, Debug, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[command(
    after_help = "Nothing is sent and nothing is counted: the program's dry-run twin walks a frame made here, through the live \
                        tables. Without flags a TCP question is asked twice: for a new connection and for an established one."
)]
pub struct Args {
    /// Client, for example 198.51.100.7:40000; IPv6 in brackets
    #[arg(value_name = "SRC:PORT", required_unless_present_any = ["frame", "pcap"])]
    pub src: Option<String>,
    /// Service address, for example 203.0.113.10:443
    #[arg(value_name = "DST:PORT", required_unless_present_any = ["frame", "pcap"])]
    pub dst: Option<String>,
    /// Protocol: tcp, udp, icmp, sctp or a number
    #[arg(value_name = "PROTOCOL", conflicts_with = "protocol_flag")]
    pub protocol: Option<String>,
    /// The same as an option
    #[arg(long = "protocol", value_name = "PROTOCOL")]
    pub protocol_flag: Option<String>,
    /// TCP: only a packet of an established connection, not a new one
    #[arg(long, conflicts_with_all = ["syn", "ack", "fin", "rst"])]
    pub established: bool,
    /// TCP flag
    #[arg(long)]
    pub syn: bool,
    /// TCP flag
    #[arg(long)]
    pub ack: bool,
    /// TCP flag
    #[arg(long)]
    pub fin: bool,
    /// TCP flag
    #[arg(long)]
    pub rst: bool,
    /// A part of a packet: its first, with ports, or a later one
    #[arg(long, value_enum, requires = "id")]
    pub fragment: Option<Part>,
    /// Identification of the packet that it is a part of
    #[arg(long, value_name = "N", requires = "fragment")]
    pub id: Option<u32>,
    /// A router's ICMP message about the flow: the service's answer was too long
    #[arg(long)]
    pub quoted: bool,
    /// TTL or hop limit [default: 64]
    #[arg(long, value_name = "N")]
    pub ttl: Option<u8>,
    /// Bytes of the IP packet, as a narrow way out compares them
    #[arg(long, value_name = "BYTES")]
    pub length: Option<u16>,
    /// VLAN id it arrives with; twice for two tags, the outer one first
    #[arg(long, value_name = "ID", value_delimiter = '.')]
    pub vlan: Vec<u16>,
    /// UDP: the begin of a QUIC packet
    #[arg(long, value_enum)]
    pub quic: Option<QuicHeader>,
    /// QUIC: destination connection id
    #[arg(long, value_name = "HEX", requires = "quic")]
    pub cid: Option<String>,
    /// A whole frame from its Ethernet header on
    #[arg(long, value_name = "HEX", exclusive = true)]
    pub frame: Option<String>,
    /// The first frame of a pcap or pcapng file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["frame", "src"])]
    pub pcap: Option<PathBuf>,
    /// With --pcap: every frame, 10 000 at most
    #[arg(long, requires = "pcap")]
    pub all: bool,
}

/// Which part of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// With ports
    First,
    /// Without
    Later,
}

/// Which kind of QUIC packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QuicHeader {
    /// A connection's first
    Initial,
    /// One of an established connection
    Short,
}

impl Args {
    fn protocol(&self) -> &str {
        self.protocol.as_deref().or(self.protocol_flag.as_deref()).unwrap_or("tcp")
    }

    fn flags(&self) -> String {
        [("syn", self.syn), ("ack", self.ack), ("fin", self.fin), ("rst", self.rst)]
            .iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The questions: two for TCP, unless it is said which packet is meant.
    pub fn queries(&self) -> Result<Vec<(Kind, WhereQuery)>, String> {
        if self.frame.is_some() {
            let query = WhereQuery { frame: self.frame.clone(), ..WhereQuery::default() };
            return Ok(vec![(Kind::Packet, query)]);
        }
        let words = |part: Option<&str>| part.map(str::to_owned);
        let base = WhereQuery {
            src: self.src.clone(),
            dst: self.dst.clone(),
            protocol: words(Some(self.protocol())),
            fragment: words(self.fragment.map(|part| match part {
                Part::First => "first",
                Part::Later => "later",
            })),
            id: self.id,
            quoted: self.quoted.then_some(true),
            ttl: self.ttl,
            length: self.length,
            vlan: (!self.vlan.is_empty())
                .then(|| self.vlan.iter().map(u16::to_string).collect::<Vec<_>>().join(".")),
            quic: words(self.quic.map(|quic| match quic {
                QuicHeader::Initial => "initial",
                QuicHeader::Short => "short",
            })),
            cid: self.cid.clone(),
            ..WhereQuery::default()
        };
        let tcp = matches!(self.protocol(), "tcp" | "6");
        let flags = self.flags();
        if !flags.is_empty() {
            if !tcp {
                return Err("only TCP has these flags".into());
            }
            return Ok(vec![(Kind::Packet, WhereQuery { flags: Some(flags), ..base })]);
        }
        let first = |first| WhereQuery { first: Some(first), ..base.clone() };
        Ok(match () {
            () if !tcp || self.quoted || self.fragment.is_some() => vec![(Kind::Packet, base)],
            () if self.established => vec![(Kind::Established, first(false))],
            () => vec![(Kind::New, first(true)), (Kind::Established, first(false))],
        })
    }

    /// The question in words.
    pub fn title(&self) -> String {
        let (Some(src), Some(dst)) = (&self.src, &self.dst) else { return "this frame".into() };
        let mut title = format!("{src} -> {dst} {}", self.protocol());
        let flags = self.flags();
        if !flags.is_empty() {
            title.push_str(", ");
            title.push_str(&flags);
        }
        let parts = [
            self.quoted.then(|| "an ICMP error about it".to_owned()),
            self.fragment.map(|part| match part {
                Part::First => "its first fragment".to_owned(),
                Part::Later => "a later fragment".to_owned(),
            }),
            self.quic.map(|quic| match quic {
                QuicHeader::Initial => "QUIC Initial".to_owned(),
                QuicHeader::Short => "QUIC short header".to_owned(),
            }),
            self.length.map(|length| format!("{length} bytes")),
            self.ttl.map(|ttl| format!("TTL {ttl}")),
        ];
        for part in parts.into_iter().flatten() {
            title.push_str(", ");
            title.push_str(&part);
        }
        title
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(change: impl FnOnce(&mut Args)) -> Args {
        let mut args = Args {
            src: Some("198.51.100.7:1".into()),
            dst: Some("203.0.113.10:80".into()),
            ..Args::default()
        };
        change(&mut args);
        args
    }

    #[test]
    fn tcp_is_asked_twice_unless_the_packet_is_named() {
        let kinds = |args: &Args| args.queries().unwrap().iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
        assert_eq!(kinds(&args(|_| {})), [Kind::New, Kind::Established]);
        assert_eq!(kinds(&args(|a| a.established = true)), [Kind::Established]);
        assert_eq!(kinds(&args(|a| a.rst = true)), [Kind::Packet]);
        assert_eq!(kinds(&args(|a| a.quoted = true)), [Kind::Packet]);
        assert_eq!(kinds(&args(|a| a.protocol = Some("udp".into()))), [Kind::Packet]);
        assert!(args(|a| (a.fin, a.protocol) = (true, Some("udp".into()))).queries().is_err());
    }

    #[test]
    fn the_title_says_what_is_unusual() {
        let asked = args(|a| {
            (a.fin, a.ack) = (true, true);
            a.length = Some(1_400);
        });
        assert_eq!(asked.title(), "198.51.100.7:1 -> 203.0.113.10:80 tcp, ack,fin, 1400 bytes");
        assert_eq!(Args { frame: Some("00".into()), ..Args::default() }.title(), "this frame");
    }
}
