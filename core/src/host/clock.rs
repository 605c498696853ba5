//! The time of the machine.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the clock that the lint points to"
)]

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::Clock;

/// The clock of the machine; its monotonic time starts when it is made.
pub(super) struct RealClock {
    start: Instant,
}

impl Default for RealClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for RealClock {
    /// A machine clock that stands before 1970 reads as 0.
    fn now_ms(&self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since_1970.map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        })
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_while_sleeping() {
        let clock = RealClock::default();
        let (wall, steady) = (clock.now_ms(), clock.monotonic());
        clock.sleep(Duration::from_millis(20));
        assert!(clock.monotonic() - steady >= Duration::from_millis(20));
        assert!(clock.now_ms() >= wall + 15);
        assert!(
            wall > 1_600_000_000_000,
            "milliseconds, not seconds: {wall}"
        );
    }
}
