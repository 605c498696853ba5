//! One refresh of a profile at a time in this process, and what this process remembers about it.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};

/// How long a refused refresh token is not sent again, in milliseconds.
const DEAD_MS: u64 = 600_000;
/// How long a profile is left alone after failed tries while its token still works.
const BACKOFF_MS: [u64; 4] = [30_000, 60_000, 120_000, 300_000];

/// A profile in its store.
pub(super) type Key = (PathBuf, String);

/// Work that is done once for everybody who wants it at the same time.
pub(super) struct Flights<T> {
    running: Mutex<HashMap<Key, Arc<Slot<T>>>>,
}

struct Slot<T> {
    outcome: Mutex<Option<Result<T>>>,
    done: Condvar,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self {
            running: Mutex::default(),
        }
    }
}

impl<T: Clone> Flights<T> {
    /// Does the work, or waits for whoever is doing it. `None`: nobody finished in time, or the
    /// one who was doing it was torn away.
    pub(super) fn run(
        &self,
        key: &Key,
        wait: Duration,
        work: impl FnOnce() -> Result<T>,
    ) -> Option<Result<T>> {
        let slot = {
            let mut running = self.running.lock();
            match running.get(key) {
                Some(slot) => Err(Arc::clone(slot)),
                None => {
                    let slot = Arc::new(Slot {
                        outcome: Mutex::default(),
                        done: Condvar::new(),
                    });
                    running.insert(key.clone(), Arc::clone(&slot));
                    Ok(slot)
                }
            }
        };
        match slot {
            Ok(slot) => {
                let seat = Seat {
                    flights: self,
                    key,
                    slot,
                };
                let outcome = work();
                *seat.slot.outcome.lock() = Some(outcome.clone());
                Some(outcome)
            }
            Err(slot) => {
                let mut outcome = slot.outcome.lock();
                if outcome.is_none() {
                    slot.done.wait_for(&mut outcome, wait);
                }
                outcome.clone()
            }
        }
    }
}

/// The place of the one who works; given up however the work ends.
struct Seat<'a, T> {
    flights: &'a Flights<T>,
    key: &'a Key,
    slot: Arc<Slot<T>>,
}

impl<T> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        self.flights.running.lock().remove(self.key);
        self.slot.done.notify_all();
    }
}

/// What this process knows about refreshes that failed.
#[derive(Default)]
pub(super) struct Memory {
    dead: Timed<String, Error>,
    backoff: Timed<Key, usize>,
}

impl Memory {
    /// The error of a refresh token that was refused a short while ago.
    pub(super) fn dead(&self, digest: &str, now: u64) -> Option<Error> {
        self.dead.get(digest, now)
    }

    pub(super) fn mark_dead(&self, digest: &str, error: &Error, now: u64) {
        self.dead
            .put(digest.to_owned(), error.clone(), now + DEAD_MS, now);
    }

    /// Whether a profile is left alone for now.
    pub(super) fn backs_off(&self, key: &Key, now: u64) -> bool {
        let known = self.backoff.entries.lock();
        known.get(key).is_some_and(|(until, _)| now < *until)
    }

    pub(super) fn failed(&self, key: &Key, now: u64) {
        let mut known = self.backoff.entries.lock();
        let step = known.get(key).map_or(0, |(_, step)| step + 1);
        let wait = BACKOFF_MS
            .get(step)
            .or(BACKOFF_MS.last())
            .copied()
            .unwrap_or(0);
        known.insert(key.clone(), (now + wait, step));
    }

    pub(super) fn succeeded(&self, key: &Key) {
        self.backoff.entries.lock().remove(key);
    }
}

/// Values that count until a moment.
struct Timed<K, V> {
    entries: Mutex<HashMap<K, (u64, V)>>,
}

impl<K, V> Default for Timed<K, V> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash, V: Clone> Timed<K, V> {
    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: u64) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let entries = self.entries.lock();
        entries
            .get(key)
            .filter(|(until, _)| now < *until)
            .map(|(_, value)| value.clone())
    }

    fn put(&self, key: K, value: V, until: u64, now: u64) {
        let mut entries = self.entries.lock();
        entries.retain(|_, (until, _)| now < *until);
        entries.insert(key, (until, value));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::error::Code;

    fn key() -> Key {
        (PathBuf::from("/a"), "p:1".to_owned())
    }

    #[test]
    fn everybody_gets_the_outcome_of_the_one_who_works() {
        let flights = Flights::default();
        let works = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let outcome = flights.run(&key(), Duration::from_secs(10), || {
                        works.fetch_add(1, Ordering::SeqCst);
                        let (_open, never) = mpsc::channel::<()>();
                        // A while in which the others arrive.
                        assert!(never.recv_timeout(Duration::from_millis(300)).is_err());
                        Ok(7)
                    });
                    assert_eq!(outcome.unwrap().unwrap(), 7);
                });
            }
        });
        assert_eq!(works.load(Ordering::SeqCst), 1);
        assert!(flights.running.lock().is_empty());
    }

    #[test]
    fn a_seat_is_given_up_even_by_a_panic() {
        let flights: Flights<u8> = Flights::default();
        let torn = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            flights.run(&key(), Duration::ZERO, || panic!("torn away"))
        }));
        assert!(torn.is_err());
        assert_eq!(
            flights
                .run(&key(), Duration::ZERO, || Ok(1))
                .unwrap()
                .unwrap(),
            1
        );
    }

    #[test]
    fn memory_fades() {
        let memory = Memory::default();
        memory.mark_dead("d", &Error::new(Code::OauthReauthRequired, "x"), 0);
        assert!(memory.dead("d", DEAD_MS - 1).is_some());
        assert!(memory.dead("d", DEAD_MS).is_none());
        let mut now = 0;
        for wait in [30_000, 60_000, 120_000, 300_000, 300_000] {
            memory.failed(&key(), now);
            assert!(memory.backs_off(&key(), now + wait - 1));
            assert!(!memory.backs_off(&key(), now + wait));
            now += wait;
        }
        memory.succeeded(&key());
        memory.failed(&key(), now);
        assert!(!memory.backs_off(&key(), now + 30_000));
    }
}
