//! Counting wrong credentials, so that guessing takes too long to be worth it.
//!
//! The limiter outlives configurations: limits are passed with every call, so a reload changes
//! them while recorded failures and running lockouts stay. Memory is bounded, and new clients are
//! never refused merely because the table is full.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use super::origin::Origin;

/// How many wrong attempts are accepted. The defaults are those of `gateway.auth.rateLimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Wrong attempts of one key within the window, 10.
    pub max_attempts: u32,
    /// How long a wrong attempt counts, one minute.
    pub window: Duration,
    /// How long a key is refused after too many attempts, five minutes; zero: until enough of
    /// them are out of the window.
    pub lockout: Duration,
    /// Wrong attempts of all keys of a scope within the window; zero, the default, is no limit.
    pub global_max_attempts: u32,
    /// Most keys that are remembered, 10000.
    pub max_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_attempts: 10,
            window: Duration::from_secs(60),
            lockout: Duration::from_secs(300),
            global_max_attempts: 0,
            max_entries: 10_000,
        }
    }
}

/// Whose attempts are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    scope: &'static str,
    subject: Subject,
}

impl Key {
    /// A key; what is counted in different scopes does not mix.
    pub fn new(scope: &'static str, subject: Subject) -> Self {
        Self { scope, subject }
    }
}

/// Who made an attempt, as far as that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Subject {
    /// A client address; make it with [`Subject::address`].
    Address(IpAddr),
    /// A page of some origin on this host, from [`Limiter::origin`].
    Origin(u64),
    /// Somebody behind this peer.
    Unattributed(IpAddr),
    /// Somebody.
    Unknown,
}

impl Subject {
    /// A client address. One IPv6 network of 64 bits is one client.
    pub fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
            v4 => v4,
        })
    }
}

/// What happens to a key with too many wrong attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// Nothing; attempts are counted for the penalty only.
    Exempt,
    /// It is locked out.
    Lockout,
    /// It waits until enough attempts are out of the window. For keys that many clients share, so
    /// that one of them cannot lock out the others.
    WindowOnly,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Attempt {
    /// The credential was right.
    Accepted,
    /// There were too many attempts; the credential was not looked at.
    Limited {
        /// Milliseconds until the next attempt makes sense.
        retry_after_ms: u64,
    },
    /// The credential was wrong.
    Wrong {
        /// Milliseconds to wait before answering.
        penalty_ms: u32,
    },
}

/// The table of wrong attempts. Shared between threads and between configurations.
#[derive(Default)]
pub struct Limiter {
    table: Mutex<Table>,
    hasher: RandomState,
}

impl Limiter {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the key must wait, without making an attempt. `now` is monotonic time.
    pub fn check(&self, key: Key, rule: Rule, limits: &Limits, now: Duration) -> Option<u64> {
        self.table
            .lock()
            .wait(key, rule, &Terms::new(limits), millis(now))
    }

    /// Settles an attempt in one step, so that parallel attempts cannot slip through together:
    /// refuses it if there were too many wrong ones, whatever `right` is (a right credential
    /// during a lockout would otherwise be recognised as such); else counts a wrong one, or
    /// forgets the key's history after a right one. `now` is monotonic time.
    pub fn settle(
        &self,
        key: Key,
        rule: Rule,
        limits: &Limits,
        now: Duration,
        right: bool,
    ) -> Attempt {
        let (terms, now) = (Terms::new(limits), millis(now));
        let mut table = self.table.lock();
        if let Some(retry_after_ms) = table.wait(key, rule, &terms, now) {
            return Attempt::Limited { retry_after_ms };
        }
        if right {
            table.forget(key);
            return Attempt::Accepted;
        }
        let failures = table.fail(key, rule, &terms, now);
        Attempt::Wrong {
            penalty_ms: if rule == Rule::Exempt {
                penalty_ms(failures)
            } else {
                0
            },
        }
    }

    /// Number of keys that are remembered.
    pub fn keys(&self) -> usize {
        self.table.lock().entries.len()
    }

    /// Number of keys that are locked out, or were and have not tried again.
    pub fn lockouts(&self) -> usize {
        self.table.lock().locked.len()
    }

    /// The subject for a page, by the value of its `Origin` header. The text itself is not kept.
    pub fn origin(&self, value: &[u8]) -> Subject {
        let mut hasher = self.hasher.build_hasher();
        if let Some(origin) = Origin::parse(value) {
            for part in [origin.scheme, origin.authority.host] {
                part.bytes()
                    .for_each(|b| hasher.write_u8(b.to_ascii_lowercase()));
                hasher.write_u8(b'/');
            }
            hasher.write_u16(origin.authority.port.unwrap_or(0));
        }
        Subject::Origin(hasher.finish())
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter")
    }
}

/// The limits in milliseconds.
struct Terms {
    max: usize,
    window: u64,
    lockout: u64,
    global_max: usize,
    max_entries: usize,
}

impl Terms {
    fn new(limits: &Limits) -> Self {
        Self {
            max: count(limits.max_attempts).max(1),
            window: millis(limits.window),
            lockout: millis(limits.lockout),
            global_max: count(limits.global_max_attempts),
            max_entries: limits.max_entries.max(1),
        }
    }
}

/// All times are milliseconds of the monotonic clock.
#[derive(Default)]
struct Table {
    entries: HashMap<Key, Entry, RandomState>,
    /// Keys that are not locked, by their last failure: the first is the next to go.
    open: BTreeSet<(u64, Key)>,
    /// Locked keys by the end of their lockout.
    locked: BTreeSet<(u64, Key)>,
    /// All failures of a scope.
    global: HashMap<&'static str, Failures, RandomState>,
    /// Failures of keys that found the table full of locked ones.
    overflow: Failures,
}

enum Entry {
    Locked { until: u64 },
    Open { last: u64, failures: Failures },
}

impl Table {
    /// Milliseconds the key has to wait.
    fn wait(&mut self, key: Key, rule: Rule, terms: &Terms, now: u64) -> Option<u64> {
        if rule == Rule::Exempt {
            return None;
        }
        if terms.global_max > 0 {
            let global = self.global.get_mut(key.scope);
            if let Some(wait) = global.and_then(|g| g.wait(terms.global_max, terms.window, now)) {
                return Some(wait);
            }
        }
        match self.entries.get_mut(&key) {
            Some(Entry::Open { failures, .. }) => failures.wait(terms.max, terms.window, now),
            Some(Entry::Locked { until }) if now < *until => Some(*until - now),
            Some(Entry::Locked { .. }) => {
                self.forget(key);
                None
            }
            None => {
                self.expire(terms, now);
                let crowded = self.is_full(terms) && self.open.is_empty();
                let max = terms.max.saturating_mul(OVERFLOW_FACTOR);
                crowded.then(|| self.overflow.wait(max, terms.window, now))?
            }
        }
    }

    /// Counts a failure; the number of failures of the key within the window.
    fn fail(&mut self, key: Key, rule: Rule, terms: &Terms, now: u64) -> usize {
        self.expire(terms, now);
        if terms.global_max > 0 && rule != Rule::Exempt {
            self.global
                .entry(key.scope)
                .or_default()
                .add(terms.global_max, terms.window, now);
        }
        if !self.entries.contains_key(&key) && !self.make_room(terms) {
            let max = terms.max.saturating_mul(OVERFLOW_FACTOR);
            return self.overflow.add(max, terms.window, now);
        }
        let mut failures = match self.forget(key) {
            Some(Entry::Open { failures, .. }) => failures,
            _ => Failures::default(),
        };
        let kept = if rule == Rule::Exempt {
            PENALTY_STEPS
        } else {
            terms.max
        };
        let number = failures.add(kept, terms.window, now);
        let entry = if rule == Rule::Lockout && terms.lockout > 0 && number >= terms.max {
            let until = now.saturating_add(terms.lockout);
            self.locked.insert((until, key));
            Entry::Locked { until }
        } else {
            self.open.insert((now, key));
            Entry::Open {
                last: now,
                failures,
            }
        };
        self.entries.insert(key, entry);
        number
    }

    fn forget(&mut self, key: Key) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        match &entry {
            Entry::Locked { until } => self.locked.remove(&(*until, key)),
            Entry::Open { last, .. } => self.open.remove(&(*last, key)),
        };
        Some(entry)
    }

    /// Removes a few entries that mean nothing any more; enough, because every call adds one.
    fn expire(&mut self, terms: &Terms, now: u64) {
        for _ in 0..EXPIRED_PER_CALL {
            let idle = self
                .open
                .first()
                .filter(|(last, _)| now.saturating_sub(*last) >= terms.window);
            let Some(&(_, key)) = idle.or(self.locked.first().filter(|(until, _)| *until <= now))
            else {
                return;
            };
            self.forget(key);
        }
    }

    /// Whether there is room for one more key, if need be by dropping the open key that has been
    /// quiet for longest. A table that a reload made too large shrinks by a few with each call.
    fn make_room(&mut self, terms: &Terms) -> bool {
        for _ in 0..EXPIRED_PER_CALL {
            match self.open.first() {
                Some(&(_, key)) if self.is_full(terms) => self.forget(key),
                _ => break,
            };
        }
        !self.is_full(terms)
    }

    fn is_full(&self, terms: &Terms) -> bool {
        self.entries.len() >= terms.max_entries
    }
}

/// Times of failures, oldest first.
#[derive(Default)]
struct Failures(VecDeque<u64>);

impl Failures {
    /// Adds one and drops those that no longer count; how many are left.
    fn add(&mut self, kept: usize, window: u64, now: u64) -> usize {
        self.drop_old(window, now);
        self.0.push_back(now);
        while self.0.len() > kept {
            self.0.pop_front();
        }
        self.0.len()
    }

    /// Milliseconds until fewer than `max` are in the window.
    fn wait(&mut self, max: usize, window: u64, now: u64) -> Option<u64> {
        self.drop_old(window, now);
        let blocking = self.0.len().checked_sub(max)?;
        let until = self.0.get(blocking)?.saturating_add(window);
        Some(until.saturating_sub(now).max(1))
    }

    fn drop_old(&mut self, window: u64, now: u64) {
        while self
            .0
            .front()
            .is_some_and(|time| now.saturating_sub(*time) >= window)
        {
            self.0.pop_front();
        }
    }
}

/// The delay doubles with each failure that a caller on this host makes.
fn penalty_ms(failures: usize) -> u32 {
    let doublings = u32::try_from(failures.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(16);
    (250 << doublings).min(5_000)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Failures that are kept of an exempt key: more do not lengthen the penalty.
const PENALTY_STEPS: usize = 6;

/// How many times the failures of one key the keys without a place may make together.
const OVERFLOW_FACTOR: usize = 10;

const EXPIRED_PER_CALL: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        max_attempts: 3,
        window: Duration::from_millis(1_000),
        lockout: Duration::from_millis(5_000),
        global_max_attempts: 0,
        max_entries: 100,
    };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn client(number: u32) -> Key {
        Key::new("test", Subject::address(IpAddr::from(number.to_be_bytes())))
    }

    fn is_wrong(attempt: Attempt) -> bool {
        matches!(attempt, Attempt::Wrong { .. })
    }

    #[test]
    fn lockout_ends_and_clears_the_history() {
        let limiter = Limiter::new();
        let settle = |ms, right| limiter.settle(client(1), Rule::Lockout, &LIMITS, at(ms), right);
        for ms in [0, 1, 2] {
            assert!(is_wrong(settle(ms, false)));
        }
        assert_eq!(limiter.lockouts(), 1);
        assert_eq!(
            settle(3, true),
            Attempt::Limited {
                retry_after_ms: 4_999
            }
        );
        assert_eq!(
            limiter.check(client(1), Rule::Lockout, &LIMITS, at(5_001)),
            Some(1)
        );
        assert!(is_wrong(settle(5_002, false)));
        assert_eq!(settle(5_003, true), Attempt::Accepted);
        assert_eq!((limiter.keys(), limiter.lockouts()), (0, 0));
    }

    #[test]
    fn shared_keys_and_zero_lockouts_only_wait_for_the_window() {
        let no_lockout = Limits {
            lockout: Duration::ZERO,
            ..LIMITS
        };
        for (rule, limits) in [(Rule::WindowOnly, LIMITS), (Rule::Lockout, no_lockout)] {
            let limiter = Limiter::new();
            for ms in [0, 100, 200] {
                assert!(is_wrong(limiter.settle(
                    client(1),
                    rule,
                    &limits,
                    at(ms),
                    false
                )));
            }
            assert_eq!(limiter.check(client(1), rule, &limits, at(300)), Some(700));
            assert!(is_wrong(limiter.settle(
                client(1),
                rule,
                &limits,
                at(1_000),
                false
            )));
            assert_eq!(
                limiter.check(client(1), rule, &limits, at(1_000)),
                Some(100)
            );
        }
    }

    #[test]
    fn exempt_keys_are_slowed_down_but_never_refused() {
        let limiter = Limiter::new();
        let penalties: Vec<_> = (0..8)
            .map(|ms| limiter.settle(client(1), Rule::Exempt, &LIMITS, at(ms), false))
            .map(|attempt| match attempt {
                Attempt::Wrong { penalty_ms } => penalty_ms,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            penalties,
            [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]
        );
    }

    #[test]
    fn global_limit_counts_all_clients() {
        let limiter = Limiter::new();
        let limits = Limits {
            global_max_attempts: 5,
            ..LIMITS
        };
        let settle = |key, ms| limiter.settle(key, Rule::Lockout, &limits, at(ms), false);
        for number in 0..5 {
            assert!(is_wrong(settle(client(number), 0)));
        }
        assert_eq!(
            settle(client(9), 1),
            Attempt::Limited {
                retry_after_ms: 999
            }
        );
        assert!(is_wrong(settle(Key::new("other", Subject::Unknown), 1)));
        assert!(is_wrong(settle(client(9), 1_000)));
    }

    #[test]
    fn fifty_thousand_addresses_stay_within_the_table() {
        let limiter = Limiter::new();
        for number in 0..50_000 {
            let now = at(u64::from(number) / 100);
            let attempt = limiter.settle(client(number), Rule::Lockout, &LIMITS, now, false);
            assert!(
                is_wrong(attempt),
                "client {number} is refused because of the others"
            );
            assert!(limiter.keys() <= LIMITS.max_entries);
        }
        let table = limiter.table.lock();
        assert_eq!(table.entries.len(), table.open.len() + table.locked.len());
    }

    #[test]
    fn a_table_full_of_lockouts_leaves_a_shared_place() {
        let limiter = Limiter::new();
        let limits = Limits {
            max_attempts: 1,
            ..LIMITS
        };
        let settle =
            |number, ms| limiter.settle(client(number), Rule::Lockout, &limits, at(ms), false);
        for number in 0..110 {
            assert!(is_wrong(settle(number, 0)), "{number}");
        }
        assert_eq!((limiter.keys(), limiter.lockouts()), (100, 100));
        assert!(matches!(settle(110, 1), Attempt::Limited { .. }));
        assert!(
            is_wrong(settle(110, 5_000)),
            "lockouts that ended make room"
        );
    }

    #[test]
    fn a_smaller_table_shrinks() {
        let limiter = Limiter::new();
        for number in 0..100 {
            let _ = limiter.settle(client(number), Rule::Lockout, &LIMITS, at(0), false);
        }
        let limits = Limits {
            max_entries: 10,
            ..LIMITS
        };
        for number in 100..130 {
            let _ = limiter.settle(client(number), Rule::Lockout, &limits, at(1), false);
        }
        assert!(limiter.keys() <= 10, "{}", limiter.keys());
    }

    #[test]
    fn subjects_fold_what_is_one_client() {
        let address = |text: &str| Subject::address(text.parse().unwrap());
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        let limiter = Limiter::new();
        assert_eq!(
            limiter.origin(b"HTTP://A.example:80"),
            limiter.origin(b"http://a.EXAMPLE")
        );
        assert_ne!(
            limiter.origin(b"http://a.example"),
            limiter.origin(b"https://a.example")
        );
        assert_eq!(limiter.origin(b"null"), limiter.origin(b"junk"));
    }

    proptest! {
        #[test]
        fn never_more_wrong_attempts_than_allowed(
            steps in prop::collection::vec((0u64..400, 0u32..4, any::<bool>()), 1..300),
            rule in prop::sample::select(vec![Rule::Lockout, Rule::WindowOnly]),
        ) {
            let limiter = Limiter::new();
            let mut now = 0;
            let mut wrong: HashMap<u32, Vec<u64>> = HashMap::new();
            for (pause, number, right) in steps {
                now += pause;
                let times = wrong.entry(number).or_default();
                match limiter.settle(client(number), rule, &LIMITS, at(now), right) {
                    Attempt::Wrong { .. } => times.push(now),
                    Attempt::Accepted => times.clear(),
                    Attempt::Limited { retry_after_ms } => {
                        prop_assert!(retry_after_ms >= 1);
                        prop_assert!(retry_after_ms <= 5_000);
                    }
                }
                let recent = times.iter().filter(|time| now - **time < 1_000).count();
                prop_assert!(recent <= 3, "{} in one window", recent);
                let table = limiter.table.lock();
                prop_assert_eq!(table.entries.len(), table.open.len() + table.locked.len());
            }
        }
    }
}
