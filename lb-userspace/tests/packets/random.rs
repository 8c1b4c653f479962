//! Random frames against random sites: the live program and the model agree on every action, byte and counter, and after every change
//! on every word of what they remember.
//!
//! The long form: `cargo xtask fuzz --packets`, or `LB_FUZZ_FRAMES=10000000`. Everything follows from `LB_FUZZ_SEED`: the clock stands still
//! where the test does not move it.

mod frames;
mod sites;
pub(crate) mod sound;

use std::time::Instant;

use lb_common::{counter::PinEvent, names, reason::Reason};
use lb_userspace::model::Limits;

use crate::{
    model::Outcome,
    world::{ABORTED, DROP, World, action},
};

/// Frames of the quick form.
const FRAMES: u64 = 60_000;
/// Between two changes of the site.
const EPOCH: u64 = 3_000;
/// One frame in so many asks the dry run too.
const ASKED: u64 = 8;
/// Time passes after so many frames, also between two changes.
const MOMENT: u64 = 700;
/// A long run says where it is after so many.
const PROGRESS: u64 = 1_000_000;

/// `SplitMix64` (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// How long nothing comes before a change: mostly a few ticks, sometimes just about as long as something is remembered.
fn silence(random: &mut Random) -> u16 {
    match random.below(16) {
        0 => random.pick(&[127, 128, 129]),
        1 | 2 => random.pick(&[58, 59, 60, 61]),
        3 | 4 => random.pick(&[9, 10, 11]),
        _ => random.below(6) as u16,
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

#[test]
fn random_frames_get_what_the_model_says() {
    let (frames, seed) =
        (from_environment("LB_FUZZ_FRAMES", FRAMES), from_environment("LB_FUZZ_SEED", 0x5eed));
    let mut random = Random(seed);
    // Room for all flows there can be: the model knows no evictions.
    let limits = Limits {
        services: 1024,
        backends: 4096,
        pools: 64,
        slots: 1 << 15,
        pins: 1 << 18,
        flows: 1 << 17,
        sources: 1 << 14,
        prefixes: 1024,
    };
    let Some(mut world) = World::still(limits, 1500, sites::site(&mut random)) else { return };
    let tick = world.now();
    let mut counts = world.counts();
    let (mut forwarded, mut answered, mut n) = (0, 0, 0);
    let begin = Instant::now();
    while n < frames {
        if n > 0 {
            world.tick(silence(&mut random));
            sites::change(&mut random, &mut world);
            world
                .compare_memory()
                .unwrap_or_else(|e| panic!("after the change at frame {n} of seed {seed}: {e}"));
            // Indices may have got other owners.
            let now = world.counts();
            (counts.services, counts.backends) = (now.services, now.backends);
        }
        let mut generator = frames::Generator::new(&mut random, &world.desired);
        for _ in 0..EPOCH.min(frames - n) {
            let bytes = generator.frame();
            n += 1;
            if n % MOMENT == 0 {
                world.tick(generator.moment());
            }
            let asked = (n % ASKED == 0).then(|| world.ask_program(&bytes));
            let judged = world.judge(&bytes, tick);
            let (got, out) = world.run(names::PROG_LB, &bytes);
            let about = || {
                let told = world.ask_program(&bytes);
                format!(
                    "frame {n} of seed {seed}: {bytes:02x?}\n {judged:02x?}\n asked afterwards: {told:02x?}"
                )
            };
            if let Some((outcome, told)) = asked {
                assert_eq!(outcome, judged.outcome, "the dry run: {}", about());
                assert_eq!(told, judged.told, "the dry run: {}", about());
            }
            assert_ne!(got, ABORTED, "{}", about());
            assert_eq!(got, action(&judged.outcome), "{}", about());
            match &judged.outcome {
                Outcome::Stopped(_) => {
                    assert!(got == DROP || out == bytes, "a passed frame changed: {}", about());
                }
                Outcome::Sent { frame, .. } => {
                    forwarded += 1;
                    assert_eq!(out, *frame, "{}", about());
                    sound::check(&bytes, &out).unwrap_or_else(|e| panic!("{e}: {}", about()));
                }
                Outcome::Answered { frame, .. } => {
                    answered += 1;
                    assert_eq!(out, *frame, "{}", about());
                    sound::check(&bytes, &out).unwrap_or_else(|e| panic!("{e}: {}", about()));
                }
            }
            counts.add(bytes.len(), &judged);
            if n % PROGRESS == 0 {
                eprintln!("{n} frames in {:?}", begin.elapsed());
            }
        }
        world.compare_memory().unwrap_or_else(|e| panic!("after frame {n} of seed {seed}: {e}"));
        let found = world.counts();
        assert_eq!(found.reasons, counts.reasons, "after frame {n} of seed {seed}: {:?}", Reason::ALL);
        assert_eq!(found.pins, counts.pins, "after frame {n} of seed {seed}: {:?}", PinEvent::ALL);
        assert_eq!(found.services, counts.services, "after frame {n} of seed {seed}");
        assert_eq!(found.backends, counts.backends, "after frame {n} of seed {seed}");
    }
    let took = begin.elapsed();
    let named = |names: Vec<&'static str>, numbers: &[u64]| -> Vec<String> {
        names.into_iter().zip(numbers).map(|(name, n)| format!("{name} {n}")).collect()
    };
    let reasons = named(Reason::ALL.iter().map(|r| r.as_str()).collect(), &counts.reasons);
    let events = named(PinEvent::ALL.iter().map(|e| e.as_str()).collect(), &counts.pins);
    println!(
        "{n} frames of seed {seed} in {took:?} ({}/s), {forwarded} forwarded, {answered} answered\n stopped: {reasons:?}\n events: {events:?}",
        u128::from(n) * 1000 / took.as_millis().max(1)
    );
    if frames < FRAMES {
        return;
    }
    // The generator is worth something: neither all passes nor all forwards, and everything happens that can.
    assert!((n / 5..n * 4 / 5).contains(&forwarded), "{forwarded} of {n}");
    let never = [Reason::BadTable, Reason::NoHeadroom, Reason::Ceiling, Reason::IcmpRate];
    for why in Reason::ALL.iter().filter(|why| !never.contains(why)) {
        assert!(counts.reason(*why) > 0, "no frame stopped by {why:?}");
    }
    let never = [PinEvent::Evicted, PinEvent::Crowded, PinEvent::TrackedEvicted, PinEvent::Frozen];
    for event in PinEvent::ALL.iter().filter(|event| !never.contains(event)) {
        assert!(counts.pin(*event) > 0, "never {event:?}");
    }
}
