//! Every header cut at every byte. (`BPF_PROG_TEST_RUN` takes no frame shorter than an Ethernet header; neither do drivers.)

use lb_common::reason::{Reason, Verdict};

use crate::{
    frame::{ETH, Ext, Kind, QINQ, VLAN, extended, flow, frame, tagged, with_options},
    model::Outcome,
    verdicts::desired,
    world::World,
};

/// A frame, and how many of its bytes are headers.
fn frames() -> Vec<(&'static str, Vec<u8>, usize)> {
    const TCP: usize = 20;
    const UDP: usize = 8;
    let four = |kind, port| frame(flow(&format!("203.0.113.1:{port}"), 40_000), kind);
    let six = |kind, port| frame(flow(&format!("[2001:db8::1]:{port}"), 40_000), kind);
    let chain = [
        Ext::HopByHop(2),
        Ext::Routing { left: 0 },
        Ext::Authentication { words: 3 },
        Ext::Fragment { offset: 0, more: false },
    ];
    let chained = 24 + 24 + 24 + 8;
    vec![
        ("IPv4 TCP", four(Kind::Ack, 80), ETH + 20 + TCP),
        ("IPv4 UDP", four(Kind::Udp, 53), ETH + 20 + UDP),
        ("IPv6 TCP", six(Kind::Syn, 80), ETH + 40 + TCP),
        ("IPv6 UDP", six(Kind::Udp, 53), ETH + 40 + UDP),
        ("IPv4 options", with_options(flow("203.0.113.1:80", 7), Kind::Ack, 10), ETH + 60 + TCP),
        ("IPv6 extensions", extended(&six(Kind::Ack, 80), &chain), ETH + 40 + chained + TCP),
        (
            "IPv6 UDP behind a long header",
            extended(&six(Kind::Udp, 53), &[Ext::Destination(20)]),
            ETH + 40 + 168 + UDP,
        ),
        ("one tag", tagged(&four(Kind::Ack, 80), &[(VLAN, 5)]), ETH + 4 + 20 + TCP),
        (
            "two tags",
            tagged(&frame(flow("203.0.113.6:80", 7), Kind::Ack), &[(QINQ, 5), (VLAN, 6)]),
            ETH + 8 + 20 + TCP,
        ),
        (
            "two tags, IPv6",
            tagged(&frame(flow("[2001:db8::6]:80", 7), Kind::Ack), &[(QINQ, 5), (VLAN, 6)]),
            ETH + 8 + 40 + TCP,
        ),
        ("to be tagged", frame(flow("203.0.113.6:80", 7), Kind::Ack), ETH + 20 + TCP),
    ]
}

#[test]
fn a_cut_header_is_passed_unchanged_and_never_forwarded() {
    let Some(world) = World::new(1024, desired()) else { return };
    let mut cuts = 0;
    for (name, whole, headers) in frames() {
        for length in ETH..=whole.len() {
            let bytes = &whole[..length];
            let (got, _) = world.watched(bytes);
            if length < headers {
                assert_eq!(got, Outcome::Stopped(Reason::Truncated), "{name} cut to {length}");
                cuts += 1;
            } else {
                assert!(matches!(got, Outcome::Sent { .. }), "{name} cut to {length}: {got:?}");
            }
        }
    }
    assert_eq!(Reason::Truncated.verdict(), Verdict::Pass);
    println!("{cuts} cuts");
}
