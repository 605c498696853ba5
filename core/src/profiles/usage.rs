//! The usage machine: what failures, successes and time do to a record. It depends only on the
//! record, the event and the settings.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::record::{Disabled, MAX_MODELS, MEMORY_MS, Record, Window};
use crate::config::Routing;
use crate::error::{FailureScope, Reason};

/// What happened to a profile. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UsageEvent {
    /// A request failed in a way that penalises the credential.
    Failure {
        at: u64,
        reason: Reason,
        scope: FailureScope,
        hint_ms: Option<u64>,
        model: Option<String>,
        /// How many of the same kind this stands for.
        count: u64,
    },
    /// A probe is on its way.
    Probe { at: u64 },
    /// A request succeeded.
    Success {
        at: u64,
        acquired_at: u64,
        model: Option<String>,
    },
}

/// What clearing a record takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clear {
    /// Every window.
    All,
    /// Windows of the account and of models that are rejections of the credential; after a
    /// refresh, which lifts no rate limit.
    Auth,
    /// The cooldown of the account.
    Cooldown,
    /// The long window.
    Disabled,
    /// The windows of models.
    Models,
}

impl Clear {
    /// Reads the text on command lines.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "all" => Self::All,
            "cooldown" => Self::Cooldown,
            "disabled" => Self::Disabled,
            "models" => Self::Models,
            _ => return None,
        })
    }
}

/// What the machine needs to know about a profile beside its record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) id: &'a str,
    /// Normal form of its provider.
    pub(crate) provider: &'a str,
    pub(crate) routing: &'a Routing,
}

/// Length of a window for a model that does not exist.
const NOT_FOUND_LADDER: [u64; 1] = [300_000];
/// Least time after the end of a window in which a failure counts as the next one.
const GRACE_MS: u64 = 60_000;
const MIN_WINDOW_MS: u64 = 1_000;
const MIN_DISABLE_MS: u64 = 60_000;
/// How much further than allowed a window may end before it is taken for a mistake.
const SLACK_MS: u64 = 3_600_000;

impl Subject<'_> {
    pub(crate) fn is_exempt(&self) -> bool {
        self.routing.is_exempt(self.provider)
    }

    fn ladder(&self) -> &[u64] {
        &self.routing.ladder_ms
    }

    fn longest_cooldown(&self) -> u64 {
        let ladder = self.ladder().iter().copied().max().unwrap_or(0);
        self.routing
            .hint_max_ms
            .max(ladder)
            .max(NOT_FOUND_LADDER[0])
    }

    fn disable_base(&self) -> u64 {
        self.routing
            .billing_backoff(self.provider)
            .max(MIN_DISABLE_MS)
    }

    fn disable_cap(&self) -> u64 {
        self.disable_base().max(self.routing.billing_max_ms)
    }

    /// Whether a cooldown is in force.
    pub(crate) fn cools(&self, window: &Window, now: u64) -> bool {
        window.live && window.until > now && self.plausible(window.until, now)
    }

    /// Whether a long window is in force.
    pub(crate) fn disables(&self, window: &Disabled, now: u64) -> bool {
        window.live
            && window.until > now
            && window.until - now <= self.disable_cap().saturating_add(SLACK_MS)
    }

    /// One wrong clock must not take a credential away for years.
    fn plausible(&self, until: u64, now: u64) -> bool {
        until.saturating_sub(now) <= self.longest_cooldown().saturating_add(SLACK_MS)
    }

    /// Whether a window on the record ends too far away to be believed.
    pub(crate) fn has_implausible_window(&self, record: &Record, now: u64) -> bool {
        let cooldowns = record.account.iter().chain(record.models.values());
        let mut too_far =
            cooldowns.filter(|window| window.live && !self.plausible(window.until, now));
        let disabled = record.disabled.as_ref();
        too_far.next().is_some()
            || disabled.is_some_and(|w| w.live && w.until > now && !self.disables(w, now))
    }
}

/// Applies an event. Whether a window was opened, moved or cleared, so that others should know
/// soon.
pub(crate) fn apply(record: &mut Record, event: &UsageEvent, subject: Subject<'_>) -> bool {
    match event {
        UsageEvent::Failure {
            at,
            reason,
            scope,
            hint_ms,
            model,
            count,
        } => {
            if subject.is_exempt() || !reason.policy().penalizes {
                return false;
            }
            let target = target(*reason, *scope, model.as_deref());
            let Some(target) = target else {
                return false;
            };
            count_failure(record, *at, *reason, *count, subject);
            let hint = hint_ms.filter(|_| matches!(reason, Reason::RateLimit | Reason::Overloaded));
            match target {
                Target::Account => {
                    let opening = Opening {
                        at: *at,
                        reason: *reason,
                        hint,
                    };
                    let old = record.account;
                    let next = open(old, record.last_used, opening, subject);
                    record.account = Some(next);
                    old.is_none_or(|old| {
                        (old.until, old.live, old.reason) != (next.until, true, next.reason)
                    })
                }
                Target::Model(model) => {
                    let opening = Opening {
                        at: *at,
                        reason: *reason,
                        hint,
                    };
                    let old = record.models.get(model).copied();
                    let next = open(old, record.last_used, opening, subject);
                    record.models.insert(model.to_owned(), next);
                    old.is_none_or(|old| old.until != next.until)
                }
                Target::Disable => disable(record, *at, *reason, subject),
            }
        }
        UsageEvent::Probe { at } => {
            record.probe_at = record.probe_at.max(*at);
            true
        }
        UsageEvent::Success {
            at,
            acquired_at,
            model,
        } => {
            if subject.is_exempt() {
                record.last_used = record.last_used.max(*at);
                return false;
            }
            succeed(record, *at, *acquired_at, model.as_deref(), subject)
        }
    }
}

enum Target<'a> {
    Account,
    Disable,
    Model(&'a str),
}

/// Which window a failure opens.
fn target(reason: Reason, scope: FailureScope, model: Option<&str>) -> Option<Target<'_>> {
    match (reason, scope, model) {
        (Reason::Billing | Reason::AuthPermanent, ..) => Some(Target::Disable),
        (Reason::RateLimit | Reason::Overloaded, FailureScope::Model, Some(model))
        | (Reason::ModelNotFound, _, Some(model)) => Some(Target::Model(model)),
        (Reason::ModelNotFound, _, None) => None,
        _ => Some(Target::Account),
    }
}

fn count_failure(record: &mut Record, at: u64, reason: Reason, count: u64, subject: Subject<'_>) {
    // Measured from the end of the windows too, so that a long one does not reset the counts it
    // is made of.
    let ends = record
        .account
        .iter()
        .chain(record.models.values())
        .map(|window| window.until)
        .chain(record.disabled.iter().map(|window| window.until));
    let quiet_since = ends.fold(record.last_failure_at, u64::max);
    if record.last_failure_at > 0
        && at.saturating_sub(quiet_since) > subject.routing.failure_window_ms
    {
        record.error_count = 0;
        record.failure_counts.clear();
    }
    record.error_count = record.error_count.saturating_add(count);
    match record
        .failure_counts
        .iter_mut()
        .find(|(known, _)| known == reason.as_str())
    {
        Some((_, known)) => *known = known.saturating_add(count),
        None => record
            .failure_counts
            .push((reason.as_str().to_owned(), count)),
    }
    record.last_failure_at = record.last_failure_at.max(at);
}

#[derive(Clone, Copy)]
struct Opening {
    at: u64,
    reason: Reason,
    hint: Option<u64>,
}

/// A cooldown after a failure: kept while it is active, else the next or the first step.
fn open(old: Option<Window>, last_used: u64, opening: Opening, subject: Subject<'_>) -> Window {
    let Opening { at, reason, hint } = opening;
    let hint = hint.map(|ms| {
        ms.clamp(
            MIN_WINDOW_MS,
            subject.routing.hint_max_ms.max(MIN_WINDOW_MS),
        )
    });
    if let Some(active) = old.filter(|window| subject.cools(window, at)) {
        // Many requests fail in one incident; only the provider itself can make it longer.
        let until = hint.map_or(active.until, |ms| active.until.max(at.saturating_add(ms)));
        let by_hint = active.by_hint || until > active.until;
        return Window {
            until,
            by_hint,
            reason: Some(reason),
            ..active
        };
    }
    let ladder: &[u64] = match reason {
        Reason::ModelNotFound => &NOT_FOUND_LADDER,
        _ => subject.ladder(),
    };
    let consecutive = old
        .filter(|old| last_used <= old.at && at.saturating_sub(old.until) <= old.ms.max(GRACE_MS));
    let steps = ladder.len() as u64;
    let step = consecutive.map_or(1, |old| (old.step + 1).min(steps.max(1)));
    let rung = usize::try_from(step - 1)
        .ok()
        .and_then(|rung| ladder.get(rung));
    let ladder_ms = rung.or(ladder.last()).copied().unwrap_or(MIN_WINDOW_MS);
    let ms = hint.unwrap_or(ladder_ms);
    let jitter = if hint.is_none() {
        jitter(ms, at, subject)
    } else {
        0
    };
    Window {
        until: at.saturating_add(ms).saturating_add(jitter),
        at,
        ms,
        step,
        by_hint: hint.is_some(),
        reason: Some(reason),
        live: true,
    }
}

/// Spreads the windows of several profiles; the same for the same profile and time.
fn jitter(ms: u64, at: u64, subject: Subject<'_>) -> u64 {
    if subject.routing.jitter <= 0.0 {
        return 0;
    }
    let hash = Sha256::digest(format!("{}|{at}", subject.id));
    let first = hash
        .iter()
        .take(4)
        .fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    let share = f64::from(first) / 4_294_967_296.0;
    (ms as f64 * subject.routing.jitter * share).floor() as u64
}

fn disable(record: &mut Record, at: u64, reason: Reason, subject: Subject<'_>) -> bool {
    let old = record.disabled;
    if old.is_some_and(|window| subject.disables(&window, at)) {
        return false;
    }
    let consecutive = old.filter(|old| {
        old.reason == reason
            && record.last_used <= old.at
            && at.saturating_sub(old.until) <= subject.routing.failure_window_ms
    });
    let n = consecutive.map_or(1, |old| old.n.saturating_add(1));
    let doubled = subject.disable_base().saturating_mul(1 << (n - 1).min(10));
    let ms = doubled.min(subject.disable_cap());
    record.disabled = Some(Disabled {
        until: at.saturating_add(ms),
        at,
        ms,
        n,
        reason,
        live: true,
    });
    true
}

/// A window that had ended, or in which the request was started, is proven to be over.
fn succeed(
    record: &mut Record,
    at: u64,
    acquired_at: u64,
    model: Option<&str>,
    subject: Subject<'_>,
) -> bool {
    record.last_used = record.last_used.max(at);
    let mut cleared_active = false;
    let account_over =
        |window: &Window| window.until <= at || window.at <= acquired_at || !window.live;
    if let Some(window) = record.account.filter(account_over) {
        cleared_active |= subject.cools(&window, at);
        record.account = None;
    }
    if let Some(window) = record
        .disabled
        .filter(|w| w.until <= at || w.at <= acquired_at || !w.live)
    {
        cleared_active |= subject.disables(&window, at);
        record.disabled = None;
    }
    if let Some(model) = model
        && let Some(window) = record.models.get(model).copied().filter(account_over)
    {
        cleared_active |= subject.cools(&window, at);
        record.models.remove(model);
    }
    if !is_unavailable(record, at, subject) {
        record.error_count = 0;
        record.failure_counts.clear();
    }
    cleared_active
}

fn is_unavailable(record: &Record, now: u64, subject: Subject<'_>) -> bool {
    unavailable_until(record, None, now, subject).is_some()
}

/// Forgets what has ended: counters when nothing is active, windows that ended long ago.
pub(crate) fn tidy(record: &mut Record, now: u64, subject: Subject<'_>) {
    let had_window =
        record.account.is_some() || record.disabled.is_some() || !record.models.is_empty();
    let remembered = |until: u64| until.saturating_add(MEMORY_MS) > now;
    record.account = record.account.filter(|window| remembered(window.until));
    let memory = subject.routing.failure_window_ms.max(MEMORY_MS);
    record.disabled = record
        .disabled
        .filter(|w| w.until.saturating_add(memory) > now);
    record.models.retain(|_, window| remembered(window.until));
    while record.models.len() > MAX_MODELS {
        let oldest = record.models.iter().min_by_key(|(_, window)| window.at);
        let Some(model) = oldest.map(|(model, _)| model.clone()) else {
            break;
        };
        record.models.remove(&model);
    }
    if had_window && !is_unavailable(record, now, subject) && record.last_failure_at < now {
        record.error_count = 0;
        record.failure_counts.clear();
    }
}

/// Takes windows and their memory away and resets the counters.
pub(crate) fn clear(record: &mut Record, what: Clear) {
    let rejected =
        |reason: Option<Reason>| matches!(reason, Some(Reason::Auth | Reason::AuthPermanent));
    if matches!(what, Clear::All | Clear::Cooldown)
        || (what == Clear::Auth && record.account.is_some_and(|w| rejected(w.reason)))
    {
        record.account = None;
    }
    if matches!(what, Clear::All | Clear::Disabled)
        || (what == Clear::Auth && record.disabled.is_some_and(|w| rejected(Some(w.reason))))
    {
        record.disabled = None;
    }
    if matches!(what, Clear::All | Clear::Models) {
        record.models.clear();
    }
    if what == Clear::All {
        record.blocked = None;
        record.probe_at = 0;
    }
    if what != Clear::Auth || record.is_windowless() {
        record.error_count = 0;
        record.failure_counts.clear();
    }
}

impl Record {
    fn is_windowless(&self) -> bool {
        self.account.is_none() && self.disabled.is_none() && self.models.is_empty()
    }
}

/// Until when a profile may not be used for a model; without a model, for any that is limited.
pub(crate) fn unavailable_until(
    record: &Record,
    model: Option<&str>,
    now: u64,
    subject: Subject<'_>,
) -> Option<u64> {
    blocking(record, model, now, subject).map(|blocking| blocking.until)
}

/// What keeps a profile from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocking {
    pub(crate) until: u64,
    /// When it was opened.
    pub(crate) since: u64,
    pub(crate) reason: Option<Reason>,
    pub(crate) kind: BlockingKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockingKind {
    /// A window by another program, or a long one.
    Disabled,
    /// A cooldown whose length the provider said.
    Hint,
    /// A cooldown of the ladder.
    Ladder,
}

/// The window that ends last among those that apply.
pub(crate) fn blocking(
    record: &Record,
    model: Option<&str>,
    now: u64,
    subject: Subject<'_>,
) -> Option<Blocking> {
    // Most records are empty, and this is asked of every profile of an order.
    if record.account.is_none()
        && record.disabled.is_none()
        && record.blocked.is_none()
        && record.models.is_empty()
    {
        return None;
    }
    if subject.is_exempt() {
        return None;
    }
    let cooldown = |window: &Window| Blocking {
        until: window.until,
        since: window.at,
        reason: window.reason,
        kind: if window.by_hint {
            BlockingKind::Hint
        } else {
            BlockingKind::Ladder
        },
    };
    let models = record
        .models
        .iter()
        .filter(|(known, _)| model.is_none_or(|model| *known == model));
    let cooldowns = record
        .account
        .iter()
        .chain(models.map(|(_, window)| window));
    let cooldowns = cooldowns
        .filter(|window| subject.cools(window, now))
        .map(cooldown);
    let disabled = record
        .disabled
        .filter(|window| subject.disables(window, now));
    let disabled = disabled.map(|window| Blocking {
        until: window.until,
        since: window.at,
        reason: Some(window.reason),
        kind: BlockingKind::Disabled,
    });
    let blocked = record.blocked.as_ref().filter(|window| {
        let applies = match (&window.model, model) {
            (Some(blocked), Some(model)) => blocked == model,
            _ => true,
        };
        applies && window.until > now
    });
    let blocked = blocked.map(|window| Blocking {
        until: window.until,
        since: record.last_failure_at,
        reason: window.reason,
        kind: BlockingKind::Disabled,
    });
    cooldowns
        .chain(disabled)
        .chain(blocked)
        .max_by_key(|blocking| blocking.until)
}

/// The reason to give for a set of unavailable profiles: what weighs most among their windows.
pub(crate) fn unavailable_reason<'a>(
    records: impl Iterator<Item = (&'a Record, Subject<'a>)>,
    model: Option<&str>,
    now: u64,
) -> Reason {
    const WINDOW: u64 = 1_000;
    // Ties go to the first.
    const PRIORITY: [Reason; 9] = [
        Reason::AuthPermanent,
        Reason::Auth,
        Reason::Billing,
        Reason::Format,
        Reason::ModelNotFound,
        Reason::Overloaded,
        Reason::Timeout,
        Reason::RateLimit,
        Reason::Unknown,
    ];
    let mut scores = [0u64; PRIORITY.len()];
    let mut add = |reason: Reason, points: u64| {
        let index = PRIORITY
            .iter()
            .position(|known| *known == reason)
            .unwrap_or(PRIORITY.len() - 1);
        if let Some(score) = scores.get_mut(index) {
            *score = score.saturating_add(points);
        }
    };
    for (record, subject) in records {
        let Some(blocking) = blocking(record, model, now, subject) else {
            continue;
        };
        let disabled = record
            .disabled
            .filter(|window| subject.disables(window, now));
        match disabled.map(|window| window.reason).or(blocking.reason) {
            Some(reason) => add(reason, WINDOW),
            None if record.failure_counts.is_empty() => add(Reason::Unknown, 1),
            None => {
                for (reason, count) in &record.failure_counts {
                    add(Reason::parse(reason).unwrap_or(Reason::Unknown), *count);
                }
            }
        }
    }
    let best = scores.iter().copied().max().filter(|best| *best > 0);
    let index = best.and_then(|best| scores.iter().position(|score| *score == best));
    index
        .and_then(|index| PRIORITY.get(index))
        .copied()
        .unwrap_or(Reason::Unknown)
}

/// The record of a profile in the store, changed by a function and written back.
pub(crate) fn edit_record(
    document: &mut super::store::Document,
    subject: Subject<'_>,
    now: u64,
    change: impl FnOnce(&mut Record),
) {
    let first_step = subject.ladder().first().copied().unwrap_or(MIN_WINDOW_MS);
    document.edit("usageStats", |all| {
        let known = all.get(subject.id);
        let mut record =
            known.map_or_else(Record::default, |value| Record::read(value, first_step));
        change(&mut record);
        if known.is_none() && record == Record::default() {
            return;
        }
        let slot = all.entry(subject.id).or_insert(Value::Null);
        if !slot.is_object() {
            *slot = Value::Object(serde_json::Map::new());
        }
        if let Value::Object(map) = slot {
            record.write(map, now);
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const T: u64 = 1_800_000_000_000;
    const MODELS: [Option<&str>; 3] = [None, Some("m1"), Some("m2")];

    #[derive(Debug, Clone)]
    enum Step {
        Fail {
            reason: Reason,
            model: usize,
            hint: Option<u64>,
            account: bool,
        },
        Succeed {
            age: u64,
            model: usize,
        },
    }

    fn step() -> impl Strategy<Value = (u64, Step)> {
        let reasons = prop::sample::select(vec![
            Reason::RateLimit,
            Reason::Overloaded,
            Reason::Billing,
            Reason::Auth,
            Reason::ModelNotFound,
            Reason::Timeout,
            Reason::Format,
        ]);
        let hint = prop::option::of(0u64..2_000_000);
        let fail =
            (reasons, 0usize..3, hint, any::<bool>()).prop_map(|(reason, model, hint, account)| {
                Step::Fail {
                    reason,
                    model,
                    hint,
                    account,
                }
            });
        let succeed =
            (0u64..100_000, 0usize..3).prop_map(|(age, model)| Step::Succeed { age, model });
        (0u64..400_000, prop_oneof![3 => fail, 1 => succeed])
    }

    fn event(at: u64, step: &Step) -> UsageEvent {
        match step {
            Step::Fail {
                reason,
                model,
                hint,
                account,
            } => UsageEvent::Failure {
                at,
                reason: *reason,
                scope: if *account {
                    FailureScope::Account
                } else {
                    FailureScope::Model
                },
                hint_ms: *hint,
                model: MODELS[*model].map(str::to_owned),
                count: 1,
            },
            Step::Succeed { age, model } => UsageEvent::Success {
                at,
                acquired_at: at - age,
                model: MODELS[*model].map(str::to_owned),
            },
        }
    }

    proptest! {
        /// U1, U2, U4, U5 and the round trip through the file, over any history.
        #[test]
        fn windows_hold_and_records_survive_the_file(steps in prop::collection::vec(step(), 1..40)) {
            let routing = Routing::default();
            let subject = Subject { id: "a:1", provider: "a", routing: &routing };
            let mut record = Record::default();
            let mut stored = json!({"unknown": [1, 2]});
            let mut now = T;
            for (wait, step) in &steps {
                now += wait;
                let before = record.clone();
                apply(&mut record, &event(now, step), subject);
                let ends = |record: &Record| {
                    MODELS.map(|model| unavailable_until(record, model, now, subject).unwrap_or(0))
                };
                if let Step::Fail { reason, hint, .. } = step {
                    if !reason.policy().penalizes {
                        prop_assert_eq!(&record, &before);
                    }
                    for (old, new) in ends(&before).iter().zip(ends(&record)) {
                        prop_assert!(new >= *old, "a window got shorter");
                    }
                    let hinted = matches!(reason, Reason::RateLimit | Reason::Overloaded);
                    if let (Some(ms), true) = (hint.filter(|ms| *ms >= MIN_WINDOW_MS), hinted) {
                        let latest = ends(&record).into_iter().max().unwrap_or(0);
                        prop_assert!(latest >= now + ms, "a window ends before its hint");
                    }
                    let longest = subject.disable_cap().max(subject.longest_cooldown());
                    prop_assert!(ends(&record).iter().all(|end| *end <= now + longest));
                }
                prop_assert!(record.failure_counts.iter().all(|(_, count)| *count > 0));
                let map = stored.as_object_mut().unwrap();
                record.write(map, now);
                prop_assert!(map.contains_key("unknown"));
                let read = Record::read(&stored, 30_000);
                prop_assert_eq!(ends(&read), ends(&record));
                prop_assert_eq!(read.error_count, record.error_count);
            }
        }
    }

    #[test]
    fn us_6_jitter_is_bounded_and_reproducible() {
        let mut routing = Routing {
            jitter: 0.5,
            ..Routing::default()
        };
        let open = |routing: &Routing, id: &str| {
            let mut record = Record::default();
            let step = Step::Fail {
                reason: Reason::Auth,
                model: 0,
                hint: None,
                account: true,
            };
            apply(
                &mut record,
                &event(T, &step),
                Subject {
                    id,
                    provider: "a",
                    routing,
                },
            );
            record.account.unwrap().until - T
        };
        let (one, two) = (open(&routing, "a:1"), open(&routing, "a:2"));
        assert_eq!(one, open(&routing, "a:1"));
        assert_ne!(one, two);
        assert!((30_000..=45_000).contains(&one));
        routing.jitter = 0.0;
        assert_eq!(open(&routing, "a:1"), 30_000);
    }

    #[test]
    fn us_13_a_refresh_lifts_rejections_only() {
        let value = json!({"cooldownUntil": T + 1, "cooldownReason": "rate_limit", "errorCount": 2,
            "disabledUntil": T + 5, "disabledReason": "auth_permanent"});
        let mut record = Record::read(&value, 30_000);
        clear(&mut record, Clear::Auth);
        assert!(record.account.is_some() && record.disabled.is_none());
        assert_eq!(record.error_count, 2);
        clear(&mut record, Clear::Cooldown);
        assert_eq!((record.account, record.error_count), (None, 0));
    }
}
