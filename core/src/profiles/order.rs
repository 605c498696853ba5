//! The order in which the profiles of a provider are tried. Pure: no clock but the time that is
//! given, no writes, no randomness.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::credential::Kind;
use super::eligibility::{Eligibility, Verdict};
use super::usage::{Blocking, blocking};
use super::view::View;
use crate::config::{auth_provider, normalise_provider, provider_entry};

/// Where an order comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderSource {
    /// `auth.order` of the configuration.
    Config,
    /// `auth.profiles` of the configuration.
    Profiles,
    /// The profiles of the store, in file order.
    Store,
    /// `order` of the store.
    Stored,
}

impl OrderSource {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Profiles => "profiles",
            Self::Store => "store",
            Self::Stored => "stored",
        }
    }
}

/// The profiles of a provider before availability and time are looked at.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) source: OrderSource,
    /// A list that somebody wrote down: it is kept as it is, and nothing else is tried while it
    /// has something to offer.
    pub(crate) explicit: bool,
    entries: Vec<BaseEntry>,
    told: AtomicBool,
}

#[derive(Debug)]
struct BaseEntry {
    id: String,
    /// Place in the view.
    index: Option<usize>,
    verdict: Verdict,
}

/// One profile of an order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranked {
    /// Place in the view.
    pub(crate) index: usize,
    /// What keeps it from being used now.
    pub(crate) blocking: Option<Blocking>,
}

/// An order: an iterator, because usually only the first is wanted and sorting costs more than
/// everything else.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) explicit: bool,
    pub(crate) source: OrderSource,
    preferred: Option<Ranked>,
    available: BinaryHeap<Reverse<Rank>>,
    cooling: Vec<Ranked>,
    /// How many of `cooling`, which is sorted when it is reached, have been given.
    given: Option<usize>,
}

/// What available profiles are sorted by: last resorts, type, expired access tokens, last use,
/// place in the base list. The last number is the place in the view.
type Rank = (bool, Option<(Kind, bool, (u64, u64))>, usize, usize);

impl Order {
    pub(crate) fn is_empty(&self) -> bool {
        self.preferred.is_none() && self.available.is_empty() && self.cooling.is_empty()
    }
}

impl Iterator for Order {
    type Item = Ranked;

    fn next(&mut self) -> Option<Ranked> {
        if let Some(preferred) = self.preferred.take() {
            return Some(preferred);
        }
        if let Some(Reverse((.., index))) = self.available.pop() {
            return Some(Ranked {
                index,
                blocking: None,
            });
        }
        let given = self.given.unwrap_or_else(|| {
            // Stable, so that ties keep the order of the base list.
            self.cooling
                .sort_by_key(|ranked| ranked.blocking.map(|blocking| blocking.until));
            0
        });
        self.given = Some(given + 1);
        self.cooling.get(given).copied()
    }
}

/// What an order is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OrderQuery<'a> {
    pub(crate) provider: &'a str,
    pub(crate) model: Option<&'a str>,
    pub(crate) prefer: Option<&'a str>,
    pub(crate) now: u64,
}

impl Base {
    pub(super) fn of(view: &View, provider: &str) -> Self {
        let routing = &view.routing;
        let aliases = &routing.aliases;
        let auth = auth_provider(provider, aliases).into_owned();
        let in_store = || -> Vec<String> {
            let matching = view
                .profiles
                .iter()
                .filter(|p| p.credential.auth_provider == auth);
            matching.map(|profile| profile.id.clone()).collect()
        };
        let stored = view
            .stored_order()
            .iter()
            .map(|(key, ids)| (key.as_str(), ids));
        let configured = routing.order.iter().map(|(key, ids)| (key.as_str(), ids));
        let profiles = routing
            .profiles
            .iter()
            .filter(|(_, profile)| auth_provider(&profile.provider, aliases) == auth);
        let profiles: Vec<String> = profiles.map(|(id, _)| id.clone()).collect();
        let has_profiles = !profiles.is_empty();
        let (mut source, mut ids) = if let Some(ids) = provider_entry(&stored, provider, aliases) {
            (OrderSource::Stored, ids.clone())
        } else if let Some(ids) = provider_entry(&configured, provider, aliases) {
            (OrderSource::Config, ids.clone())
        } else if has_profiles {
            (OrderSource::Profiles, profiles)
        } else {
            (OrderSource::Store, in_store())
        };
        // A list of nothing but profiles that are gone is out of date, not a decision.
        let all_missing = !ids.is_empty() && ids.iter().all(|id| view.index_of(id).is_none());
        if all_missing && (source == OrderSource::Stored || has_profiles) {
            (source, ids) = (OrderSource::Store, in_store());
        }
        let entries = ids.into_iter().map(|id| {
            let index = view.index_of(&id);
            let profile = index.and_then(|index| view.profiles.get(index));
            let verdict = profile.map_or(Verdict::MISSING, |profile| {
                Verdict::of(&profile.credential, routing.profile(&id), &auth, routing)
            });
            BaseEntry { id, index, verdict }
        });
        Self {
            source,
            explicit: matches!(source, OrderSource::Stored | OrderSource::Config),
            entries: entries.collect(),
            told: AtomicBool::new(false),
        }
    }

    /// Whether the list names a profile.
    pub(crate) fn names(&self, id: &str) -> bool {
        self.entries.iter().any(|entry| entry.id == id)
    }

    /// The profiles of the list, in its order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.id.as_str())
    }

    /// True for the first caller only.
    pub(crate) fn tell_once(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    /// Ids that were left out at a time, with the reason.
    pub(crate) fn filtered(&self, now: u64) -> Vec<(&str, Eligibility)> {
        let entries = self
            .entries
            .iter()
            .map(|entry| (entry.id.as_str(), entry.verdict.at(now)));
        entries
            .filter(|(_, code)| *code != Eligibility::Ok)
            .collect()
    }
}

/// Resolves the order of a provider: usable profiles first, then those that cool down by the end
/// of their window.
pub(crate) fn resolve_order(view: &View, query: OrderQuery<'_>) -> Order {
    let provider = normalise_provider(query.provider, &view.routing.aliases);
    let base = view.base(&provider);
    let preferred = query.prefer.and_then(|id| view.index_of(id));
    let mut order = Order {
        explicit: base.explicit,
        source: base.source,
        preferred: None,
        available: BinaryHeap::new(),
        cooling: Vec::new(),
        given: None,
    };
    let mut available = Vec::with_capacity(base.entries.len());
    for (place, entry) in base.entries.iter().enumerate() {
        let profile = entry
            .index
            .and_then(|index| Some((index, view.profiles.get(index)?)));
        let Some((index, profile)) = profile else {
            continue;
        };
        if entry.verdict.at(query.now) != Eligibility::Ok {
            continue;
        }
        let blocking = blocking(
            &profile.record,
            query.model,
            query.now,
            profile.subject(&view.routing),
        );
        let ranked = Ranked { index, blocking };
        if preferred == Some(index) {
            order.preferred = Some(ranked);
        } else if blocking.is_some() {
            order.cooling.push(ranked);
        } else {
            let demoted = profile.memory.is_demoted(query.model, query.now);
            let credential = &profile.credential;
            let rank = (!base.explicit).then(|| {
                let expired = credential.kind == Kind::OAuth && credential.is_expired(query.now);
                (credential.kind, expired, profile.last_use(query.now))
            });
            available.push(Reverse((demoted, rank, place, index)));
        }
    }
    order.available = available.into();
    order
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::store::{Document, StoreVersion};
    use super::*;
    use crate::config::Routing;
    use crate::secrets::Defaults;

    const NOW: u64 = 1_800_000_000_000;

    fn view(store: &serde_json::Value, config: &serde_json::Value) -> View {
        let document = Document::parse(&store.to_string()).unwrap();
        let (routing, problems) = Routing::read(config);
        assert!(problems.is_empty());
        let defaults = Defaults::read(&json!({}));
        View::read(
            Some(&document),
            StoreVersion::default(),
            &Arc::new(routing),
            &defaults,
            |_| Arc::default(),
        )
    }

    fn ids(view: &View, ranked: &[Ranked]) -> Vec<String> {
        ranked
            .iter()
            .map(|ranked| view.profiles[ranked.index].id.clone())
            .collect()
    }

    /// Cooldown end, expiry, last use and type of one profile.
    fn profile_strategy() -> impl Strategy<Value = (u64, u64, u64, u8)> {
        (0u64..40, 0u64..40, 0u64..40, 0u8..3)
    }

    proptest! {
        /// Every profile that may be used appears exactly once, whatever cools down, and those
        /// that can be used now stand before those that cannot.
        #[test]
        fn every_eligible_profile_appears_exactly_once(
            profiles in prop::collection::vec(profile_strategy(), 0..12),
            explicit in prop::option::of(prop::collection::vec(0usize..14, 0..16)),
            prefer in 0usize..14,
        ) {
            let mut store = json!({"profiles": {}, "usageStats": {}});
            for (n, (cooldown, expires, used, kind)) in profiles.iter().enumerate() {
                let at = |offset: u64| NOW - 20_000 + offset * 1_000;
                let id = format!("a:{n}");
                store["profiles"][&id] = match kind {
                    0 => json!({"type": "api_key", "provider": "a", "key": "k"}),
                    1 => json!({"type": "token", "provider": "a", "token": "t", "expires": at(*expires)}),
                    _ => json!({"type": "oauth", "provider": "a", "access": "x", "refresh": "r", "expires": at(*expires)}),
                };
                store["usageStats"][&id] = json!({"cooldownUntil": at(*cooldown), "lastUsed": at(*used)});
            }
            let mut config = json!({});
            if let Some(list) = &explicit {
                config["auth"]["order"]["a"] = list.iter().map(|n| format!("a:{n}")).collect();
            }
            let view = view(&store, &config);
            let prefer = format!("a:{prefer}");
            let query = OrderQuery { provider: "a", model: None, prefer: None, now: NOW };
            let order: Vec<Ranked> = resolve_order(&view, query).collect();
            let found = ids(&view, &order);
            let mut wanted: Vec<String> = (0..profiles.len())
                .filter(|n| profiles[*n].3 != 1 || profiles[*n].1 > 20)
                .filter(|n| explicit.as_ref().is_none_or(|list| list.contains(n)))
                .map(|n| format!("a:{n}"))
                .collect();
            let mut sorted = found.clone();
            sorted.sort();
            wanted.sort();
            prop_assert_eq!(sorted, wanted);
            prop_assert!(order.is_sorted_by_key(|r| r.blocking.map(|b| b.until)));
            let query = OrderQuery { prefer: Some(&prefer), ..query };
            let preferred: Vec<Ranked> = resolve_order(&view, query).collect();
            prop_assert_eq!(preferred.len(), order.len());
            if found.contains(&prefer) {
                prop_assert_eq!(&ids(&view, &preferred)[0], &prefer);
            }
        }
    }
}
