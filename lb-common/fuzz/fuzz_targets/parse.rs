//! Any bytes are parsed or refused with a reason; the parser looks at the headers it reports and at nothing behind them.
//! AddressSanitizer watches the bounds: each walk runs on a buffer of its own that ends where the frame ends.

#![no_main]

use lb_common::{
    net::{
        cursor::Cursor,
        parse::{self, Network, Transport},
    },
    reason::Reason,
};

/// Walks a frame to its transport header; also how many bytes that took.
fn walk(frame: &[u8]) -> Result<(Network, Transport, usize), Reason> {
    let mut bytes: Box<[u8]> = frame.into();
    let mut cursor = Cursor::new(&mut bytes);
    let link = parse::link(&mut cursor)?;
    // Writes as the program would, to everything it was given.
    link.macs.write(u64::MAX, u32::MAX);
    let proto = match link.network {
        Network::V4 => {
            let ip = parse::v4(&mut cursor)?;
            ip.decrement_ttl();
            ip.proto
        }
        Network::V6 => {
            let (ip, proto) = parse::v6(&mut cursor)?;
            ip.hop_limit = ip.hop_limit.wrapping_sub(1);
            proto
        }
    };
    if let parse::Tags::One(tag) | parse::Tags::Two(tag) = link.tags {
        tag.set_id(tag.id() ^ 1);
    }
    let transport = parse::transport(&mut cursor, proto)?;
    Ok((link.network, transport, frame.len() - cursor.remaining()))
}

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    if let Ok(found) = walk(frame) {
        assert_eq!(walk(&frame[..found.2]), Ok(found));
        assert_eq!(walk(&frame[..found.2 - 1]), Err(Reason::Truncated));
    }
});
