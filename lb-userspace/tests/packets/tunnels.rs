//! Backends behind tunnels: outer headers of both methods and families, over every inner frame, and what does not fit in front of a frame.

use std::{collections::BTreeSet, net::IpAddr};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use lb_common::{names, reason::Reason};
use lb_userspace::{
    datapath::Desired,
    model::{Method, Tunnel},
};

use crate::{
    frame::{ETH, Kind, QINQ, VLAN, edit, edit4, flow, frame, marked, tagged, with_options},
    model::Outcome,
    random::sound,
    site::{nothing, pool, site},
    world::{DROP, World},
};

/// VLAN of the egress of pools with an even number.
const TAG: u16 = 100;
/// Method, outer family, and the length of the outer headers, of pools 1 to 8; every other one with a tag.
const POOLS: [(Method, bool, usize); 8] = [
    (Method::Ipip, false, 20),
    (Method::Ipip, false, 20),
    (Method::Ipip, true, 40),
    (Method::Ipip, true, 40),
    (Method::Gue, false, 28),
    (Method::Gue, false, 28),
    (Method::Gue, true, 48),
    (Method::Gue, true, 48),
];

fn desired(source4: &str, source6: &str) -> Desired {
    let mut all = nothing();
    all.tunnel = Tunnel { source4: Some(source4.parse().unwrap()), source6: Some(source6.parse().unwrap()) };
    for (i, (method, six, _)) in POOLS.into_iter().enumerate() {
        let number = i as u8 + 1;
        let mut one = pool(number, 13, 1);
        for backend in one.backends.values_mut() {
            backend.method = method;
            if six {
                backend.address = format!("2001:db8:b::{number}").parse().unwrap();
            }
            let hop = backend.next_hop.as_mut().unwrap();
            hop.vlan = if number.is_multiple_of(2) { TAG } else { 0 };
            hop.ifindex = if number > 6 { 7 } else { 1 };
        }
        site(&mut all, &format!("p{number}"), number, one);
    }
    all
}

fn destinations(number: usize, port: u16) -> [String; 2] {
    [format!("203.0.113.{number}:{port}"), format!("[2001:db8::{number}]:{port}")]
}

#[test]
fn every_inner_frame_is_wrapped_by_every_method_in_every_family() {
    let Some(world) = World::new(1024, desired("192.0.2.1/32", "2001:db8:5::1/128")) else { return };
    for (i, (method, six, overhead)) in POOLS.into_iter().enumerate() {
        for dst in destinations(i + 1, 80) {
            let plain = frame(flow(&dst, 40_000), Kind::Ack);
            let mut frames = vec![
                plain.clone(),
                frame(flow(&dst, 40_001), Kind::Syn),
                tagged(&plain, &[(VLAN, 5)]),
                tagged(&plain, &[(VLAN, TAG)]),
                tagged(&plain, &[(QINQ, 5), (VLAN, 6)]),
                // Short frames are padded; what is behind the packet stays there.
                [&plain[..], &[0xee; 6]].concat(),
            ];
            frames.extend((0..=255).step_by(5).map(|tos| marked(&plain, tos)));
            if dst.starts_with('2') {
                frames.extend([with_options(flow(&dst, 7), Kind::Ack, 10), edit4(&plain, 8, &[2])]);
                frames.push(edit(&plain, ETH + 10, &[0x12, 0x34]));
            }
            for came in frames {
                let (got, _) = world.watched(&came);
                let Outcome::Sent { frame: left, .. } = got else { panic!("{method:?} {dst}: {got:?}") };
                sound::check(&came, &left).unwrap();
                let tag = if i % 2 == 1 { 4 } else { 0 };
                let inner = ETH + tag + overhead;
                assert_eq!(left.len() - inner, came.len() - crate::model::read(&came).unwrap().l3);
                let sliced = SlicedPacket::from_ethernet(&left).unwrap();
                match (sliced.net.unwrap(), six) {
                    (NetSlice::Ipv4(ip), false) => assert_eq!(ip.header().ttl(), 64),
                    (NetSlice::Ipv6(ip), true) => assert_eq!(ip.header().hop_limit(), 64),
                    other => panic!("{other:?}"),
                }
                match (sliced.transport, method) {
                    (Some(TransportSlice::Udp(udp)), Method::Gue) => {
                        assert_eq!((udp.destination_port(), udp.checksum()), (6080, 0));
                        assert!(udp.source_port() >= 0xc000);
                    }
                    (_, method) => assert_eq!(method, Method::Ipip),
                }
            }
        }
        for dst in destinations(i + 1, 53) {
            assert_eq!(world.packet(flow(&dst, 9), Kind::Udp), "b1");
        }
    }
}

/// Outer sources of many flows through each pool.
fn sources(world: &World, number: usize) -> Vec<IpAddr> {
    (0..200)
        .map(|port| {
            let dst = &destinations(number, 80)[usize::from(port % 2 == 0)];
            let bytes = frame(flow(dst, 1000 + port), Kind::Ack);
            let (Outcome::Sent { frame: left, .. }, _) = world.ask(&bytes) else { panic!("{dst}") };
            let (Outcome::Sent { frame: again, .. }, _) = world.ask(&bytes) else { panic!("{dst}") };
            assert_eq!(left, again, "a flow keeps its outer source");
            crate::model::read(&left).unwrap().src
        })
        .collect()
}

#[test]
fn the_outer_source_is_one_address_or_spread_over_a_prefix() {
    for (source4, source6, distinct) in [
        ("192.0.2.1/32", "2001:db8:5::1/128", 1),
        ("192.0.2.0/24", "2001:db8:5::/120", 100),
        ("10.64.0.0/10", "2001:db8:5::/64", 198),
    ] {
        let Some(world) = World::new(1024, desired(source4, source6)) else { return };
        let nets: [ipnet::IpNet; 2] = [source4.parse().unwrap(), source6.parse().unwrap()];
        for number in 1..=8 {
            let all = sources(&world, number);
            assert!(all.iter().all(|a| nets.iter().any(|net| net.contains(a))), "{all:?}");
            let distinct_found = all.iter().collect::<BTreeSet<_>>().len();
            assert!(distinct_found >= distinct && (distinct > 1 || distinct_found == 1), "{distinct_found}");
        }
    }
}

#[test]
fn a_packet_that_is_longer_than_its_frame_or_shorter_than_its_header_is_not_wrapped() {
    let Some(world) = World::new(1024, desired("192.0.2.1/32", "2001:db8:5::1/128")) else { return };
    for number in 1..=8 {
        let [four, six] = destinations(number, 80).map(|dst| frame(flow(&dst, 1), Kind::Ack));
        let (len4, len6) = ((four.len() - ETH) as u16, (six.len() - ETH - 40) as u16);
        for (len, fate) in
            [(len4, "b1"), (len4 + 1, "bad_length"), (19, "bad_length"), (0, "bad_length"), (20, "b1")]
        {
            assert_eq!(world.watched(&edit4(&four, 2, &len.to_be_bytes())).0.short(), fate, "{len}");
        }
        for (len, fate) in [(len6, "b1"), (len6 + 1, "bad_length"), (u16::MAX, "bad_length"), (0, "b1")] {
            assert_eq!(world.watched(&edit(&six, ETH + 4, &len.to_be_bytes())).0.short(), fate, "{len}");
        }
    }
}

/// Metadata in front of a frame, in bytes, that every kernel takes; newer ones take up to 252.
const OLD_METADATA: usize = 32;

#[test]
fn a_driver_that_left_no_room_is_a_reason_and_nothing_is_counted_as_forwarded() {
    let Some(world) = World::new(1024, desired("192.0.2.1/32", "2001:db8:5::1/128")) else { return };
    let frame_of = |pool: usize| frame(flow(&destinations(pool, 80)[0], 1), Kind::Syn);
    if world.run_with(names::PROG_LB, &frame_of(1), OLD_METADATA + 4).is_err() {
        world.run_with(names::PROG_LB, &frame_of(1), OLD_METADATA).unwrap();
        eprintln!(
            "SKIPPED: this kernel takes no more than {OLD_METADATA} bytes of metadata, and leaves too much room"
        );
        return;
    }
    for (i, (_, _, overhead)) in POOLS.into_iter().enumerate() {
        let need = overhead + if i % 2 == 1 { 4 } else { 0 };
        let bytes = frame_of(i + 1);
        // A frame has 256 bytes of headroom here, of which the kernel wants 40, and metadata takes more.
        let room = |metadata: usize| 256 - 40 - metadata;
        let enough = (256 - 40 - need) & !3;
        for metadata in [enough - 4, enough, enough + 4] {
            let before = world.counts();
            let (action, _) = world.run_with(names::PROG_LB, &bytes, metadata).unwrap();
            let after = world.counts();
            let dropped = after.reason(Reason::NoHeadroom) - before.reason(Reason::NoHeadroom);
            if room(metadata) >= need {
                assert_eq!(dropped, 0, "{need} bytes in {}", room(metadata));
                assert_ne!(after.backends, before.backends);
            } else {
                assert_eq!((action, dropped), (DROP, 1), "{need} bytes in {}", room(metadata));
                assert_eq!((after.backends, after.services), (before.backends, before.services));
            }
        }
    }
}
