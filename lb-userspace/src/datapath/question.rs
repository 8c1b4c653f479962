//! A packet somebody asks about, and the program's answer.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A packet of this shape, built here.
    Shape(Shape),
    /// This frame, byte for byte, from its Ethernet header on.
    Frame(Vec<u8>),
}

/// A packet as a client, or a router on the way, would send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Client.
    pub src: IpAddr,
    /// Address of the service; of the same family.
    pub dst: IpAddr,
    /// Client's port; for protocols without ports it means nothing.
    pub src_port: u16,
    /// Service's port; likewise.
    pub dst_port: u16,
    /// IP protocol number. 1 and 58 are an echo request of the addresses' family.
    pub protocol: u8,
    /// TCP flags.
    pub flags: Flags,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Bytes of the IP packet, its header included. None: as long as its headers.
    pub length: Option<u16>,
    /// VLAN ids, the outermost first; two at most.
    pub vlans: Vec<u16>,
    /// It is only a part of a packet.
    pub fragment: Option<Fragment>,
    /// Not the packet itself but a router's message that an answer to it was too long.
    pub quoted: bool,
    /// UDP payload.
    pub quic: Option<Quic>,
}

impl Shape {
    /// A connection's first TCP packet, or with another protocol any packet.
    pub fn new((src, src_port): (IpAddr, u16), (dst, dst_port): (IpAddr, u16), protocol: u8) -> Self {
        Self {
            src,
            dst,
            src_port,
            dst_port,
            protocol,
            flags: Flags { syn: true, ..Flags::default() },
            ttl: 64,
            length: None,
            vlans: Vec::new(),
            fragment: None,
            quoted: false,
            quic: None,
        }
    }
}

/// TCP flags that a balancer looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of the header")]
pub struct Flags {
    /// SYN.
    pub syn: bool,
    /// ACK.
    pub ack: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
    pub rst: bool,
}

/// A part of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// It has no transport header.
    pub later: bool,
    /// Identification, the same in all parts; IPv4 has 16 bits of it.
    pub id: u32,
}

/// The begin of a QUIC packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quic {
    /// Short header: a packet of an established connection. Otherwise an Initial.
    pub short: bool,
    /// Destination connection id; 20 bytes at most.
    pub id: Vec<u8>,
}

/// Where the live program sends a [`Probe`] and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Route {
    /// One sentence that says it all.
    pub sentence: String,
    /// `forward`, `pass`, `drop` or `answer`.
    pub verdict: String,
    /// Label and sentence of the reason, unless forwarded.
    pub reason: Option<(String, String)>,
    /// The service it belongs to.
    pub service: Option<String>,
    /// Its pool.
    pub pool: Option<String>,
    /// The flow's slot in the pool's table, and the table's size.
    pub slot: Option<(u32, u32)>,
    /// The slot's owner for new connections.
    pub cur: Option<String>,
    /// The slot's owner when it was last stable, while it is in transition.
    pub base: Option<String>,
    /// What decided: `slot` (stable), in transition `pin`, `base`, `cur` or `freeze`; or `flow`, `turn`, `source`, `connection id`,
    /// `fragment`.
    pub decided_by: Option<String>,
    /// It is an ICMP error: service, slot and what decided are those of the flow that it quotes.
    pub quoted: bool,
    /// The backend that gets it.
    pub backend: Option<String>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// How packets reach it: `dr`, `ipip` or `gue`.
    pub method: Option<String>,
    /// The tunnel's header.
    pub outer: Option<Outer>,
    /// MAC address and interface it leaves by, for people.
    pub via: Option<String>,
    /// Destination MAC address it leaves with.
    pub mac: Option<String>,
    /// Interface it leaves by.
    pub interface: Option<String>,
    /// VLAN id it leaves with.
    pub vlan: Option<u16>,
    /// The frame that was asked about, in hexadecimal digits.
    pub frame: String,
    /// The frame as it would leave, when it is forwarded or answered.
    pub frame_out: Option<String>,
}

/// A tunnel's header, as the program wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outer {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// UDP ports of GUE.
    pub ports: Option<(u16, u16)>,
}
