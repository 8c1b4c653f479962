//! Echo, errors about flows, "too big".

use std::net::IpAddr;

use lb_common::{counter::PinEvent, explain::QUOTED, reason::Reason};

use super::{
    Model, Outcome, Packet, Part, Seen, Walk, Way, find, forward,
    read::{bytes, four},
    seal, sum,
};
use crate::{frame::Flow, view::octets};

/// Bytes of a packet that our own errors quote.
const QUOTE: usize = 68;

impl Model {
    /// An ICMP message to one of our addresses.
    pub(super) fn icmp(&mut self, walk: &mut Walk<'_>) -> Result<Outcome, Reason> {
        let message: [u8; 8] = bytes(walk.frame, walk.seen.l4)?;
        let (echo, reply) = if walk.seen.six { (128, 129) } else { (8, 0) };
        if message[0] == echo {
            if walk.view.desired.icmp_rate == 0 {
                return Err(Reason::IcmpRate);
            }
            return Ok(Outcome::Answered { why: Reason::EchoReply, frame: echoed(walk, echo, reply) });
        }
        let quotes = if walk.seen.six { &[1, 2, 3, 4][..] } else { &[3, 11, 12] };
        if !quotes.contains(&message[0]) {
            return Err(Reason::Icmp);
        }
        let at = walk.seen.l4 + 8;
        let (from, to, proto, l4) =
            if walk.seen.six { quoted6(walk.frame, at) } else { quoted4(walk.frame, at) }?;
        if from != walk.seen.dst || !matches!(proto, 6 | 17) {
            return Err(Reason::Icmp);
        }
        // The backend's direction is quoted; the flow is the client's.
        let [a, b, c, d, ..] = bytes::<8>(walk.frame, l4)?;
        let [ours, theirs] = [[a, b], [c, d]].map(u16::from_be_bytes);
        let service = find::service(walk.view, from, ours, proto).ok_or(Reason::Icmp)?;
        walk.told.flags |= QUOTED;
        // What is quoted opens nothing and ends nothing.
        let packet = Packet::of(Flow { src: (to, theirs).into(), dst: (from, ours).into() }, proto, 0x10);
        let backend = self.owner(walk, service, &packet, true)?;
        // RFC 1122, section 3.2.2, and RFC 4443, section 2.4: no error about an error.
        let way = Way { service: None, backend, hash: packet.hash, flags: 0, tell: false };
        let sent = forward::send(walk, &way)?;
        walk.effects.events.push(PinEvent::IcmpDelivered);
        Ok(sent)
    }
}

/// Source, destination, protocol and transport header of a quoted packet.
type Quoted = (IpAddr, IpAddr, u8, usize);

fn quoted4(frame: &[u8], at: usize) -> Result<Quoted, Reason> {
    let quoted = four(frame, at)?;
    // Only a first fragment has ports.
    let proto = if matches!(quoted.part, Part::Later(_)) { 255 } else { quoted.proto };
    Ok((quoted.src, quoted.dst, proto, quoted.l4))
}

fn quoted6(frame: &[u8], at: usize) -> Result<Quoted, Reason> {
    let header: [u8; 40] = bytes(frame, at)?;
    let [src, dst] = [8, 24].map(|i| IpAddr::from(bytes::<16>(&header, i).unwrap()));
    if header[6] != 44 {
        return Ok((src, dst, header[6], at + 40));
    }
    let fragment: [u8; 8] = bytes(frame, at + 40)?;
    let later = u16::from_be_bytes([fragment[2], fragment[3]]) >> 3 != 0;
    Ok((src, dst, if later { 255 } else { fragment[0] }, at + 48))
}

/// Both MAC addresses change places.
fn back(frame: &[u8]) -> Vec<u8> {
    [&frame[6..12], &frame[..6]].concat()
}

/// The sum of the addresses, length and protocol that ICMPv6 covers (RFC 8200, section 8.1), as bytes in front of the message.
fn pseudo6(src: &[u8], dst: &[u8], len: usize) -> Vec<u8> {
    [src, dst, &(len as u32).to_be_bytes(), &[0, 0, 0, 58]].concat()
}

/// Request → reply. A right checksum is right again; a wrong one stays as wrong.
fn echoed(walk: &Walk<'_>, echo: u8, reply: u8) -> Vec<u8> {
    let Seen { l3, l4, six, .. } = walk.seen;
    let mut out = back(walk.frame);
    out.extend(&walk.frame[12..]);
    let (src, dst, size) = if six { (l3 + 8, l3 + 24, 16) } else { (l3 + 12, l3 + 16, 4) };
    for i in 0..size {
        out.swap(src + i, dst + i);
    }
    if six {
        out[l3 + 7] = 64;
    } else {
        let old = out[l3 + 8];
        out[l3 + 8] = 64;
        let covered = &mut out[l3..l4];
        let was_right = sum(&walk.frame[l3..l4]) == 0xffff;
        if was_right {
            seal(covered);
        } else {
            let csum = changed([covered[10], covered[11]], [old, 0], [64, 0]);
            covered[10..12].copy_from_slice(&csum);
        }
    }
    out[l4] = reply;
    let csum = [out[l4 + 2], out[l4 + 3]];
    // The sum of everything else rises or falls by the types' difference, the checksum the other way.
    let by: u16 = if six { !(u16::from(reply - echo) << 8) } else { u16::from(echo - reply) << 8 };
    let (new, carry) = u16::from_be_bytes(csum).overflowing_add(by);
    out[l4 + 2..l4 + 4].copy_from_slice(&(new + u16::from(carry)).to_be_bytes());
    out
}

/// A checksum after one of its words changed (RFC 1624, equation 3).
fn changed(csum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let words = [!u16::from_be_bytes(csum), !u16::from_be_bytes(old), u16::from_be_bytes(new)];
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
    (!sum(&bytes)).to_be_bytes()
}

/// The message that a packet is longer than `mtu`, with the packet's own link header, back to where it came from.
pub(super) fn too_big(frame: &[u8], seen: &Seen, mtu: usize) -> Vec<u8> {
    let mut out = back(frame);
    out.extend(&frame[12..seen.l3]);
    let [client, vip] = [seen.src, seen.dst].map(octets);
    let quote = &frame[seen.l3..seen.l3 + QUOTE];
    if seen.six {
        let mut message = vec![2, 0, 0, 0];
        message.extend((mtu.max(1280) as u32).to_be_bytes());
        message.extend(quote);
        let covered = [pseudo6(&vip, &client, message.len()), message.clone()].concat();
        message[2..4].copy_from_slice(&(!sum(&covered)).to_be_bytes());
        out.extend([0x60, 0, 0, 0, 0, message.len() as u8, 58, 64]);
        out.extend(vip.into_iter().chain(client).chain(message));
    } else {
        let mut message = vec![3, 4, 0, 0, 0, 0];
        message.extend((mtu as u16).to_be_bytes());
        message.extend(quote);
        let csum = !sum(&message);
        message[2..4].copy_from_slice(&csum.to_be_bytes());
        let mut header = vec![0x45, 0, 0, 20 + message.len() as u8, 0, 0, 0, 0, 64, 1, 0, 0];
        header.extend(vip.into_iter().chain(client));
        seal(&mut header);
        out.extend(header.into_iter().chain(message));
    }
    out
}
