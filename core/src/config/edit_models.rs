//! Changes of models, aliases, fallbacks and agents, on the tree of settings.

use serde_json::{Map, Value, json};

use super::edit::{child, child_object};
use super::locate::normalise_agent_id;

/// One of the lists of models that are tried when another one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FallbackList {
    /// Of `agents.defaults.model`.
    Models,
    /// Of `agents.defaults.imageModel`.
    ImageModels,
}

impl FallbackList {
    /// The key that holds it, below `agents.defaults`.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Models => "model",
            Self::ImageModels => "imageModel",
        }
    }
}

fn defaults(tree: &mut Value) -> &mut Map<String, Value> {
    child(child(child_object(tree), "agents"), "defaults")
}

/// Makes a model the default one, keeping its fallbacks; a list of allowed models gets it too.
pub(crate) fn select_model(tree: &mut Value, model: &str) {
    let defaults = defaults(tree);
    match defaults.get_mut("model") {
        Some(Value::Object(choice)) => {
            choice.insert("primary".to_owned(), model.into());
        }
        _ => {
            defaults.insert("model".to_owned(), json!({"primary": model}));
        }
    }
    allow(defaults, model);
}

/// A list of allowed models that is not empty gets a model.
fn allow(defaults: &mut Map<String, Value>, model: &str) {
    if let Some(Value::Object(models)) = defaults.get_mut("models")
        && !models.is_empty()
    {
        models.entry(model).or_insert(json!({}));
    }
}

/// Gives a model an alias.
pub(crate) fn set_alias(tree: &mut Value, alias: &str, model: &str) {
    let models = child(defaults(tree), "models");
    child(models, model).insert("alias".to_owned(), alias.into());
}

/// Takes an alias away from every model that has it.
pub(crate) fn remove_alias(tree: &mut Value, alias: &str) {
    let models = child(defaults(tree), "models");
    for settings in models.values_mut().filter_map(Value::as_object_mut) {
        let same = |known: &Value| {
            let known = known.as_str().map(str::trim);
            known.is_some_and(|known| known.eq_ignore_ascii_case(alias))
        };
        if settings.get("alias").is_some_and(same) {
            settings.shift_remove("alias");
        }
    }
}

/// Replaces a list of fallbacks.
pub(crate) fn set_fallbacks(tree: &mut Value, list: FallbackList, models: &[String]) {
    let defaults = defaults(tree);
    let choice = defaults.entry(list.key()).or_insert(Value::Null);
    if let Value::String(primary) = choice {
        *choice = json!({"primary": primary});
    }
    let choice = child_object(choice);
    if models.is_empty() {
        choice.shift_remove("fallbacks");
    } else {
        choice.insert("fallbacks".to_owned(), models.into());
    }
    if list == FallbackList::Models {
        models.iter().for_each(|model| allow(defaults, model));
    }
}

/// Adds an agent. When it is the first one, the agent that was the default so far gets an entry
/// before it, so that it stays the default.
pub(crate) fn add_agent(tree: &mut Value, entry: &Value) {
    let agents = child(child_object(tree), "agents");
    let list = agents.entry("list").or_insert(json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    if let Value::Array(list) = list {
        if list.is_empty() {
            list.push(json!({"id": "main", "default": true}));
        }
        list.push(entry.clone());
    }
}

/// Adds rules about which messages an agent answers.
pub(crate) fn add_bindings(tree: &mut Value, bindings: &[Value]) {
    if bindings.is_empty() {
        return;
    }
    let known = child_object(tree).entry("bindings").or_insert(json!([]));
    if let Value::Array(known) = known {
        known.extend_from_slice(bindings);
    }
}

/// Takes an agent out: its entry, its bindings, and its name where it is allowed to be called.
/// How many bindings and allowances went.
pub(crate) fn remove_agent(tree: &mut Value, id: &str) -> (usize, usize) {
    let is_it = |name: Option<&Value>| {
        let name = name.and_then(Value::as_str);
        name.is_some_and(|name| normalise_agent_id(name) == id)
    };
    let mut removed = (0, 0);
    if let Some(Value::Array(list)) = tree.pointer_mut("/agents/list") {
        list.retain(|entry| !is_it(entry.get("id")));
    }
    if let Some(Value::Array(bindings)) = tree.get_mut("bindings") {
        let before = bindings.len();
        bindings.retain(|binding| !is_it(binding.get("agentId")));
        removed.0 = before - bindings.len();
    }
    if let Some(Value::Array(allowed)) = tree.pointer_mut("/tools/agentToAgent/allow") {
        let before = allowed.len();
        allowed.retain(|name| !is_it(Some(name)));
        removed.1 = before - allowed.len();
    }
    removed
}

/// Takes a profile out of `auth.profiles` and of every order; an order that becomes empty goes,
/// because an empty one means that no profile may be used.
pub(crate) fn unname_profile(tree: &mut Value, id: &str) {
    if let Some(Value::Object(profiles)) = tree.pointer_mut("/auth/profiles") {
        profiles.shift_remove(id);
    }
    if let Some(Value::Object(order)) = tree.pointer_mut("/auth/order") {
        order.retain(|_, ids| {
            let Value::Array(ids) = ids else { return true };
            let before = ids.len();
            ids.retain(|known| known.as_str().map(str::trim) != Some(id));
            ids.len() == before || !ids.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(mut tree: Value, change: impl FnOnce(&mut Value)) -> Value {
        change(&mut tree);
        tree
    }

    #[test]
    fn models_fallbacks_and_aliases() {
        let plain = json!({"agents": {"defaults": {"model": "a/m"}}});
        assert_eq!(
            after(plain.clone(), |tree| select_model(tree, "b/n")),
            json!({"agents": {"defaults": {"model": {"primary": "b/n"}}}}),
            "nothing is allowed that was not limited before"
        );
        let listed = json!({"agents": {"defaults": {
            "model": {"primary": "a/m", "fallbacks": ["c/f"], "x": 1},
            "models": {"a/m": {"alias": "Big"}},
        }}});
        let next = after(listed, |tree| select_model(tree, "b/n"));
        assert_eq!(
            next.pointer("/agents/defaults/model"),
            Some(&json!({"primary": "b/n", "fallbacks": ["c/f"], "x": 1}))
        );
        let models = |tree: &Value| tree.pointer("/agents/defaults/models").cloned();
        assert_eq!(
            models(&next),
            Some(json!({"a/m": {"alias": "Big"}, "b/n": {}}))
        );
        let next = after(next, |tree| {
            set_alias(tree, "New", "b/n");
            remove_alias(tree, "BIG");
        });
        assert_eq!(
            models(&next),
            Some(json!({"a/m": {}, "b/n": {"alias": "New"}}))
        );
        let next = after(plain, |tree| {
            set_fallbacks(tree, FallbackList::Models, &["c/f".to_owned()]);
            set_fallbacks(tree, FallbackList::ImageModels, &[]);
        });
        assert_eq!(
            next,
            json!({"agents": {"defaults": {
                "model": {"primary": "a/m", "fallbacks": ["c/f"]}, "imageModel": {},
            }}})
        );
    }

    #[test]
    fn agents_come_and_go() {
        let entry = json!({"id": "work"});
        let next = after(json!({}), |tree| add_agent(tree, &entry));
        assert_eq!(
            next,
            json!({"agents": {"list": [{"id": "main", "default": true}, {"id": "work"}]}})
        );
        let tree = json!({
            "agents": {"list": [{"id": "main"}, {"id": "Work"}]},
            "bindings": [{"agentId": "work"}, {"agentId": "main"}],
            "tools": {"agentToAgent": {"allow": ["work", "main"]}},
        });
        let next = after(tree, |tree| assert_eq!(remove_agent(tree, "work"), (1, 1)));
        assert_eq!(
            next,
            json!({
                "agents": {"list": [{"id": "main"}]},
                "bindings": [{"agentId": "main"}],
                "tools": {"agentToAgent": {"allow": ["main"]}},
            })
        );
    }

    #[test]
    fn a_profile_goes_from_everywhere() {
        let tree = json!({"auth": {
            "profiles": {"a:1": {}, "a:2": {}},
            "order": {"a": ["a:1"], "b": [], "c": ["a:1", "c:1"]},
        }});
        assert_eq!(
            after(tree, |tree| unname_profile(tree, "a:1")),
            json!({"auth": {"profiles": {"a:2": {}}, "order": {"b": [], "c": ["c:1"]}}})
        );
    }
}
