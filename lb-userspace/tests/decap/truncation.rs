//! Every header cut at every byte. (`BPF_PROG_TEST_RUN` takes no frame shorter than an Ethernet header; neither do drivers.)

use lb_common::decap::Outcome;

use crate::{
    combinations::{all, counter},
    frame::{Family, Outer, ethernet, outer, packet, tagged},
    world::{Program, programs, world},
};

#[test]
fn a_cut_header_is_passed_unchanged() {
    let Some(world) = world() else { return };
    let mut cuts = 0;
    for (family, wrap, inside) in all() {
        for (extra, tags) in [(0, &[][..]), (3, &[]), (0, &[(0x8100, 5)]), (1, &[(0x88a8, 5), (0x8100, 6)])] {
            let packet = packet(inside, false, 0);
            let outer = Outer { extra, ..outer(family, wrap) };
            let whole = tagged(&outer.around(&packet), tags);
            // To the end of the fixed inner header; what is behind it the kernel judges.
            let needed = whole.len() - packet.len() + if inside == Family::V4 { 20 } else { 40 };
            for length in 15..whole.len() {
                for program in programs(family, inside) {
                    // The kernel hands tc no tagged frame, and its test runner none that ends in the outer header.
                    let network = 14 + if family == Family::V4 { 20 } else { 40 };
                    if program == Program::Tc && (!tags.is_empty() || length < network) {
                        continue;
                    }
                    let (outcome, out) = world.run(program, &whole[..length]);
                    if length < needed {
                        assert_eq!(outcome, Outcome::Truncated, "{program:?}: {outer:?} cut to {length}");
                        cuts += 1;
                    } else {
                        assert_eq!(outcome, counter(family, wrap, inside));
                        assert_eq!(
                            out,
                            tagged(&packet, tags)
                                [..length + packet.len() + 14 + 4 * tags.len() - whole.len()]
                        );
                    }
                }
            }
        }
    }
    assert!(cuts > 5000, "{cuts}");
}

/// A generator good enough for bytes nobody chose.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn damaged_frames_are_taken_out_whole_or_passed_unchanged() {
    let Some(world) = world() else { return };
    let mut state = 1;
    let mut stripped = 0;
    for round in 0..300 {
        for (family, wrap, inside) in all() {
            let packet = packet(inside, true, random(&mut state) as u8 & 0xfc);
            let mut frame = ethernet(&outer(family, wrap).around(&packet));
            for _ in 0..=round % 3 {
                let at = 12 + random(&mut state) as usize % (frame.len() - 12);
                frame[at] = random(&mut state) as u8;
            }
            for program in programs(family, inside) {
                let (outcome, out) = world.run(program, &frame);
                assert_ne!(outcome, Outcome::Defect);
                if out.len() != frame.len() {
                    // Only the head is gone: the tail is the same, but for a mark in the first bytes of the inner header.
                    let tail = out.len() - 14 - 12;
                    assert_eq!(out[out.len() - tail..], frame[frame.len() - tail..]);
                    assert_eq!(out[..12], frame[..12]);
                    stripped += 1;
                }
            }
        }
    }
    assert!(stripped > 1000, "{stripped}");
}
