//! Waiting for a condition, never for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Long enough for a busy machine; what never comes true is told after this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until there is an answer. `what` completes the sentence "it never came about that …".
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// The same with another bound.
pub(crate) fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < patience, "it never came about that {what} ({patience:?})");
        thread::sleep(Duration::from_millis(15));
    }
}
