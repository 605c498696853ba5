//! What a host adds to the built-in table of secret surfaces.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::condition::{Condition, PluginStates, Predicate, PredicateFacts};
use super::condition_json::{Refusal, check_pattern, read_condition, read_rule};
use super::pattern::{Step, steps};
use super::rules::{Rule, is_built_in};
use crate::error::{Code, Error, Result};
use crate::json::type_name;

/// The host's own secret surfaces, and what it knows about others.
///
/// Rules are JSON in every language:
///
/// ```
/// use openclaw_auth::Registry;
/// use serde_json::json;
///
/// let mut registry = Registry::new();
/// registry.add_rules(&json!([{
///     "id": "channels.mychat.accounts.*.apiToken",
///     "pattern": "channels.mychat.accounts.*.apiToken",
///     "owner": "channel:mychat/{0}",
///     "when": { "not": { "set": "channels.mychat.accounts.{0}.tokenFile" } },
/// }]))?;
/// # Ok::<(), openclaw_auth::Error>(())
/// ```
///
/// Cheap to clone. Changes count from the next activation.
#[derive(Clone, Default)]
pub struct Registry {
    pub(super) rules: Vec<Rule>,
    pub(super) activations: Vec<Override>,
    pub(super) vetoes: Vec<Override>,
    pub(super) plugins: Option<PluginStates>,
    pub(super) predicates: BTreeMap<String, Predicate>,
    pub(super) env_names: BTreeMap<String, Vec<String>>,
}

/// A host's word on the surfaces of a pattern.
#[derive(Debug, Clone)]
pub(super) struct Override {
    pub(super) steps: Vec<Step>,
    pub(super) reason: String,
    /// `None`: always.
    pub(super) condition: Option<Condition>,
}

impl Registry {
    /// Nothing beyond the built-in table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a registry as languages without closures give it: an object with `rules` (as
    /// [`Registry::add_rules`]), `activate` and `deactivate` (lists of `pattern`, `reason`, `when`),
    /// `plugins` (as [`Registry::plugin_states`]) and `envNames` (lists of names by provider). Every
    /// key may be absent.
    ///
    /// # Errors
    ///
    /// `rule_invalid`, or `invalid_argument` for an unknown key or a wrong type.
    pub fn from_json(document: &Value) -> Result<Self> {
        let mut registry = Self::new();
        for (key, value) in fields(document, "registry")? {
            match key.as_str() {
                "rules" => registry.add_rules(value)?,
                "activate" => registry.activations = registry.read_overrides(value, key)?,
                "deactivate" => registry.vetoes = registry.read_overrides(value, key)?,
                "plugins" => registry.plugin_states(value)?,
                "envNames" => {
                    for (provider, names) in fields(value, key)? {
                        let names = names.as_array().and_then(|names| {
                            names.iter().map(Value::as_str).collect::<Option<Vec<_>>>()
                        });
                        let names = names.ok_or_else(|| wrong("envNames", "lists of names"))?;
                        registry.env_names(provider, names);
                    }
                }
                _ => return Err(wrong("registry", "an object without unknown keys")),
            }
        }
        Ok(registry)
    }

    fn read_overrides(&self, list: &Value, name: &str) -> Result<Vec<Override>> {
        let shape = || wrong(name, "a list of objects with pattern, reason and when");
        let list = list.as_array().ok_or_else(shape)?;
        let mut overrides = Vec::with_capacity(list.len());
        for item in list {
            let (mut pattern, mut reason, mut condition) = (None, "by the host", None);
            for (key, value) in item.as_object().ok_or_else(shape)? {
                match key.as_str() {
                    "pattern" => pattern = Some(value.as_str().ok_or_else(shape)?),
                    "reason" => reason = value.as_str().ok_or_else(shape)?,
                    "when" => condition = Some(value).filter(|value| !value.is_null()),
                    _ => return Err(shape()),
                }
            }
            let pattern = pattern.ok_or_else(shape)?;
            overrides.push(self.read_override(pattern, reason, condition)?);
        }
        Ok(overrides)
    }

    /// Adds rules: a list of objects with `id`, `pattern`, `owner`, `when`, `inactiveReason`,
    /// `ancestorRule`, `expected`, `shape`, `refPattern`, `flags`. All or nothing.
    ///
    /// # Errors
    ///
    /// `rule_invalid` with `details.rule` (the id), `details.pointer` (JSON Pointer into the rule)
    /// and `details.reason`: `pattern`, `captures`, `condition`, `owner`, `duplicate_id` or
    /// `forbidden_segment`.
    pub fn add_rules(&mut self, rules: &Value) -> Result<()> {
        let Value::Array(items) = rules else {
            let message = format!("rules must be a list, not {}", type_name(rules));
            return Err(Error::new(Code::RuleInvalid, message)
                .with("pointer", "")
                .with("reason", "condition"));
        };
        let mut added: Vec<Rule> = Vec::with_capacity(items.len());
        for item in items {
            let id = item.get("id").and_then(Value::as_str);
            let rows = self.read(item).and_then(|rows| {
                let Some(id) = rows.first().map(|row| row.id.as_str()) else {
                    return Ok(rows);
                };
                let known = self.rules.iter().chain(&added).any(|rule| rule.id == id);
                if known || is_built_in(id) {
                    return Err(Refusal::new("/id", "duplicate_id", "the id is taken"));
                }
                Ok(rows)
            });
            added.extend(rows.map_err(|refusal| refusal.into_error(id))?);
        }
        self.rules.extend(added);
        Ok(())
    }

    fn read(&self, item: &Value) -> std::result::Result<Vec<Rule>, Refusal> {
        read_rule(item, &|name| self.predicates.contains_key(name))
    }

    /// Removes the rules whose id starts with the prefix; how many there were. Built-in rules
    /// cannot be removed.
    pub fn remove_rules(&mut self, prefix: &str) -> usize {
        let mut ids: Vec<String> = Vec::new();
        self.rules.retain(|rule| {
            let goes = rule.id.starts_with(prefix);
            if goes && !ids.contains(&rule.id) {
                ids.push(rule.id.clone());
            }
            !goes
        });
        ids.len()
    }

    /// Makes the surfaces of a pattern *also* active while the condition holds (`None`: always).
    ///
    /// # Errors
    ///
    /// `rule_invalid`, as [`Registry::add_rules`].
    pub fn activate(
        &mut self,
        pattern: &str,
        reason: &str,
        condition: Option<&Value>,
    ) -> Result<()> {
        let entry = self.read_override(pattern, reason, condition)?;
        self.activations.push(entry);
        Ok(())
    }

    /// Makes the surfaces of a pattern inactive while the condition holds (`None`: always),
    /// whatever other rules say.
    ///
    /// # Errors
    ///
    /// `rule_invalid`, as [`Registry::add_rules`].
    pub fn deactivate(
        &mut self,
        pattern: &str,
        reason: &str,
        condition: Option<&Value>,
    ) -> Result<()> {
        let entry = self.read_override(pattern, reason, condition)?;
        self.vetoes.push(entry);
        Ok(())
    }

    fn read_override(
        &self,
        pattern: &str,
        reason: &str,
        condition: Option<&Value>,
    ) -> Result<Override> {
        let known = |name: &str| self.predicates.contains_key(name);
        let read = || {
            let captures = check_pattern(pattern, "/pattern")?;
            let condition = condition
                .map(|value| read_condition(value, captures, &known))
                .transpose()?;
            Ok(Override {
                steps: steps(pattern),
                reason: reason.to_owned(),
                condition,
            })
        };
        read().map_err(|refusal: Refusal| refusal.into_error(None))
    }

    /// Gives conditions `{"native": name}` their meaning. The function answers whether a surface
    /// is active, or the reason why not; it must depend on nothing but the facts. It is called at
    /// most once for each rule that fits a surface. Register it before the rules that use it.
    pub fn predicate(
        &mut self,
        name: impl Into<String>,
        decide: impl Fn(&PredicateFacts<'_>) -> std::result::Result<(), String> + Send + Sync + 'static,
    ) {
        self.predicates.insert(name.into(), Arc::new(decide));
    }

    /// Tells which plugins can be loaded, each with `true` or `false` when the host decides its
    /// state, or `null` when the configuration does. Plugins that are not named count as stale.
    ///
    /// # Errors
    ///
    /// `invalid_argument` when the value is not an object of booleans and nulls.
    pub fn plugin_states(&mut self, states: &Value) -> Result<()> {
        let wrong = || {
            let message = "plugin states must be an object of true, false and null";
            Error::new(Code::InvalidArgument, message)
        };
        let map = states.as_object().ok_or_else(wrong)?;
        let state = |(id, value): (&String, &Value)| match value {
            Value::Null => Ok((id.clone(), None)),
            Value::Bool(state) => Ok((id.clone(), Some(*state))),
            _ => Err(wrong()),
        };
        self.plugins = Some(map.iter().map(state).collect::<Result<PluginStates>>()?);
        Ok(())
    }

    /// Adds names of variables that usually carry a provider's credential, for audit and scrub.
    pub fn env_names<N: Into<String>>(
        &mut self,
        provider: &str,
        names: impl IntoIterator<Item = N>,
    ) {
        let known = self.env_names.entry(provider.to_lowercase()).or_default();
        for name in names.into_iter().map(Into::into) {
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }
}

fn fields<'v>(value: &'v Value, name: &str) -> Result<&'v serde_json::Map<String, Value>> {
    value.as_object().ok_or_else(|| wrong(name, "an object"))
}

fn wrong(name: &str, expected: &str) -> Error {
    Error::new(Code::InvalidArgument, format!("{name}: must be {expected}")).with("argument", name)
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({} rules)", self.rules.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn invalid_rules_say_where_and_why() {
        let rule = |change: Value| {
            let mut rule = json!({"id": "x", "pattern": "channels.x.accounts.*.token"});
            for (key, value) in change.as_object().unwrap() {
                rule[key] = value.clone();
            }
            json!([rule])
        };
        for (rules, pointer, reason) in [
            (json!([{"pattern": "a.b"}]), "/id", "pattern"),
            (json!([{"id": "x"}]), "/pattern", "pattern"),
            (rule(json!({"pattern": "*.x"})), "/pattern", "pattern"),
            (rule(json!({"pattern": "a..x"})), "/pattern", "pattern"),
            (rule(json!({"pattern": "a.b*"})), "/pattern", "pattern"),
            (
                rule(json!({"pattern": "a.__proto__.x"})),
                "/pattern",
                "forbidden_segment",
            ),
            (rule(json!({"owner": "channel:x/{1}"})), "/owner", "owner"),
            (rule(json!({"owner": 5})), "/owner", "condition"),
            (
                rule(json!({"when": {"set": "a.{1}"}})),
                "/when/set",
                "captures",
            ),
            (
                rule(json!({"when": {"set": "a..b"}})),
                "/when/set",
                "condition",
            ),
            (rule(json!({"when": {"sett": "a"}})), "/when", "condition"),
            (
                rule(json!({"when": {"set": "a", "own": "b"}})),
                "/when",
                "condition",
            ),
            (
                rule(json!({"when": {"all": [{"set": "a"}, {"not": {"env": 5}}]}})),
                "/when/all/1/not/env",
                "condition",
            ),
            (
                rule(json!({"when": {"equals": {"path": "a", "values": []}}})),
                "/when/equals/values",
                "condition",
            ),
            (
                rule(json!({"when": {"set": "{item}.x"}})),
                "/when/set",
                "captures",
            ),
            (
                rule(json!({"when": {"inherited": {"over": "a.b", "lacks": "c"}}})),
                "/when/inherited/over",
                "condition",
            ),
            (
                rule(json!({"when": {"native": "nobody"}})),
                "/when/native",
                "condition",
            ),
            (
                rule(json!({"flags": ["plan", "x"]})),
                "/flags/1",
                "condition",
            ),
            (rule(json!({"typo": 1})), "", "condition"),
            (
                rule(json!({"shape": "sibling", "refPattern": "channels.x.*.tokenRef"})),
                "/refPattern",
                "captures",
            ),
            (
                rule(json!({"id": "gateway.auth.token"})),
                "/id",
                "duplicate_id",
            ),
            (
                json!([{"id": "a", "pattern": "a.b"}, {"id": "a", "pattern": "a.c"}]),
                "/id",
                "duplicate_id",
            ),
        ] {
            let mut registry = Registry::new();
            let error = registry.add_rules(&rules).unwrap_err();
            assert_eq!(error.code(), Code::RuleInvalid, "{rules}");
            assert_eq!(error.details()["pointer"], pointer, "{rules}: {error:?}");
            assert_eq!(error.details()["reason"], reason, "{rules}: {error:?}");
            assert!(registry.rules.is_empty(), "all or nothing");
        }
    }

    #[test]
    fn a_document_is_a_registry() {
        let registry = Registry::from_json(&json!({
            "rules": [{"id": "a.x", "pattern": "a.x"}],
            "activate": [{"pattern": "a.y"}, {"pattern": "a.z", "reason": "why", "when": null}],
            "deactivate": [{"pattern": "a.x", "reason": "off", "when": {"set": "a.off"}}],
            "plugins": {"p": true, "q": null},
            "envNames": {"Acme": ["ACME_TOKEN", "ACME_SECRET"]},
        }))
        .unwrap();
        assert_eq!((registry.rules.len(), registry.vetoes.len()), (1, 1));
        let reasons = registry.activations.iter().map(|one| one.reason.as_str());
        assert_eq!(reasons.collect::<Vec<_>>(), ["by the host", "why"]);
        assert_eq!(registry.env_names["acme"].len(), 2);
        for wrong in [
            json!([]),
            json!({"rule": []}),
            json!({"activate": [{"reason": "x"}]}),
            json!({"deactivate": [{"pattern": "a.x", "if": null}]}),
            json!({"envNames": {"acme": [5]}}),
            json!({"plugins": 5}),
        ] {
            let error = Registry::from_json(&wrong).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{wrong}");
        }
        let rule = json!({"rules": [{"id": "x", "pattern": "*.x"}]});
        let error = Registry::from_json(&rule).unwrap_err();
        assert_eq!(error.code(), Code::RuleInvalid);
    }

    #[test]
    fn rules_go_by_prefix() {
        let mut registry = Registry::new();
        registry
            .add_rules(&json!([
                {"id": "a.x", "pattern": "a.x", "shape": "sibling", "refPattern": "a.xRef"},
                {"id": "a.y", "pattern": "a.y"},
                {"id": "b.x", "pattern": "b.x"},
            ]))
            .unwrap();
        assert_eq!(registry.remove_rules("a."), 2);
        assert_eq!(registry.remove_rules("a."), 0);
        assert_eq!(registry.rules.len(), 1);
        assert!(registry.plugin_states(&json!({"a": 1})).is_err());
    }
}
