//! Random frames: mostly well-formed, of few flows, so that they meet again; then some are bent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use lb_userspace::{
    datapath::Desired,
    model::{Endpoint, Ports, Protocol},
};

use super::{Random, sites::destination};
use crate::{
    frame::{
        ETH, Ext, Flow, Kind, QINQ, VLAN, edit, edit4, extended, fragment, marked, quic, tagged, whole,
        with_options, with_payload,
    },
    icmp,
};

pub(super) struct Generator<'r> {
    random: &'r mut Random,
    /// Where services are.
    endpoints: Vec<Endpoint>,
    /// Fragmented packets: the frame and its identification.
    fragmented: Vec<(Vec<u8>, u32)>,
}

impl<'r> Generator<'r> {
    pub(super) fn new(random: &'r mut Random, site: &Desired) -> Self {
        let endpoints = site.services.values().flat_map(|service| service.endpoints.clone()).collect();
        Self { random, endpoints, fragmented: Vec::new() }
    }

    pub(super) fn frame(&mut self) -> Vec<u8> {
        let bytes = match self.random.below(16) {
            0 => self.echo(),
            1 | 2 => self.error(),
            3 => self.part(),
            _ => self.packet(),
        };
        let bytes = self.link(bytes);
        self.bent(bytes)
    }

    /// Ticks from one frame to the next.
    pub(super) fn moment(&mut self) -> u16 {
        self.random.pick(&[1, 1, 1, 2, 3])
    }

    fn flow(&mut self) -> (Flow, Kind) {
        let (dst, port, udp) = if self.endpoints.is_empty() || self.random.one_in(3) {
            let random = &mut *self.random;
            let port = random.pick(&[80, 80, 80, 85, 89, 443, 443, 443, 53, 4433, 9999]);
            let udp = matches!(port, 53 | 4433) || matches!(port, 443 | 9999) && random.one_in(2);
            (destination(random), port, udp)
        } else {
            let endpoint = self.random.pick(&self.endpoints);
            (self.host(endpoint.net), self.port(endpoint.ports), endpoint.protocol == Protocol::Udp)
        };
        let random = &mut *self.random;
        let udp = udp != random.one_in(40);
        let kind = if udp {
            Kind::Udp
        } else {
            use Kind::{Ack, FinAck, Rst, Syn, SynAck};
            random.pick(&[Syn, Syn, Ack, Ack, Ack, Ack, FinAck, Rst, SynAck])
        };
        let client = random.below(5);
        let src: IpAddr = if dst.is_ipv4() {
            [198, 51, 100, client as u8].into()
        } else {
            format!("2001:db8:c::{client}").parse().unwrap()
        };
        let src = SocketAddr::new(src, 1024 + random.below(12) as u16);
        (Flow { src, dst: SocketAddr::new(dst, port) }, kind)
    }

    /// An address of a prefix of few.
    fn host(&mut self, net: IpNet) -> IpAddr {
        let n = self.random.below(1 << (net.max_prefix_len() - net.prefix_len()));
        match net.network() {
            IpAddr::V4(first) => Ipv4Addr::from(u32::from(first) | n as u32).into(),
            IpAddr::V6(first) => Ipv6Addr::from(u128::from(first) | n as u128).into(),
        }
    }

    /// A port of a service: the same few again and again.
    fn port(&mut self, ports: Ports) -> u16 {
        match ports {
            Ports::One(port) => port,
            Ports::Range(first, last) => self.random.pick(&[first, first + (last - first) / 2, last]),
            Ports::All => self.random.pick(&[1, 80, 443, 9999]),
        }
    }

    fn packet(&mut self) -> Vec<u8> {
        let (flow, kind) = self.flow();
        let mut bytes = self.plain(flow, kind);
        let random = &mut *self.random;
        if random.one_in(3) {
            bytes = whole(&bytes);
        }
        if random.one_in(8) {
            bytes = marked(&bytes, random.next() as u8);
        }
        if random.one_in(60) {
            // SCTP, GRE, IPv4 and IPv6 inside, ICMP of the other family.
            let proto = random.pick(&[132, 132, 47, 4, 41, 1, 58]);
            return if flow.dst.is_ipv4() {
                edit4(&bytes, 9, &[proto])
            } else {
                edit(&bytes, ETH + 6, &[proto])
            };
        }
        if random.one_in(12) {
            let (at, ttl) = (if flow.dst.is_ipv4() { 8 } else { 7 }, random.pick(&[0, 1, 2, 255]));
            bytes =
                if flow.dst.is_ipv4() { edit4(&bytes, at, &[ttl]) } else { edit(&bytes, ETH + at, &[ttl]) };
        }
        bytes
    }

    fn plain(&mut self, flow: Flow, kind: Kind) -> Vec<u8> {
        if kind == Kind::Udp && self.random.one_in(2) {
            let payload = self.quic();
            return with_payload(flow, kind, &payload);
        }
        let random = &mut *self.random;
        if random.one_in(10) {
            let len =
                random.pick(&[530, 560, 600, 1300, 1360, 1400, 1440, 1460, 1480, 1600]) + random.below(60);
            return with_payload(flow, kind, &vec![0x5a; len]);
        }
        if !random.one_in(5) {
            return with_payload(flow, kind, b"payload!");
        }
        if flow.dst.is_ipv4() {
            return with_options(flow, kind, random.below(11));
        }
        let chain: Vec<Ext> = (0..random.below(6)).map(|_| self.extension()).collect();
        extended(&with_payload(flow, kind, b"payload!"), &chain)
    }

    fn quic(&mut self) -> Vec<u8> {
        let random = &mut *self.random;
        let mut id = vec![0; random.pick(&[0, 2, 8, 20])];
        for byte in &mut id {
            *byte = random.below(8) as u8;
        }
        let version = random.pick(&[0, 0, 1, 1, 0x6b33_43cf, 0xff00_0020]);
        let first = random.next() as u8 & 0x7f | if version == 0 { 0 } else { 0x80 };
        let mut bytes = quic(first, version, &id);
        if random.one_in(8) {
            bytes.truncate(random.below(bytes.len()));
        }
        bytes
    }

    fn extension(&mut self) -> Ext {
        let random = &mut *self.random;
        match random.below(12) {
            0..3 => Ext::HopByHop(random.below(4)),
            3..6 => Ext::Destination(random.below(4)),
            6..8 => Ext::Routing { left: 0 },
            8 => Ext::Routing { left: 1 },
            9 => Ext::Authentication { words: random.below(5) },
            10 => Ext::Fragment { offset: 0, more: false },
            _ => Ext::Fragment { offset: random.below(3) as u16, more: random.one_in(2) },
        }
    }

    fn echo(&mut self) -> Vec<u8> {
        let dst = destination(self.random).to_string();
        icmp::echo(&dst, self.random.next() as u16, self.random.next() as u16)
    }

    /// An error about a packet that some backend sent, with more or less of it.
    fn error(&mut self) -> Vec<u8> {
        let (flow, kind) = self.flow();
        let mut quoted = self.plain(icmp::answer(flow), kind)[ETH..].to_vec();
        let random = &mut *self.random;
        let head = if flow.dst.is_ipv4() { 20 } else { 40 };
        if random.one_in(2) {
            quoted.truncate(head + 8);
        } else if random.one_in(4) {
            quoted.truncate(head.max(random.below(quoted.len())));
        }
        let kinds =
            if flow.dst.is_ipv4() { [3, 3, 11, 12, 4, 5, 13, 0] } else { [1, 2, 2, 3, 4, 5, 129, 135] };
        icmp::error(random.pick(&kinds), random.below(6) as u8, &quoted)
    }

    /// A fragment: a packet's first, or another one of a packet that was begun, or of one that was not.
    fn part(&mut self) -> Vec<u8> {
        if self.fragmented.len() < 200 && self.random.one_in(3) || self.fragmented.is_empty() {
            let (flow, kind) = self.flow();
            let (bytes, id) = (with_payload(flow, kind, &[0x77; 64]), self.random.next() as u32);
            self.fragmented.push((bytes.clone(), id));
            return fragment(&bytes, id, 0, true);
        }
        let random = &mut *self.random;
        let (bytes, id) = &self.fragmented[random.below(self.fragmented.len())];
        let id = if random.one_in(8) { random.next() as u32 } else { *id };
        fragment(bytes, id, 1 + random.below(180) as u16, random.one_in(2))
    }

    fn link(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let random = &mut *self.random;
        let mut bytes = match random.below(5) {
            0 => {
                let tags: Vec<(u16, u16)> = (0..random.pick(&[1, 1, 1, 2, 2, 3]))
                    .map(|_| (random.pick(&[VLAN, QINQ]), random.next() as u16))
                    .collect();
                tagged(&bytes, &tags)
            }
            _ => bytes,
        };
        if random.one_in(10) {
            bytes.extend(vec![0; random.below(40)]);
        }
        bytes
    }

    /// Flipped bytes, most of them in the headers, and cut ends.
    fn bent(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let random = &mut *self.random;
        if random.one_in(4) {
            for _ in 0..=random.below(3) {
                let within = if random.one_in(4) { bytes.len() } else { bytes.len().min(80) };
                let at = random.below(within);
                bytes[at] =
                    if random.one_in(2) { random.next() as u8 } else { bytes[at] ^ 1 << random.below(8) };
            }
        }
        if random.one_in(12) {
            bytes.truncate(ETH + random.below(bytes.len() - ETH));
        }
        bytes
    }
}
