//! The profiles of one agent at one moment: immutable, shared, and quick to choose from.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};
use serde_json::{Map, Value};

use super::credential::Credential;
use super::order::Base;
use super::record::Record;
use super::store::{Document, StoreVersion};
use super::usage::{Subject, UsageEvent, apply};
use crate::config::{Inherit, Routing, auth_provider};
use crate::secrets::Defaults;
use crate::text::SecretText;

/// What this process knows about a candidate and never writes down.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// When it was lent last, in milliseconds since 1970, and the how-many-eth lending it was.
    last_lent: AtomicU64,
    turn: AtomicU64,
    /// Whether it is on trial before the end of its window.
    pub(crate) probing: AtomicBool,
    /// The material that a provider rejected last.
    rejected: Mutex<Option<SecretText>>,
    has_demotions: AtomicBool,
    /// Sorted last until then: for one model, or for all.
    demotions: Mutex<Vec<(Option<String>, u64)>>,
}

static TURNS: AtomicU64 = AtomicU64::new(1);
/// Most models of a candidate that are sorted last.
const MAX_DEMOTIONS: usize = 64;

impl Memory {
    pub(crate) fn lend(&self, now: u64) {
        self.last_lent.store(now, Ordering::Relaxed);
        self.turn
            .store(TURNS.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// When it was lent last; the second number settles ties.
    pub(crate) fn last_lent(&self) -> (u64, u64) {
        (
            self.last_lent.load(Ordering::Relaxed),
            self.turn.load(Ordering::Relaxed),
        )
    }

    /// Sorts it last until a point in time, for one model or for all.
    pub(crate) fn demote(&self, model: Option<&str>, until: u64, now: u64) {
        let mut demotions = self.demotions.lock();
        demotions.retain(|(known, end)| *end > now && known.as_deref() != model);
        if demotions.len() == MAX_DEMOTIONS {
            demotions.remove(0);
        }
        demotions.push((model.map(str::to_owned), until));
        self.has_demotions.store(true, Ordering::Relaxed);
    }

    /// Remembers material that a provider has rejected.
    pub(crate) fn reject(&self, secret: &SecretText) {
        *self.rejected.lock() = Some(secret.clone());
    }

    /// Whether material is known to be another one than was rejected.
    pub(crate) fn has_changed(&self, secret: &SecretText) -> bool {
        self.rejected
            .lock()
            .as_ref()
            .is_some_and(|rejected| rejected != secret)
    }

    pub(crate) fn is_demoted(&self, model: Option<&str>, now: u64) -> bool {
        self.has_demotions.load(Ordering::Relaxed)
            && self.demotions.lock().iter().any(|(known, until)| {
                *until > now && (known.is_none() || model.is_none() || known.as_deref() == model)
            })
    }
}

/// A profile with everything that is known about it.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) id: String,
    pub(crate) credential: Credential,
    pub(crate) record: Record,
    pub(crate) memory: Arc<Memory>,
    /// It comes from the store of the main agent.
    pub(crate) inherited: bool,
}

impl Profile {
    pub(crate) fn subject<'a>(&'a self, routing: &'a Routing) -> Subject<'a> {
        Subject {
            id: &self.id,
            provider: &self.credential.provider,
            routing,
        }
    }

    /// The last use anywhere, or lending here. A time in the future counts as now.
    pub(crate) fn last_use(&self, now: u64) -> (u64, u64) {
        let (lent, turn) = self.memory.last_lent();
        (self.record.last_used.max(lent).min(now), turn)
    }
}

/// The profiles of an agent.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) version: StoreVersion,
    pub(crate) profiles: Vec<Arc<Profile>>,
    pub(crate) routing: Arc<Routing>,
    shared: Arc<Shared>,
}

/// What does not change when only usage does.
#[derive(Debug, Default)]
struct Shared {
    index: HashMap<String, usize, RandomState>,
    /// `order` of the store, keys as written.
    order: Vec<(String, Vec<String>)>,
    last_good: Map<String, Value>,
    rejected: Vec<(String, &'static str)>,
    /// The base list of every provider that was asked for.
    bases: RwLock<HashMap<String, Arc<Base>, RandomState>>,
}

impl View {
    /// Reads a store. `memory` gives what this process remembers about a profile.
    pub(crate) fn read(
        document: Option<&Document>,
        version: StoreVersion,
        routing: &Arc<Routing>,
        defaults: &Defaults,
        mut memory: impl FnMut(&str) -> Arc<Memory>,
    ) -> Self {
        let first_step = routing.ladder_ms.first().copied().unwrap_or(0);
        let mut shared = Shared::default();
        let mut profiles = Vec::new();
        let section = |name| document.and_then(|document: &Document| document.section(name));
        let usage = section("usageStats");
        for (id, value) in document.into_iter().flat_map(Document::profiles) {
            match Credential::read(value, defaults, &routing.aliases) {
                Err(rejected) => shared.rejected.push((id.clone(), rejected.as_str())),
                Ok(credential) => {
                    let record = usage.and_then(|usage| usage.get(id));
                    shared.index.insert(id.clone(), profiles.len());
                    profiles.push(Arc::new(Profile {
                        id: id.clone(),
                        credential,
                        record: record
                            .map_or_else(Record::default, |r| Record::read(r, first_step)),
                        memory: memory(id),
                        inherited: false,
                    }));
                }
            }
        }
        for (provider, list) in section("order").into_iter().flatten() {
            let ids = id_list(list);
            if !ids.is_empty() {
                shared.order.push((provider.clone(), ids));
            }
        }
        shared.last_good = section("lastGood").cloned().unwrap_or_default();
        Self {
            version,
            profiles,
            routing: Arc::clone(routing),
            shared: Arc::new(shared),
        }
    }

    /// The view of an agent without profiles.
    pub(crate) fn empty(routing: &Arc<Routing>) -> Self {
        Self {
            version: StoreVersion::default(),
            profiles: Vec::new(),
            routing: Arc::clone(routing),
            shared: Arc::default(),
        }
    }

    pub(crate) fn index_of(&self, id: &str) -> Option<usize> {
        self.shared.index.get(id).copied()
    }

    pub(crate) fn profile(&self, id: &str) -> Option<&Arc<Profile>> {
        self.profiles.get(self.index_of(id)?)
    }

    pub(crate) fn rejected(&self) -> &[(String, &'static str)] {
        &self.shared.rejected
    }

    /// The stored order of each provider that has one.
    pub(crate) fn stored_order(&self) -> &[(String, Vec<String>)] {
        &self.shared.order
    }

    pub(crate) fn last_good(&self, provider: &str) -> Option<&str> {
        self.shared.last_good.get(provider)?.as_str()
    }

    /// The base list of a provider (auth-normalised or not); made once.
    pub(crate) fn base(&self, provider: &str) -> Arc<Base> {
        if let Some(base) = self.shared.bases.read().get(provider) {
            return Arc::clone(base);
        }
        let base = Arc::new(Base::of(self, provider));
        let mut bases = self.shared.bases.write();
        // Names come from requests: an endless supply of them must not fill the memory.
        if bases.len() >= 1_000 {
            bases.clear();
        }
        bases.insert(provider.to_owned(), Arc::clone(&base));
        base
    }

    /// The same content under other settings.
    pub(crate) fn with_routing(&self, routing: &Arc<Routing>) -> Self {
        let shared = Shared {
            index: self.shared.index.clone(),
            order: self.shared.order.clone(),
            last_good: self.shared.last_good.clone(),
            rejected: self.shared.rejected.clone(),
            bases: RwLock::default(),
        };
        Self {
            routing: Arc::clone(routing),
            shared: Arc::new(shared),
            ..self.clone()
        }
    }

    /// The same view with one record changed.
    pub(crate) fn with_record(&self, index: usize, record: Record) -> Self {
        let mut next = self.clone();
        if let Some(slot) = next.profiles.get_mut(index) {
            *slot = Arc::new(Profile {
                record,
                ..Profile::clone(slot)
            });
        }
        next
    }

    /// The same view with events applied that are not in the store yet.
    pub(crate) fn with_events<'a>(
        &self,
        events: impl Iterator<Item = (&'a str, &'a UsageEvent)>,
    ) -> Self {
        let mut next = self.clone();
        for (id, event) in events {
            let slot = self
                .index_of(id)
                .and_then(|index| next.profiles.get_mut(index));
            if let Some(slot) = slot {
                let mut record = slot.record.clone();
                apply(&mut record, event, slot.subject(&self.routing));
                *slot = Arc::new(Profile {
                    record,
                    ..Profile::clone(slot)
                });
            }
        }
        next
    }

    /// What an agent sees that inherits from the main agent.
    pub(crate) fn inheriting(&self, main: &Self, mode: Inherit) -> Self {
        let aliases = &self.routing.aliases;
        let own: Vec<&str> = self
            .profiles
            .iter()
            .map(|profile| profile.credential.auth_provider.as_str())
            .collect();
        let taken = |provider: &str| mode == Inherit::Shadow && own.contains(&provider);
        let mut shared = Shared {
            rejected: self.shared.rejected.clone(),
            order: self.shared.order.clone(),
            last_good: self.shared.last_good.clone(),
            ..Shared::default()
        };
        let mut profiles: Vec<Arc<Profile>> = Vec::new();
        // Key by key, in the order of the main store, then what only the agent has.
        for profile in &main.profiles {
            if let Some(own) = self.profile(&profile.id) {
                profiles.push(Arc::clone(own));
            } else if !taken(&profile.credential.auth_provider) {
                profiles.push(Arc::new(Profile {
                    inherited: true,
                    ..Profile::clone(profile)
                }));
            }
        }
        let added = self
            .profiles
            .iter()
            .filter(|profile| main.index_of(&profile.id).is_none());
        profiles.extend(added.cloned());
        for (index, profile) in profiles.iter().enumerate() {
            shared.index.insert(profile.id.clone(), index);
        }
        let visible = |provider: &str| !taken(&auth_provider(provider, aliases));
        for (provider, ids) in main
            .shared
            .order
            .iter()
            .filter(|(provider, _)| visible(provider))
        {
            if !shared.order.iter().any(|(known, _)| known == provider) {
                shared.order.push((provider.clone(), ids.clone()));
            }
        }
        for (provider, id) in main
            .shared
            .last_good
            .iter()
            .filter(|(provider, _)| visible(provider))
        {
            shared
                .last_good
                .entry(provider)
                .or_insert_with(|| id.clone());
        }
        Self {
            version: self.version,
            profiles,
            routing: Arc::clone(&self.routing),
            shared: Arc::new(shared),
        }
    }
}

/// A list of profile ids as people write it: trimmed, blanks and repetitions dropped.
pub(crate) fn id_list(value: &Value) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for id in value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::trim)
    {
        if !id.is_empty() && !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}
