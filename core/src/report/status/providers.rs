//! The providers of an agent: their profiles, keys, and which credential is used.

use serde_json::{Map, Value, json};

use super::health::{Health, Status, left, provider_status};
use super::models::ModelFacts;
use crate::engine::{Key, KeySource, Scene};
use crate::profiles::{Kind, OrderQuery, resolve_order};

/// Programs on this machine that serve models with a login of their own.
const LOCAL_PROGRAMS: [&str; 2] = ["claude-cli", "codex-cli"];

/// What is known about one provider.
#[derive(Debug)]
pub(crate) struct ProviderFacts {
    /// Normal form.
    pub(crate) id: String,
    pub(crate) in_use: bool,
    /// A program of this machine, which needs no credential.
    pub(crate) is_local: bool,
    /// All its profiles.
    pub(crate) profiles: Vec<Health>,
    /// Ids in the order they would be tried now; only those that may be used.
    pub(crate) order: Vec<String>,
    order_source: &'static str,
    /// Somebody wrote the order down.
    pub(crate) explicit: bool,
    listed: Vec<String>,
    pub(crate) keys: Vec<Key>,
    /// The reference in the configuration, when its program was not run.
    unchecked_key: Option<String>,
    pub(crate) effective: Effective,
    store: String,
}

/// The credential that would be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effective {
    /// The AWS libraries, a local server or a local program.
    Other,
    Config(String),
    Env(String),
    Missing,
    Profile {
        id: String,
        inherited: bool,
    },
}

impl ProviderFacts {
    pub(crate) fn of(
        scene: &Scene<'_>,
        id: &str,
        all: &[Health],
        models: &ModelFacts,
        now: u64,
    ) -> Self {
        let query = OrderQuery {
            provider: id,
            now,
            ..OrderQuery::default()
        };
        let base = scene.view.base(id);
        let order = resolve_order(&scene.view, query);
        let ids = order.filter_map(|ranked| scene.view.profiles.get(ranked.index));
        let order: Vec<String> = ids.map(|profile| profile.id.clone()).collect();
        let profiles: Vec<Health> = all
            .iter()
            .filter(|profile| profile.provider == id)
            .cloned()
            .collect();
        let keys = scene.keys(id);
        let path = scene.config_key(id);
        let unchecked = path.and_then(|path| scene.snapshot().unchecked().get(&path));
        let usable = |id: &&String| all.iter().any(|p| p.id == **id && p.is_usable());
        let first = order.iter().find(usable);
        let first = first.and_then(|id| all.iter().find(|profile| profile.id == *id));
        let backends = scene.setting(&["agents", "defaults", "cliBackends"]);
        let is_backend = backends
            .and_then(Value::as_object)
            .is_some_and(|it| it.contains_key(id));
        let is_local = LOCAL_PROGRAMS.contains(&id) || is_backend;
        let key = keys.first();
        let unchecked_key = unchecked.map(|label| shown_reference(label));
        let effective = match (first, key.map(|key| (&key.source, key))) {
            (Some(profile), _) => Effective::Profile {
                id: profile.id.clone(),
                inherited: profile.inherited,
            },
            (None, Some((KeySource::Env(name), key))) => Effective::Env(env_value(name, key)),
            (None, Some((KeySource::Config(_), key))) => {
                Effective::Config(key.masked.clone().unwrap_or_default())
            }
            (None, Some(_)) => Effective::Other,
            (None, None) if is_local => Effective::Other,
            (None, None) => match &unchecked_key {
                Some(shown) => Effective::Config(shown.clone()),
                None => Effective::Missing,
            },
        };
        let inherited = matches!(
            &effective,
            Effective::Profile {
                inherited: true,
                ..
            }
        );
        let store = match inherited.then(|| scene.main_store()) {
            Some(Ok(path)) => path,
            _ => scene.agent.path().to_owned(),
        };
        Self {
            id: id.to_owned(),
            in_use: models.in_use.contains(id),
            is_local,
            order,
            order_source: base.source.as_str(),
            explicit: base.explicit,
            listed: base.ids().map(str::to_owned).collect(),
            profiles,
            keys,
            unchecked_key,
            effective,
            store: shown_path(scene, &store),
        }
    }

    /// OpenClaw lists providers with a profile, a variable or a key in the configuration.
    pub(crate) fn is_listed(&self) -> bool {
        !self.profiles.is_empty() || !self.keys.is_empty() || self.unchecked_key.is_some()
    }

    /// Whether there is no credential of any kind, and one is needed.
    pub(crate) fn is_bare(&self) -> bool {
        !self.is_listed() && !self.is_local
    }

    /// Sign-ins of a provider that has some.
    pub(crate) fn oauth_count(&self) -> Option<usize> {
        let stored = self
            .profiles
            .iter()
            .filter(|profile| profile.is_timed())
            .count();
        let by_env = self.env().is_some_and(|(name, _)| name.contains("OAUTH"));
        Some(stored + usize::from(by_env)).filter(|count| *count > 0)
    }

    /// The first variable with a key.
    pub(crate) fn env(&self) -> Option<(&str, &Key)> {
        self.keys.iter().find_map(|key| match &key.source {
            KeySource::Env(name) => Some((name.as_str(), key)),
            _ => None,
        })
    }

    /// The profiles that count for the provider.
    fn considered(&self) -> Vec<&Health> {
        let of_order = self.profiles.iter().filter(|p| self.order.contains(&p.id));
        let considered: Vec<&Health> = of_order.collect();
        match considered.is_empty() {
            true => self
                .profiles
                .iter()
                .filter(|profile| !profile.excluded)
                .collect(),
            false => considered,
        }
    }

    /// The row of `auth.providers`.
    pub(crate) fn to_json(&self, now: u64) -> Value {
        let count = |kind: Kind| self.profiles.iter().filter(|p| p.kind == kind).count();
        let labels: Vec<String> = self.profiles.iter().map(|p| p.compat_label(now)).collect();
        let mut row = json!({
            "provider": self.id,
            "effective": self.effective_json(),
            "profiles": {
                "count": self.profiles.len(),
                "oauth": count(Kind::OAuth),
                "token": count(Kind::Token),
                "apiKey": count(Kind::ApiKey),
                "labels": labels,
            },
            "order": {"source": self.order_source, "ids": self.listed},
        });
        let Value::Object(map) = &mut row else {
            return row;
        };
        if let Some((name, key)) = self.env() {
            let value = env_value(name, key);
            let source = format!("env: {name}");
            map.insert("env".to_owned(), json!({"value": value, "source": source}));
        }
        let config = self.keys.iter().find_map(|key| match &key.source {
            KeySource::Config(path) => Some((path.clone(), key.masked.clone()?)),
            _ => None,
        });
        let path = || format!("models.providers.{}.apiKey", self.id);
        let config = config.or_else(|| Some((path(), self.unchecked_key.clone()?)));
        if let Some((path, value)) = config {
            let source = format!("config: {path}");
            map.insert(
                "modelsJson".to_owned(),
                json!({"value": value, "source": source}),
            );
        }
        row
    }

    fn effective_json(&self) -> Value {
        let plain = |kind: &str, detail: &str| json!({"kind": kind, "detail": detail});
        match &self.effective {
            Effective::Profile { id, inherited } => json!({
                "kind": "profiles",
                "detail": self.store,
                "profileId": id,
                "owner": if *inherited { "main" } else { "own" },
            }),
            Effective::Env(value) => plain("env", value),
            Effective::Config(value) => plain("models.json", value),
            Effective::Other => match self.keys.first().map(|key| &key.source) {
                Some(KeySource::Aws(label)) => plain("env", label),
                _ => plain("models.json", "no credential needed"),
            },
            Effective::Missing => plain("missing", "missing"),
        }
    }

    /// The row of `auth.oauth.providers`.
    pub(crate) fn health_json(&self, now: u64) -> Value {
        let considered = self.considered();
        let mut row = Map::new();
        let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
        put("provider", self.id.clone().into());
        let (status, source) = match provider_status(&considered) {
            Some(status) => (status, "profiles"),
            None => match (&self.effective, self.keys.first().map(|key| &key.source)) {
                (Effective::Env(_), _) => (Status::Static, "env"),
                (Effective::Config(_), _) => (Status::Static, "models.json"),
                (Effective::Other, Some(KeySource::Aws(_))) => (Status::Static, "aws"),
                (Effective::Other, Some(_)) => (Status::Static, "models.json"),
                (Effective::Other, None) => (Status::Static, "cli"),
                _ => (Status::Missing, "missing"),
            },
        };
        put("status", status.as_str().into());
        let timed = considered.iter().filter(|profile| profile.is_timed());
        if let Some(at) = timed.filter_map(|profile| profile.expires).min() {
            put("expiresAt", at.into());
            put("remainingMs", left(at, now).into());
        }
        put("source", source.into());
        let profiles = self.profiles.iter().map(|profile| profile.to_json(now));
        put("profiles", profiles.collect());
        Value::Object(row)
    }
}

/// What is shown of the value of a variable.
fn env_value(name: &str, key: &Key) -> String {
    match name.contains("OAUTH") {
        true => "OAuth (env)".to_owned(),
        false => key.masked.clone().unwrap_or_default(),
    }
}

/// A label `source:provider:id` without its provider.
fn shown_reference(label: &str) -> String {
    let mut parts = label.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(source), Some(_), Some(id)) => format!("ref({source}:{id})"),
        _ => format!("ref({label})"),
    }
}

/// A path as people write it.
fn shown_path(scene: &Scene<'_>, path: &std::path::Path) -> String {
    match path.strip_prefix(&scene.snapshot().places.home) {
        Ok(rest) => format!("~/{}", rest.display()),
        Err(_) => path.display().to_string(),
    }
}
