//! `GET /api/v1/where` and `/api/v1/flow`: a packet, as a query of texts.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::datapath::{
    Impossible, hex,
    question::{Flags, Fragment, Probe, Quic, Shape},
};

/// A packet somebody asks about: `frame` alone, or `src` and `dst` with what else is to be different from a plain TCP SYN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WhereQuery {
    /// Source: an address, with its port where the protocol has ports.
    pub src: Option<String>,
    /// Destination.
    pub dst: Option<String>,
    /// `tcp`, `udp`, `icmp`, `sctp` or a number; TCP if missing.
    pub protocol: Option<String>,
    /// TCP: `true` is short for the flag SYN alone, `false` for ACK alone.
    pub first: Option<bool>,
    /// TCP flags: some of `syn,ack,fin,rst`.
    pub flags: Option<String>,
    /// `first` or `later` part of a packet.
    pub fragment: Option<String>,
    /// Identification of the packet that it is a part of.
    pub id: Option<u32>,
    /// A router's message about the flow.
    pub quoted: Option<bool>,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
    /// Bytes of the IP packet.
    pub length: Option<u16>,
    /// VLAN ids, the outermost first: `10` or `10.20`.
    pub vlan: Option<String>,
    /// `initial` or `short`.
    pub quic: Option<String>,
    /// QUIC's destination connection id, in hexadecimal digits.
    pub cid: Option<String>,
    /// A whole frame from its Ethernet header on, in hexadecimal digits.
    pub frame: Option<String>,
}

impl WhereQuery {
    /// The query's text, behind the question mark.
    pub fn text(&self) -> String {
        let Self {
            src,
            dst,
            protocol,
            first,
            flags,
            fragment,
            id,
            quoted,
            ttl,
            length,
            vlan,
            quic,
            cid,
            frame,
        } = self;
        let pairs = [
            ("src", src.clone()),
            ("dst", dst.clone()),
            ("protocol", protocol.clone()),
            ("first", first.map(|first| first.to_string())),
            ("flags", flags.clone()),
            ("fragment", fragment.clone()),
            ("id", id.map(|id| id.to_string())),
            ("quoted", quoted.map(|quoted| quoted.to_string())),
            ("ttl", ttl.map(|ttl| ttl.to_string())),
            ("length", length.map(|length| length.to_string())),
            ("vlan", vlan.clone()),
            ("quic", quic.clone()),
            ("cid", cid.clone()),
            ("frame", frame.clone()),
        ];
        let words: Vec<_> = pairs
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", escaped(&value?))))
            .collect();
        words.join("&")
    }

    /// The packet, or what is wrong with the query.
    pub fn probe(&self) -> Result<Probe, String> {
        if let Some(frame) = &self.frame {
            let others = Self { frame: None, ..self.clone() };
            if others != Self::default() {
                return Err("`frame` is the whole packet: nothing else goes with it".into());
            }
            return hex::parse(frame)
                .map(Probe::Frame)
                .ok_or_else(|| "`frame` takes pairs of hexadecimal digits".into());
        }
        self.shape().map(Probe::Shape)
    }

    fn shape(&self) -> Result<Shape, String> {
        let (Some(src), Some(dst)) = (&self.src, &self.dst) else {
            return Err("`src` and `dst`, or `frame`, are needed".into());
        };
        let (src, dst) = (end("src", src)?, end("dst", dst)?);
        if src.0.is_ipv4() != dst.0.is_ipv4() {
            return Err(Impossible::Families.to_string());
        }
        let protocol = number(self.protocol.as_deref().unwrap_or("tcp"), dst.0.is_ipv6())?;
        let mut shape = Shape::new((src.0, src.1.unwrap_or(0)), (dst.0, dst.1.unwrap_or(0)), protocol);
        if matches!(protocol, TCP | UDP | SCTP) && (src.1.is_none() || dst.1.is_none()) {
            return Err("this protocol has ports: write 198.51.100.7:40000 or [2001:db8::7]:40000".into());
        }
        if let Some(first) = self.first {
            shape.flags = Flags { syn: first, ack: !first, ..Flags::default() };
        }
        if let Some(wanted) = &self.flags {
            shape.flags = flags(wanted)?;
        }
        if let Some(ttl) = self.ttl {
            shape.ttl = ttl;
        }
        shape.length = self.length;
        shape.quoted = self.quoted.unwrap_or(false);
        for id in self.vlan.iter().flat_map(|ids| ids.split('.')) {
            shape.vlans.push(id.parse().map_err(|_| format!("`{id}` is no VLAN id"))?);
        }
        shape.fragment = match (self.fragment.as_deref(), self.id) {
            (None, None) => None,
            (Some("first"), Some(id)) => Some(Fragment { later: false, id }),
            (Some("later"), Some(id)) => Some(Fragment { later: true, id }),
            (Some("first" | "later"), None) => {
                return Err("`fragment` needs `id`: the identification that all parts have".into());
            }
            (Some(other), _) => return Err(format!("`fragment` is `first` or `later`, not `{other}`")),
            (None, Some(_)) => return Err("`id` goes with `fragment`".into()),
        };
        shape.quic = self.quic_header()?;
        if shape.quic.is_some() && protocol != UDP {
            return Err("QUIC is UDP: `protocol` must be `udp`".into());
        }
        Ok(shape)
    }

    fn quic_header(&self) -> Result<Option<Quic>, String> {
        let Some(kind) = &self.quic else {
            return if self.cid.is_none() { Ok(None) } else { Err("`cid` goes with `quic`".into()) };
        };
        let short = match kind.as_str() {
            "initial" => false,
            "short" => true,
            other => return Err(format!("`quic` is `initial` or `short`, not `{other}`")),
        };
        let id = hex::parse(self.cid.as_deref().unwrap_or_default())
            .ok_or("`cid` takes pairs of hexadecimal digits")?;
        Ok(Some(Quic { short, id }))
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// An address with or without a port.
fn end(name: &str, text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok((socket.ip(), Some(socket.port())));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().map(|address| (address, None)).map_err(|_| {
        format!(
            "`{name}` is an address with its port, as 198.51.100.7:40000 or [2001:db8::7]:40000, not `{text}`"
        )
    })
}

fn number(text: &str, six: bool) -> Result<u8, String> {
    match text {
        "tcp" => Ok(TCP),
        "udp" => Ok(UDP),
        "sctp" => Ok(SCTP),
        "icmp" | "icmp6" => Ok(if six { 58 } else { 1 }),
        other => other
            .parse()
            .map_err(|_| format!("`protocol` is tcp, udp, icmp, sctp or a number up to 255, not `{other}`")),
    }
}

fn flags(text: &str) -> Result<Flags, String> {
    let mut flags = Flags::default();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match word {
            "syn" => flags.syn = true,
            "ack" => flags.ack = true,
            "fin" => flags.fin = true,
            "rst" => flags.rst = true,
            other => return Err(format!("`{other}` is none of the flags syn, ack, fin and rst")),
        }
    }
    Ok(flags)
}

/// What a query's value may not hold is written as the standard says; the server undoes it.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~:[],".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(change: impl FnOnce(&mut WhereQuery)) -> Result<Probe, String> {
        let mut query = WhereQuery {
            src: Some("198.51.100.7:40000".into()),
            dst: Some("203.0.113.10:443".into()),
            ..WhereQuery::default()
        };
        change(&mut query);
        query.probe()
    }

    fn shape(change: impl FnOnce(&mut WhereQuery)) -> Shape {
        match ask(change) {
            Ok(Probe::Shape(shape)) => shape,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_ends_alone_are_a_syn_and_the_older_words_still_mean_what_they_did() {
        assert_eq!((shape(|_| {}).protocol, shape(|_| {}).flags.syn), (TCP, true));
        let later = shape(|q| q.first = Some(false)).flags;
        assert_eq!((later.syn, later.ack), (false, true));
        assert_eq!(shape(|q| q.protocol = Some("udp".into())).protocol, UDP);
    }

    #[test]
    fn every_word_has_its_effect() {
        let all = shape(|q| {
            q.protocol = Some("udp".into());
            q.quic = Some("short".into());
            q.cid = Some("0912".into());
            q.vlan = Some("10.20".into());
            q.ttl = Some(3);
            q.length = Some(1_200);
            q.fragment = Some("first".into());
            q.id = Some(7);
        });
        assert_eq!(all.quic, Some(Quic { short: true, id: vec![9, 0x12] }));
        assert_eq!((all.vlans.as_slice(), all.ttl, all.length), (&[10, 20][..], 3, Some(1_200)));
        assert_eq!(all.fragment, Some(Fragment { later: false, id: 7 }));
        assert!(shape(|q| q.quoted = Some(true)).quoted);
        let rst = shape(|q| q.flags = Some("rst,ack".into())).flags;
        assert_eq!(rst, Flags { rst: true, ack: true, ..Flags::default() });
        let echo = shape(|q| {
            (q.src, q.dst) = (Some("2001:db8::7".into()), Some("[2001:db8::10]".into()));
            q.protocol = Some("icmp".into());
        });
        assert_eq!((echo.protocol, echo.dst_port), (58, 0));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let wrong = |change: fn(&mut WhereQuery)| ask(change).unwrap_err();
        assert!(wrong(|q| q.src = None).contains("needed"));
        assert!(wrong(|q| q.dst = Some("203.0.113.10".into())).contains("has ports"));
        assert!(wrong(|q| q.dst = Some("nonsense".into())).contains("`dst`"));
        assert!(wrong(|q| q.flags = Some("psh".into())).contains("psh"));
        assert!(wrong(|q| q.fragment = Some("first".into())).contains("`id`"));
        assert!(wrong(|q| q.fragment = Some("middle".into())).contains("middle"));
        assert!(wrong(|q| q.quic = Some("short".into())).contains("UDP"));
        assert!(wrong(|q| q.cid = Some("00".into())).contains("`quic`"));
        assert!(wrong(|q| q.protocol = Some("256".into())).contains("256"));
        assert!(wrong(|q| q.vlan = Some("x".into())).contains("VLAN"));
        assert!(wrong(|q| q.frame = Some("00".into())).contains("whole"));
        let odd = WhereQuery { frame: Some("0".into()), ..WhereQuery::default() };
        assert!(odd.probe().unwrap_err().contains("pairs"));
    }

    #[test]
    fn a_query_is_read_as_it_was_written() {
        let query = WhereQuery {
            src: Some("[2001:db8::7]:1".into()),
            first: Some(true),
            id: Some(9),
            cid: Some("a b&c".into()),
            ..WhereQuery::default()
        };
        assert_eq!(query.text(), "src=[2001:db8::7]:1&first=true&id=9&cid=a%20b%26c");
        let uri: axum::http::Uri = format!("/api/v1/where?{}", query.text()).parse().unwrap();
        let axum::extract::Query(read) = axum::extract::Query::<WhereQuery>::try_from_uri(&uri).unwrap();
        assert_eq!(read, query);
    }
}
