//! A packet as who owns it depends on it.

use lb_common::hash::HashKey;
use lb_userspace::model::{HashFields, UdpClass};

use crate::{
    frame::Flow,
    view::{Service, address, hash, key},
};

/// SYN and ACK.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A packet of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) flow: Flow,
    pub(crate) proto: u8,
    /// TCP's, or what stands for them.
    pub(crate) flags: u8,
    pub(crate) hash: u64,
    /// The server that a QUIC connection id names.
    pub(crate) server: Option<u16>,
}

impl Packet {
    pub(crate) fn of(flow: Flow, proto: u8, flags: u8) -> Self {
        Self { flow, proto, flags, hash: hash(&flow, proto), server: None }
    }

    /// The same with what QUIC says behind the UDP header, for services that are QUIC.
    pub(crate) fn with_payload(self, frame: &[u8], l4: usize, service: &Service) -> Self {
        if self.proto != 17 || service.wanted.udp_class != UdpClass::Quic {
            return self;
        }
        let quic = Quic::read(&frame[l4 + 8..]);
        let server = service.wanted.rules.quic_id.and_then(|id| {
            let (from, len) = (usize::from(id.offset), usize::from(id.len));
            quic.id(from + len).map(|bytes| bytes[from..].iter().fold(0, |n, b| n << 8 | u16::from(*b)))
        });
        let flags = if quic.opens() { SYN } else { ACK };
        Self { flags, server, ..self }
    }

    /// A connection's first packet.
    pub(crate) fn opens(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }

    /// FIN or RST.
    pub(crate) fn closes(&self) -> bool {
        self.flags & 0x05 != 0
    }

    /// One flow in 64 is remembered for the numbers' sake.
    pub(crate) fn sampled(&self) -> bool {
        self.hash.is_multiple_of(64)
    }

    /// What its slot follows from.
    pub(crate) fn slot_hash(&self, fields: HashFields) -> u64 {
        let key: HashKey = key();
        let source = address(self.flow.src.ip());
        let wire = |port: u16| u64::from(u16::from_le_bytes(port.to_be_bytes()));
        let of_source = |word: u64| key.other(source[0] ^ word.rotate_left(17), source[1], word);
        match fields {
            HashFields::FiveTuple => self.hash,
            HashFields::Source => of_source(0),
            HashFields::SourcePort => of_source(wire(self.flow.src.port()) | 1 << 32),
            HashFields::DestinationPort => key.other(wire(self.flow.dst.port()), 0, 2),
        }
    }
}

/// A QUIC packet (RFC 9000, section 17; RFC 9369, section 3.2).
enum Quic<'p> {
    /// Of an established connection: the id is as long as its server made it.
    Short(&'p [u8]),
    Long {
        version: u32,
        kind: u8,
        id_len: usize,
        rest: &'p [u8],
    },
    Unreadable,
}

impl<'p> Quic<'p> {
    fn read(payload: &'p [u8]) -> Self {
        match payload {
            [first, rest @ ..] if first & 0x80 == 0 => Self::Short(rest),
            [first, a, b, c, d, id_len, rest @ ..] => Self::Long {
                version: u32::from_be_bytes([*a, *b, *c, *d]),
                kind: first >> 4 & 3,
                id_len: usize::from(*id_len),
                rest,
            },
            _ => Self::Unreadable,
        }
    }

    /// Initial or 0-RTT.
    fn opens(&self) -> bool {
        match self {
            Self::Long { version: 0x6b33_43cf, kind, .. } => matches!(kind, 1 | 2),
            Self::Long { kind, .. } => matches!(kind, 0 | 1),
            _ => false,
        }
    }

    /// The first `len` bytes of the connection id that a server chose.
    fn id(&self, len: usize) -> Option<&'p [u8]> {
        match self {
            Self::Short(rest) if len <= 20 => rest.get(..len),
            Self::Long { id_len, rest, .. } if !self.opens() && len <= *id_len => rest.get(..len),
            _ => None,
        }
    }
}
