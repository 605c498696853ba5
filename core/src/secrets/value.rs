//! Resolved values.

use serde_json::Value;
use zeroize::Zeroizing;

use crate::text::SecretText;

/// What a reference resolved to. Only texts and objects can be secrets; of everything else just
/// the type is kept, for the message.
#[derive(Debug, Clone)]
pub(crate) enum Resolved {
    Text(SecretText),
    /// A JSON object, as compact JSON text.
    Object(SecretText),
    /// A value of a type that no surface accepts.
    Other(&'static str),
}

impl Resolved {
    /// Takes over a JSON value. Strings are moved, not copied.
    pub(crate) fn from_json(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(SecretText::new(text)),
            Value::Object(_) => {
                let text = Zeroizing::new(value.to_string());
                wipe(value);
                Self::Object(SecretText::from_zeroizing(text))
            }
            other => {
                let name = crate::json::type_name(&other);
                wipe(other);
                Self::Other(name)
            }
        }
    }
}

/// Drops a JSON value and wipes every text in it.
pub(crate) fn wipe(value: Value) {
    match value {
        Value::String(text) => drop(Zeroizing::new(text)),
        Value::Array(items) => items.into_iter().for_each(wipe),
        Value::Object(map) => {
            for (key, value) in map {
                drop(Zeroizing::new(key));
                wipe(value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
