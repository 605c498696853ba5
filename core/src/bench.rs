//! Inner parts for benchmarks; no part of the interface.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::{EnvView, Routing};
use crate::error::{FailureScope, Reason, Result};
use crate::host::Host;
use crate::keys::EnvKeys;
use crate::profiles::{
    Document, Durability, FileStore, OrderQuery, ProfileStore as _, StoreOptions, StoreVersion,
    UsageEvent, View, apply, blocking, resolve_order,
};
use crate::secrets::Defaults;

/// An environment to collect keys from.
#[derive(Debug)]
pub struct Keys(EnvView, Routing);

impl Keys {
    /// An environment of these variables.
    pub fn new(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let vars: BTreeMap<_, _> = vars
            .into_iter()
            .map(|(name, value)| (name, Zeroizing::new(value)))
            .collect();
        Self(EnvView::new(vars), Routing::default())
    }

    /// Number of keys of a provider.
    pub fn collect(&self, provider: &str) -> usize {
        EnvKeys::collect(&self.0, provider, &self.1).keys.len()
    }
}

/// Profiles in memory.
#[derive(Debug)]
pub struct Profiles(View);

impl Profiles {
    /// The profiles of a store; `None` when the text is not one.
    pub fn new(store: &str) -> Option<Self> {
        let document = Document::parse(store).ok()?;
        let routing = Arc::new(Routing::default());
        let defaults = Defaults::read(&json!({}));
        let version = StoreVersion::default();
        let view = View::read(Some(&document), version, &routing, &defaults, |_| {
            Arc::default()
        });
        Some(Self(view))
    }

    /// Number of profiles in the order of a provider.
    pub fn order(&self, provider: &str, model: Option<&str>, now: u64) -> usize {
        let query = OrderQuery {
            provider,
            model,
            prefer: None,
            now,
        };
        resolve_order(&self.0, query).count()
    }

    /// Whether a profile cools down.
    pub fn is_cooling(&self, id: &str, model: Option<&str>, now: u64) -> bool {
        self.0.profile(id).is_some_and(|profile| {
            blocking(
                &profile.record,
                model,
                now,
                profile.subject(&self.0.routing),
            )
            .is_some()
        })
    }

    /// The error count after one more failure.
    pub fn after_failure(&self, id: &str, now: u64) -> u64 {
        let event = UsageEvent::Failure {
            at: now,
            reason: Reason::RateLimit,
            scope: FailureScope::Account,
            hint_ms: None,
            model: None,
            count: 1,
        };
        self.0.profile(id).map_or(0, |profile| {
            let mut record = profile.record.clone();
            apply(&mut record, &event, profile.subject(&self.0.routing));
            record.error_count
        })
    }
}

/// A store on disk.
#[derive(Debug)]
pub struct Store(FileStore);

impl Store {
    /// The store in a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self(FileStore::new(
            Host::real(),
            "main",
            folder,
            StoreOptions::default(),
        ))
    }

    /// One durable update.
    ///
    /// # Errors
    ///
    /// As writing the store.
    pub fn update(&self, value: u64) -> Result<()> {
        let budget = Duration::from_secs(10);
        let change = &mut |document: &mut Document| {
            document.edit("bench", |bench| {
                bench.insert("n".to_owned(), Value::from(value))
            });
            Ok(())
        };
        self.0.update(budget, Durability::Plain, change).map(drop)
    }
}
