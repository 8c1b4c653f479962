//! Echo requests to our addresses.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use lb_common::reason::Reason;

use crate::{
    frame::{ETH, Ext, OURS, QINQ, ROUTER, VLAN, edit, edit4, extended, tagged},
    icmp::{echo, message4},
    model::Outcome,
    random::sound,
    site::{nothing, pool, service, site},
    world::World,
};

fn world() -> Option<World> {
    let mut all = nothing();
    site(&mut all, "one", 1, pool(1, 13, 1));
    let prefixes = ["192.0.2.0/24 all tcp", "2001:db8:f::/64 80-90 udp"];
    all.services.insert("wide".parse().unwrap(), service("one", &prefixes));
    World::new(1024, all)
}

#[test]
fn a_host_and_any_address_of_a_prefix_answer_and_the_answer_is_right() {
    let Some(world) = world() else { return };
    for vip in ["203.0.113.1", "192.0.2.77", "192.0.2.0", "2001:db8::1", "2001:db8:f::1234"] {
        for tags in [&[][..], &[(VLAN, 9)], &[(QINQ, 9), (VLAN, 10)]] {
            let came = tagged(&echo(vip, 7, 8), tags);
            let (got, _) = world.watched(&came);
            let Outcome::Answered { why: Reason::EchoReply, frame: left } = got else { panic!("{got:?}") };
            sound::check(&came, &left).unwrap();
            assert_eq!((&left[..6], &left[6..12]), (&ROUTER[..], &OURS[..]));
            let sliced = SlicedPacket::from_ethernet(&left).unwrap();
            match (sliced.net.unwrap(), sliced.transport.unwrap()) {
                (NetSlice::Ipv4(ip), TransportSlice::Icmpv4(reply)) => {
                    assert_eq!(ip.header().source_addr().to_string(), vip);
                    assert_eq!((reply.type_u8(), ip.header().ttl()), (0, 64));
                    assert_eq!(reply.icmp_type().calc_checksum(reply.payload()), reply.checksum());
                }
                (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(reply)) => {
                    assert_eq!(ip.header().source_addr().to_string(), vip);
                    assert_eq!((reply.type_u8(), ip.header().hop_limit()), (129, 64));
                    assert!(reply.is_checksum_valid(ip.header().source(), ip.header().destination()));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for stranger in ["192.0.3.0", "203.0.113.2", "2001:db8:f:1::"] {
        assert_eq!(world.watched(&echo(stranger, 7, 8)).0.short(), "not_tcp_udp");
    }
}

#[test]
fn many_identifiers_and_sequence_numbers_all_get_a_right_sum() {
    let Some(world) = world() else { return };
    for n in 0..400u16 {
        // Steps that meet every upper byte, where carries are made.
        for vip in ["203.0.113.1", "2001:db8::1"] {
            let came = echo(vip, n.wrapping_mul(163), 0xff00 | n);
            let (Outcome::Answered { frame: left, .. }, _) = world.ask(&came) else { panic!() };
            sound::check(&came, &left).unwrap();
            let l4 = crate::model::read(&left).unwrap().l4;
            if vip.contains('.') {
                assert_eq!(crate::model::sum(&left[l4..]), 0xffff, "{n}");
            }
        }
    }
}

#[test]
fn a_wrong_sum_stays_wrong_and_other_headers_do_not_matter() {
    let Some(world) = world() else { return };
    for vip in ["203.0.113.1", "2001:db8::1"] {
        let plain = echo(vip, 1, 2);
        let l4 = if vip.contains('.') { ETH + 20 } else { ETH + 40 };
        let (got, _) = world.watched(&edit(&plain, l4 + 2, &[0x12, 0x34]));
        assert_eq!(got.short(), "echo_reply");
        let (got, _) = world.watched(&edit(&plain, l4 + 1, &[9]));
        assert_eq!(got.short(), "echo_reply", "any code");
        for len in l4..l4 + 8 {
            assert_eq!(world.watched(&plain[..len]).0.short(), "truncated");
        }
        assert_eq!(world.watched(&plain[..l4 + 8]).0.short(), "echo_reply", "nothing behind the header");
    }
    assert_eq!(world.watched(&edit4(&echo("203.0.113.1", 1, 2), 8, &[1])).0.short(), "echo_reply", "TTL 1");
    let six = extended(&echo("2001:db8::1", 1, 2), &[Ext::HopByHop(1), Ext::Destination(0)]);
    assert_eq!(world.watched(&six).0.short(), "echo_reply");
    for kind in [0, 4, 5, 9, 10, 13, 15, 17, 255] {
        assert_eq!(
            world.watched(&message4("203.0.113.1", kind, 0, &[0; 30])).0.short(),
            "icmp",
            "type {kind}"
        );
    }
}
