//! What holds of every frame that leaves, whoever is right about its bytes: lengths that agree with each other, and sums that are right
//! where they were right before.

use etherparse::{IpNumber, LaxNetSlice, LaxSlicedPacket};

use crate::model::{read, sum};

/// Whether the IPv4 header's checksum of a frame is right; so is IPv6's, which has none.
fn sealed(frame: &[u8], l3: usize) -> bool {
    frame[l3] >> 4 != 4 || sum(&frame[l3..l3 + usize::from(frame[l3] & 15) * 4]) == 0xffff
}

/// Checks a frame that left for one that came.
pub(crate) fn check(came: &[u8], left: &[u8]) -> Result<(), String> {
    let [came_seen, left_seen] = [read(came), read(left)].map(|seen| seen.map_err(|e| format!("{e:?}")));
    let (came_seen, left_seen) = (came_seen?, left_seen?);
    if sealed(came, came_seen.l3) != sealed(left, left_seen.l3) && left_seen.ttl != 64 {
        return Err("the header's checksum became wrong, or right".into());
    }
    let made = !(came_seen.proto == left_seen.proto && came_seen.part == left_seen.part);
    let answered = matches!(left_seen.proto, 1 | 58) && left[..6] == came[6..12];
    if !made && !answered {
        return Ok(());
    }
    // What the program made itself must be right in itself.
    if (made || !answered) && !sealed(left, left_seen.l3) {
        return Err("a new header with a wrong checksum".into());
    }
    let room = left.len() - left_seen.l3;
    let fits = if answered && made { left_seen.len == room } else { left_seen.len <= room };
    if (made || !answered) && !fits {
        return Err(format!("{} bytes of packet in {room} of frame", left_seen.len));
    }
    let sliced = LaxSlicedPacket::from_ethernet(left).map_err(|e| e.to_string())?;
    match sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) if answered && made => {
            if ip.payload().ip_number != IpNumber::ICMP || sum(ip.payload().payload) != 0xffff {
                return Err("an ICMP message with a wrong checksum".into());
            }
        }
        Some(LaxNetSlice::Ipv6(ip)) if answered && made => {
            let len = (ip.payload().payload.len() as u32).to_be_bytes();
            let header = ip.header();
            let covered =
                [&header.source()[..], &header.destination(), &len, &[0, 0, 0, 58], ip.payload().payload]
                    .concat();
            if sum(&covered) != 0xffff {
                return Err("an ICMPv6 message with a wrong checksum".into());
            }
        }
        Some(_) => {}
        None => return Err("no packet in the frame".into()),
    }
    Ok(())
}
