//! QUIC (RFC 9000, RFC 9369), as far as a balancer looks: does the packet open a connection, and which server does its connection id name
//! (plaintext server ids of draft-ietf-quic-load-balancers).

use super::cursor::Cursor;

/// What the first bytes of a UDP payload say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quic {
    /// A client's first packet: Initial or 0-RTT. Its destination connection id is the client's invention.
    pub opens: bool,
    /// The server's number in the connection id, where asked for and there.
    pub id: Option<u16>,
}

/// Form bit: a long header.
const LONG: u8 = 1 << 7;
/// QUIC version 2 numbers its packet types differently.
const VERSION_2: [u8; 4] = [0x6b, 0x33, 0x43, 0xcf];
/// Longest connection id (RFC 9000, section 17.2).
const MAX_ID: u8 = 20;

/// Looks at a UDP payload. `offset` and `len` (0: none wanted) say where in the connection id the server's number is. What cannot be
/// read neither opens anything nor names anybody.
#[inline(always)]
pub fn look(cursor: &mut Cursor<'_>, offset: u8, len: u8) -> Quic {
    let Ok(first) = cursor.take::<[u8; 1]>() else { return Quic::default() };
    let first = first[0];
    if first & LONG == 0 {
        return Quic { opens: false, id: number(cursor, offset, len, MAX_ID) };
    }
    let Ok(head) = cursor.take::<[u8; 5]>() else { return Quic::default() };
    let [a, b, c, d, id_len] = *head;
    let kind = (first >> 4) & 3;
    let initial = u8::from([a, b, c, d] == VERSION_2);
    // Initial, then 0-RTT, in both versions' numbering. Version negotiation never comes from a client.
    let opens = kind == initial || kind == initial + 1;
    Quic { opens, id: if opens { None } else { number(cursor, offset, len, id_len) } }
}

#[inline(always)]
fn number(cursor: &mut Cursor<'_>, offset: u8, len: u8, id_len: u8) -> Option<u16> {
    if len == 0 || offset >= MAX_ID || offset + len > id_len {
        return None;
    }
    cursor.skip(usize::from(offset & 31)).ok()?;
    if len == 1 {
        cursor.take::<[u8; 1]>().ok().map(|b| u16::from(b[0]))
    } else {
        cursor.take::<[u8; 2]>().ok().map(|b| u16::from_be_bytes(*b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: &[u8], offset: u8, len: u8) -> Quic {
        let mut copy = [0; 64];
        let copy = &mut copy[..bytes.len()];
        copy.copy_from_slice(bytes);
        look(&mut Cursor::new(copy), offset, len)
    }

    #[test]
    fn initial_and_0rtt_open_a_connection_in_both_versions() {
        for (first, version, opens) in [
            (0xc0, [0, 0, 0, 1], true),
            (0xd0, [0, 0, 0, 1], true),
            (0xe0, [0, 0, 0, 1], false),
            (0xf0, [0, 0, 0, 1], false),
            (0xc0, VERSION_2, false),
            (0xd0, VERSION_2, true),
            (0xe0, VERSION_2, true),
            (0xf0, VERSION_2, false),
        ] {
            let [a, b, c, d] = version;
            let bytes = [first, a, b, c, d, 4, 9, 0x12, 0x34, 9];
            let found = seen(&bytes, 1, 2);
            assert_eq!(found.opens, opens, "{first:x} {version:?}");
            assert_eq!(found.id, (!opens).then_some(0x1234), "{first:x} {version:?}");
        }
    }

    #[test]
    fn a_short_header_names_its_server() {
        assert_eq!(seen(&[0x40, 7, 1, 2, 3], 1, 2), Quic { opens: false, id: Some(0x0102) });
        assert_eq!(seen(&[0x40, 7, 1], 1, 1).id, Some(1));
        assert_eq!(seen(&[0x40, 7, 1], 1, 2).id, None, "cut");
        assert_eq!(seen(&[0x40, 7, 1], 0, 0).id, None, "not wanted");
    }

    #[test]
    fn an_id_that_is_too_short_names_nobody() {
        let handshake = [0xe0, 0, 0, 0, 1, 2, 7, 8, 9, 9];
        assert_eq!(seen(&handshake, 1, 2).id, None);
        assert_eq!(seen(&handshake, 0, 2).id, Some(0x0708));
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let whole = [0xe0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        for end in 0..whole.len() {
            seen(&whole[..end], 6, 2);
        }
        assert_eq!(seen(&whole, 6, 2).id, Some(0x0708));
    }
}
