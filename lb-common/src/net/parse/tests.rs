use std::{boxed::Box, format, string::String, vec, vec::Vec};

use etherparse::{PacketBuilder, VlanId};
use proptest::prelude::*;

use super::*;
use crate::net::wire;

/// What the parser found in a frame, and how many bytes it looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    tags: u8,
    network: Network,
    transport: Transport,
    used: usize,
}

/// The whole walk, on a copy that ends where the frame ends.
fn parse(frame: &[u8]) -> Result<Found, Reason> {
    let mut bytes: Box<[u8]> = frame.into();
    let mut cursor = Cursor::new(&mut bytes);
    let link = link(&mut cursor)?;
    let proto = match link.network {
        Network::V4 => v4(&mut cursor)?.proto,
        Network::V6 => v6(&mut cursor)?.1,
    };
    let transport = transport(&mut cursor, proto)?;
    let tags = match link.tags {
        Tags::None => 0,
        Tags::One(_) => 1,
        Tags::Two(_) => 2,
    };
    Ok(Found { tags, network: link.network, transport, used: frame.len() - cursor.remaining() })
}

fn tcp4() -> Vec<u8> {
    let mut frame = Vec::new();
    let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([198, 51, 100, 7], [203, 0, 113, 1], 64);
    ip.tcp(40_000, 443, 1, 2).syn().write(&mut frame, b"abc").unwrap();
    frame
}

fn udp6() -> Vec<u8> {
    let mut frame = Vec::new();
    let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([0xfd; 16], [0xfe; 16], 64);
    ip.udp(5000, 53).write(&mut frame, b"abc").unwrap();
    frame
}

fn edit(frame: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// Puts bytes into a frame.
fn insert(frame: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    [&frame[..at], new, &frame[at..]].concat()
}

/// Puts extension headers, each given with its number, in front of the transport header of an IPv6 frame.
fn extended(chain: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut frame = udp6();
    let (mut next_at, mut at) = (14 + 6, 14 + 40);
    for (number, header) in chain {
        let mut header = header.clone();
        header[0] = frame[next_at];
        frame[next_at] = *number;
        frame = insert(&frame, at, &header);
        next_at = at;
        at += header.len();
    }
    frame
}

/// An extension header of so many 8-byte units beyond the first.
fn options(units: u8) -> Vec<u8> {
    let mut header = vec![0; 8 + 8 * usize::from(units)];
    header[1] = units;
    header
}

fn with_body(body: [u8; 2]) -> Vec<u8> {
    vec![0, 0, body[0], body[1], 0, 0, 0, 0]
}

#[test]
fn plain_frames_give_ports_protocol_and_flags() {
    let found = parse(&tcp4()).unwrap();
    assert_eq!((found.tags, found.network, found.used), (0, Network::V4, 14 + 20 + 20));
    assert_eq!((found.transport.proto, found.transport.flags), (TCP, SYN));
    assert_eq!(found.transport.ports, u32::from_le_bytes(super::super::l4::ports(40_000, 443)));
    assert_eq!(found.transport.dport(), wire(443));
    let found = parse(&udp6()).unwrap();
    assert_eq!((found.tags, found.network, found.used), (0, Network::V6, 14 + 40 + 8));
    assert_eq!((found.transport.proto, found.transport.flags, found.transport.dport()), (UDP, 0, wire(53)));
}

#[test]
fn somebody_elses_tags_are_found() {
    let id = |n| VlanId::try_new(n).unwrap();
    let mut one = Vec::new();
    let step = PacketBuilder::ethernet2([2; 6], [4; 6]).single_vlan(id(5));
    step.ipv4([1; 4], [2; 4], 9).udp(1, 2).write(&mut one, &[]).unwrap();
    assert_eq!(parse(&one).unwrap().tags, 1);
    let mut two = Vec::new();
    let step = PacketBuilder::ethernet2([2; 6], [4; 6]).double_vlan(id(5), id(6));
    step.ipv6([1; 16], [2; 16], 9).tcp(1, 2, 3, 4).write(&mut two, &[]).unwrap();
    assert_eq!(parse(&two).unwrap().tags, 2);
    assert_eq!(&two[12..14], &eth::QINQ.to_le_bytes(), "the outer one is a service tag");
}

#[test]
fn what_is_not_ip_is_said_so_behind_any_number_of_tags() {
    let tag = [0x81, 0, 0, 5];
    let mut frame = edit(&tcp4(), 12, &[8, 6]);
    for tags in 0..=2 {
        assert_eq!(parse(&frame), Err(Reason::NotIp), "{tags}");
        frame = insert(&frame, 12, &tag);
    }
    assert_eq!(parse(&frame), Err(Reason::TooManyTags));
    let three = (0..3).fold(tcp4(), |frame, _| insert(&frame, 12, &tag));
    assert_eq!(parse(&three), Err(Reason::TooManyTags));
}

#[test]
fn ipv4_header_says_its_version_and_length() {
    for (first, expected) in [
        (0x44, Err(Reason::Malformed)),
        (0x40, Err(Reason::Malformed)),
        (0x65, Err(Reason::Malformed)),
        (0x35, Err(Reason::Malformed)),
        (0x45, Ok(54)),
    ] {
        assert_eq!(parse(&edit(&tcp4(), 14, &[first])).map(|f| f.used), expected, "{first:#x}");
    }
    for words in 1..=10u8 {
        let frame = insert(&tcp4(), 34, &vec![1; usize::from(words) * 4]);
        let frame = edit(&frame, 14, &[0x45 + words]);
        assert_eq!(parse(&frame).map(|f| f.used), Ok(54 + usize::from(words) * 4));
    }
}

#[test]
fn ipv4_fragments_are_those_with_an_offset_or_more_to_come() {
    for (field, fragment) in [
        (0x0000, false),
        (0x4000, false),
        (0x8000, false),
        (0x2000, true),
        (0x6000, true),
        (0x0001, true),
        (0x1fff, true),
    ] {
        let found = parse(&edit(&tcp4(), 20, &u16::to_be_bytes(field)));
        assert_eq!(found == Err(Reason::Fragment), fragment, "{field:#06x}: {found:?}");
    }
}

#[test]
fn ipv6_header_says_its_version() {
    for version in 0..16 {
        let found = parse(&edit(&udp6(), 14, &[version << 4]));
        assert_eq!(found.is_ok(), version == 6, "{version}");
        assert!(version == 6 || found == Err(Reason::Malformed));
    }
}

#[test]
fn up_to_four_extension_headers_of_any_kind_are_skipped() {
    use ipv6::{AUTHENTICATION, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING};
    let mut auth = vec![0; 24];
    auth[1] = 4;
    let kinds = [
        (HOP_BY_HOP, options(0)),
        (DESTINATION, options(31)),
        (ROUTING, options(2)),
        (AUTHENTICATION, auth),
        (FRAGMENT, with_body([0, 0])),
    ];
    for a in &kinds {
        for b in &kinds {
            let chain = [a.clone(), b.clone(), (HOP_BY_HOP, options(1)), (DESTINATION, options(0))];
            for n in 0..=4 {
                let length: usize = chain[..n].iter().map(|(_, h)| h.len()).sum();
                assert_eq!(
                    parse(&extended(&chain[..n])).map(|f| f.used),
                    Ok(62 + length),
                    "{:?}",
                    &chain[..n]
                );
            }
            for fifth in &kinds {
                let chain = [&chain[..], core::slice::from_ref(fifth)].concat();
                assert_eq!(parse(&extended(&chain)), Err(Reason::TooManyExtensions));
            }
        }
    }
}

#[test]
fn an_authentication_header_counts_in_words_and_others_in_eight_bytes() {
    for len in 0..=8u8 {
        // Shorter than its fixed part cannot be: 8 bytes are taken in any case.
        let mut auth = vec![0; 8 + 4 * usize::from(len)];
        auth[1] = len;
        let found = parse(&extended(&[(ipv6::AUTHENTICATION, auth.clone())]));
        assert_eq!(found.map(|f| f.used), Ok(62 + auth.len()));
    }
}

#[test]
fn ipv6_fragments_are_those_with_an_offset_or_more_to_come() {
    for (field, fragment) in
        [(0x0000, false), (0x0002, false), (0x0006, false), (0x0001, true), (0x0008, true), (0xfff8, true)]
    {
        let found = parse(&extended(&[(ipv6::FRAGMENT, with_body(u16::to_be_bytes(field)))]));
        assert_eq!(found == Err(Reason::Fragment), fragment, "{field:#06x}: {found:?}");
    }
}

#[test]
fn a_routing_header_with_hops_to_visit_is_not_ours_to_forward() {
    for left in [0, 1, 255] {
        let found = parse(&extended(&[(ipv6::ROUTING, with_body([2, left]))]));
        assert_eq!(found == Err(Reason::SourceRouted), left != 0, "{left}: {found:?}");
    }
}

#[test]
fn other_protocols_are_said_so_and_every_number_is_one_or_the_other() {
    for number in 0..=255u8 {
        let four = parse(&edit(&tcp4(), 14 + 9, &[number]));
        let six = parse(&edit(&udp6(), 14 + 6, &[number]));
        if number == TCP || number == UDP {
            assert_eq!(four.map(|f| f.transport.proto), Ok(number));
        } else {
            assert_eq!(four, Err(Reason::NotTcpUdp), "{number}");
            assert!(is_extension(number) || six == Err(Reason::NotTcpUdp), "{number}: {six:?}");
        }
    }
    assert_eq!([0, 43, 44, 51, 60].map(is_extension), [true; 5]);
    assert_eq!((0..=255).filter(|n| is_extension(*n)).count(), 5);
}

#[test]
fn flags_open_and_close_connections() {
    let with = |flags| Transport { ports: 0, proto: TCP, flags };
    let seen: Vec<String> = [SYN, SYN | ACK, ACK, FIN, FIN | ACK, RST, RST | ACK, 0]
        .map(|flags| format!("{}{}", u8::from(with(flags).opens()), u8::from(with(flags).closes())))
        .into();
    assert_eq!(seen, ["10", "00", "00", "01", "01", "01", "01", "00"]);
}

#[test]
fn a_frame_that_ends_in_a_header_is_truncated_wherever_it_ends() {
    let options_and_tags = {
        let frame = edit(&insert(&tcp4(), 34, &[1; 40]), 14, &[0x4f]);
        insert(&frame, 12, &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6])
    };
    let chain = extended(&[
        (ipv6::HOP_BY_HOP, options(1)),
        (ipv6::ROUTING, options(0)),
        (ipv6::FRAGMENT, with_body([0, 0])),
        (ipv6::DESTINATION, options(2)),
    ]);
    for frame in [tcp4(), udp6(), options_and_tags, chain] {
        let used = parse(&frame).unwrap().used;
        for length in 0..used {
            assert_eq!(parse(&frame[..length]), Err(Reason::Truncated), "{length} of {used}");
        }
        assert_eq!(parse(&frame[..used]).map(|f| f.used), Ok(used));
    }
}

/// Bytes that look like a frame often enough for every branch to be taken.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let edits = proptest::collection::vec((0usize..90, any::<u8>()), 0..6);
    let start = prop_oneof![
        Just(tcp4()),
        Just(udp6()),
        Just(insert(&tcp4(), 12, &[0x81, 0, 0, 5])),
        Just(insert(&udp6(), 12, &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6])),
        Just(extended(&[(0, options(1)), (60, options(0)), (51, options(0)), (44, with_body([0, 0]))])),
        proptest::collection::vec(any::<u8>(), 0..120),
    ];
    (start, edits, 0usize..160).prop_map(|(mut frame, edits, length)| {
        for (at, value) in edits {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.truncate(length);
        frame
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_bytes_are_parsed_or_refused_and_what_follows_the_headers_does_not_matter(
        frame in frames(),
        more in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let longer = [&frame[..], &more].concat();
        match parse(&frame) {
            Ok(found) => {
                prop_assert!(found.used <= frame.len());
                prop_assert_eq!(parse(&longer), Ok(found));
                prop_assert_eq!(parse(&frame[..found.used]), Ok(found));
                prop_assert_eq!(parse(&frame[..found.used - 1]), Err(Reason::Truncated));
            }
            // More bytes may complete a header.
            Err(Reason::Truncated) => {}
            Err(why) => prop_assert_eq!(parse(&longer), Err(why)),
        }
    }
}
