//! Putting a plan together without a terminal.

use std::fmt;

use serde_json::{Map, Value, json};

use super::super::Registry;
use super::super::reference::SecretRef;
use super::super::rules::Rules;
use super::super::stores::KINDS;
use super::{Plan, Problem, TargetType, invalid};
use crate::error::Result;
use crate::json::{Path, parse_json5};

/// Puts a plan together, for command lines and programs.
#[derive(Debug)]
pub struct PlanBuilder<'a> {
    registry: &'a Registry,
    rules: PlanRules,
    targets: Vec<Value>,
    upserts: Map<String, Value>,
    deletes: Vec<String>,
    options: Map<String, Value>,
}

/// The table, without a form for printing.
struct PlanRules(Rules);

impl fmt::Debug for PlanRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlanRules")
    }
}

impl<'a> PlanBuilder<'a> {
    /// A plan without targets.
    pub fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            rules: PlanRules(Rules::new(registry)),
            targets: Vec::new(),
            upserts: Map::new(),
            deletes: Vec::new(),
            options: Map::new(),
        }
    }

    /// Puts a reference (`source:provider:id`) at a secret surface of the configuration.
    ///
    /// # Errors
    ///
    /// `plan_invalid` when there is no such surface or the label is no reference.
    pub fn set(&mut self, path: &str, label: &str) -> Result<()> {
        let refuse = |reason, message| {
            invalid(vec![Problem {
                target: None,
                reason,
                message,
            }])
        };
        let parsed = Path::parse(path).filter(|path| !path.segments().is_empty());
        let found = parsed.and_then(|path| Some((TargetType::of(&path, &self.rules.0)?, path)));
        let Some((kind, path)) = found else {
            let message = "there is no secret surface at this path".to_owned();
            return Err(refuse("unknown_type", message));
        };
        let reference = label_json(label)
            .ok_or_else(|| refuse("ref", "references are source:provider:id".to_owned()))?;
        self.targets.push(json!({
            "type": kind,
            "path": path.segments().join("."),
            "pathSegments": path.segments(),
            "ref": reference,
        }));
        Ok(())
    }

    /// Puts a reference at the credential (`key` or `token`) of a stored profile. `provider` is
    /// needed when the profile does not exist yet.
    ///
    /// # Errors
    ///
    /// `plan_invalid` when the field or the label is none.
    pub fn set_profile(
        &mut self,
        agent: &str,
        id: &str,
        field: &str,
        provider: Option<&str>,
        label: &str,
    ) -> Result<()> {
        let kind = KINDS.iter().find(|(_, key, _)| *key == field);
        let (Some((kind, key, _)), Some(reference)) = (kind, label_json(label)) else {
            return Err(invalid(vec![Problem {
                target: None,
                reason: "ref",
                message: "profiles take source:provider:id at key or token".to_owned(),
            }]));
        };
        let mut target = json!({
            "type": format!("auth-profiles.{kind}.{key}"),
            "path": format!("profiles.{id}.{key}"),
            "pathSegments": ["profiles", id, key],
            "agentId": agent,
            "ref": reference,
        });
        if let (Some(provider), Some(map)) = (provider, target.as_object_mut()) {
            map.insert("authProfileProvider".to_owned(), provider.into());
        }
        self.targets.push(target);
        Ok(())
    }

    /// Declares a secret provider, or replaces its declaration.
    pub fn provider(&mut self, alias: &str, settings: Value) {
        self.upserts.insert(alias.to_owned(), settings);
    }

    /// Declares a secret provider by the JSON5 text of its settings.
    ///
    /// # Errors
    ///
    /// `plan_invalid` when the text is not a JSON5 object.
    pub fn provider_text(&mut self, alias: &str, text: &str) -> Result<()> {
        let refuse = |message| {
            invalid(vec![Problem {
                target: None,
                reason: "provider",
                message,
            }])
        };
        let parsed = parse_json5(text).map_err(|problem| {
            let (line, column) = (problem.place.line, problem.place.column);
            let why = problem.message;
            refuse(format!(
                "settings of provider {alias}: line {line}, column {column}: {why}"
            ))
        })?;
        if !parsed.value.is_object() {
            let message = format!("settings of provider {alias} are not an object");
            return Err(refuse(message));
        }
        self.provider(alias, parsed.value);
        Ok(())
    }

    /// Removes the declaration of a secret provider.
    pub fn delete_provider(&mut self, alias: &str) {
        self.deletes.push(alias.to_owned());
    }

    /// Switches one of `scrubEnv`, `scrubAuthProfilesForProviderTargets` and
    /// `scrubLegacyAuthJson` (all on by default).
    pub fn option(&mut self, name: &str, on: bool) {
        self.options.insert(name.to_owned(), on.into());
    }

    /// The plan. `now_ms` is the time for `generatedAt`, in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// `plan_invalid`, as [`Plan::parse`].
    pub fn build(self, now_ms: u64) -> Result<Plan> {
        let document = json!({
            "version": 1,
            "protocolVersion": 1,
            "generatedAt": rfc3339(now_ms),
            "generatedBy": "openclaw-auth secrets plan",
            "targets": self.targets,
            "providerUpserts": self.upserts,
            "providerDeletes": self.deletes,
            "options": self.options,
        });
        Plan::parse(&document, self.registry)
    }
}

fn label_json(label: &str) -> Option<Value> {
    let reference = SecretRef::parse(label)?;
    Some(json!({
        "source": reference.source().as_str(),
        "provider": reference.provider(),
        "id": reference.id(),
    }))
}

/// A point in time as RFC 3339 in UTC. Days to date after Howard Hinnant's `civil_from_days`.
fn rfc3339(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_plans_can_be_read_again() {
        let registry = Registry::new();
        let mut builder = PlanBuilder::new(&registry);
        builder
            .set("models.providers[\"my.proxy\"].apiKey", "env:default:K")
            .unwrap();
        builder
            .set("channels.telegram.accounts.a.botToken", "file:f:/a:b")
            .unwrap();
        builder
            .set_profile("main", "a:b", "key", Some("a"), "exec:x:k")
            .unwrap();
        assert!(
            builder
                .set("models.providers.a.baseUrl", "env:default:K")
                .is_err()
        );
        assert!(builder.set("talk.apiKey", "env:default").is_err());
        builder
            .provider_text("f", "{ source: 'file', path: '/s', }")
            .unwrap();
        for text in ["{", "1", ""] {
            assert!(builder.provider_text("g", text).is_err(), "{text}");
        }
        builder.delete_provider("old");
        builder.option("scrubEnv", false);
        let plan = builder.build(1_775_383_200_123).unwrap();
        let document = plan.to_json();
        assert_eq!(document["generatedAt"], "2026-04-05T10:00:00.123Z");
        assert_eq!(
            document["targets"][1]["type"],
            "channels.telegram.accounts.*.botToken"
        );
        assert!(plan.uses_exec());
        let again = Plan::parse(document, &registry).unwrap();
        assert!(!again.scrub.env && again.scrub.profiles);
        assert_eq!(again.targets.len(), 3);
    }

    #[test]
    fn dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_007, "2000-02-29T12:34:56.007Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }
}
