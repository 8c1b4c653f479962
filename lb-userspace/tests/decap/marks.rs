//! Congestion marks: every pair of outer and inner traffic class mark, against RFC 6040's table written out.

use lb_common::decap::Outcome;

use crate::{
    combinations::{all, counter},
    frame::{Outer, ethernet, outer, packet},
    world::{programs, tc_mixes, world},
};

/// Figure 4: rows inner 00 01 10 11, columns outer 00 01 10 11; 9 is a drop.
const FIGURE: [[u8; 4]; 4] = [[0, 0, 0, 9], [1, 1, 1, 3], [2, 1, 2, 3], [3, 3, 3, 3]];

#[test]
fn marks_are_carried_over_and_checksums_stay_right() {
    let Some(world) = world() else { return };
    let mut changed = 0;
    for (family, wrap, inside) in all() {
        for dscp in [0, 0x2e << 2, 0xfc] {
            for outer_mark in 0..4u8 {
                for inner_mark in 0..4u8 {
                    let sent = packet(inside, false, dscp | inner_mark);
                    // The outer DSCP may have changed on the way and means nothing here.
                    let outer = Outer { class: 0x48 | outer_mark, ..outer(family, wrap) };
                    let frame = ethernet(&outer.around(&sent));
                    let mark = FIGURE[usize::from(inner_mark)][usize::from(outer_mark)];
                    for program in programs(family, inside) {
                        let (outcome, out) = world.run(program, &frame);
                        if mark == 9 {
                            assert_eq!(outcome, Outcome::Congestion);
                        } else {
                            assert_eq!(outcome, counter(family, wrap, inside));
                            // Built anew, with a checksum from scratch.
                            assert_eq!(
                                out,
                                ethernet(&packet(inside, false, dscp | mark)),
                                "{program:?} {outer:?}"
                            );
                            changed += u32::from(mark != inner_mark);
                        }
                    }
                }
            }
        }
    }
    // Three cells of the figure change the mark: ECT(0) under ECT(1), and either under CE.
    assert_eq!(changed, 3 * 3 * if tc_mixes() { 36 } else { 30 });
}
