//! A printed configuration comes back: what was hidden is put in again, as it was written.

use serde_json::Value;

use super::pattern::{PatternIndex, Position};
use super::reference::SecretSource;
use super::rules::Rules;
use super::sensitive::{is_sensitive_header, is_sensitive_key};
use crate::error::{Code, Error};
use crate::json::{Path, lookup};
use crate::text::REDACTED;

/// Replaces every `__OPENCLAW_REDACTED__` of a proposed document by what `current` (as written)
/// has at the same path. Lists are matched by index.
pub(crate) fn restore(proposed: &Value, current: &Value, rules: &Rules) -> Result<Value, Error> {
    let mut restored = proposed.clone();
    let mut walk = Walk {
        rules,
        current,
        path: Path::root(),
        left: Vec::new(),
    };
    walk.value(&mut restored, &PatternIndex::start());
    if walk.left.is_empty() {
        return Ok(restored);
    }
    super::wipe(restored);
    let first = walk.left.first().cloned().unwrap_or_default();
    let message = format!("{first}: there is nothing to put in place of the redaction placeholder");
    Err(Error::new(Code::ConfigRedactedValue, message)
        .with_hint("put the reference or the secret back")
        .with("paths", walk.left))
}

struct Walk<'a> {
    rules: &'a Rules,
    current: &'a Value,
    path: Path,
    left: Vec<String>,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value, at: &Position) {
        match value {
            Value::String(text) if text.trim() == REDACTED => self.placeholder(value, at),
            // Part of a longer text: nobody can tell what was meant.
            Value::String(text) if text.contains(REDACTED) => self.left.push(self.path.to_string()),
            Value::String(_) => {}
            Value::Array(items) => {
                let at = self.rules.index.index(at);
                for (index, item) in items.iter_mut().enumerate() {
                    self.path.push(index.to_string());
                    self.value(item, &at);
                    self.path.pop();
                }
            }
            Value::Object(map) => {
                if map.get("id").and_then(Value::as_str).map(str::trim) == Some(REDACTED)
                    && let Some(id) = self.reference_id(map)
                {
                    map.insert("id".to_owned(), id);
                }
                for (key, item) in map.iter_mut() {
                    let at = self.rules.index.key(at, key);
                    self.path.push(key.as_str());
                    self.value(item, &at);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    fn placeholder(&mut self, value: &mut Value, at: &Position) {
        let segments = self.path.segments();
        let key = segments.last().map(String::as_str).unwrap_or_default();
        let hidden = segments.first().is_some_and(|first| first == "env")
            || self.rules.index.first(at).is_some()
            || is_sensitive_key(key)
            || is_sensitive_header(key);
        let written = lookup(self.current, segments).filter(|_| hidden);
        match written {
            Some(Value::String(text)) if !text.contains(REDACTED) => {
                *value = Value::String(text.clone());
            }
            // References and objects that hold a whole secret.
            Some(Value::Object(map)) => *value = Value::Object(map.clone()),
            _ => self.left.push(self.path.to_string()),
        }
    }

    /// The hidden id of a reference, if the current reference has the same source and provider.
    fn reference_id(&self, map: &serde_json::Map<String, Value>) -> Option<Value> {
        let current = lookup(self.current, self.path.segments())?.as_object()?;
        let same = |key: &str| map.get(key).is_some() && map.get(key) == current.get(key);
        let source = current.get("source").and_then(Value::as_str)?;
        SecretSource::parse(source)?;
        let id = current.get("id")?.as_str()?;
        (same("source") && map.get("provider") == current.get("provider") && id != REDACTED)
            .then(|| Value::from(id))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::Registry;

    fn run(proposed: &Value, current: &Value) -> Result<Value, Vec<String>> {
        restore(proposed, current, &Rules::new(&Registry::new())).map_err(|error| {
            assert_eq!(error.code(), Code::ConfigRedactedValue);
            let paths = error.details()["paths"].as_array().unwrap().iter();
            paths
                .map(|path| path.as_str().unwrap().to_owned())
                .collect()
        })
    }

    #[test]
    fn everything_hidden_comes_back_as_written() {
        let current = json!({
            "env": {"vars": {"PLAIN": "a"}},
            "models": {"providers": {
                "a": {"apiKey": "pre${K}", "headers": {"x-api-key": "h"}},
                "b": {"apiKey": {"source": "file", "provider": "f", "id": "/x"}},
            }},
            "channels": {"googlechat": {"serviceAccount": {"private_key": "p"}}},
            "plugins": {"entries": {"x": {"config": {"clientSecret": "s", "list": [{"token": "t"}]}}}},
        });
        let mut proposed = current.clone();
        for pointer in [
            "/env/vars/PLAIN",
            "/models/providers/a/apiKey",
            "/models/providers/a/headers/x-api-key",
            "/models/providers/b/apiKey/id",
            "/channels/googlechat/serviceAccount",
            "/plugins/entries/x/config/clientSecret",
            "/plugins/entries/x/config/list/0/token",
        ] {
            *proposed.pointer_mut(pointer).unwrap() = json!(REDACTED);
        }
        proposed["models"]["providers"]["a"]["baseUrl"] = json!("new");
        let mut expected = current.clone();
        expected["models"]["providers"]["a"]["baseUrl"] = json!("new");
        assert_eq!(run(&proposed, &current), Ok(expected));
    }

    #[test]
    fn what_cannot_come_back_is_listed() {
        let current = json!({
            "models": {"providers": {"b": {"apiKey": {"source": "file", "provider": "f", "id": "/x"},
                                           "baseUrl": "u"}}},
        });
        let proposed = json!({
            "models": {"providers": {
                "b": {"apiKey": {"source": "file", "provider": "other", "id": REDACTED},
                      "baseUrl": REDACTED},
                "c": {"apiKey": REDACTED, "note": format!("x {REDACTED}")},
            }},
        });
        let paths = [
            "models.providers.b.apiKey.id",
            "models.providers.b.baseUrl",
            "models.providers.c.apiKey",
            "models.providers.c.note",
        ];
        assert_eq!(
            run(&proposed, &current),
            Err(paths.map(str::to_owned).to_vec())
        );
    }
}
