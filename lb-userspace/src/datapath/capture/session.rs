//! One capture: what was copied and not yet fetched, and when it is over. Reads no clock of its own.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use super::{Batch, Sample, Wish, rings::Found};
use crate::datapath::{hex, inspect::summary};

/// A capture that nobody has asked for so long ends.
pub const LEASE: Duration = Duration::from_secs(5);
/// Longest wait for something to tell.
const WAIT: Duration = Duration::from_secs(1);
/// Copies that wait to be fetched at most; further ones are lost, and counted.
const QUEUE: usize = 4_096;
/// Copies of one answer.
const BATCH: usize = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    state: Mutex<State>,
    /// Rung when there is something to tell.
    bell: Condvar,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<(SystemTime, &'static str, u64, Vec<u8>)>,
    /// Copies that are still wanted.
    wanted: u64,
    lost: u64,
    until: Instant,
    asked: Instant,
    /// Nothing more is wanted, and why.
    over: Option<&'static str>,
    /// Nothing more will come.
    closed: bool,
}

impl Session {
    pub(super) fn new(id: u64, wish: &Wish, now: Instant) -> Self {
        let state = State {
            queue: VecDeque::new(),
            wanted: wish.count,
            lost: 0,
            until: now + Duration::from_secs(wish.seconds),
            asked: now,
            over: None,
            closed: false,
        };
        Self { id, state: Mutex::new(state), bell: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing more is wanted.
    pub(super) fn is_over(&self) -> bool {
        self.lock().over.is_some()
    }

    /// Takes in what a ring held.
    pub(super) fn take(&self, found: Found, at: SystemTime) {
        let mut state = self.lock();
        match found {
            Found::Lost(n) => state.lost += n,
            Found::Copy { .. } if state.wanted == 0 => {}
            Found::Copy { .. } if state.queue.len() >= QUEUE => state.lost += 1,
            Found::Copy { reason, length, bytes } => {
                state.queue.push_back((at, reason, length, bytes));
                state.wanted -= 1;
                if state.wanted == 0 {
                    state.over.get_or_insert("as many as were wanted");
                }
            }
        }
        self.bell.notify_all();
    }

    /// Ends it if its time is over or nobody asks.
    pub(super) fn look(&self, now: Instant) {
        let mut state = self.lock();
        if now >= state.until {
            state.over.get_or_insert("its time is over");
        } else if now.saturating_duration_since(state.asked) > LEASE {
            state.over.get_or_insert("nobody asked for more");
        }
    }

    /// Ends it.
    pub(super) fn end(&self, why: &'static str) {
        self.lock().over.get_or_insert(why);
        self.bell.notify_all();
    }

    /// Says that nothing more will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.bell.notify_all();
    }

    /// What there is, after a wait if there is nothing.
    pub(super) fn next(&self, now: impl Fn() -> Instant) -> Batch {
        let mut state = self.lock();
        state.asked = now();
        let (mut state, _) = self
            .bell
            .wait_timeout_while(state, WAIT, |state| state.queue.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.asked = now();
        let some = state.queue.len().min(BATCH);
        let samples = state
            .queue
            .drain(..some)
            .map(|(at, reason, length, bytes)| Sample {
                at: at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
                reason: reason.to_owned(),
                length,
                summary: summary::of(&bytes),
                bytes: hex::of(&bytes),
            })
            .collect();
        let ended = state.over.filter(|_| state.closed && state.queue.is_empty()).map(str::to_owned);
        Batch { samples, lost: state.lost, ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(count: u64) -> (Session, Instant) {
        let now = Instant::now();
        (Session::new(1, &Wish { reasons: Vec::new(), every: 1, count, seconds: 60 }, now), now)
    }

    fn copy() -> Found {
        Found::Copy { reason: "no_backend", length: 60, bytes: vec![0; 60] }
    }

    #[test]
    fn it_ends_when_there_are_enough_and_the_surplus_is_not_told() {
        let (session, now) = session(2);
        for _ in 0..3 {
            session.take(copy(), SystemTime::UNIX_EPOCH);
        }
        assert!(session.is_over());
        session.close();
        let batch = session.next(|| now);
        assert_eq!((batch.samples.len(), batch.lost), (2, 0));
        assert_eq!(batch.ended.as_deref(), Some("as many as were wanted"));
    }

    #[test]
    fn it_ends_with_its_time_and_when_nobody_asks() {
        let (session, now) = session(2);
        session.look(now + LEASE);
        assert!(!session.is_over());
        session.take(copy(), SystemTime::UNIX_EPOCH);
        session.next(|| now + LEASE);
        session.look(now + LEASE + LEASE);
        assert!(!session.is_over(), "asking renews the lease");
        session.look(now + 2 * LEASE + Duration::from_millis(1));
        assert!(session.is_over());

        let (session, now) = self::session(2);
        session.look(now + Duration::from_mins(1));
        session.close();
        assert_eq!(session.next(|| now).ended.as_deref(), Some("its time is over"));
    }

    #[test]
    fn what_nobody_fetches_is_lost_and_counted() {
        let (session, now) = session(100_000);
        for _ in 0..QUEUE + 5 {
            session.take(copy(), SystemTime::UNIX_EPOCH);
        }
        session.take(Found::Lost(7), SystemTime::UNIX_EPOCH);
        let batch = session.next(|| now);
        assert_eq!((batch.samples.len(), batch.lost, batch.ended), (BATCH, 12, None));
        session.end("it was ended");
        session.close();
        let mut fetched = batch.samples.len();
        while fetched < QUEUE {
            fetched += session.next(|| now).samples.len();
        }
        assert_eq!(session.next(|| now).ended.as_deref(), Some("it was ended"));
    }
}
