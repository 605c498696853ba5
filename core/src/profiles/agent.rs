//! The profiles of one agent while the program runs: the store, what is waiting to be written,
//! and the view that choices are made from.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::store::{Document, Durability, ProfileStore, StoreVersion, Stored};
use super::usage::{Subject, UsageEvent, apply, edit_record, tidy};
use super::view::{Memory, View};
use crate::config::{Routing, normalise_provider};
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::secrets::Defaults;

/// Longest wait for the lock when a window must be written.
const WINDOW_BUDGET: Duration = Duration::from_millis(250);
/// Wait for another thread's write where there is no budget for waiting.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// Most usage events that wait for the store.
const MAX_PENDING: usize = 10_000;

/// Something about a store that is worth knowing.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) details: Value,
}

/// The profiles of one agent.
pub(crate) struct AgentProfiles {
    pub(crate) agent: String,
    pub(crate) host: Host,
    store: Box<dyn ProfileStore>,
    defaults: Defaults,
    current: ArcSwapOption<View>,
    state: Mutex<State>,
    /// One reader and one writer at a time; the writer takes along what others are waiting with.
    reading: Mutex<()>,
    writing: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// What is not in the store yet, oldest first.
    pending: Vec<Pending>,
    /// Where the latest event of each profile is in `pending`.
    latest: HashMap<String, usize, RandomState>,
    /// What is being written.
    in_flight: Vec<Pending>,
    memories: HashMap<String, Arc<Memory>, RandomState>,
    notices: Vec<Notice>,
    /// A content that could not be read; it is not tried again.
    failed: Option<(StoreVersion, Code)>,
    /// The last reason why writing failed, which is reported once.
    write_failure: Option<Code>,
    existed: bool,
}

#[derive(Debug, Clone)]
struct Pending {
    profile: String,
    event: UsageEvent,
    /// Changes no window.
    minor: bool,
    queued_at: u64,
}

impl AgentProfiles {
    pub(crate) fn new(
        host: Host,
        agent: &str,
        store: Box<dyn ProfileStore>,
        defaults: Defaults,
    ) -> Self {
        Self {
            agent: agent.to_owned(),
            host,
            store,
            defaults,
            current: ArcSwapOption::empty(),
            state: Mutex::default(),
            reading: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.store.path()
    }

    /// The store itself, for work that needs more than one step.
    pub(crate) fn store(&self) -> &dyn ProfileStore {
        &*self.store
    }

    /// What is known now. Looks at the identity of the store, and reads it when that has changed;
    /// a store that cannot be read any more is served from memory.
    pub(crate) fn view(&self, routing: &Arc<Routing>) -> Result<Arc<View>> {
        let version = self.store.version();
        let fits = |view: &View| view.version == version && Arc::ptr_eq(&view.routing, routing);
        if let Some(view) = self.current.load().as_ref().filter(|view| fits(view)) {
            return Ok(Arc::clone(view));
        }
        let _reading = self.reading.lock();
        let known = self.current.load_full();
        if let Some(view) = known.as_ref().filter(|view| fits(view)) {
            return Ok(Arc::clone(view));
        }
        let failed = self.state.lock().failed;
        if let (Some((failed, _)), Some(view)) = (failed, &known)
            && failed == version
            && Arc::ptr_eq(&view.routing, routing)
        {
            return Ok(Arc::clone(view));
        }
        if !version.exists()
            && known.is_none()
            && routing.import_legacy
            && let Err(error) = self.store.import_legacy()
        {
            self.notice(Code::StoreDegraded, &error);
        }
        match self.store.load() {
            Ok(stored) => Ok(self.publish(&stored, routing)),
            Err(error) => {
                self.state.lock().failed = Some((version, error.code()));
                let Some(view) = known else {
                    return Err(error);
                };
                self.notice(Code::StoreDegraded, &error);
                let view = Arc::new(view.with_routing(routing));
                let _state = self.state.lock();
                self.current.store(Some(Arc::clone(&view)));
                Ok(view)
            }
        }
    }

    /// What is known now, for reports: nothing is imported, kept or told.
    ///
    /// # Errors
    ///
    /// A `store_*` code when the store cannot be read.
    pub(crate) fn peek(&self, routing: &Arc<Routing>) -> Result<Arc<View>> {
        let version = self.store.version();
        let known = self.current.load_full();
        if let Some(view) = known.filter(|view| view.version == version) {
            return Ok(match Arc::ptr_eq(&view.routing, routing) {
                true => view,
                false => Arc::new(view.with_routing(routing)),
            });
        }
        let stored = self.store.load()?;
        let document = stored.document.as_ref();
        let memory = |_: &str| Arc::default();
        let view = View::read(document, stored.version, routing, &self.defaults, memory);
        Ok(Arc::new(view))
    }

    /// Whether choices are made from memory because the store cannot be read.
    pub(crate) fn is_degraded(&self) -> bool {
        self.state.lock().failed.is_some()
    }

    /// Takes what is worth knowing.
    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.state.lock().notices)
    }

    fn notice(&self, code: Code, error: &Error) {
        self.state.lock().notices.push(Notice {
            code,
            message: error.message().to_owned(),
            details: error.to_json(),
        });
    }

    /// Makes a stored content the current one, with everything applied that is not in it yet.
    fn publish(&self, stored: &Stored, routing: &Arc<Routing>) -> Arc<View> {
        let mut state = self.state.lock();
        let memories = &mut state.memories;
        let document = stored.document.as_ref();
        let view = View::read(document, stored.version, routing, &self.defaults, |id| {
            Arc::clone(memories.entry(id.to_owned()).or_default())
        });
        memories.retain(|id, _| view.index_of(id).is_some());
        let waiting = state.in_flight.iter().chain(&state.pending);
        let view =
            view.with_events(waiting.map(|pending| (pending.profile.as_str(), &pending.event)));
        let view = Arc::new(view);
        state.failed = None;
        let now = self.host.clock.now_ms();
        let mut notices = notices_of(&view, stored, now);
        if !stored.version.exists() && state.existed {
            notices.push(Notice {
                code: Code::StoreDisappeared,
                message: format!("{} was deleted", self.path().display()),
                details: json!({"path": self.path().to_string_lossy()}),
            });
        }
        let known = self.current.load();
        // Told again only when something about it is new.
        let told = known.as_ref().is_some_and(|known| {
            known.rejected() == view.rejected() && stored.version.exists() == state.existed
        });
        if !told {
            state.notices.append(&mut notices);
        }
        state.existed = stored.version.exists();
        self.current.store(Some(Arc::clone(&view)));
        view
    }

    /// Applies an event: at once for this process, and to the store now or later, by what it
    /// changes. Never fails: what cannot be written waits.
    pub(crate) fn record(&self, profile: &str, event: UsageEvent, routing: &Arc<Routing>) {
        let now = self.host.clock.now_ms();
        let (urgent, due) = {
            let mut state = self.state.lock();
            let current = self.current.load();
            let Some(view) = current.as_ref() else {
                return;
            };
            let Some(index) = view.index_of(profile) else {
                return;
            };
            let urgent = self.apply_in_memory(view, index, &event);
            state.push(Pending {
                profile: profile.to_owned(),
                event,
                minor: !urgent,
                queued_at: now,
            });
            (urgent, state.is_due(now, routing.usage_flush_ms))
        };
        if urgent {
            self.write_pending(WINDOW_BUDGET, routing);
        } else if due {
            self.write_if_free(routing);
        }
    }

    /// Whether a window changed.
    fn apply_in_memory(&self, view: &Arc<View>, index: usize, event: &UsageEvent) -> bool {
        let Some(profile) = view.profiles.get(index) else {
            return false;
        };
        // The usual case: nothing is wrong, and nothing but the time of the last use changes,
        // which the lending already stands for.
        if matches!(event, UsageEvent::Success { .. }) && profile.record.is_clean() {
            return false;
        }
        let mut record = profile.record.clone();
        let urgent = apply(&mut record, event, profile.subject(&view.routing));
        self.current
            .store(Some(Arc::new(view.with_record(index, record))));
        urgent
    }

    /// Writes what is waiting if it has waited long enough. For hosts with a timer.
    pub(crate) fn write_due(&self, routing: &Arc<Routing>) {
        let now = self.host.clock.now_ms();
        if self.state.lock().is_due(now, routing.usage_flush_ms) {
            self.write_if_free(routing);
        }
    }

    fn write_if_free(&self, routing: &Arc<Routing>) {
        if let Some(writing) = self.writing.try_lock() {
            drop(writing);
            self.write_pending(Duration::ZERO, routing);
        }
    }

    /// Writes everything that is waiting, waiting for the lock at most `budget`. Whether nothing
    /// is left.
    pub(crate) fn write_pending(&self, budget: Duration, routing: &Arc<Routing>) -> bool {
        let Some(_writing) = self.writing.try_lock_for(budget.max(SHORTEST_WAIT)) else {
            return false;
        };
        let events = {
            let mut state = self.state.lock();
            // Somebody else has taken ours along.
            if state.pending.is_empty() {
                return true;
            }
            state.in_flight = std::mem::take(&mut state.pending);
            state.latest.clear();
            state.in_flight.clone()
        };
        let written = self
            .store
            .update(budget, Durability::Plain, &mut |document| {
                for pending in &events {
                    apply_to_document(document, pending, routing);
                }
                Ok(())
            });
        match written {
            Ok(stored) => {
                {
                    let mut state = self.state.lock();
                    state.in_flight.clear();
                    state.write_failure = None;
                }
                self.publish(&stored, routing);
                true
            }
            Err(error) => {
                let news = {
                    let mut state = self.state.lock();
                    let mut events = std::mem::take(&mut state.in_flight);
                    events.append(&mut state.pending);
                    state.pending = events;
                    state.reindex();
                    let now = self.host.clock.now_ms();
                    // Not again at once: the next try is as far away as a regular one.
                    for pending in state.pending.iter_mut().filter(|pending| pending.minor) {
                        pending.queued_at = now;
                    }
                    // A lock that is busy for a moment is nothing to report.
                    let news = state.write_failure != Some(error.code())
                        && error.code() != Code::StoreLocked;
                    state.write_failure = Some(error.code());
                    news
                };
                if news {
                    self.notice(Code::StoreDegraded, &error);
                }
                false
            }
        }
    }

    /// Whether a half-open probe of a profile may start: claims it in the store, so that no other
    /// process starts one too.
    pub(crate) fn claim_probe(&self, profile: &str, now: u64, routing: &Arc<Routing>) -> bool {
        let known = self.current.load();
        let seen = known
            .as_ref()
            .and_then(|view| view.profile(profile).map(|p| p.record.probe_at));
        let seen = seen.unwrap_or(0);
        drop(known);
        let mut taken = false;
        let Some(_writing) = self.writing.try_lock_for(WINDOW_BUDGET) else {
            return false;
        };
        let written = self
            .store
            .update(WINDOW_BUDGET, Durability::Plain, &mut |document| {
                let pending = Pending {
                    profile: profile.to_owned(),
                    event: UsageEvent::Probe { at: now },
                    minor: false,
                    queued_at: now,
                };
                let first_step = routing.ladder_ms.first().copied().unwrap_or(0);
                let stored = document
                    .section("usageStats")
                    .and_then(|usage| usage.get(profile));
                let stored = stored.map_or(0, |value| {
                    super::record::Record::read(value, first_step).probe_at
                });
                taken = stored > seen;
                if !taken {
                    apply_to_document(document, &pending, routing);
                }
                Ok(())
            });
        match written {
            Ok(stored) => {
                self.publish(&stored, routing);
                !taken
            }
            Err(error) => {
                // A store that cannot be written is no reason not to notice that a credential
                // works again; other processes then cannot know.
                self.notice(Code::StoreDegraded, &error);
                let mut state = self.state.lock();
                let event = UsageEvent::Probe { at: now };
                if let Some(view) = self.current.load().as_ref()
                    && let Some(index) = view.index_of(profile)
                {
                    self.apply_in_memory(view, index, &event);
                }
                state.push(Pending {
                    profile: profile.to_owned(),
                    event,
                    minor: false,
                    queued_at: now,
                });
                true
            }
        }
    }

    /// Changes credentials or orders: written, synced and looked at again when this returns.
    pub(crate) fn edit(
        &self,
        routing: &Arc<Routing>,
        change: &mut dyn FnMut(&mut Document) -> Result<()>,
    ) -> Result<()> {
        let _writing = self.writing.lock();
        let budget = Duration::from_millis(routing.lock_timeout_ms);
        let stored = self.store.update(budget, Durability::Verified, change)?;
        self.publish(&stored, routing);
        Ok(())
    }
}

impl std::fmt::Debug for AgentProfiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentProfiles")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Events that say the same about one profile become one.
    fn push(&mut self, new: Pending) {
        let last = self
            .latest
            .get(&new.profile)
            .and_then(|at| self.pending.get_mut(*at));
        if let Some(last) = last.filter(|last| last.minor && new.minor)
            && merge(&mut last.event, &new.event)
        {
            return;
        }
        if self.pending.len() >= MAX_PENDING {
            self.drop_oldest();
        }
        self.latest.insert(new.profile.clone(), self.pending.len());
        self.pending.push(new);
    }

    /// Makes room: a tenth of the events goes, those that change no window first.
    fn drop_oldest(&mut self) {
        let mut surplus = MAX_PENDING / 10;
        for only_minor in [true, false] {
            self.pending.retain(|pending| {
                let goes = surplus > 0 && (pending.minor || !only_minor);
                surplus -= usize::from(goes);
                !goes
            });
        }
        self.reindex();
        let told = self
            .notices
            .iter()
            .any(|notice| notice.code == Code::UsageDropped);
        if !told {
            self.notices.push(Notice {
                code: Code::UsageDropped,
                message: format!("more than {MAX_PENDING} usage events wait for the store"),
                details: Value::Null,
            });
        }
    }

    fn reindex(&mut self) {
        let events = self.pending.iter().enumerate();
        self.latest = events
            .map(|(at, pending)| (pending.profile.clone(), at))
            .collect();
    }

    fn is_due(&self, now: u64, flush_ms: u64) -> bool {
        let oldest = self.pending.first();
        oldest
            .is_some_and(|oldest| now.saturating_sub(oldest.queued_at) >= flush_ms || !oldest.minor)
    }
}

/// Puts one event into another of the same kind that directly precedes it.
fn merge(last: &mut UsageEvent, new: &UsageEvent) -> bool {
    match (last, new) {
        (
            UsageEvent::Success {
                at,
                acquired_at,
                model,
            },
            UsageEvent::Success {
                at: new_at,
                acquired_at: new_acquired,
                model: new_model,
            },
        ) if model == new_model => {
            *at = (*at).max(*new_at);
            *acquired_at = (*acquired_at).max(*new_acquired);
            true
        }
        (
            UsageEvent::Failure {
                at,
                reason,
                scope,
                hint_ms: None,
                model,
                count,
            },
            UsageEvent::Failure {
                at: new_at,
                reason: new_reason,
                scope: new_scope,
                hint_ms: None,
                model: new_model,
                count: more,
            },
        ) if (*reason, *scope, &*model) == (*new_reason, *new_scope, new_model) => {
            *at = (*at).max(*new_at);
            *count = count.saturating_add(*more);
            true
        }
        _ => false,
    }
}

/// Applies an event to the record in the store. A profile that is gone gets no record.
fn apply_to_document(document: &mut Document, pending: &Pending, routing: &Routing) {
    let id = pending.profile.as_str();
    let stored = document
        .profile(id)
        .and_then(|profile| profile.get("provider")?.as_str());
    let Some(provider) =
        stored.map(|stored| normalise_provider(stored, &routing.aliases).into_owned())
    else {
        return;
    };
    let subject = Subject {
        id,
        provider: &provider,
        routing,
    };
    let at = match &pending.event {
        UsageEvent::Failure { at, .. }
        | UsageEvent::Probe { at }
        | UsageEvent::Success { at, .. } => *at,
    };
    edit_record(document, subject, at, |record| {
        apply(record, &pending.event, subject);
        tidy(record, at, subject);
    });
    if matches!(pending.event, UsageEvent::Success { .. }) {
        let known = document
            .section("lastGood")
            .and_then(|good| good.get(&provider)?.as_str());
        if known != Some(id) {
            document.edit("lastGood", |good| good.insert(provider.clone(), id.into()));
        }
    }
}

fn notices_of(view: &View, stored: &Stored, now: u64) -> Vec<Notice> {
    let mut notices = Vec::new();
    if let Some(mode) = stored.open_to_others {
        notices.push(Notice {
            code: Code::StoreOpenToOthers,
            message: format!("the profile store can be read by other users (mode {mode:04o})"),
            details: json!({"mode": format!("{mode:04o}")}),
        });
    }
    let version = stored
        .document
        .as_ref()
        .and_then(Document::version)
        .and_then(Value::as_f64);
    if version.is_some_and(|version| version > 1.0) {
        notices.push(Notice {
            code: Code::StoreVersionNewer,
            message: "the profile store was written by a newer release".to_owned(),
            details: json!({"version": version}),
        });
    }
    let rejected = view.rejected();
    if !rejected.is_empty() {
        let shown: Vec<Value> = rejected
            .iter()
            .take(10)
            .map(|(id, reason)| json!({"id": id, "reason": reason}))
            .collect();
        notices.push(Notice {
            code: Code::ProfilesRejected,
            message: format!(
                "{} entries of the profile store cannot be used",
                rejected.len()
            ),
            details: json!({"count": rejected.len(), "entries": shown}),
        });
    }
    let implausible = view.profiles.iter().find(|profile| {
        profile
            .subject(&view.routing)
            .has_implausible_window(&profile.record, now)
    });
    if let Some(profile) = implausible {
        notices.push(Notice {
            code: Code::ImplausibleWindow,
            message: format!(
                "profile \"{}\" is marked unavailable for too long",
                profile.id
            ),
            details: json!({"profileId": profile.id}),
        });
    }
    notices
}
