//! Changes of the configuration that follow a sign-in, on the tree of settings.

use serde_json::{Map, Value, json};

use super::provider_id::{Aliases, normalise_provider};

/// What stands in `auth.profiles` for a profile.
#[derive(Debug, Clone)]
pub(crate) struct ProfileEntry<'a> {
    pub(crate) id: &'a str,
    pub(crate) provider: &'a str,
    /// `api_key`, `oauth` or `token`.
    pub(crate) mode: &'a str,
    pub(crate) email: Option<&'a str>,
}

/// Whether the configuration hides a profile that it does not name: it lists others of the
/// provider.
pub(crate) fn hides(tree: &Value, entry: &ProfileEntry<'_>, aliases: &Aliases) -> bool {
    let same = |provider: &str| is_same(provider, entry.provider, aliases);
    let section = |name: &str| tree.get("auth")?.get(name)?.as_object();
    let listed = section("profiles").is_some_and(|profiles| profiles.contains_key(entry.id));
    let others = section("profiles")
        .into_iter()
        .flatten()
        .any(|(_, profile)| {
            profile
                .get("provider")
                .and_then(Value::as_str)
                .is_some_and(same)
        });
    let missing = section("order")
        .into_iter()
        .flatten()
        .any(|(provider, ids)| {
            let ids = ids.as_array().map(Vec::as_slice).unwrap_or_default();
            same(provider) && !ids.iter().any(|id| id.as_str() == Some(entry.id))
        });
    missing || (others && !listed)
}

/// Names a profile: in `auth.profiles`, and first in the order of its provider when there is one
/// or when profiles of different kinds make one necessary (same rules as OpenClaw 2026.4).
pub(crate) fn name_profile(tree: &mut Value, entry: &ProfileEntry<'_>, aliases: &Aliases) {
    let same = |provider: &str| is_same(provider, entry.provider, aliases);
    let provider = normalise_provider(entry.provider, aliases).into_owned();
    let mut named = Map::new();
    named.insert("provider".to_owned(), provider.clone().into());
    named.insert("mode".to_owned(), entry.mode.into());
    if let Some(email) = entry.email {
        named.insert("email".to_owned(), email.into());
    }
    let profiles = child(child_object(tree), "auth");
    let profiles = child(profiles, "profiles");
    let old = profiles
        .get(entry.id)
        .and_then(|old| old.get("displayName"))
        .cloned();
    if let Some(name) = old {
        named.insert("displayName".to_owned(), name);
    }
    profiles.insert(entry.id.to_owned(), Value::Object(named));
    let of_provider: Vec<(String, bool)> = profiles
        .iter()
        .filter(|(_, profile)| {
            profile
                .get("provider")
                .and_then(Value::as_str)
                .is_some_and(same)
        })
        .map(|(id, profile)| {
            (
                id.clone(),
                profile.get("mode").and_then(Value::as_str) == Some(entry.mode),
            )
        })
        .collect();
    let mixed = of_provider.iter().any(|(_, same_mode)| !same_mode);

    let auth = child(child_object(tree), "auth");
    let ordered = auth.get("order").and_then(Value::as_object);
    let keys: Vec<String> = ordered
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .filter(|key| same(key))
        .collect();
    if keys.is_empty() && !mixed {
        return;
    }
    let order = child(auth, "order");
    let mut ids: Vec<String> = vec![entry.id.to_owned()];
    let add = |ids: &mut Vec<String>, id: String| {
        if !ids.contains(&id) {
            ids.push(id);
        }
    };
    for key in &keys {
        let list = order.shift_remove(key);
        let list = list
            .as_ref()
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for id in list.iter().filter_map(Value::as_str) {
            add(&mut ids, id.to_owned());
        }
    }
    if keys.is_empty() {
        for (id, _) in of_provider {
            add(&mut ids, id);
        }
    }
    order.insert(provider, ids.into());
}

/// Makes a model the default one, keeping its fallbacks, and allows it.
pub(crate) fn set_default_model(tree: &mut Value, model: &str) {
    let defaults = child(child(child_object(tree), "agents"), "defaults");
    child(defaults, "models").entry(model).or_insert(json!({}));
    let fallbacks = defaults
        .get("model")
        .and_then(|model| model.get("fallbacks"))
        .cloned();
    let mut next = Map::new();
    next.insert("primary".to_owned(), model.into());
    if let Some(fallbacks) = fallbacks {
        next.insert("fallbacks".to_owned(), fallbacks);
    }
    defaults.insert("model".to_owned(), Value::Object(next));
}

/// What switching to the Claude program has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaudeCli {
    /// The model that is, or would be, the default.
    pub(crate) default_model: String,
    /// The default model before, for the way back.
    pub(crate) previous: Option<String>,
}

const CLAUDE_DEFAULT: &str = "claude-cli/claude-sonnet-4-6";

/// Lets the Anthropic models be served by the local `claude` program: adds a `claude-cli/…` model
/// beside each `anthropic/claude-…` one, and with `set_default` makes the default model and its
/// fallbacks use them. Profiles and the old models stay, as the way back.
pub(crate) fn use_claude_cli(tree: &mut Value, set_default: bool) -> ClaudeCli {
    let defaults = child(child(child_object(tree), "agents"), "defaults");
    let models = child(defaults, "models");
    let found: Vec<(String, Value)> = models
        .iter()
        .filter_map(|(key, value)| Some((claude_cli_name(key)?, value.clone())))
        .collect();
    for (key, value) in found {
        models.entry(key).or_insert(value);
    }
    let model = defaults.get("model");
    let primary = match model {
        Some(Value::String(primary)) => Some(primary.clone()),
        other => other.and_then(|model| model.get("primary")?.as_str().map(str::to_owned)),
    };
    let is_own = |model: &&String| model.starts_with("claude-cli/");
    let default_model = primary
        .as_ref()
        .and_then(|primary| claude_cli_name(primary))
        .or_else(|| primary.as_ref().filter(is_own).cloned())
        .unwrap_or_else(|| CLAUDE_DEFAULT.to_owned());
    child(defaults, "models")
        .entry(&default_model)
        .or_insert(json!({}));
    if set_default {
        let fallbacks = defaults
            .get("model")
            .and_then(|model| model.get("fallbacks"))
            .cloned();
        let mut next = Map::new();
        next.insert("primary".to_owned(), default_model.clone().into());
        if let Some(Value::Array(list)) = fallbacks {
            let converted = list.into_iter().map(|model| {
                let name = model.as_str().and_then(claude_cli_name);
                name.map_or(model, Value::from)
            });
            next.insert("fallbacks".to_owned(), converted.collect());
        }
        // Other members of the object, such as those of newer releases, stay.
        if let Some(Value::Object(old)) = defaults.get("model") {
            for (key, value) in old {
                next.entry(key).or_insert(value.clone());
            }
        }
        defaults.insert("model".to_owned(), Value::Object(next));
    }
    ClaudeCli {
        previous: primary.filter(|primary| *primary != default_model),
        default_model,
    }
}

/// `anthropic/claude-…` as a model of the local program.
fn claude_cli_name(model: &str) -> Option<String> {
    let (provider, rest) = model.split_once('/')?;
    let fits = provider.eq_ignore_ascii_case("anthropic") && rest.starts_with("claude-");
    fits.then(|| format!("claude-cli/{rest}"))
}

fn is_same(one: &str, other: &str, aliases: &Aliases) -> bool {
    normalise_provider(one, aliases) == normalise_provider(other, aliases)
}

/// The object behind a key; made when it is missing or something else.
pub(super) fn child<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    child_object(map.entry(key).or_insert(Value::Null))
}

#[expect(clippy::panic, reason = "an object has been put there just before")]
pub(super) fn child_object(slot: &mut Value) -> &mut Map<String, Value> {
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    let Value::Object(map) = slot else {
        panic!("not an object");
    };
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_82_to_85() {
        for (before, after) in [
            (
                json!({"model": "anthropic/claude-opus-4-6"}),
                json!({"primary": "claude-cli/claude-opus-4-6"}),
            ),
            (
                json!({"model": {"primary": "openai/gpt-5.2", "fallbacks": ["Anthropic/claude-sonnet-4-6"]}}),
                json!({"primary": "claude-cli/claude-sonnet-4-6", "fallbacks": ["claude-cli/claude-sonnet-4-6"]}),
            ),
            (
                json!({"model": {"primary": "anthropic/other-model", "fallbacks": ["x/y"]}}),
                json!({"primary": "claude-cli/claude-sonnet-4-6", "fallbacks": ["x/y"]}),
            ),
        ] {
            let mut tree = json!({"agents": {"defaults": before}});
            use_claude_cli(&mut tree, true);
            assert_eq!(tree["agents"]["defaults"]["model"], after);
            let once = tree.clone();
            use_claude_cli(&mut tree, true);
            assert_eq!(tree, once, "the second time changes nothing");
        }
        let opus = json!({"alias": "Opus"});
        let mut tree =
            json!({"agents": {"defaults": {"models": {"anthropic/claude-opus-4-6": opus}}}});
        let done = use_claude_cli(&mut tree, false);
        let models = &tree["agents"]["defaults"]["models"];
        assert_eq!(
            models["claude-cli/claude-opus-4-6"],
            models["anthropic/claude-opus-4-6"]
        );
        assert!(tree["agents"]["defaults"]["model"].is_null());
        assert_eq!(done.default_model, CLAUDE_DEFAULT);
    }

    #[test]
    fn profiles_are_named_only_where_the_configuration_hides_them() {
        let entry = ProfileEntry {
            id: "a:new",
            provider: "a",
            mode: "oauth",
            email: Some("x@y"),
        };
        let aliases = Aliases::new();
        for (tree, hidden) in [
            (json!({}), false),
            (
                json!({"auth": {"profiles": {"b:1": {"provider": "b"}}, "order": {"b": []}}}),
                false,
            ),
            (
                json!({"auth": {"profiles": {"a:1": {"provider": "A"}}}}),
                true,
            ),
            (
                json!({"auth": {"profiles": {"a:new": {"provider": "a"}}}}),
                false,
            ),
            (json!({"auth": {"order": {"a": ["a:1"]}}}), true),
            (json!({"auth": {"order": {"a": ["a:new"]}}}), false),
        ] {
            assert_eq!(hides(&tree, &entry, &aliases), hidden, "{tree}");
        }
        let mut tree = json!({"x": 1, "auth": {"order": {"A": ["a:1", "a:new"], "b": ["b:1"]}}});
        name_profile(&mut tree, &entry, &aliases);
        assert_eq!(
            tree,
            json!({"x": 1, "auth": {
                "order": {"b": ["b:1"], "a": ["a:new", "a:1"]},
                "profiles": {"a:new": {"provider": "a", "mode": "oauth", "email": "x@y"}},
            }})
        );
        let mut tree = json!({"auth": {"profiles": {"a:k": {"provider": "a", "mode": "api_key"}}}});
        name_profile(&mut tree, &entry, &aliases);
        assert_eq!(tree["auth"]["order"], json!({"a": ["a:new", "a:k"]}));
        let mut tree = json!({"auth": {"profiles": {"a:k": {"provider": "a", "mode": "oauth"}}}});
        name_profile(&mut tree, &entry, &aliases);
        assert!(tree["auth"].get("order").is_none());
    }

    #[test]
    fn a_default_model_keeps_its_fallbacks() {
        let mut tree =
            json!({"agents": {"defaults": {"model": {"primary": "a/b", "fallbacks": ["c/d"]}}}});
        set_default_model(&mut tree, "x/y");
        let defaults = &tree["agents"]["defaults"];
        assert_eq!(
            defaults["model"],
            json!({"primary": "x/y", "fallbacks": ["c/d"]})
        );
        assert_eq!(defaults["models"], json!({"x/y": {}}));
    }
}
