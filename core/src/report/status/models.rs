//! The models of an agent, and whose credentials they need.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::config::normalise_agent_id;
use crate::engine::Scene;
use crate::sessions::{ModelRef, choice};

/// What OpenClaw uses when nothing is configured.
const FALLBACK_DEFAULT: (&str, &str) = ("anthropic", "claude-opus-4-6");

/// Models as configured and as they resolve.
#[derive(Debug)]
pub(crate) struct ModelFacts {
    /// As configured.
    default: Option<String>,
    pub(crate) resolved: ModelRef,
    pub(crate) fallbacks: Vec<String>,
    image: Option<String>,
    image_fallbacks: Vec<String>,
    default_source: &'static str,
    fallbacks_source: &'static str,
    aliases: Vec<(String, String)>,
    allowed: Vec<String>,
    /// Providers of the default, the image model and their fallbacks.
    pub(crate) in_use: BTreeSet<String>,
    /// Those, and the providers of allowed models.
    pub(crate) all_providers: BTreeSet<String>,
}

impl ModelFacts {
    pub(crate) fn of(scene: &Scene<'_>) -> Self {
        let agent = scene.agent.agent.as_str();
        let models = scene.models();
        let defaults = choice(scene.setting(&["agents", "defaults", "model"]));
        let list = scene.setting(&["agents", "list"]).and_then(Value::as_array);
        let id_of = |entry: &Value| {
            let id = entry.get("id").and_then(Value::as_str);
            normalise_agent_id(id.unwrap_or_default())
        };
        let entry = list
            .into_iter()
            .flatten()
            .find(|entry| id_of(entry) == agent);
        let own = choice(entry.and_then(|entry| entry.get("model")));
        let source = |has: bool| if has { "agent" } else { "defaults" };
        let (default_source, fallbacks_source) = (source(own.0.is_some()), source(own.1.is_some()));
        let default = own.0.or(defaults.0);
        let fallbacks = own.1.or(defaults.1).unwrap_or_default();
        let resolved = models.default_model(agent).unwrap_or_else(|_| ModelRef {
            provider: FALLBACK_DEFAULT.0.to_owned(),
            model: FALLBACK_DEFAULT.1.to_owned(),
        });
        let (image, image_fallbacks) = choice(scene.setting(&["agents", "defaults", "imageModel"]));
        let image_fallbacks = image_fallbacks.unwrap_or_default();
        let provider_of = |text: &String| models.step(text, agent).map(|step| step.model.provider);
        let mut in_use: BTreeSet<String> = BTreeSet::from([resolved.provider.clone()]);
        in_use.extend(fallbacks.iter().filter_map(provider_of));
        in_use.extend(image.iter().chain(&image_fallbacks).filter_map(provider_of));
        let listed = scene.setting(&["agents", "defaults", "models"]);
        let listed = listed.and_then(Value::as_object);
        let mut facts = Self {
            default,
            resolved,
            fallbacks,
            image,
            image_fallbacks,
            default_source,
            fallbacks_source,
            aliases: Vec::new(),
            allowed: Vec::new(),
            all_providers: in_use.clone(),
            in_use,
        };
        for (key, settings) in listed.into_iter().flatten() {
            let alias = settings.get("alias").and_then(Value::as_str).map(str::trim);
            if let Some(alias) = alias.filter(|alias| !alias.is_empty()) {
                facts.aliases.push((alias.to_owned(), key.clone()));
            }
            facts.all_providers.extend(provider_of(key));
            facts.allowed.push(key.clone());
        }
        facts
    }

    /// Adds the members of the document.
    pub(crate) fn put(
        &self,
        put: &mut dyn FnMut(&str, Value) -> Option<Value>,
        with_sources: bool,
    ) {
        let key = self.resolved.key();
        put(
            "defaultModel",
            self.default.clone().unwrap_or_else(|| key.clone()).into(),
        );
        put("resolvedDefault", key.into());
        put("fallbacks", self.fallbacks.clone().into());
        put("imageModel", self.image.clone().into());
        put("imageFallbacks", self.image_fallbacks.clone().into());
        if with_sources {
            let sources = json!({
                "defaultSource": self.default_source,
                "fallbacksSource": self.fallbacks_source,
            });
            put("modelConfig", sources);
        }
        let aliases = self.aliases.iter();
        let aliases = aliases.map(|(alias, key)| (alias.clone(), key.clone().into()));
        put("aliases", Value::Object(aliases.collect::<Map<_, _>>()));
        put("allowed", self.allowed.clone().into());
    }
}
