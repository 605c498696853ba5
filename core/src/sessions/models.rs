//! The models of a configuration: aliases, the list of allowed ones, defaults and fallbacks.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::split::split_profile;
use crate::config::{Aliases, normalise_agent_id, normalise_provider};
use crate::error::{Code, Error, Result};
use crate::json::lookup;

/// A model of a provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelRef {
    /// Provider, in normal form.
    pub provider: String,
    /// Model id, as typed.
    pub model: String,
}

impl ModelRef {
    /// `provider/model`. A model id that starts with its own provider is not doubled.
    pub fn key(&self) -> String {
        let own = self.model.strip_prefix(self.provider.as_str());
        if own.is_some_and(|rest| rest.starts_with('/')) {
            self.model.clone()
        } else {
            format!("{}/{}", self.provider, self.model)
        }
    }
}

/// One step of a fallback chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainStep {
    pub(crate) model: ModelRef,
    /// `@profile`: only this one.
    pub(crate) profile: Option<String>,
}

/// Most steps of a fallback chain.
const MAX_CHAIN: usize = 32;
/// Most suggestions for a name that is not allowed, and how different they may be.
const MAX_SUGGESTIONS: usize = 3;
const MAX_DISTANCE: usize = 3;

/// What the configuration says about models.
#[derive(Debug, Clone, Default)]
pub(crate) struct Models {
    aliases: Aliases,
    default_agent: String,
    primary: Option<String>,
    fallbacks: Vec<String>,
    /// Primary and fallbacks of agents that have their own, by normalised id.
    agents: BTreeMap<String, (Option<String>, Option<Vec<String>>)>,
    /// `agents.defaults.models`: reference and alias.
    listed: Vec<(String, Option<String>)>,
    /// Models of `models.providers`.
    provided: Vec<ModelRef>,
}

/// One row of the selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelectorRow {
    pub(crate) model: ModelRef,
    pub(crate) aliases: Vec<String>,
}

impl Models {
    pub(crate) fn read(tree: &Value, aliases: &Aliases) -> Self {
        let (primary, fallbacks) = choice(lookup(tree, &["agents", "defaults", "model"]));
        let list = lookup(tree, &["agents", "list"]).and_then(Value::as_array);
        let mut models = Self {
            aliases: aliases.clone(),
            primary,
            fallbacks: fallbacks.unwrap_or_default(),
            default_agent: "main".to_owned(),
            ..Self::default()
        };
        let id_of = |entry: &Value| {
            normalise_agent_id(entry.get("id").and_then(Value::as_str).unwrap_or_default())
        };
        for entry in list.into_iter().flatten() {
            models
                .agents
                .insert(id_of(entry), choice(entry.get("model")));
        }
        let chosen = list.and_then(|list| {
            let marked = |entry: &&Value| entry.get("default") == Some(&Value::Bool(true));
            list.iter().find(marked).or(list.first())
        });
        if let Some(entry) = chosen {
            models.default_agent = id_of(entry);
        }
        let listed = lookup(tree, &["agents", "defaults", "models"]).and_then(Value::as_object);
        for (reference, settings) in listed.into_iter().flatten() {
            let alias = settings.get("alias").and_then(Value::as_str).map(str::trim);
            let alias = alias.filter(|alias| !alias.is_empty()).map(str::to_owned);
            models.listed.push((reference.clone(), alias));
        }
        let providers = lookup(tree, &["models", "providers"]).and_then(Value::as_object);
        for (provider, settings) in providers.into_iter().flatten() {
            let listed = settings.get("models").and_then(Value::as_array);
            for id in listed.into_iter().flatten() {
                let id = id.get("id").unwrap_or(id).as_str().map(str::trim);
                if let Some(id) = id.filter(|id| !id.is_empty()) {
                    models.provided.push(ModelRef {
                        provider: normalise_provider(provider, aliases).into_owned(),
                        model: id.to_owned(),
                    });
                }
            }
        }
        models
    }

    /// The agent that is meant when none is named.
    pub(crate) fn default_agent(&self) -> &str {
        &self.default_agent
    }

    pub(crate) fn is_alias(&self, word: &str) -> bool {
        self.alias_target(word).is_some()
    }

    fn alias_target(&self, word: &str) -> Option<&str> {
        let same = |alias: &Option<String>| {
            alias
                .as_deref()
                .is_some_and(|alias| alias.eq_ignore_ascii_case(word.trim()))
        };
        let found = self.listed.iter().find(|(_, alias)| same(alias));
        found.map(|(reference, _)| reference.as_str())
    }

    /// The model that an agent uses when nothing else is chosen.
    pub(crate) fn default_model(&self, agent: &str) -> Result<ModelRef> {
        let own = self
            .agents
            .get(agent)
            .and_then(|(primary, _)| primary.as_ref());
        let primary = own.or(self.primary.as_ref()).ok_or_else(|| {
            Error::new(
                Code::NoDefaultModel,
                "agents.defaults.model: no default model is configured",
            )
        })?;
        self.explicit(primary).or_else(|_| {
            let target = self.alias_target(primary).unwrap_or(primary);
            self.explicit(target)
                .or_else(|error| self.provided_by_one(target).ok_or(error))
        })
    }

    /// Reads the name of a model: an alias, a model id, or `provider/model`.
    pub(crate) fn resolve(&self, text: &str, agent: &str) -> Result<ModelRef> {
        let text = text.trim();
        if let Some(target) = self.alias_target(text) {
            return self.explicit(target);
        }
        if text.contains('/') {
            return self.explicit(text);
        }
        if let Some(found) = self.provided_by_one(text) {
            return Ok(found);
        }
        if text.is_empty() {
            return Err(unrecognised(text));
        }
        let provider = self.default_model(agent)?.provider;
        Ok(ModelRef {
            provider,
            model: text.to_owned(),
        })
    }

    /// Reads the name of a model where a wrong guess would be written down: `provider/model`, an
    /// alias, or the id of a model that exactly one configured provider has.
    pub(crate) fn named(&self, text: &str) -> Result<ModelRef> {
        let text = text.trim();
        if let Some(target) = self.alias_target(text) {
            return self.explicit(target);
        }
        self.explicit(text)
            .or_else(|error| self.provided_by_one(text).ok_or(error))
    }

    /// Every alias with its model, in order.
    pub(crate) fn aliases(&self) -> Vec<(String, String)> {
        let listed = self.listed.iter();
        listed
            .filter_map(|(model, alias)| Some((alias.clone()?, model.clone())))
            .collect()
    }

    /// The listed models, as written.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().map(|(model, _)| model.as_str())
    }

    /// Everything that names a configured model.
    pub(crate) fn names(&self) -> Vec<String> {
        let aliases = self.aliases().into_iter().map(|(alias, _)| alias);
        let listed = self.listed.iter().map(|(model, _)| model.clone());
        let provided = self.provided.iter();
        let provided = provided.flat_map(|model| [model.model.clone(), model.key()]);
        aliases.chain(listed).chain(provided).collect()
    }

    fn provided_by_one(&self, id: &str) -> Option<ModelRef> {
        let mut found = self.provided.iter().filter(|known| known.model == id);
        let first = found.next()?;
        found.next().is_none().then(|| first.clone())
    }

    /// `provider/model`, split at the first slash.
    fn explicit(&self, text: &str) -> Result<ModelRef> {
        let split = text.trim().split_once('/');
        let split = split.filter(|(a, b)| !a.trim().is_empty() && !b.trim().is_empty());
        let (provider, model) = split.ok_or_else(|| unrecognised(text))?;
        Ok(ModelRef {
            provider: normalise_provider(provider, &self.aliases).into_owned(),
            model: model.trim().to_owned(),
        })
    }

    /// What may be selected: the listed models, the default and the fallbacks; without a list
    /// everything, of which the known ones are shown.
    pub(crate) fn selector(&self, agent: &str) -> Vec<SelectorRow> {
        let mut models: Vec<ModelRef> = Vec::new();
        models.extend(
            self.listed
                .iter()
                .filter_map(|(text, _)| self.explicit(text).ok()),
        );
        models.extend(self.default_model(agent));
        models.extend(
            self.fallbacks_of(agent)
                .iter()
                .filter_map(|text| self.step(text, agent))
                .map(|s| s.model),
        );
        if self.listed.is_empty() {
            models.extend(self.provided.iter().cloned());
        }
        models.sort();
        models.dedup();
        let rows = models.into_iter().map(|model| {
            let mine = self
                .listed
                .iter()
                .filter(|(text, _)| self.explicit(text).ok().as_ref() == Some(&model));
            SelectorRow {
                aliases: mine.filter_map(|(_, alias)| alias.clone()).collect(),
                model,
            }
        });
        rows.collect()
    }

    /// Identifies a displayed selector: 12 hex digits.
    pub(crate) fn fingerprint(rows: &[SelectorRow]) -> String {
        let keys: Vec<String> = rows.iter().map(|row| row.model.key()).collect();
        let hash = Sha256::digest(keys.join("\n"));
        hash.iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Refuses a model that is not in the list, with what may have been meant.
    pub(crate) fn check_allowed(&self, model: &ModelRef, agent: &str) -> Result<()> {
        if self.listed.is_empty() {
            return Ok(());
        }
        let rows = self.selector(agent);
        if rows.iter().any(|row| row.model == *model) {
            return Ok(());
        }
        let mut near: Vec<(usize, String)> = rows
            .iter()
            .filter_map(|row| {
                let distance = strsim::damerau_levenshtein(&row.model.model, &model.model);
                let part = row.model.model.contains(&model.model);
                (distance <= MAX_DISTANCE || part).then(|| (distance, row.model.key()))
            })
            .collect();
        near.sort();
        let near: Vec<String> = near
            .into_iter()
            .map(|(_, key)| key)
            .take(MAX_SUGGESTIONS)
            .collect();
        let message = format!(
            "Model \"{}\" is not allowed. Use /model list to see available models.",
            model.key()
        );
        let error = Error::new(Code::ModelNotAllowed, message).with("suggestions", near.clone());
        Err(match near.as_slice() {
            [] => error,
            near => error.with_hint(format!("Did you mean {}?", near.join(" or "))),
        })
    }

    pub(crate) fn fallbacks_of(&self, agent: &str) -> &[String] {
        let own = self
            .agents
            .get(agent)
            .and_then(|(_, fallbacks)| fallbacks.as_ref());
        own.unwrap_or(&self.fallbacks)
    }

    /// The models to try one after the other: the requested one or the primary, then the
    /// fallbacks. What cannot be resolved goes into `unresolved`.
    pub(crate) fn chain(
        &self,
        agent: &str,
        requested: Option<&str>,
        fallbacks: Option<&[String]>,
        unresolved: &mut Vec<String>,
    ) -> Result<Vec<ChainStep>> {
        let primary = self.default_model(agent).ok();
        let first = match requested {
            Some(text) => self.step(text, agent).ok_or_else(|| unrecognised(text))?,
            None => ChainStep {
                model: self.default_model(agent)?,
                profile: None,
            },
        };
        let configured = self.fallbacks_of(agent);
        let mut add = Vec::new();
        let mut resolve = |texts: &[String]| {
            for text in texts {
                match self.step(text, agent) {
                    Some(step) => add.push(step),
                    None => unresolved.push(text.clone()),
                }
            }
        };
        match fallbacks {
            Some(list) => resolve(list),
            None => {
                // A model of another provider, chosen outside the configured chain, has nothing
                // to do with it: it ends at the primary.
                let listed = configured.iter().filter_map(|text| self.step(text, agent));
                let mut listed = listed.map(|step| step.model);
                let foreign = primary
                    .as_ref()
                    .is_some_and(|p| p.provider != first.model.provider)
                    && !listed.any(|model| model == first.model);
                if !foreign {
                    resolve(configured);
                }
                if let Some(model) = primary {
                    add.push(ChainStep {
                        model,
                        profile: None,
                    });
                }
            }
        }
        let mut steps: Vec<ChainStep> = vec![first];
        for step in add {
            if !steps.iter().any(|known| known.model == step.model) {
                steps.push(step);
            }
        }
        steps.truncate(MAX_CHAIN);
        Ok(steps)
    }

    /// A model of a chain, with a profile behind `@` when there is one.
    pub(crate) fn step(&self, text: &str, agent: &str) -> Option<ChainStep> {
        if self.is_alias(text) {
            return Some(ChainStep {
                model: self.resolve(text, agent).ok()?,
                profile: None,
            });
        }
        let (model, profile) = split_profile(text, &|_| false);
        Some(ChainStep {
            model: self.resolve(model, agent).ok()?,
            profile: profile.map(str::to_owned),
        })
    }
}

fn unrecognised(text: &str) -> Error {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
    Error::new(
        Code::ModelUnrecognized,
        format!("`{shown}` is not the name of a model"),
    )
}

/// A setting that is a model, or an object of primary and fallbacks.
pub(crate) fn choice(value: Option<&Value>) -> (Option<String>, Option<Vec<String>>) {
    let text = |value: &Value| {
        value
            .as_str()
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
    };
    match value {
        Some(Value::Object(map)) => {
            let fallbacks = map.get("fallbacks").and_then(Value::as_array);
            (
                map.get("primary").and_then(text),
                fallbacks.map(|list| list.iter().filter_map(text).collect()),
            )
        }
        Some(value) => (text(value), None),
        None => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn models() -> Models {
        let tree = json!({
            "agents": {
                "defaults": {
                    "model": {"primary": "anthropic/opus", "fallbacks": ["sonnet", "openai/gpt@openai:me", "/bad"]},
                    "models": {"anthropic/opus": {"alias": "Opus"}, "anthropic/sonnet": {"alias": "sonnet"}, "openai/gpt": {}},
                },
                "list": [{"id": "main"}, {"id": "Work", "default": true, "model": {"primary": "openai/gpt", "fallbacks": []}}],
            },
            "models": {"providers": {"Z.AI": {"models": [{"id": "glm"}]}, "x": {"models": ["dup"]}, "y": {"models": ["dup"]}}},
        });
        Models::read(&tree, &Aliases::new())
    }

    #[test]
    fn md_5_names_become_models() {
        let models = models();
        for (text, key) in [
            ("OPUS", "anthropic/opus"),
            ("glm", "zai/glm"),
            ("dup", "anthropic/dup"),
            ("haiku", "anthropic/haiku"),
            ("z-ai/glm", "zai/glm"),
            (
                "openrouter/moonshotai/kimi-k2",
                "openrouter/moonshotai/kimi-k2",
            ),
            ("openrouter/openrouter/auto", "openrouter/auto"),
        ] {
            assert_eq!(models.resolve(text, "main").unwrap().key(), key, "{text}");
        }
        for text in ["/x", "x/", " / ", ""] {
            assert_eq!(
                models.resolve(text, "main").unwrap_err().code(),
                Code::ModelUnrecognized
            );
        }
        let none = Models::default().resolve("x", "main").unwrap_err();
        assert_eq!(none.code(), Code::NoDefaultModel);
        assert_eq!(models.default_agent(), "work");
    }

    #[test]
    fn md_6_the_list_is_a_list() {
        let models = models();
        let model = |text: &str| models.resolve(text, "main").unwrap();
        assert!(models.check_allowed(&model("opus"), "main").is_ok());
        let error = models
            .check_allowed(&model("anthropic/sonet"), "main")
            .unwrap_err();
        assert_eq!(
            error.message(),
            "Model \"anthropic/sonet\" is not allowed. Use /model list to see available models."
        );
        assert_eq!(error.hint(), Some("Did you mean anthropic/sonnet?"));
        let rows = models.selector("main");
        let keys: Vec<String> = rows.iter().map(|row| row.model.key()).collect();
        assert_eq!(keys, ["anthropic/opus", "anthropic/sonnet", "openai/gpt"]);
        assert_eq!(rows[0].aliases, ["Opus"]);
        assert_eq!(Models::fingerprint(&rows).len(), 12);
    }

    #[test]
    fn mf_2_chains() {
        let models = models();
        let keys = |agent: &str, requested: Option<&str>, list: Option<&[String]>| {
            let mut unresolved = Vec::new();
            let steps = models
                .chain(agent, requested, list, &mut unresolved)
                .unwrap();
            let keys: Vec<String> = steps
                .iter()
                .map(|step| step.model.key() + step.profile.as_deref().unwrap_or_default())
                .collect();
            (keys, unresolved)
        };
        let all = ["anthropic/opus", "anthropic/sonnet", "openai/gptopenai:me"];
        let (found, unresolved) = keys("main", None, None);
        assert_eq!(
            (found.as_slice(), unresolved.as_slice()),
            (&all.map(str::to_owned)[..], &["/bad".to_owned()][..])
        );
        assert_eq!(keys("work", None, None).0, ["openai/gpt"]);
        assert_eq!(
            keys("main", Some("xai/grok"), None).0,
            ["xai/grok", "anthropic/opus"]
        );
        assert_eq!(
            keys("main", Some("openai/gpt"), None).0,
            ["openai/gpt", "anthropic/sonnet", "anthropic/opus"]
        );
        let list = ["haiku".to_owned(), "opus".to_owned(), "haiku".to_owned()];
        assert_eq!(
            keys("main", Some("opus"), Some(&list)).0,
            ["anthropic/opus", "anthropic/haiku"]
        );
    }
}
