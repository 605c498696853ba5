//! The store as a tree of JSON. Writers change only what they mean to change: unknown keys, the
//! order of keys and the spelling of numbers stay as they are.

use serde_json::{Map, Value, json};

use crate::json::measure;
use crate::secrets::wipe;

/// Largest store, in bytes.
pub(crate) const MAX_BYTES: u64 = 16 << 20;
/// Deepest store. OpenClaw writes four levels.
const MAX_DEPTH: usize = 64;
/// Version of the format that is written.
const VERSION: u64 = 1;

/// A store file. Its memory is wiped when it is dropped.
#[derive(PartialEq)]
pub(crate) struct Document {
    root: Map<String, Value>,
}

/// Why a text is not a store. Never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotAStore {
    /// Not JSON, too deep, or of another shape.
    Corrupt {
        message: String,
        line: usize,
        column: usize,
    },
    /// Provider names directly at the top level, as very old releases wrote it.
    LegacyShape,
}

impl Document {
    /// The store of an agent that has none yet.
    pub(crate) fn empty() -> Self {
        let mut root = Map::new();
        root.insert("version".to_owned(), VERSION.into());
        root.insert("profiles".to_owned(), json!({}));
        Self { root }
    }

    /// A store of these members; `None` when they are none.
    pub(super) fn from_root(root: Map<String, Value>) -> Option<Self> {
        let is_store = root.get("profiles").is_some_and(Value::is_object);
        is_store.then_some(Self { root })
    }

    /// Reads a store file. A byte order mark is accepted.
    pub(crate) fn parse(text: &str) -> Result<Self, NotAStore> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let corrupt = |message: &str, line, column| NotAStore::Corrupt {
            message: message.to_owned(),
            line,
            column,
        };
        if measure(text, MAX_DEPTH).is_err() {
            return Err(corrupt("nested too deeply", 1, 1));
        }
        let parsed: Result<Value, _> = serde_json::from_str(text);
        let value = parsed.map_err(|error| {
            let message = if error.is_eof() {
                "unexpected end of input"
            } else {
                "invalid JSON"
            };
            corrupt(message, error.line(), error.column())
        })?;
        match value {
            Value::Object(root) if root.get("profiles").is_some_and(Value::is_object) => {
                Ok(Self { root })
            }
            other => {
                let legacy = is_legacy_shape(&other);
                wipe(other);
                Err(if legacy {
                    NotAStore::LegacyShape
                } else {
                    corrupt("missing \"profiles\" object", 1, 1)
                })
            }
        }
    }

    /// The text of the file: two spaces of indentation, a final line feed.
    pub(crate) fn to_text(&self) -> zeroize::Zeroizing<String> {
        let mut text = zeroize::Zeroizing::new(String::with_capacity(4096));
        // Writing a tree of strings, numbers and maps into memory has no way to fail.
        use std::fmt::Write as _;
        let _ = writeln!(text, "{:#}", Shown(&self.root));
        text
    }

    pub(crate) fn version(&self) -> Option<&Value> {
        self.root.get("version")
    }

    /// The credentials by profile id, as written.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.section("profiles").into_iter().flatten()
    }

    pub(crate) fn profile(&self, id: &str) -> Option<&Value> {
        self.section("profiles")?.get(id)
    }

    /// A top-level object, when it is one.
    pub(crate) fn section(&self, name: &str) -> Option<&Map<String, Value>> {
        self.root.get(name)?.as_object()
    }

    /// Changes a top-level object, which is made when it is missing or something else, and goes
    /// when it holds nothing any more (`profiles` always stays).
    pub(crate) fn edit<T>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Map<String, Value>) -> T,
    ) -> T {
        let mut map = match self.root.get_mut(name).map(Value::take) {
            Some(Value::Object(map)) => map,
            Some(other) => {
                wipe(other);
                Map::new()
            }
            None => Map::new(),
        };
        let result = change(&mut map);
        if map.is_empty() && name != "profiles" {
            self.root.shift_remove(name);
        } else {
            self.root.insert(name.to_owned(), Value::Object(map));
        }
        result
    }
}

impl Clone for Document {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
        }
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(Value::Object(std::mem::take(&mut self.root)));
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Document({} profiles)", self.profiles().count())
    }
}

/// Prints a map as JSON without copying it.
struct Shown<'a>(&'a Map<String, Value>);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string_pretty(self.0).map_err(|_| std::fmt::Error)?;
        f.write_str(&zeroize::Zeroizing::new(text))
    }
}

/// `{"openrouter": {"apiKey": "…"}}`: every value is an object that holds a secret.
fn is_legacy_shape(value: &Value) -> bool {
    const SECRETS: [&str; 6] = ["key", "apiKey", "token", "access", "refresh", "keyRef"];
    let Value::Object(root) = value else {
        return false;
    };
    let holds_secret = |value: &Value| {
        SECRETS
            .iter()
            .any(|key| value.get(key).is_some_and(|v| !v.is_null()))
    };
    !root.is_empty() && root.values().all(holds_secret)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn st_8_what_is_not_changed_stays_byte_for_byte() {
        let text = "{\n  \"x\": 1,\n  \"version\": 1.0,\n  \"profiles\": {\n    \"b\": {\n      \"n\": 1e+400\n    },\n    \"a\": 5\n  },\n  \"big\": 18446744073709551617\n}\n";
        let document = Document::parse(text).unwrap();
        assert_eq!(document.to_text().as_str(), text);
        let with_bom = format!("\u{feff}{text}");
        assert!(Document::parse(&with_bom).unwrap() == document);
    }

    #[test]
    fn st_16_other_documents_are_not_stores() {
        let corrupt = |text: &str| match Document::parse(text) {
            Err(NotAStore::Corrupt { message, line, .. }) => (message, line),
            other => panic!("{other:?}"),
        };
        assert_eq!(corrupt("[]").0, "missing \"profiles\" object");
        assert_eq!(
            corrupt("{\"profiles\": []}").0,
            "missing \"profiles\" object"
        );
        assert_eq!(corrupt("{}").0, "missing \"profiles\" object");
        assert_eq!(corrupt("{\n\"profiles\": {").1, 2);
        assert_eq!(corrupt(&"[".repeat(100_000)).0, "nested too deeply");
        assert_eq!(
            Document::parse("{\"openrouter\": {\"apiKey\": \"k\"}}").err(),
            Some(NotAStore::LegacyShape)
        );
    }

    #[test]
    fn sections_appear_and_go() {
        let mut document = Document::empty();
        document.edit("order", |order| {
            order.insert("a".to_owned(), json!(["a:1"]))
        });
        assert!(document.section("order").is_some());
        document.edit("order", |order| order.shift_remove("a"));
        assert!(document.section("order").is_none());
        assert!(document.to_text().ends_with("}\n"));
        assert_eq!(format!("{document:?}"), "Document(0 profiles)");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{}\\[\\]\",:a-z0-9 ]{0,60}") {
            let _ = Document::parse(&text);
        }
    }
}
