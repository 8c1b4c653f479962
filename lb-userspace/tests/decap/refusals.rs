//! One named case for each thing that is passed on unchanged (`World::run` compares the bytes).

use lb_common::decap::Outcome;

use crate::{
    combinations::{all, counter},
    frame::{FAMILIES, Family, Outer, PORT, Wrap, ethernet, outer, packet, seal, tagged},
    world::{PROGRAMS, Program, World, tc_mixes, world},
};

/// Length of an Ethernet header without tags.
const ETH: usize = 14;

fn assert_all(world: &World, frame: &[u8], expected: Outcome, case: &str) {
    for program in PROGRAMS {
        let mixed =
            matches!(expected, Outcome::V6InV4 | Outcome::V4InV6 | Outcome::GueDirect | Outcome::GueHeader);
        if program == Program::Tc && mixed && !tc_mixes() {
            continue;
        }
        assert_eq!(world.run(program, frame).0, expected, "{program:?}: {case}");
    }
}

/// An IPv4 tunnel with other bytes in its outer header.
fn edited4(at: usize, new: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(&outer(Family::V4, Wrap::IpIp).around(&packet(Family::V4, false, 0)));
    frame[ETH + at..ETH + at + new.len()].copy_from_slice(new);
    seal(&mut frame[ETH..ETH + 20]);
    frame
}

#[test]
fn what_is_no_tunnel_is_left_alone() {
    let Some(world) = world() else { return };
    let mut arp = ethernet(&packet(Family::V4, false, 0));
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_all(&world, &arp, Outcome::NotIp, "ARP");
    for family in FAMILIES {
        assert_all(&world, &ethernet(&packet(family, false, 0)), Outcome::NotTunnel, "TCP");
        assert_all(&world, &ethernet(&packet(family, true, 0)), Outcome::NotTunnel, "UDP");
    }
    assert_all(&world, &edited4(9, &[47]), Outcome::NotTunnel, "GRE");
}

#[test]
fn tunnels_of_others_are_left_alone() {
    let Some(world) = world() else { return };
    for (family, wrap, inside) in all() {
        // One bit off in the first and in the last byte, of every address.
        let last = if family == Family::V4 { 3 } else { 15 };
        for byte in [0, last] {
            let mut outer = outer(family, wrap);
            outer.dst[byte] ^= 0x80;
            let frame = ethernet(&outer.around(&packet(inside, false, 0)));
            assert_all(&world, &frame, Outcome::NotOurs, &format!("{outer:?}"));
        }
    }
    // Even where it would be refused for another reason: it is not ours to judge.
    let mut frame = ethernet(&outer(Family::V4, Wrap::Header).around(&packet(Family::V4, false, 0)));
    frame[ETH + 19] ^= 1;
    frame[ETH + 28] = 0x20;
    assert_all(&world, &frame, Outcome::NotOurs, "a control message for somebody else");
}

#[test]
fn all_addresses_of_the_host_are_its_own() {
    let Some(world) = world() else { return };
    let mut outer = outer(Family::V4, Wrap::IpIp);
    outer.dst[3] = 1;
    let frame = ethernet(&outer.around(&packet(Family::V4, false, 0)));
    assert_all(&world, &frame, Outcome::V4InV4, "10.9.0.1");
    // The rest of the list is empty, not 0.0.0.0.
    outer.dst = [0; 16];
    let frame = ethernet(&outer.around(&packet(Family::V4, false, 0)));
    assert_all(&world, &frame, Outcome::NotOurs, "0.0.0.0");
}

#[test]
fn only_permitted_sources_are_taken_out() {
    let Some(world) = World::new(PORT, &["192.0.2.0/24", "172.16.0.0/12", "100::/64"]) else { return };
    for (family, wrap, inside) in all() {
        let packet = packet(inside, false, 0);
        let from = |byte: usize, value: u8| {
            let mut outer = outer(family, wrap);
            outer.src[byte] = value;
            ethernet(&outer.around(&packet))
        };
        let expected = counter(family, wrap, inside);
        assert_all(&world, &from(15, 99), expected, "inside the prefix");
        let (byte, value) = if family == Family::V4 { (1, 32) } else { (7, 1) };
        assert_all(&world, &from(byte, value), Outcome::SourceRefused, "one bit outside of the prefix");
    }
}

#[test]
fn sources_of_one_family_close_the_other_one() {
    let Some(world) = World::new(PORT, &["172.16.0.0/12"]) else { return };
    let frame = ethernet(&outer(Family::V6, Wrap::IpIp).around(&packet(Family::V6, false, 0)));
    assert_all(&world, &frame, Outcome::SourceRefused, "IPv6, none permitted");
}

#[test]
fn another_port_is_no_gue_and_port_0_switches_it_off() {
    let Some(on) = world() else { return };
    let Some(off) = World::new(0, &[]) else { return };
    for family in FAMILIES {
        let packet = packet(Family::V4, false, 0);
        let to = |port| ethernet(&Outer { port, ..outer(family, Wrap::Direct) }.around(&packet));
        assert_all(&on, &to(PORT + 1), Outcome::NotTunnel, "another port");
        assert_all(&off, &to(PORT), Outcome::NotTunnel, "no GUE");
        assert_all(&off, &to(0), Outcome::NotTunnel, "port 0");
        let ip_in_ip = ethernet(&outer(family, Wrap::IpIp).around(&packet));
        assert_all(&off, &ip_in_ip, counter(family, Wrap::IpIp, Family::V4), "IP in IP");
    }
}

#[test]
fn gue_that_is_more_than_a_packet_is_left_alone() {
    let Some(world) = world() else { return };
    for family in FAMILIES {
        let frame = ethernet(&outer(family, Wrap::Header).around(&packet(Family::V4, false, 0)));
        let gue = frame.len() - packet(Family::V4, false, 0).len() - 4;
        for (word, case) in [
            ([0x20, 4, 0, 0], "control"),
            ([0x01, 4, 0, 0], "optional fields"),
            ([0, 4, 0x80, 0], "flags"),
            ([0, 4, 0, 1], "flags"),
            ([0, 47, 0, 0], "GRE"),
            ([0x80, 4, 0, 0], "variant 2"),
            ([0x50, 4, 0, 0], "variant 1 that is no IP version"),
        ] {
            let mut edited = frame.clone();
            edited[gue..gue + 4].copy_from_slice(&word);
            assert_all(&world, &edited, Outcome::GueUnsupported, case);
        }
    }
}

#[test]
fn fragments_of_the_outer_packet_are_left_to_the_kernel() {
    let Some(world) = world() else { return };
    for flags in [[0x20, 0], [0, 1], [0x20, 9]] {
        assert_all(&world, &edited4(6, &flags), Outcome::Fragment, "IPv4");
    }
    assert_all(&world, &edited4(6, &[0x40, 0]), Outcome::V4InV4, "do not fragment");
    let mut six = outer(Family::V6, Wrap::IpIp).around(&packet(Family::V6, false, 0));
    six[6] = 44;
    six.splice(40..40, [41, 0, 0, 1, 0, 0, 0, 7]);
    assert_all(&world, &ethernet(&six), Outcome::Fragment, "IPv6");
    six[43] = 0;
    assert_all(&world, &ethernet(&six), Outcome::V6InV6, "a fragment that is the whole (RFC 6946)");
}

#[test]
fn headers_that_contradict_themselves_are_left_alone() {
    let Some(world) = world() else { return };
    assert_all(&world, &edited4(0, &[0x65]), Outcome::Malformed, "IPv6 under the type of IPv4");
    assert_all(&world, &edited4(0, &[0x44]), Outcome::Malformed, "a header of four words");
    // The protocol number says one family, the packet the other.
    for (family, inside, says) in [
        (Family::V4, Family::V6, 4),
        (Family::V4, Family::V4, 41),
        (Family::V6, Family::V6, 4),
        (Family::V6, Family::V4, 41),
    ] {
        let mut bytes = outer(family, Wrap::IpIp).around(&packet(inside, false, 0));
        if family == Family::V4 {
            bytes[9] = says;
            seal(&mut bytes[..20]);
        } else {
            bytes[6] = says;
        }
        assert_all(&world, &ethernet(&bytes), Outcome::Malformed, "another family inside");
    }
}

#[test]
fn what_is_not_walked_is_left_alone() {
    let Some(world) = world() else { return };
    let tunnelled = outer(Family::V4, Wrap::IpIp).around(&packet(Family::V4, false, 0));
    let tags = [(0x88a8, 1), (0x8100, 2), (0x8100, 3)];
    assert_all(&world, &tagged(&tunnelled, &tags), Outcome::Unusual, "three tags");
    let mut six = outer(Family::V6, Wrap::IpIp).around(&packet(Family::V6, false, 0));
    six[6] = 43;
    // A routing header of type 4 with one segment left, for an address of 16 bytes.
    six.splice(40..40, [[41, 2, 4, 1].as_slice(), &[0; 20]].concat());
    assert_all(&world, &ethernet(&six), Outcome::Unusual, "hops left");
}

#[test]
fn tc_leaves_mixed_families_alone_where_the_kernel_cannot_change_them() {
    let Some(world) = world() else { return };
    if tc_mixes() {
        return;
    }
    for (family, wrap, inside) in all().filter(|(outer, _, inner)| outer != inner) {
        let frame = ethernet(&outer(family, wrap).around(&packet(inside, false, 0)));
        assert_eq!(world.run(Program::Tc, &frame).0, Outcome::CannotStrip);
    }
}
