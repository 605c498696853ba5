//! Who is being waited for, for a display on another thread.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::reference::SecretSource;

/// A view of the providers that are at work. Clones see the same.
#[derive(Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    expected: usize,
    finished: usize,
    running: Vec<Running>,
}

/// A provider that has not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Running {
    /// Where its references are resolved.
    pub source: SecretSource,
    /// Its alias.
    pub provider: String,
    /// When it started, on the host's monotonic clock.
    pub since: Duration,
}

impl Progress {
    /// Nothing is running.
    pub fn new() -> Self {
        Self::default()
    }

    /// The providers at work, the slowest first.
    pub fn running(&self) -> Vec<Running> {
        let mut running = self.0.lock().running.clone();
        running.sort_by(|a, b| (a.since, &a.provider).cmp(&(b.since, &b.provider)));
        running
    }

    /// How many providers have answered, and how many there are in the activation so far.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.0.lock();
        (state.finished, state.expected)
    }

    pub(super) fn expect(&self, providers: usize) {
        self.0.lock().expected += providers;
    }

    pub(super) fn start(&self, source: SecretSource, provider: &str, now: Duration) {
        self.0.lock().running.push(Running {
            source,
            provider: provider.to_owned(),
            since: now,
        });
    }

    pub(super) fn finish(&self, source: SecretSource, provider: &str) {
        let mut state = self.0.lock();
        state.finished += 1;
        let at = state
            .running
            .iter()
            .position(|known| known.source == source && known.provider == provider);
        if let Some(at) = at {
            state.running.swap_remove(at);
        }
    }

    /// A new activation begins.
    pub(crate) fn reset(&self) {
        *self.0.lock() = State::default();
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (finished, expected) = self.counts();
        write!(f, "Progress({finished}/{expected})")
    }
}
