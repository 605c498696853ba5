//! The profile that a session sticks to.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use serde_json::{Map, Value};

use super::models::ModelRef;
use crate::config::auth_provider;
use crate::profiles::{Ranked, View};

/// Who chose the profile of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinSource {
    /// The engine, so that a session stays with one account.
    Auto,
    /// A person; never replaced silently.
    User,
}

impl PinSource {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::User => "user",
        }
    }
}

/// A session's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Profile id.
    pub profile: String,
    /// Who chose it.
    pub source: PinSource,
    /// How often the session had been compacted when it was chosen automatically.
    pub compaction_count: Option<u64>,
}

/// What is remembered about a session: model and profile. The JSON form has the keys of
/// OpenClaw's session entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionEntry {
    /// The chosen model; `None` is the default.
    pub model: Option<ModelRef>,
    /// The profile.
    pub pin: Option<Pin>,
}

const PROFILE: &str = "authProfileOverride";
const SOURCE: &str = "authProfileOverrideSource";
const COMPACTIONS: &str = "authProfileOverrideCompactionCount";
const PROVIDER: &str = "providerOverride";
const MODEL: &str = "modelOverride";

impl SessionEntry {
    /// Reads the fields out of a session entry; others are ignored. Without a source, a count of
    /// compactions says that the pin is automatic.
    pub fn from_json(value: &Value) -> Self {
        let text = |key: &str| {
            let text = value.get(key).and_then(Value::as_str).map(str::trim);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let compaction_count = value.get(COMPACTIONS).and_then(Value::as_u64);
        let source = match (text(SOURCE).as_deref(), compaction_count) {
            (Some("auto"), _) | (None, Some(_)) => PinSource::Auto,
            _ => PinSource::User,
        };
        Self {
            model: text(PROVIDER)
                .zip(text(MODEL))
                .map(|(provider, model)| ModelRef { provider, model }),
            pin: text(PROFILE).map(|profile| Pin {
                profile,
                source,
                compaction_count,
            }),
        }
    }

    /// The fields of a session entry.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        if let Some(model) = &self.model {
            put(PROVIDER, model.provider.clone().into());
            put(MODEL, model.model.clone().into());
        }
        if let Some(pin) = &self.pin {
            put(PROFILE, pin.profile.clone().into());
            put(SOURCE, pin.source.as_str().into());
            if let Some(count) = pin.compaction_count {
                put(COMPACTIONS, count.into());
            }
        }
        Value::Object(map)
    }
}

/// The sessions that were seen last.
#[derive(Debug)]
pub(crate) struct Sessions {
    capacity: usize,
    clock: u64,
    entries: HashMap<String, (u64, SessionEntry), RandomState>,
    /// By last use.
    uses: BTreeMap<u64, String>,
}

impl Sessions {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            clock: 0,
            entries: HashMap::default(),
            uses: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&mut self, key: &str) -> Option<&SessionEntry> {
        self.clock += 1;
        let (used, entry) = self.entries.get_mut(key)?;
        if let Some(name) = self.uses.remove(used) {
            self.uses.insert(self.clock, name);
        }
        *used = self.clock;
        Some(entry)
    }

    /// Remembers a session; an empty entry forgets it.
    pub(crate) fn set(&mut self, key: &str, entry: SessionEntry) {
        if let Some((used, _)) = self.entries.remove(key) {
            self.uses.remove(&used);
        }
        if entry == SessionEntry::default() {
            return;
        }
        self.clock += 1;
        self.entries.insert(key.to_owned(), (self.clock, entry));
        self.uses.insert(self.clock, key.to_owned());
        while self.entries.len() > self.capacity {
            let Some((_, oldest)) = self.uses.pop_first() else {
                break;
            };
            self.entries.remove(&oldest);
        }
    }

    /// All sessions, the least recently used first.
    pub(crate) fn export(&self) -> Value {
        let entries = self
            .uses
            .values()
            .filter_map(|key| Some((key.clone(), self.entries.get(key)?.1.to_json())));
        Value::Object(entries.collect())
    }

    /// Takes over what [`Sessions::export`] gave.
    pub(crate) fn import(&mut self, value: &Value) {
        for (key, entry) in value.as_object().into_iter().flatten() {
            self.set(key, SessionEntry::from_json(entry));
        }
    }
}

/// What the pin of a session is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PinQuery<'a> {
    pub(crate) pin: Option<&'a Pin>,
    pub(crate) provider: &'a str,
    pub(crate) new_session: bool,
    pub(crate) compaction_count: u64,
    /// The model is a fallback: a pin that does not fit it is ignored for now, not dropped.
    pub(crate) fallback: bool,
}

/// What becomes of a pin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PinDecision {
    /// The profile to use.
    pub(crate) profile: Option<String>,
    /// Nothing but this profile may be used.
    pub(crate) strict: bool,
    /// The pin from now on. `None` when the session should have none.
    pub(crate) pin: Option<Pin>,
    /// Why the old pin was dropped.
    pub(crate) dropped: Option<&'static str>,
}

/// Decides about the pin of a session, given the order of the provider's profiles.
pub(crate) fn resolve_pin(query: PinQuery<'_>, ranked: &[Ranked], view: &View) -> PinDecision {
    let id_of = |index: usize| view.profiles.get(index).map(|profile| profile.id.clone());
    let auto = |index: Option<usize>, dropped| {
        let profile = index.and_then(id_of);
        PinDecision {
            pin: profile.clone().map(|profile| Pin {
                profile,
                source: PinSource::Auto,
                compaction_count: Some(query.compaction_count),
            }),
            profile,
            strict: false,
            dropped,
        }
    };
    let available = ranked.iter().find(|ranked| ranked.blocking.is_none());
    let first = available.or(ranked.first()).map(|ranked| ranked.index);
    let Some(pin) = query.pin else {
        return auto(first, None);
    };
    let Some(profile) = view.profile(&pin.profile) else {
        return auto(first, Some("profile_missing"));
    };
    let provider = auth_provider(query.provider, &view.routing.aliases);
    if profile.credential.auth_provider != provider {
        if query.fallback {
            return PinDecision {
                pin: Some(pin.clone()),
                ..PinDecision::default()
            };
        }
        return auto(first, Some("provider_mismatch"));
    }
    if pin.source == PinSource::User {
        if query.new_session {
            return auto(first, Some("new_session"));
        }
        return PinDecision {
            profile: Some(pin.profile.clone()),
            strict: true,
            pin: Some(pin.clone()),
            dropped: None,
        };
    }
    let index = view.index_of(&pin.profile);
    let Some(at) = ranked.iter().position(|ranked| Some(ranked.index) == index) else {
        return auto(first, Some("not_in_order"));
    };
    let compacted = view.routing.rotate_on_compaction
        && query.compaction_count > pin.compaction_count.unwrap_or(0);
    if query.new_session || compacted {
        // The next one that is available, around the order.
        let around = ranked.iter().cycle().skip(at + 1).take(ranked.len());
        let next = around.into_iter().find(|ranked| ranked.blocking.is_none());
        return auto(next.map(|ranked| ranked.index).or(index), None);
    }
    if ranked
        .get(at)
        .is_some_and(|ranked| ranked.blocking.is_some())
    {
        return auto(first, None);
    }
    PinDecision {
        profile: Some(pin.profile.clone()),
        strict: false,
        pin: Some(pin.clone()),
        dropped: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn session_entries_keep_the_keys_of_openclaw() {
        let value = json!({"providerOverride": "a", "modelOverride": "m", "authProfileOverride": "a:1",
            "authProfileOverrideSource": "auto", "authProfileOverrideCompactionCount": 2});
        assert_eq!(SessionEntry::from_json(&value).to_json(), value);
        let old = SessionEntry::from_json(&json!({"authProfileOverride": "a:1"}));
        assert_eq!(old.pin.unwrap().source, PinSource::User);
        let old = json!({"authProfileOverride": "a:1", "authProfileOverrideCompactionCount": 0});
        assert_eq!(
            SessionEntry::from_json(&old).pin.unwrap().source,
            PinSource::Auto
        );
        assert_eq!(SessionEntry::from_json(&json!(7)), SessionEntry::default());
    }

    #[test]
    fn pn_1_the_least_recently_used_session_goes_first() {
        let entry =
            |profile: &str| SessionEntry::from_json(&json!({"authProfileOverride": profile}));
        let mut sessions = Sessions::new(2);
        sessions.set("a", entry("1"));
        sessions.set("b", entry("2"));
        assert!(sessions.get("a").is_some());
        sessions.set("c", entry("3"));
        assert!(sessions.get("b").is_none());
        let exported = sessions.export();
        let mut copy = Sessions::new(10);
        copy.import(&exported);
        assert_eq!(copy.export(), exported);
        copy.set("a", SessionEntry::default());
        assert_eq!(copy.export().as_object().unwrap().len(), 1);
    }
}
