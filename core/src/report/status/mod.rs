//! The report of `models status`: models, credentials, and how long they last.

mod check;
mod health;
mod hints;
mod models;
mod providers;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use self::health::Conditions;
pub use self::health::short;
pub(crate) use self::health::{Health, Status, left};
use self::models::ModelFacts;
pub(crate) use self::providers::Effective;
use self::providers::ProviderFacts;
use crate::engine::{Engine, Scene};
use crate::error::{Code, Error, Result};
use crate::keys::known_providers;
use crate::secrets::Diagnostic;
use crate::text::suggestions;

/// A day.
pub(crate) const DAY_MS: u64 = 86_400_000;

/// What to report.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StatusOptions {
    /// The agent (default: the default agent).
    pub agent: Option<String>,
    /// Only these providers (default: all).
    pub providers: Vec<String>,
    /// How soon the end of a token is worth a warning, in milliseconds (default: a day).
    pub warn_within_ms: u64,
}

impl Default for StatusOptions {
    fn default() -> Self {
        Self {
            agent: None,
            providers: Vec::new(),
            warn_within_ms: DAY_MS,
        }
    }
}

/// The report: one document, the same in every language.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusReport {
    document: Value,
    exit: u8,
}

impl StatusReport {
    /// The document. Holds no secrets.
    pub fn to_json(&self) -> Value {
        self.document.clone()
    }

    /// What a check answers: 1 when a credential is expired or missing, 2 when one ends soon, 0
    /// otherwise.
    pub fn exit_code(&self) -> u8 {
        self.exit
    }

    /// The default model, as `provider/model`.
    pub fn resolved_default(&self) -> &str {
        let model = self.document.get("resolvedDefault").and_then(Value::as_str);
        model.unwrap_or_default()
    }
}

impl Engine {
    /// Reports models, credentials and how long they last, from the current snapshot and the
    /// store. Writes nothing, contacts nobody, runs no program.
    ///
    /// # Errors
    ///
    /// `unknown_agent`, `unknown_provider`, or a `store_*` code when the store cannot be read.
    pub fn status(&self, options: &StatusOptions) -> Result<StatusReport> {
        let scene = self.scene(options.agent.as_deref())?;
        let survey = Survey::of(&scene, options.warn_within_ms);
        let wanted = survey.wanted(&scene, &options.providers)?;
        Ok(survey.report(&scene, options, &wanted))
    }
}

/// Everything that the report is made of.
pub(crate) struct Survey {
    pub(crate) now: u64,
    pub(crate) models: ModelFacts,
    pub(crate) profiles: Vec<Health>,
    /// Sorted by name.
    pub(crate) providers: Vec<ProviderFacts>,
}

impl Survey {
    /// Looks at an agent.
    pub(crate) fn of(scene: &Scene<'_>, warn_ms: u64) -> Self {
        let now = scene.host().clock.now_ms();
        let conditions = Conditions {
            now,
            warn_ms,
            snapshot: scene.snapshot(),
            routing: scene.routing(),
            external: &|program| scene.external(program),
        };
        let mut profiles: Vec<Health> = scene
            .view
            .profiles
            .iter()
            .map(|profile| {
                let base = scene.view.base(&profile.credential.provider);
                let excluded = base.explicit && !base.names(&profile.id);
                conditions.health(profile, excluded)
            })
            .collect();
        profiles.sort_by(|a, b| (&a.provider, &a.id).cmp(&(&b.provider, &b.id)));
        let models = ModelFacts::of(scene);
        let mut ids: BTreeSet<String> = BTreeSet::new();
        ids.extend(profiles.iter().map(|profile| profile.provider.clone()));
        ids.extend(models.all_providers.iter().cloned());
        let configured = scene.setting(&["models", "providers"]);
        let configured = configured.and_then(Value::as_object).into_iter().flatten();
        ids.extend(configured.map(|(provider, _)| scene.normal(provider)));
        let with_key = known_providers().filter(|provider| {
            let env = &scene.snapshot().env;
            let keys = crate::keys::EnvKeys::collect(env, provider, scene.routing());
            !keys.keys.is_empty()
        });
        ids.extend(with_key.map(str::to_owned));
        let providers = ids
            .iter()
            .map(|id| ProviderFacts::of(scene, id, &profiles, &models, now));
        Self {
            now,
            providers: providers.collect(),
            models,
            profiles,
        }
    }

    /// The providers to report, in normal form; empty for all.
    fn wanted(&self, scene: &Scene<'_>, named: &[String]) -> Result<BTreeSet<String>> {
        let mut wanted = BTreeSet::new();
        for name in named {
            let id = scene.normal(name);
            let here = self.providers.iter().map(|provider| provider.id.as_str());
            let mut known: Vec<&str> = here.collect();
            for provider in known_providers() {
                known.push(provider);
            }
            if !known.contains(&id.as_str()) {
                let near = suggestions(&id, known);
                let error = Error::new(
                    Code::UnknownProvider,
                    format!("Unknown provider \"{name}\"."),
                );
                return Err(match near.first() {
                    Some(near) => error.with_hint(format!("did you mean '{near}'?")),
                    None => error,
                });
            }
            wanted.insert(id);
        }
        Ok(wanted)
    }

    fn report(
        &self,
        scene: &Scene<'_>,
        options: &StatusOptions,
        wanted: &BTreeSet<String>,
    ) -> StatusReport {
        let shows = |provider: &str| wanted.is_empty() || wanted.contains(provider);
        let check = check::check(self, &shows);
        let mut document = Map::new();
        let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
        put("schemaVersion", 1.into());
        put("configPath", path(&scene.snapshot().places.config));
        put("agentId", scene.agent.agent.clone().into());
        put(
            "agentDir",
            scene.agent.path().parent().map_or(Value::Null, path),
        );
        self.models.put(&mut put, options.agent.is_some());
        put("auth", self.auth(scene, options, &shows));
        put("check", check.to_json());
        put("hints", hints::hints(self, scene, &shows));
        put("diagnostics", diagnostics(scene));
        StatusReport {
            document: Value::Object(document),
            exit: check.exit,
        }
    }

    fn auth(
        &self,
        scene: &Scene<'_>,
        options: &StatusOptions,
        shows: &dyn Fn(&str) -> bool,
    ) -> Value {
        let now = self.now;
        let providers = || self.providers.iter().filter(|provider| shows(&provider.id));
        let profiles = || {
            self.profiles
                .iter()
                .filter(|profile| shows(&profile.provider))
        };
        let with_oauth: Vec<String> = providers()
            .filter_map(|provider| Some(format!("{} ({})", provider.id, provider.oauth_count()?)))
            .collect();
        let missing = providers().filter(|provider| provider.in_use && provider.is_bare());
        let mut unusable: Vec<(u64, Value)> = profiles()
            .flat_map(|profile| profile.windows_json(now))
            .collect();
        unusable.sort_by_key(|(until, _)| *until);
        let shell = scene
            .setting(&["env", "shellEnv", "enabled"])
            .and_then(Value::as_bool);
        json!({
            "storePath": path(scene.agent.path()),
            "inherit": scene.routing().inherit.as_str(),
            "shellEnvFallback": {"enabled": shell.unwrap_or(false), "appliedKeys": []},
            "providersWithOAuth": with_oauth,
            "missingProvidersInUse": missing.map(|p| p.id.as_str()).collect::<Vec<_>>(),
            "providers": providers()
                .filter(|provider| provider.is_listed())
                .map(|provider| provider.to_json(now))
                .collect::<Vec<_>>(),
            "unusableProfiles": unusable.into_iter().map(|(_, row)| row).collect::<Vec<_>>(),
            "oauth": {
                "warnAfterMs": options.warn_within_ms,
                "profiles": profiles().map(|profile| profile.to_json(now)).collect::<Vec<_>>(),
                "providers": providers().map(|p| p.health_json(now)).collect::<Vec<_>>(),
            },
        })
    }
}

fn diagnostics(scene: &Scene<'_>) -> Value {
    let snapshot = scene.snapshot();
    let row = |code: Code, severity: &str, message: &str, path: &str| {
        let mut row = json!({"code": code.as_str(), "severity": severity, "message": message});
        if let (Value::Object(map), false) = (&mut row, path.is_empty()) {
            map.insert("path".to_owned(), path.into());
        }
        row
    };
    let issues = snapshot.issues().iter().map(|issue| {
        let severity = issue.severity().as_str();
        row(
            issue.code(),
            severity,
            issue.message(),
            &issue.path().to_string(),
        )
    });
    let noticed = snapshot
        .diagnostics()
        .iter()
        .map(Diagnostic::to_json)
        .map(|it| {
            let text = |key: &str| it.get(key).and_then(Value::as_str).unwrap_or_default();
            json!({
                "code": text("code"), "severity": text("severity"),
                "message": text("message"), "path": text("path"),
            })
        });
    let failures = snapshot.failures().iter().map(|failure| {
        let path = failure.paths().first().map_or("", String::as_str);
        row(failure.code(), "error", failure.message(), path)
    });
    let unchecked = snapshot.unchecked().iter().map(|(path, label)| {
        let message = format!("{label} was not resolved: no program is run without --allow-exec");
        row(Code::SecretsExecNotRun, "info", &message, path)
    });
    let rejected = scene.view.rejected().iter().map(|(id, reason)| {
        let message = format!("the stored profile {id} cannot be used: {reason}");
        row(
            Code::StoreRejectedEntry,
            "warning",
            &message,
            &format!("profiles.{id}"),
        )
    });
    issues
        .chain(noticed)
        .chain(failures)
        .chain(unchecked)
        .chain(rejected)
        .collect()
}

fn path(path: &std::path::Path) -> Value {
    path.display().to_string().into()
}
