//! The frames that all packets of a case are made of.

use std::net::Ipv6Addr;

use anyhow::Result;
use etherparse::PacketBuilder;
use lb_common::net::l4::{ACK, SYN};

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1]);
/// The first service's address; the others follow.
pub(crate) const VIP: [u8; 4] = [10, 200, 0, 0];
/// Nobody's.
const NOBODY: [u8; 4] = [10, 210, 0, 0];
/// Of every service.
pub(crate) const PORT: u16 = 80;

/// What is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ack,
    Syn,
    Udp,
}

/// A frame, 64 bytes or as short as the headers allow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    six: bool,
    kind: Kind,
    dst: [u8; 4],
}

/// TCP over IPv4, within a connection.
pub(crate) const ACK4: Frame = Frame { six: false, kind: Kind::Ack, dst: VIP };
/// TCP over IPv4, the first of a connection.
pub(crate) const SYN4: Frame = Frame { kind: Kind::Syn, ..ACK4 };
/// UDP over IPv4.
pub(crate) const UDP4: Frame = Frame { kind: Kind::Udp, ..ACK4 };
/// TCP over IPv4 to nobody here.
pub(crate) const STRAY4: Frame = Frame { dst: NOBODY, ..ACK4 };
/// TCP over IPv6, within a connection.
pub(crate) const ACK6: Frame = Frame { six: true, ..ACK4 };
/// TCP over IPv6 to nobody here.
pub(crate) const STRAY6: Frame = Frame { dst: NOBODY, ..ACK6 };

impl Frame {
    /// IPv6.
    pub(crate) fn is_six(self) -> bool {
        self.six
    }

    /// The last four bytes of its destination address as a number.
    pub(crate) fn destination(self) -> u32 {
        u32::from_be_bytes(self.dst)
    }

    /// The same with SYN alone.
    pub(crate) fn opening(self) -> Self {
        Self { kind: Kind::Syn, ..self }
    }

    /// Its TCP flags.
    pub(crate) fn flags(self) -> u8 {
        match self.kind {
            Kind::Ack => ACK,
            Kind::Syn => SYN,
            Kind::Udp => 0,
        }
    }

    /// Its bytes.
    pub(crate) fn bytes(self) -> Result<Vec<u8>> {
        let mut frame = Vec::new();
        let link = PacketBuilder::ethernet2(MACS.0, MACS.1);
        let network = if self.six {
            link.ipv6(six(CLIENT).octets(), six(self.dst).octets(), 64)
        } else {
            link.ipv4(CLIENT, self.dst, 64)
        };
        match self.kind {
            Kind::Ack => network.tcp(1024, PORT, 1, 65_535).ack(1).write(&mut frame, &[0; 10])?,
            Kind::Syn => network.tcp(1024, PORT, 1, 65_535).syn().write(&mut frame, &[0; 10])?,
            Kind::Udp => network.udp(1024, PORT).write(&mut frame, &[0; 22])?,
        }
        Ok(frame)
    }
}

/// An IPv6 address that ends in an IPv4 one.
pub(crate) fn six(four: [u8; 4]) -> Ipv6Addr {
    let [a, b, c, d] = four.map(u16::from);
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, a << 8 | b, c << 8 | d)
}
