//! Random frames through the bytecode and through the model: same verdict, reason, backend and bytes.
//!
//! Who owns a flow in a slot in transition is told by the flow's own history, not by the pins: that is what pins are for.

use std::collections::HashMap;

use lb_common::{counter::PinEvent, slot::Slot};
use lb_userspace::model::{Disposition, UdpClass};

use crate::{
    frame::{ETH, Ext, Flow, Kind, QINQ, VLAN, edit, extended, flow, frame, tagged, with_options},
    model::Seen,
    verdicts::desired,
    world::{Outcome, World},
};

const FRAMES: usize = 20_000;
/// Counters are compared after so many frames.
const BATCH: usize = 2000;

/// `SplitMix64` (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn frame(&mut self) -> Vec<u8> {
        // Half of all frames are for the pool that changes.
        let pool = if self.one_in(2) { 2 } else { 1 + self.below(8) };
        let port = self.pick(&[80, 80, 80, 53, 4433, 81]);
        let udp = port == 53 || port == 4433;
        // Now and then the other protocol.
        let kind = if udp == self.one_in(30) {
            self.pick(&[Kind::Syn, Kind::SynAck, Kind::Ack, Kind::Ack, Kind::Ack, Kind::FinAck, Kind::Rst])
        } else {
            Kind::Udp
        };
        let six = self.one_in(2);
        let dst = if six { format!("[2001:db8::{pool}]:{port}") } else { format!("203.0.113.{pool}:{port}") };
        let flow = flow(&dst, 1024 + self.below(60) as u16);
        let mut bytes = if six {
            let chain: Vec<Ext> = match self.below(3) {
                0 => (0..self.below(6)).map(|_| self.extension()).collect(),
                _ => Vec::new(),
            };
            extended(&frame(flow, kind), &chain)
        } else {
            let words = if self.one_in(3) { self.below(11) } else { 0 };
            with_options(flow, kind, words)
        };
        if self.one_in(8) {
            let ttl = self.pick(&[0, 1, 2, 255]);
            bytes = edit(&bytes, ETH + if six { 7 } else { 8 }, &[ttl]);
        }
        let tags: Vec<(u16, u16)> = match self.below(4) {
            0 => (0..self.below(4)).map(|_| (self.pick(&[VLAN, QINQ]), self.next() as u16)).collect(),
            _ => Vec::new(),
        };
        bytes = tagged(&bytes, &tags);
        // Flipped bytes, most of them in the headers.
        if self.one_in(3) {
            for _ in 0..=self.below(3) {
                let at =
                    if self.one_in(4) { self.below(bytes.len()) } else { self.below(bytes.len().min(80)) };
                bytes[at] = if self.one_in(2) { self.next() as u8 } else { bytes[at] ^ 1 << self.below(8) };
            }
        }
        if self.one_in(10) {
            bytes.truncate(ETH + self.below(bytes.len() - ETH));
        }
        bytes
    }

    fn extension(&mut self) -> Ext {
        match self.below(12) {
            0..3 => Ext::HopByHop(self.below(4)),
            3..6 => Ext::Destination(self.below(4)),
            6..8 => Ext::Routing { left: 0 },
            8 => Ext::Routing { left: 1 },
            9 => Ext::Authentication { words: self.below(5) },
            10 => Ext::Fragment { offset: 0, more: false },
            _ => Ext::Fragment { offset: self.below(3) as u16, more: self.one_in(2) },
        }
    }
}

/// What is known of a flow that opened in a slot in transition.
#[derive(Clone, Copy)]
struct Opened {
    with: u16,
    /// Something else than its first packet was seen.
    lives: bool,
    closing: bool,
}

/// Flows by what identifies them.
#[derive(Default)]
struct History(HashMap<(Flow, u8), Opened>);

impl History {
    /// The owner of a packet, and what follows for the flow.
    fn decide(&self, slot: Slot, base: u16, seen: &Seen, class: UdpClass) -> (u16, Option<Opened>) {
        let cur = slot.cur();
        if !slot.in_transition() {
            return (cur, None);
        }
        let older = if base == 0 { cur } else { base };
        if seen.proto == 17 {
            return (if class == UdpClass::Flow { older } else { cur }, None);
        }
        let (opens, closes) = (seen.flags & 0x12 == 0x02, seen.flags & 0x05 != 0);
        match self.0.get(&(seen.flow, seen.proto)) {
            Some(known) if !(opens && known.closing) => {
                // A SYN sent again says nothing new, unless the connection has been seen to live.
                let news = known.lives || !opens;
                (known.with, Some(Opened { lives: news, closing: known.closing || closes && news, ..*known }))
            }
            _ if opens => (cur, (cur != 0).then_some(Opened { with: cur, lives: false, closing: false })),
            _ => (older, None),
        }
    }
}

#[test]
fn random_frames_get_what_the_model_says() {
    let Some(mut world) = World::new(16_384, desired()) else { return };
    let mut random = Random(0x5eed);
    let mut history = History::default();
    let mut counts = world.counts();
    let mut forwarded = 0;
    let mut moving = 0;
    for n in 0..FRAMES {
        if n % BATCH == 0 {
            // The pool moves on: who serves, drains or comes back.
            let change = n / BATCH;
            world.change(|desired| {
                for (i, backend) in desired.pools.get_mut("many").unwrap().backends.values_mut().enumerate() {
                    backend.disposition = if change > 0 && (i + change).is_multiple_of(3) {
                        Disposition::Draining
                    } else {
                        Disposition::Serving
                    };
                }
            });
        }
        let bytes = random.frame();
        let mut learnt = None;
        let expected = world.expected(&bytes, |slot, base, seen, class| {
            moving += usize::from(slot.in_transition());
            let (owner, opened) = history.decide(slot, base, seen, class);
            learnt = opened.map(|o| ((seen.flow, seen.proto), o));
            owner
        });
        history.0.extend(learnt);
        let (got, told) = world.send(&bytes);
        assert_eq!(got, expected, "frame {n}: {bytes:02x?}, {told:?}");
        counts.add(&bytes, &expected);
        forwarded += usize::from(matches!(got, Outcome::Sent { .. }));
        if n % BATCH == BATCH - 1 {
            let now = world.counts();
            counts.pins.clone_from(&now.pins);
            assert_eq!(now, counts, "after frame {n}");
        }
    }
    // The generator is worth something: neither all passes nor all forwards, and transitions among them.
    let reasons = world.counts().reasons;
    println!(
        "{FRAMES} frames, {forwarded} forwarded, {moving} in moving slots, stopped by reason: {reasons:?}"
    );
    assert!((FRAMES / 4..FRAMES * 3 / 4).contains(&forwarded), "{forwarded}");
    assert!(moving > FRAMES / 10, "{moving}");
    assert_eq!(
        reasons.iter().filter(|n| **n > 0).count(),
        reasons.len() - 1,
        "all but `bad_table`: {reasons:?}"
    );
    assert_eq!(world.counts().pin(PinEvent::Evicted), 0, "the model knows no evictions");
}
