//! Backend → frame: tags, addresses, tunnels, lengths.

use std::net::IpAddr;

use lb_common::reason::Reason;
use lb_userspace::{
    datapath::DesiredBackend,
    model::{Method, NextHop, Tunnel},
};

use super::{Outcome, Walk, Way, icmp, seal, sum};
use crate::{
    frame::VLAN,
    view::{INGRESS, Known},
};

/// Sends a packet to its backend, unless something speaks against it.
pub(super) fn send(walk: &mut Walk<'_>, way: &Way) -> Result<Outcome, Reason> {
    let seen = walk.seen;
    if seen.ttl < 2 {
        return Err(Reason::TtlExpired);
    }
    // A fragment may come after whoever got its first is gone.
    let known = walk.view.known.get(&way.backend).ok_or(Reason::Unresolved)?;
    let Known { id, backend: to, tunnel: sources, .. } = known;
    let hop = to.next_hop.ok_or(Reason::Unresolved)?;
    let tunnel = to.method != Method::Dr;
    if tunnel || hop.mtu < walk.view.ingress_mtu {
        let header = if seen.six { 40 } else { 20 };
        if seen.len > walk.frame.len() - seen.l3 || seen.len < header {
            return Err(Reason::BadLength);
        }
        let takes = hop.mtu as usize - overhead(to);
        if seen.len > takes {
            if !way.tell {
                return Err(Reason::TooBigSilent);
            }
            if walk.view.desired.icmp_rate == 0 {
                return Err(Reason::IcmpRate);
            }
            let frame = icmp::too_big(walk.frame, &seen, takes);
            return Ok(Outcome::Answered { why: Reason::TooBig, frame });
        }
    }
    if !tunnel && hop.vlan == 0 && seen.tags == 2 {
        return Err(Reason::VlanRewrite);
    }
    let frame = if tunnel {
        wrapped(walk, to, &hop, outer_source(to, sources, way.hash), way.hash)
    } else {
        rewritten(walk, &hop)
    };
    walk.effects.forwarded = Some((way.service, way.backend, way.flags));
    Ok(Outcome::Sent {
        service: way.service.map(|index| walk.view.service_name(index)),
        backend: id.to_string(),
        redirected: hop.ifindex != INGRESS,
        frame,
    })
}

/// Bytes in front of the inner packet.
pub(super) fn overhead(to: &DesiredBackend) -> usize {
    let ip = if to.address.is_ipv4() { 20 } else { 40 };
    match to.method {
        Method::Dr => 0,
        Method::Ipip => ip,
        Method::Gue => ip + 8,
    }
}

/// The packet with one hop less, and what is behind it in the frame.
fn one_hop_less(walk: &Walk<'_>) -> Vec<u8> {
    let mut packet = walk.frame[walk.seen.l3..].to_vec();
    if walk.seen.six {
        packet[7] -= 1;
        return packet;
    }
    let header = walk.seen.l4 - walk.seen.l3;
    let was_right = sum(&packet[..header]) == 0xffff;
    packet[8] -= 1;
    if was_right {
        seal(&mut packet[..header]);
    } else {
        // A wrong checksum stays exactly as wrong: the receiver shall see it.
        let (new, carry) = u16::from_be_bytes([packet[10], packet[11]]).overflowing_add(0x0100);
        let new = new + u16::from(carry);
        let new = if new == 0xffff { 0 } else { new };
        packet[10..12].copy_from_slice(&new.to_be_bytes());
    }
    packet
}

/// The frame with other addresses and the egress's tag.
fn rewritten(walk: &Walk<'_>, hop: &NextHop) -> Vec<u8> {
    let frame = walk.frame;
    let mut out = [hop.dst_mac.0, hop.src_mac.0].concat();
    match (walk.seen.tags, hop.vlan) {
        (0, 0) => {}
        (0, vlan) => {
            out.extend(VLAN.to_be_bytes());
            out.extend(vlan.to_be_bytes());
        }
        (_, 0) => {}
        (_, vlan) => {
            // Another id; type and priority stay.
            out.extend(&frame[12..14]);
            out.extend((u16::from_be_bytes([frame[14], frame[15]]) & 0xf000 | vlan).to_be_bytes());
        }
    }
    // With or without a tag in front of it, the rest begins with a type.
    out.extend(&frame[if walk.seen.tags == 0 { 12 } else { 16 }..walk.seen.l3]);
    out.extend(one_hop_less(walk));
    out
}

/// The outer source: the configured prefix with its low bits from the hash.
fn outer_source(to: &DesiredBackend, tunnel: &Tunnel, hash: u64) -> IpAddr {
    let low = |free: u32| if free >= 32 { u32::MAX } else { (1 << free) - 1 } & hash as u32;
    match to.address {
        IpAddr::V4(_) => {
            let net = tunnel.source4.expect("tests give tunnels a source");
            (u32::from(net.network()) | low(32 - u32::from(net.prefix_len()))).to_be_bytes().into()
        }
        IpAddr::V6(_) => {
            let net = tunnel.source6.expect("tests give tunnels a source");
            let bits = low(128 - u32::from(net.prefix_len()));
            (u128::from(net.network()) | u128::from(bits)).to_be_bytes().into()
        }
    }
}

/// The packet behind an outer header.
fn wrapped(walk: &Walk<'_>, to: &DesiredBackend, hop: &NextHop, source: IpAddr, hash: u64) -> Vec<u8> {
    let seen = walk.seen;
    let mut out = [hop.dst_mac.0, hop.src_mac.0].concat();
    if hop.vlan != 0 {
        out.extend(VLAN.to_be_bytes());
        out.extend(hop.vlan.to_be_bytes());
    }
    let (udp, proto) = match (to.method, seen.six) {
        (Method::Gue, _) => (8, 17),
        (_, false) => (0, 4),
        (_, true) => (0, 41),
    };
    let payload = (seen.len + udp) as u16;
    match (source, to.address) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            out.extend([0x08, 0x00]);
            let [high, low] = (payload + 20).to_be_bytes();
            let mut header = vec![0x45, seen.tos, high, low, 0, 0, 0x40, 0, 64, proto, 0, 0];
            header.extend(src.octets());
            header.extend(dst.octets());
            seal(&mut header);
            out.extend(header);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            out.extend([0x86, 0xdd]);
            let label = hash >> 16 & 0xf_ffff;
            out.extend((6 << 28 | u32::from(seen.tos) << 20 | label as u32).to_be_bytes());
            out.extend(payload.to_be_bytes());
            out.extend([proto, 64]);
            out.extend(src.octets());
            out.extend(dst.octets());
        }
        families => panic!("{families:?}"),
    }
    if udp > 0 {
        out.extend((0xc000 | (hash >> 20) as u16 & 0x3fff).to_be_bytes());
        out.extend(to.gue_port.to_be_bytes());
        out.extend(payload.to_be_bytes());
        out.extend([0, 0]);
    }
    out.extend(one_hop_less(walk));
    out
}
