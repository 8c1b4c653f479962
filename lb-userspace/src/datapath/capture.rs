//! Copies of dropped packets. The program makes them only while somebody wants some: the daemon says which and how many, reads the rings,
//! and switches it off again when enough were copied, when the time is over, or when nobody has asked for any for [`LEASE`]: whoever
//! wanted them may have died.

mod rings;
mod session;
mod wish;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use lb_common::settings::Settings;
use serde::{Deserialize, Serialize};

use self::{rings::Rings, session::Session};
pub use self::{
    session::LEASE,
    wish::{Wish, reasons},
};
use super::{Error, object::Object, region::Region};

/// How often the rings are looked at: at full speed each holds what one CPU copies in longer than that.
const LOOK: Duration = Duration::from_millis(10);
/// Words of `Settings`, in the order of its fields.
const EVERY: usize = 4;
const REASONS: usize = 5;
const _: () = assert!(
    std::mem::offset_of!(Settings, capture_every) == EVERY * 8
        && std::mem::offset_of!(Settings, capture_reasons) == REASONS * 8
);

/// A capture that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Names it in what follows.
    pub id: u64,
    /// Labels of the reasons whose packets are copied.
    pub reasons: Vec<String>,
}

/// A copied packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since 1970 when it was read, a hundredth of a second after it was dropped at most.
    pub at: f64,
    /// Label of the reason.
    pub reason: String,
    /// The frame's length.
    pub length: u64,
    /// Its first 256 bytes at most, in hexadecimal digits.
    pub bytes: String,
    /// The frame in one line.
    pub summary: String,
}

/// Some copied packets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// In the order in which each CPU dropped them.
    pub samples: Vec<Sample>,
    /// Copies so far that found their ring, or the daemon's queue, full.
    pub lost: u64,
    /// Why there will be no more.
    pub ended: Option<String>,
}

/// Why there is no capture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// Somebody else's runs.
    #[error("another capture is running; there is one at a time, and it ends {}s after its lbctl does", LEASE.as_secs())]
    Busy,
    /// It has ended and was forgotten, or never was.
    #[error("there is no such capture; it may have ended")]
    Unknown,
    /// It makes no sense.
    #[error("{0}")]
    Wish(String),
    /// The kernel refused.
    #[error("{0}")]
    Kernel(String),
}

impl From<Error> for CaptureError {
    fn from(error: Error) -> Self {
        Self::Kernel(error.to_string())
    }
}

/// The captures of this daemon: one at a time.
#[derive(Debug)]
pub(super) struct Captures {
    object: Arc<Object>,
    switch: Arc<Switch>,
    current: Mutex<Option<Arc<Session>>>,
    last: AtomicU64,
}

/// The words by which the program knows what to copy.
#[derive(Debug)]
struct Switch(Region);

impl Switch {
    fn on(&self, every: u64, reasons: u64) {
        self.0.word(REASONS).store(reasons, Ordering::Release);
        self.0.word(EVERY).store(every, Ordering::Release);
    }

    fn off(&self) {
        self.0.word(EVERY).store(0, Ordering::Release);
        self.0.word(REASONS).store(0, Ordering::Release);
    }
}

/// Sampling, for as long as this lives.
struct Sampling(Arc<Switch>);

impl Drop for Sampling {
    fn drop(&mut self) {
        self.0.off();
    }
}

impl Captures {
    /// Nothing is copied: what a killed predecessor wanted is over.
    pub(super) fn new(object: Arc<Object>) -> Result<Self, Error> {
        let switch = Arc::new(Switch(object.region(lb_common::names::SETTINGS)?));
        switch.off();
        Ok(Self { object, switch, current: Mutex::default(), last: AtomicU64::new(0) })
    }

    pub(super) fn start(&self, wish: &Wish) -> Result<Started, CaptureError> {
        let mask = wish.mask().map_err(CaptureError::Wish)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|session| !session.is_over()) {
            return Err(CaptureError::Busy);
        }
        let mut rings = Rings::open(&self.object)?;
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Arc::new(Session::new(id, wish, Instant::now()));
        let sampling = Sampling(self.switch.clone());
        sampling.0.on(wish.every, mask);
        let (theirs, every) = (session.clone(), wish.every);
        let reader = move || {
            // Dropped first when this ends, however it ends: nothing is copied into rings that are gone.
            let sampling = sampling;
            while !theirs.is_over() {
                std::thread::sleep(LOOK);
                let at = SystemTime::now();
                rings.drain(|found| theirs.take(found, at));
                theirs.look(Instant::now());
            }
            drop(sampling);
            // What was on its way when it was switched off.
            let at = SystemTime::now();
            rings.drain(|found| theirs.take(found, at));
            theirs.close();
            tracing::info!(id, "the capture of dropped packets ended");
        };
        let spawned = std::thread::Builder::new().name("capture".into()).spawn(reader);
        // The closure, and with it the sampling, is gone if there is no thread.
        spawned.map_err(|e| CaptureError::Kernel(format!("starting the capture's thread: {e}")))?;
        tracing::info!(id, every, reasons = ?wish.reasons, "dropped packets are being captured");
        *current = Some(session);
        Ok(Started {
            id,
            reasons: reasons().filter(|(bit, _)| mask & bit != 0).map(|(_, r)| r.to_owned()).collect(),
        })
    }

    fn find(&self, id: u64) -> Result<Arc<Session>, CaptureError> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|session| session.id == id).ok_or(CaptureError::Unknown)
    }

    pub(super) fn next(&self, id: u64) -> Result<Batch, CaptureError> {
        Ok(self.find(id)?.next(Instant::now))
    }

    pub(super) fn end(&self, id: u64) -> Result<(), CaptureError> {
        self.find(id)?.end("it was ended");
        Ok(())
    }

    /// Nothing is copied any more: the daemon ends.
    pub(super) fn stop(&self) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(session) = current {
            session.end("lbd ends");
        }
        self.switch.off();
    }
}
