//! The kinds of values: texts, numbers, lengths of time, addresses, words, status codes.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;

use toml::{Spanned, de::DeValue};

use super::{
    duration,
    nearest::nearest,
    problem::Report,
    table::{Value, shorten, wrong_kind},
};
use crate::model::{
    Combine, HashFields, Method, Net, Pooled, Ports, Protocols, Scheduler, Tracking, UdpClass, Via, XdpMode,
    check::HttpMethod,
};

impl Value for String {
    const KIND: &'static str = "a text";
    const EXAMPLE: &'static str = "\"...\"";

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        match value.get_ref().as_str() {
            Some(text) => Some(text.to_owned()),
            None => wrong_kind(value, report),
        }
    }
}

impl Value for bool {
    const KIND: &'static str = "true or false";
    const EXAMPLE: &'static str = "true";

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        match value.get_ref().as_bool() {
            Some(is) => Some(is),
            None => wrong_kind(value, report),
        }
    }
}

/// A whole number, not negative; its range is validated where it is used.
impl Value for u64 {
    const KIND: &'static str = "a whole number";
    const EXAMPLE: &'static str = "1";

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let Some(number) = value.get_ref().as_integer() else {
            return wrong_kind(value, report);
        };
        let read = Self::from_str_radix(number.as_str().trim_start_matches('+'), number.radix()).ok();
        if read.is_none() {
            report
                .error(value.span(), format!("`{}` is out of range", shorten(number.as_str())))
                .with_help("write a number from 0 on");
        }
        read
    }
}

/// A share: a number that may have a point.
impl Value for f64 {
    const KIND: &'static str = "a number";
    const EXAMPLE: &'static str = "0.5";

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = match value.get_ref() {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => return wrong_kind(value, report),
        };
        text.parse().ok().or_else(|| wrong_kind(value, report))
    }
}

impl Value for Duration {
    const KIND: &'static str = "a length of time";
    const EXAMPLE: &'static str = "\"10s\"";

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) => {
                let duration = duration::parse(text).ok();
                if duration.is_none() {
                    report
                        .error(value.span(), format!("`{}` is not a length of time", shorten(text)))
                        .with_help(
                            "write a number and a unit (ms, s, m, h, d): `\"500ms\"`, `\"10s\"`, `\"1m30s\"`",
                        );
                }
                duration
            }
            DeValue::Integer(number) => {
                let number = shorten(number.as_str());
                report
                    .error(value.span(), "a length of time needs a unit")
                    .with_help(format!("for {number} seconds write `\"{number}s\"`"));
                None
            }
            _ => wrong_kind(value, report),
        }
    }
}

impl Value for IpAddr {
    const KIND: &'static str = "an IP address";
    const EXAMPLE: &'static str = "\"192.0.2.1\"";

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            return wrong_kind(value, report);
        };
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let bare = text.split('/').next().unwrap_or_default();
        let help = if bare.len() < text.len() && bare.parse::<Self>().is_ok() {
            format!("write one address, without a prefix length: `\"{bare}\"`")
        } else {
            no_address(text)
        };
        report.error(value.span(), format!("`{}` is not an IP address", shorten(text))).with_help(help);
        None
    }
}

/// What to write instead of a text that is no address.
fn no_address(text: &str) -> String {
    let help = if text.parse::<SocketAddr>().is_ok() {
        "the port has a key of its own: write the address without it"
    } else if text.contains('%') {
        "an address with a zone (`%...`) cannot be used; write a global address"
    } else if text.chars().any(|c| c.is_ascii_alphabetic()) && !text.contains(':') {
        "names are not resolved; write the address, such as `\"192.0.2.1\"` or `\"2001:db8::1\"`"
    } else {
        "write it like `\"192.0.2.1\"` or `\"2001:db8::1\"`"
    };
    help.to_owned()
}

/// An address, or a prefix without bits beyond its length.
impl Value for Net {
    const KIND: &'static str = "an IP address or a prefix";
    const EXAMPLE: &'static str = "\"192.0.2.0/24\"";

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            return wrong_kind(value, report);
        };
        let shown = shorten(text);
        match text.parse::<Self>() {
            Ok(Self(net)) if net == net.trunc() => return Some(Self(net)),
            Ok(Self(net)) => {
                report.error(value.span(), format!("`{shown}` has bits beyond its prefix length")).with_help(
                    format!("write `\"{}\"`, or `\"{}\"` for the one address", net.trunc(), net.addr()),
                );
            }
            Err(_) => {
                let bare = text.split_once('/').and_then(|(bare, _)| bare.parse::<IpAddr>().ok());
                let help = match bare {
                    Some(bare) => {
                        let most = IpNet::from(bare).max_prefix_len();
                        format!("the length of a prefix is 0 to {most}: `\"{bare}/{most}\"`")
                    }
                    None => no_address(text),
                };
                report
                    .error(value.span(), format!("`{shown}` is neither an IP address nor a prefix"))
                    .with_help(help);
            }
        }
        None
    }
}

impl Value for Ports {
    const KIND: &'static str = "a port, a range of ports or `\"all\"`";
    const EXAMPLE: &'static str = "80";

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = match value.get_ref() {
            DeValue::Integer(number) => {
                let port = u16::from_str_radix(number.as_str().trim_start_matches('+'), number.radix()).ok();
                if let Some(port) = port.filter(|port| *port != 0) {
                    return Some(Self::One(port));
                }
                let number = shorten(number.as_str());
                report
                    .error(value.span(), format!("{number} is out of range for a port"))
                    .with_help("write a number from 1 to 65535");
                return None;
            }
            DeValue::String(text) => text,
            _ => return wrong_kind(value, report),
        };
        if let Ok(ports) = text.parse() {
            return Some(ports);
        }
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
        let help = match text.split_once('-').map(|(first, last)| (number(first), number(last))) {
            Some((Some(first), Some(last))) if first == last => format!("write `{first}`"),
            Some((Some(first), Some(last))) => {
                format!("the smaller one comes first: `\"{last}-{first}\"`")
            }
            None if ["all", "any", "*"].iter().any(|all| text.eq_ignore_ascii_case(all)) => {
                "write `\"all\"` for every port".to_owned()
            }
            _ => "ports are 1 to 65535: `80`, `\"8000-8099\"` or `\"all\"`".to_owned(),
        };
        report
            .error(value.span(), format!("`{}` is neither a port nor a range of ports", shorten(text)))
            .with_help(help);
        None
    }
}

impl Value for SocketAddr {
    const KIND: &'static str = "an address with a port";
    const EXAMPLE: &'static str = "\"127.0.0.1:9090\"";

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            return wrong_kind(value, report);
        };
        let address = text.parse().ok();
        if address.is_none() {
            report
                .error(value.span(), format!("`{}` is not an IP address with a port", shorten(text)))
                .with_help("write it like `\"127.0.0.1:9090\"` or `\"[::1]:9090\"`");
        }
        address
    }
}

/// One of a few words.
pub(super) trait Word: Sized + Copy + 'static {
    /// For messages and the reference: `"a" or "b"`.
    const KIND: &'static str;
    /// How it is written.
    const EXAMPLE: &'static str;
    /// The words and what they mean; behind the first word for a meaning come other balancers' words for it.
    const WORDS: &'static [(&'static str, Self)];

    /// The word of a value.
    fn word(self) -> &'static str
    where
        Self: PartialEq,
    {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

macro_rules! words {
    ($(#[doc = $doc:literal])* $type:ty, $kind:literal: $first:literal = $one:expr $(, $word:literal = $value:expr)* $(,)?) => {
        $(#[doc = $doc])*
        impl Word for $type {
            const KIND: &'static str = $kind;
            const EXAMPLE: &'static str = concat!("\"", $first, "\"");
            const WORDS: &'static [(&'static str, Self)] = &[($first, $one) $(, ($word, $value))*];
        }

        impl Value for $type {
            const KIND: &'static str = <Self as Word>::KIND;
            const EXAMPLE: &'static str = <Self as Word>::EXAMPLE;

            fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
                read_word(value, report)
            }
        }
    };
}

words!(XdpMode, "`\"native\"`, `\"generic\"` or `\"offload\"`": "native" = Self::Native, "generic" = Self::Generic, "offload" = Self::Offload);
words!(Combine, "`\"all\"` or `\"any\"`": "all" = Self::All, "any" = Self::Any);
words!(Pooled, "`\"yes\"`, `\"no\"` or `\"inactive\"`": "yes" = Self::Yes, "no" = Self::No, "inactive" = Self::Inactive);
words!(Protocols, "`\"tcp\"`, `\"udp\"` or `\"tcp+udp\"`": "tcp" = Self::Tcp, "udp" = Self::Udp, "tcp+udp" = Self::Both, "udp+tcp" = Self::Both);
words!(UdpClass, "`\"dns\"`, `\"flow\"` or `\"quic\"`": "dns" = Self::Dns, "flow" = Self::Flow, "quic" = Self::Quic);
words!(Via, "`\"backend\"` or `\"vip\"`": "backend" = Self::Backend, "vip" = Self::Vip);
words!(Tracking, "`\"auto\"` or `\"always\"`": "auto" = Self::Auto, "always" = Self::Always);
words!(HashFields, "`\"5-tuple\"`, `\"source\"`, `\"source-port\"` or `\"destination-port\"`":
    "5-tuple" = Self::FiveTuple, "source" = Self::Source, "source-port" = Self::SourcePort, "destination-port" = Self::DestinationPort,
    "sh-port" = Self::SourcePort, "mh-port" = Self::SourcePort);
words!(Method, "`\"dr\"`, `\"ipip\"` or `\"gue\"`": "dr" = Self::Dr, "ipip" = Self::Ipip, "gue" = Self::Gue,
    "gatewaying" = Self::Dr, "route" = Self::Dr, "tunnel" = Self::Ipip);
words!(HttpMethod, "`\"GET\"`, `\"HEAD\"` or `\"OPTIONS\"`": "GET" = Self::Get, "HEAD" = Self::Head, "OPTIONS" = Self::Options);

/// What a depool threshold counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThresholdBy {
    /// Backends.
    Count,
    /// Their weights.
    Weight,
}
words!(ThresholdBy, "`\"count\"` or `\"weight\"`": "count" = Self::Count, "weight" = Self::Weight);

/// The word of a check's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A TCP connection can be opened.
    Tcp,
    /// A TCP connection stays open.
    Idle,
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}
words!(Kind, "`\"tcp\"`, `\"idle\"`, `\"http\"` or `\"https\"`": "http" = Self::Http, "https" = Self::Https, "tcp" = Self::Tcp, "idle" = Self::Idle);

/// The word of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// It itself.
    Named(Scheduler),
    /// LVS's source hashing: Maglev by the client's address.
    Source,
}
words!(Schedule, "`\"maglev\"`, `\"sh\"`, `\"mh\"`, `\"rr\"`, `\"wrr\"`, `\"lc\"`, `\"wlc\"` or `\"sed\"`":
    "maglev" = Self::Named(Scheduler::Maglev), "sh" = Self::Source, "mh" = Self::Source, "rr" = Self::Named(Scheduler::Rr),
    "wrr" = Self::Named(Scheduler::Wrr), "lc" = Self::Named(Scheduler::Lc), "wlc" = Self::Named(Scheduler::Wlc),
    "sed" = Self::Named(Scheduler::Sed));

fn read_word<T: Word + Value>(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<T> {
    let Some(text) = value.get_ref().as_str() else {
        return wrong_kind(value, report);
    };
    if let Some((_, meant)) = T::WORDS.iter().find(|(word, _)| *word == text) {
        return Some(*meant);
    }
    let help = T::WORDS
        .iter()
        .map(|(word, _)| *word)
        .find(|word| word.eq_ignore_ascii_case(text))
        .or_else(|| nearest(text, T::WORDS.iter().map(|(word, _)| *word)))
        .map_or_else(
            || format!("write {}", <T as Word>::KIND),
            |word| format!("did you mean `\"{word}\"`? The words are {}", <T as Word>::KIND),
        );
    report
        .error(value.span(), format!("`{}` is not one of {}", shorten(text), <T as Word>::KIND))
        .with_help(help);
    None
}

/// An inclusive range of HTTP status codes: `200` or `"200-299"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusRange(pub(super) u16, pub(super) u16);

impl Value for StatusRange {
    const KIND: &'static str = "a status code or a range of them";
    const EXAMPLE: &'static str = "\"200-299\"";

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
        let range = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => {
                code(number.as_str()).map(|code| Self(code, code))
            }
            DeValue::String(text) => match text.split_once('-') {
                Some((first, last)) => code(first.trim())
                    .zip(code(last.trim()))
                    .filter(|(first, last)| first <= last)
                    .map(|(first, last)| Self(first, last)),
                None => code(text).map(|code| Self(code, code)),
            },
            _ => return wrong_kind(value, report),
        };
        if range.is_none() {
            let text = shorten(report.text(value.span()));
            report
                .error(value.span(), format!("{text} is neither a status code nor a range of them"))
                .with_help("codes are 100 to 599, the smaller one first: `200` or `\"300-399\"`");
        }
        range
    }
}
