//! The kernel's jiffies, which cost the program nothing to read, in units that user space understands.

use std::time::{Duration, Instant};

use aya::{EbpfLoader, TestRun, TestRunOptions, programs::Xdp};
use lb_common::names;

use super::{Error, kernel, object::OBJECT, region::Region};

/// Frequencies Linux can be built with.
const HERTZ: [u32; 4] = [100, 250, 300, 1000];

/// How long one reading takes, and how many are made at most.
const READING: Duration = Duration::from_millis(100);
const READINGS: u32 = 5;

/// The unit the program counts time in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Jiffies per second of this kernel.
    pub hz: u32,
    /// A tick is `2^shift` jiffies: 0.85 to 1.28 s.
    pub shift: u32,
}

impl Clock {
    /// Finds out this kernel's frequency by watching it for a tenth of a second.
    pub(super) fn measure() -> Result<Self, Error> {
        let what = "measuring the kernel's clock";
        let mut ebpf = EbpfLoader::new().load(OBJECT).map_err(|e| kernel(what.into(), e))?;
        let program: &mut Xdp = ebpf
            .program_mut(names::PROG_CLOCK)
            .ok_or_else(|| kernel(what.into(), std::io::Error::other("the object has no such program")))?
            .try_into()
            .map_err(|e| kernel(what.into(), e))?;
        program.load().map_err(|e| kernel(format!("{what}: verifying the program"), e))?;
        let Some(aya::maps::Map::Array(map)) = ebpf.map(names::CLOCK) else {
            return Err(kernel(what.into(), std::io::Error::other("the object has no such map")));
        };
        let region = Region::map(names::CLOCK, map.fd(), 1, 8)?;
        let Some(Ok(program)) = ebpf.program(names::PROG_CLOCK).map(<&Xdp>::try_from) else {
            return Err(kernel(what.into(), std::io::Error::other("the object has no such program")));
        };
        let read = || {
            program
                .test_run(TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::default() })
                .map_err(|e| kernel(what.into(), e))?;
            Ok::<_, Error>((region.word(0).load(std::sync::atomic::Ordering::Relaxed), Instant::now()))
        };
        // A reading that was held up shows too low a frequency, never too high a one: the best of several counts, the first if it is
        // beyond doubt.
        let mut best = Self::from_reading(0, Duration::from_secs(1));
        for _ in 0..READINGS {
            let (first, began) = read()?;
            std::thread::sleep(READING);
            let (last, ended) = read()?;
            let (jiffies, took) = (last.wrapping_sub(first), ended - began);
            let clock = Self::from_reading(jiffies, took);
            if clock.explains(jiffies, took) {
                return Ok(clock);
            }
            if clock.hz > best.hz {
                best = clock;
            }
        }
        Ok(best)
    }

    /// Whether the reading is what this frequency gives, to one jiffy and a half.
    fn explains(self, jiffies: u64, took: Duration) -> bool {
        let wanted = f64::from(self.hz) * took.as_secs_f64();
        u32::try_from(jiffies).is_ok_and(|seen| (f64::from(seen) - wanted).abs() <= 1.5)
    }

    fn from_reading(jiffies: u64, took: Duration) -> Self {
        let seen = u32::try_from(jiffies).map_or(f64::MAX, f64::from) / took.as_secs_f64();
        let hz = HERTZ
            .into_iter()
            .min_by(|a, b| (f64::from(*a) - seen).abs().total_cmp(&(f64::from(*b) - seen).abs()))
            .unwrap_or(250);
        let shift = match hz {
            100 => 7,
            1000 => 10,
            _ => 8,
        };
        Self { hz, shift }
    }

    /// How long a tick is.
    pub fn tick(self) -> Duration {
        Duration::from_secs(1) * (1 << self.shift) / self.hz
    }

    /// Whole ticks that are at least `time`, at most half the clock's range.
    pub fn ticks(self, time: Duration) -> u16 {
        let ticks = time.as_nanos().div_ceil(self.tick().as_nanos());
        u16::try_from(ticks).unwrap_or(u16::MAX).min(1 << 15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_off_by_a_jiffy_still_names_the_frequency() {
        for hz in HERTZ {
            for off in [0, 1] {
                let jiffies = u64::from(hz) / 10 + off;
                assert_eq!(Clock::from_reading(jiffies, Duration::from_millis(100)).hz, hz, "{hz} + {off}");
            }
        }
    }

    #[test]
    fn a_reading_that_was_held_up_is_not_believed() {
        let held_up = (100, Duration::from_millis(190));
        assert!(!Clock::from_reading(held_up.0, held_up.1).explains(held_up.0, held_up.1));
        let clean = (100, Duration::from_millis(100));
        assert!(Clock::from_reading(clean.0, clean.1).explains(clean.0, clean.1));
    }

    #[test]
    fn a_tick_is_about_a_second_and_rounding_is_up() {
        for hz in HERTZ {
            let clock = Clock::from_reading(u64::from(hz), Duration::from_secs(1));
            assert!((0.8..1.3).contains(&clock.tick().as_secs_f64()), "{clock:?}");
            assert!(clock.tick() * u32::from(clock.ticks(Duration::from_mins(5))) >= Duration::from_mins(5));
        }
        assert_eq!(Clock { hz: 250, shift: 8 }.ticks(Duration::from_secs(1 << 30)), 1 << 15);
    }
}
