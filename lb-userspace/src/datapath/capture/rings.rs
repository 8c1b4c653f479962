//! The rings that the program writes to, one per CPU.

use std::ops::ControlFlow;

use aya::{
    maps::{
        MapData,
        perf::{PerfEvent, PerfEventArrayBuffer},
    },
    util::online_cpus,
};
use lb_common::reason::Reason;

use crate::datapath::{Error, kernel, keyed, object::Object};

/// Pages of a ring: about 850 copies.
const PAGES: usize = 64;
/// Bytes in front of the frame: reason and length.
const HEAD: usize = 16;
/// Copies taken out of a ring at one look; the rest waits, or is lost, so that a flood cannot keep the reader from looking at the clock.
const MOST: u32 = 4_096;

/// What a ring held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A copied frame.
    Copy {
        /// Label of the reason.
        reason: &'static str,
        /// Length of the whole frame.
        length: u64,
        /// Its begin.
        bytes: Vec<u8>,
    },
    /// So many copies found the ring full.
    Lost(u64),
}

/// Open rings.
pub(super) struct Rings {
    buffers: Vec<PerfEventArrayBuffer<MapData>>,
    cpus: Vec<u32>,
    fd: std::os::fd::OwnedFd,
}

impl Rings {
    pub(super) fn open(object: &Object) -> Result<Self, Error> {
        let what = "opening the rings for dropped packets (it takes CAP_PERFMON)";
        let cpus = online_cpus().map_err(|(_, e)| kernel(what.into(), e))?;
        let (buffers, fd) = object.with_captured(|array, fd| {
            let buffers = cpus
                .iter()
                .map(|cpu| array.open(*cpu, Some(PAGES)).map_err(|e| kernel(what.into(), e)))
                .collect::<Result<Vec<_>, _>>()?;
            Ok((buffers, fd.try_clone_to_owned().map_err(|e| kernel(what.into(), e))?))
        })?;
        Ok(Self { buffers, cpus, fd })
    }

    /// Takes out what is there.
    pub(super) fn drain(&mut self, mut take: impl FnMut(Found)) {
        for buffer in &mut self.buffers {
            let _ = buffer.try_fold(0u32, |n, event| {
                match event {
                    PerfEvent::Sample { head, tail } => {
                        if let Some(found) = read(head, tail) {
                            take(found);
                        }
                    }
                    PerfEvent::Lost { count } => take(Found::Lost(count)),
                }
                if n < MOST { ControlFlow::Continue(n + 1) } else { ControlFlow::Break(()) }
            });
        }
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        // The map would keep the kernel's half of each ring.
        for cpu in &self.cpus {
            if let Err(error) = keyed::remove(&self.fd, &cpu.to_ne_bytes()) {
                tracing::debug!(%error, cpu, "a ring stays with its map");
            }
        }
    }
}

/// A copy may lie across the ring's end, and the kernel fills it up to a multiple of eight bytes.
fn read(head: &[u8], tail: &[u8]) -> Option<Found> {
    let mut bytes = [head, tail].concat();
    let word = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes);
    let (reason, length) = (word(0)?, word(8)?);
    let reason = Reason::ALL.get(usize::try_from(reason).ok()?)?;
    let copied = usize::try_from(length).unwrap_or(usize::MAX).min(256).min(bytes.len() - HEAD);
    bytes.drain(..HEAD);
    bytes.truncate(copied);
    Some(Found::Copy { reason: reason.as_str(), length, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(reason: u64, length: u64, frame: &[u8]) -> Vec<u8> {
        [&reason.to_ne_bytes()[..], &length.to_ne_bytes(), frame, &[0xee; 4]].concat()
    }

    #[test]
    fn a_copy_is_read_wherever_the_ring_cuts_it_and_its_filling_is_left_out() {
        let bytes = raw(Reason::NoBackend as u64, 60, &[7; 60]);
        let wanted = Found::Copy { reason: "no_backend", length: 60, bytes: vec![7; 60] };
        for cut in 0..=bytes.len() {
            assert_eq!(read(&bytes[..cut], &bytes[cut..]), Some(wanted.clone()), "{cut}");
        }
    }

    #[test]
    fn a_long_frame_is_there_with_its_begin_and_its_length() {
        let Some(Found::Copy { length, bytes, .. }) = read(&raw(0, 9_000, &[1; 256]), &[]) else { panic!() };
        assert_eq!((length, bytes.len()), (9_000, 256));
    }

    #[test]
    fn what_no_program_writes_is_nothing() {
        assert_eq!(read(&[0; 15], &[]), None);
        assert_eq!(read(&raw(63, 60, &[7; 60]), &[]), None);
    }
}
