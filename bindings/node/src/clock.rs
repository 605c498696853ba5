//! Stand-ins for parts of the machine.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openclaw_auth::host::{Clock, Interfaces, Processes, RunError, RunOutput, RunRequest};

/// A clock that stands still until it is moved.
pub(crate) struct ManualClock {
    start_ms: u64,
    passed_ms: AtomicU64,
}

impl ManualClock {
    pub(crate) fn new(start_ms: u64) -> Self {
        Self {
            start_ms,
            passed_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.passed_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.start_ms
            .saturating_add(self.passed_ms.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) {
        self.advance(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }
}

/// Runs nothing.
pub(crate) struct NoPrograms;

impl Processes for NoPrograms {
    fn run(&self, _: &RunRequest) -> Result<RunOutput, RunError> {
        Err(RunError::Spawn("EPERM".to_owned()))
    }
}

/// Addresses of this machine as a test gives them; `None` when they cannot be found out.
pub(crate) struct OwnAddresses(pub(crate) Option<Vec<IpAddr>>);

impl Interfaces for OwnAddresses {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        self.0
            .clone()
            .ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }
}
