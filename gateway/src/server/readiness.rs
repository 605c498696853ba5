//! Whether the server is ready, judged at most once per second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What is known about readiness.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    listening: AtomicBool,
    draining: AtomicBool,
    judged: Mutex<Option<(Instant, Vec<&'static str>)>>,
}

impl Readiness {
    /// The server accepts connections now.
    pub(crate) fn listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
        self.changed();
    }

    /// The server is about to stop.
    pub(crate) fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.changed();
    }

    /// Something happened that readiness depends on: the next question is judged anew.
    pub(crate) fn changed(&self) {
        self.judged.lock().take();
    }

    /// Why the server is not ready; empty when it is. `more` names further reasons.
    pub(crate) fn failing(
        &self,
        more: impl FnOnce() -> Vec<(&'static str, bool)>,
    ) -> Vec<&'static str> {
        let mut judged = self.judged.lock();
        if let Some((when, failing)) = &*judged
            && when.elapsed() < GOOD_FOR
        {
            return failing.clone();
        }
        let mut reasons = vec![
            ("starting", !self.listening.load(Ordering::Relaxed)),
            ("draining", self.draining.load(Ordering::Relaxed)),
        ];
        reasons.extend(more());
        let failing: Vec<&'static str> = reasons
            .into_iter()
            .filter_map(|(name, holds)| holds.then_some(name))
            .collect();
        *judged = Some((Instant::now(), failing.clone()));
        failing
    }
}

/// How long a judgement stands.
const GOOD_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn readiness_is_judged_once_per_second_and_after_changes() {
        let readiness = Readiness::default();
        let judged = Cell::new(0);
        let ask = || {
            readiness.failing(|| {
                judged.set(judged.get() + 1);
                vec![("tls", judged.get() > 2)]
            })
        };
        assert_eq!(ask(), ["starting"]);
        readiness.listening();
        assert_eq!((ask(), judged.get()), (vec![], 2));
        for _ in 0..1000 {
            assert!(ask().is_empty());
        }
        assert_eq!(judged.get(), 2);
        tokio::time::advance(Duration::from_millis(1001)).await;
        assert_eq!((ask(), judged.get()), (vec!["tls"], 3));
        readiness.draining();
        assert_eq!(ask(), ["draining", "tls"]);
    }
}
