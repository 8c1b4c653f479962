//! Every tunnel with every family inside, with and without what may stand in between, byte for byte.

use lb_common::decap::Outcome;

use crate::{
    frame::{FAMILIES, Family, Outer, WRAPS, Wrap, ethernet, outer, packet, tagged},
    world::{Program, programs, tc_mixes, world},
};

/// The counter that a tunnel moves.
pub(crate) fn counter(outer: Family, wrap: Wrap, inner: Family) -> Outcome {
    match (wrap, outer, inner) {
        (Wrap::Direct, _, _) => Outcome::GueDirect,
        (Wrap::Header, _, _) => Outcome::GueHeader,
        (Wrap::IpIp, Family::V4, Family::V4) => Outcome::V4InV4,
        (Wrap::IpIp, Family::V4, Family::V6) => Outcome::V6InV4,
        (Wrap::IpIp, Family::V6, Family::V4) => Outcome::V4InV6,
        (Wrap::IpIp, Family::V6, Family::V6) => Outcome::V6InV6,
    }
}

#[test]
fn the_inner_packet_comes_out_as_it_went_in() {
    let Some(world) = world() else { return };
    let mut cases = 0;
    for (family, wrap, inside) in all() {
        // The most options a header can have; more extension bytes than any sender uses.
        for extra in [0, 1, 5, 10] {
            for udp in [false, true] {
                for class in [0, 0xb8, 0xff] {
                    let packet = packet(inside, udp, class);
                    let outer = Outer { extra, class: class & !1, ..outer(family, wrap) };
                    for program in programs(family, inside) {
                        let case = format!("{program:?}: {inside:?} in {outer:?}");
                        let (outcome, out) = world.run(program, &ethernet(&outer.around(&packet)));
                        assert_eq!(outcome, counter(family, wrap, inside), "{case}");
                        assert_eq!(out, ethernet(&packet), "{case}");
                        cases += 1;
                    }
                }
            }
        }
    }
    // Half of the twelve are mixed.
    assert_eq!(cases, 4 * 2 * 3 * if tc_mixes() { 36 } else { 30 });
}

#[test]
fn xdp_keeps_vlan_tags_and_tc_leaves_tagged_frames_to_the_kernel() {
    let Some(world) = world() else { return };
    for (family, wrap, inside) in all() {
        let packet = packet(inside, false, 0);
        let tunnelled = outer(family, wrap).around(&packet);
        for tags in [&[(0x8100, 0xa005)][..], &[(0x88a8, 7), (0x8100, 0x0fff)]] {
            for program in programs(family, inside) {
                let (outcome, out) = world.run(program, &tagged(&tunnelled, tags));
                if program == Program::Tc {
                    assert_eq!(outcome, Outcome::Unusual);
                } else {
                    assert_eq!(outcome, counter(family, wrap, inside));
                    assert_eq!(out, tagged(&packet, tags));
                }
            }
        }
    }
}

#[test]
fn a_packet_of_any_size_is_only_cut_at_its_head() {
    let Some(world) = world() else { return };
    for (family, wrap, inside) in all() {
        for size in [0, 1, 45, 46, 47, 200, 1400, 3000] {
            let mut packet = packet(inside, true, 0);
            packet.resize(packet.len() + size, 0xa5);
            let frame = ethernet(&outer(family, wrap).around(&packet));
            for program in programs(family, inside) {
                assert_eq!(
                    world.run(program, &frame),
                    (counter(family, wrap, inside), ethernet(&packet)),
                    "{program:?}, {size} bytes"
                );
            }
        }
    }
}

/// Only the outermost tunnel is ours: what is inside is the kernel's, also when it is a tunnel again.
#[test]
fn one_header_is_taken_off_and_no_more() {
    let Some(world) = world() else { return };
    for (family, wrap, inside) in all() {
        let within = outer(inside, Wrap::IpIp).around(&packet(Family::V4, false, 0));
        for program in programs(family, inside) {
            let (_, out) = world.run(program, &ethernet(&outer(family, wrap).around(&within)));
            assert_eq!(out, ethernet(&within));
        }
    }
}

/// Outer family, wrapping, inner family.
pub(crate) fn all() -> impl Iterator<Item = (Family, Wrap, Family)> {
    FAMILIES.into_iter().flat_map(|outer| {
        WRAPS.into_iter().flat_map(move |wrap| FAMILIES.into_iter().map(move |inner| (outer, wrap, inner)))
    })
}
