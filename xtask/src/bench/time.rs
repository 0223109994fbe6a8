//! The clock of the benchmark: real time, which is what it measures.

use std::thread;
use std::time::{Duration, Instant};

/// Returns this moment.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Blocks this thread, which serves nobody else, for `span`.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own waits for its turn"
)]
pub(super) fn pause(span: Duration) {
    thread::sleep(span);
}

/// Blocks this thread until `moment`.
pub(super) fn pause_until(moment: Instant) {
    let left = moment.saturating_duration_since(now());
    if !left.is_zero() {
        pause(left);
    }
}
