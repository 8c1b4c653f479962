//! Packets longer than the way to their backend: who is told what, and that the message is one a sender believes.

use std::net::IpAddr;

use etherparse::{
    Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice, icmpv4::DestUnreachableHeader,
};
use lb_common::reason::Reason;
use lb_userspace::{
    datapath::Desired,
    model::{Method, Tunnel},
};

use crate::{
    frame::{ETH, Kind, OURS, QINQ, ROUTER, VLAN, edit4, flow, fragment, tagged, whole, with_payload},
    icmp,
    model::Outcome,
    random::sound,
    site::{nothing, pool, site},
    world::{World, small},
};

/// MTUs of the egresses.
const TUNNEL_MTU: usize = 1500;
const NARROW_MTU: usize = 900;
/// Longest packet each pool's way takes, by its number: IP in IPv4, GUE over IPv6, a narrow DR egress.
const TAKES: [(u8, usize); 3] = [(1, TUNNEL_MTU - 20), (2, TUNNEL_MTU - 48), (3, NARROW_MTU)];

fn desired() -> Desired {
    let mut all = nothing();
    all.tunnel = Tunnel {
        source4: Some("192.0.2.1/32".parse().unwrap()),
        source6: Some("2001:db8:5::1/128".parse().unwrap()),
    };
    for (number, method, mtu) in
        [(1, Method::Ipip, TUNNEL_MTU), (2, Method::Gue, TUNNEL_MTU), (3, Method::Dr, NARROW_MTU)]
    {
        let mut one = pool(number, 13, 1);
        let backend = one.backends.get_mut("b1").unwrap();
        backend.method = method;
        if number == 2 {
            backend.address = "2001:db8:b::2".parse().unwrap();
        }
        backend.next_hop.as_mut().unwrap().mtu = mtu as u32;
        site(&mut all, &format!("p{number}"), number, one);
    }
    all
}

fn world() -> Option<World> {
    World::with(small(), 1500, desired())
}

/// A packet of so many bytes for a pool, by family.
fn packet(number: u8, six: bool, len: usize) -> Vec<u8> {
    let dst = if six { format!("[2001:db8::{number}]:80") } else { format!("203.0.113.{number}:80") };
    let header = if six { 40 } else { 20 } + 20;
    with_payload(flow(&dst, 40_000), Kind::Ack, &vec![0x5a; len - header])
}

#[test]
fn the_longest_packet_that_fits_passes_and_one_byte_more_does_not() {
    let Some(world) = world() else { return };
    for (number, takes) in TAKES {
        for six in [false, true] {
            assert_eq!(world.watched(&whole(&packet(number, six, takes))).0.short(), "b1");
            assert_eq!(world.watched(&whole(&packet(number, six, takes + 1))).0.short(), "too_big");
        }
        let may = edit4(&packet(number, false, takes + 1), 6, &[0, 0]);
        assert_eq!(world.watched(&may).0.short(), "too_big_silent", "no DF");
    }
}

#[test]
fn the_message_names_the_mtu_comes_from_the_vip_and_is_right_in_every_sum() {
    let Some(world) = world() else { return };
    let tags: [&[(u16, u16)]; 3] = [&[], &[(VLAN, 0xa005)], &[(QINQ, 7), (VLAN, 8)]];
    for (number, takes) in TAKES {
        for six in [false, true] {
            for tags in tags {
                let came = tagged(&whole(&packet(number, six, 1500)), tags);
                let (got, _) = world.watched(&came);
                let Outcome::Answered { why: Reason::TooBig, frame: left } = got else { panic!("{got:?}") };
                sound::check(&came, &left).unwrap();
                let l3 = ETH + 4 * tags.len();
                assert_eq!(
                    (&left[..6], &left[6..12], &left[12..l3]),
                    (&ROUTER[..], &OURS[..], &came[12..l3])
                );
                let sliced = SlicedPacket::from_ethernet(&left).unwrap();
                let seen = crate::model::read(&came).unwrap();
                let (mtu, quote) = match (sliced.net.unwrap(), sliced.transport.unwrap()) {
                    (NetSlice::Ipv4(ip), TransportSlice::Icmpv4(message)) => {
                        let header = ip.header();
                        assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
                        assert_eq!(IpAddr::from(header.source_addr()), seen.dst);
                        assert_eq!(IpAddr::from(header.destination_addr()), seen.src);
                        let computed = message.icmp_type().calc_checksum(message.payload());
                        assert_eq!(computed, message.checksum());
                        let Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded {
                            next_hop_mtu,
                        }) = message.icmp_type()
                        else {
                            panic!("{:?}", message.icmp_type());
                        };
                        (usize::from(next_hop_mtu), message.payload().to_vec())
                    }
                    (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(message)) => {
                        let header = ip.header();
                        assert_eq!(IpAddr::from(header.source_addr()), seen.dst);
                        assert_eq!(IpAddr::from(header.destination_addr()), seen.src);
                        assert!(message.is_checksum_valid(header.source(), header.destination()));
                        let Icmpv6Type::PacketTooBig { mtu } = message.icmp_type() else {
                            panic!("{:?}", message.icmp_type());
                        };
                        (mtu as usize, message.payload().to_vec())
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(
                    mtu,
                    if six { takes.max(1280) } else { takes },
                    "IPv6 has no smaller MTU than 1280"
                );
                assert_eq!(quote, came[l3..l3 + 68]);
            }
        }
    }
}

#[test]
fn no_error_is_made_about_an_error_nor_about_a_later_fragment_of_ipv4() {
    let Some(world) = world() else { return };
    for (number, takes) in TAKES {
        for six in [false, true] {
            // An error that quotes a whole packet of the backend's.
            let dst = if six { format!("[2001:db8::{number}]:80") } else { format!("203.0.113.{number}:80") };
            let sent = with_payload(icmp::answer(flow(&dst, 40_000)), Kind::Ack, &vec![0; takes - 40]);
            let error = icmp::error(if six { 1 } else { 3 }, 1, &sent[ETH..]);
            assert_eq!(world.watched(&whole(&error)).0.short(), "too_big_silent");
            // The first fragment is short; a later one is not.
            let (short, long) = (packet(number, six, 600), packet(number, six, takes + 1));
            assert_eq!(world.watched(&fragment(&short, 5, 0, true)).0.short(), "b1");
            let later = fragment(&long, 5, 100, false);
            let later = if six { later } else { edit4(&later, 6, &[0x40, 100]) };
            let fate = if six { "too_big" } else { "too_big_silent" };
            assert_eq!(world.watched(&later).0.short(), fate);
        }
    }
}

#[test]
fn an_egress_as_wide_as_the_ingress_is_not_looked_after() {
    // A driver that hands over more than its MTU: for DR that is the egress's matter.
    let Some(world) = World::with(small(), 900, desired()) else { return };
    assert_eq!(world.watched(&packet(3, false, 1400)).0.short(), "b1");
    assert_eq!(world.watched(&packet(1, false, 1500)).0.short(), "too_big", "a tunnel always is");
}

#[test]
fn who_asks_for_many_echoes_keeps_nobody_from_learning_the_mtu() {
    let mut all = desired();
    all.icmp_rate = 5;
    let Some(world) = World::with(small(), 1500, all) else { return };
    world.unmodelled();
    for n in 0..100 {
        world.run(lb_common::names::PROG_LB, &icmp::echo("203.0.113.1", 1, n));
    }
    assert!(world.counts().reason(Reason::IcmpRate) > 0);
    assert_eq!(world.watched(&packet(2, true, 1500)).0.short(), "too_big");
}

#[test]
fn messages_are_limited_and_asking_uses_up_none() {
    let mut all = desired();
    all.icmp_rate = 5;
    let Some(mut world) = World::with(small(), 1500, all) else { return };
    world.unmodelled();
    let frames = [
        whole(&packet(1, false, 1500)),
        packet(2, true, 1500),
        icmp::echo("203.0.113.1", 1, 1),
        icmp::echo("2001:db8::1", 1, 1),
    ];
    // A tick may end in between: then another one is tried.
    let (answered, limited) = (0..20)
        .find_map(|_| {
            let (tick, before) = (world.now(), world.counts());
            let mut told = 0;
            for bytes in frames.iter().cycle().take(40) {
                told += u32::from(world.ask(bytes).0.short() == "icmp_rate");
            }
            assert!(told == 0 || world.now() != tick || before != world.counts(), "asking used something up");
            for bytes in frames.iter().cycle().take(40) {
                world.run(lb_common::names::PROG_LB, bytes);
            }
            let after = world.counts();
            let of = |why| after.reason(why) - before.reason(why);
            let found = ([of(Reason::TooBig), of(Reason::EchoReply)], of(Reason::IcmpRate));
            let asked_now = [&frames[0], &frames[2]].map(|bytes| world.ask(bytes).0.short());
            if world.now() != tick {
                std::thread::yield_now();
                return None;
            }
            assert_eq!(asked_now, ["icmp_rate"; 2]);
            Some(found)
        })
        .expect("a tick is long enough");
    // Rounded up to a tick, which is a second or a little more or less.
    assert!(answered.iter().all(|n| (5..=7).contains(n)), "{answered:?}");
    assert_eq!(answered[0] + answered[1] + limited, 40);
    world.change(|desired| desired.icmp_rate = 0);
    for bytes in &frames {
        assert_eq!(world.watched(bytes).0.short(), "icmp_rate");
    }
}
