//! The one clock of the process: everything that asks for the time asks here.
//!
//! Two faces of the same instant: [`Clock::now`] is wall-clock time, for deadlines that survive a
//! restart and for what people read; [`Clock::ticks`] never goes back, for durations.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fisc_core::{TimeUs, Timestamp};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Returns the wall-clock time.
    fn now(&self) -> Timestamp;

    /// Returns microseconds since some fixed point; never goes back.
    fn ticks(&self) -> TimeUs;
}

/// The operating system's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

/// A clock that moves only when told, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
}

/// Returns a span in microseconds; what is longer than can be counted is as long as can be.
pub fn span(span: Duration) -> TimeUs {
    TimeUs(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
}

// === impl SystemClock ===

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    fn default() -> Self {
        SystemClock {
            started: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp(span(since).0)
    }

    fn ticks(&self) -> TimeUs {
        span(self.started.elapsed())
    }
}

// === impl ManualClock ===

impl ManualClock {
    /// Makes a clock that stands at `now`.
    pub fn at(now: Timestamp) -> ManualClock {
        ManualClock {
            now: Mutex::new(now),
        }
    }

    /// Moves the clock on.
    pub fn advance(&self, span: TimeUs) {
        let mut now = self.now.lock().expect("no holder of this lock can panic");
        *now = now.after(span);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().expect("no holder of this lock can panic")
    }

    fn ticks(&self) -> TimeUs {
        TimeUs(self.now().0)
    }
}
