//! Health checks that take the way of clients' packets.
//!
//! A check's socket is connected to the backend's own address and carries a mark that names a [`Probe`]. On the way out its packets get the VIP
//! as their destination and leave as the XDP program would have sent them; what comes back gets the backend's address as its source again.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::backend::Backend;

/// Upper half of a mark of ours ("LB"). The lower half is the probe's index.
pub const MARK: u32 = 0x4c42_0000;
/// The part of a mark that names the probe.
pub const INDEX: u32 = 0xffff;
/// Probes there can be; index 0 is never used, so that [`MARK`] alone names nobody.
pub const PROBES: u32 = 16_384;
/// Flows: one per local port, TCP before UDP.
pub const FLOWS: u32 = 2 << 16;

/// Where the packets of a mark go. Written by the daemon, a word at a time: [`Probe::used`] last, and cleared first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct Probe {
    /// As in the table of backends.
    pub to: Backend,
    /// The VIP, IPv4 as `::ffff:a.b.c.d`; of the family of the backend's address.
    pub vip: [u8; 16],
    /// Not 0: this index is in use.
    pub used: u64,
    /// Reserved, zero.
    pub reserved: u64,
}
abi!(Probe, size = 96, align = 8);

/// The check behind a local port. Written by the program on the way out and read on the way in; the daemon clears it before it connects, and
/// reads afterwards what became of its packets. A port belongs to one check at a time, because the daemon binds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
pub struct ProbeFlow {
    /// Our own address, IPv4 as `::ffff:a.b.c.d`.
    pub own: [u8; 16],
    /// The port at the other end.
    pub port: [u8; 2],
    /// Index of the [`Probe`]; in the host's order.
    pub probe: [u8; 2],
    /// [`ProbeEvent`] of the last packet out plus one; 0 before the first.
    pub last: u8,
    /// Reserved, zero.
    pub reserved: [u8; 3],
}
abi!(ProbeFlow, size = 24, align = 1);

/// Place of a local port in the table of flows.
#[inline(always)]
pub const fn flow(port: u16, udp: bool) -> u32 {
    (udp as u32) << 16 | port as u32
}

labelled! {
    /// What became of a check's packet. The number is the counter's index, the label that of the metric.
    ProbeEvent {
        /// Sent to the VIP by the backend's way.
        Sent "sent";
        /// An answer came from the VIP.
        Answered "answered";
        /// Dropped: the backend's next hop is not known.
        Unresolved "unresolved";
        /// Dropped: its destination is not the backend that its mark names.
        Mismatch "mismatch";
        /// Dropped: neither TCP nor UDP over IP, or a fragment.
        Malformed "malformed";
        /// Dropped: longer than the way to its backend takes, the tunnel's header included.
        TooBig "too_big";
        /// Dropped: the kernel could not change it.
        Refused "refused";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_either_protocol_has_a_place_of_its_own() {
        assert_eq!(flow(0, false), 0);
        assert_eq!(flow(u16::MAX, false) + 1, flow(0, true));
        assert_eq!(flow(u16::MAX, true) + 1, FLOWS);
    }
}
