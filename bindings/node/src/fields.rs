//! Arguments that come as one JSON object. Unknown keys are refused, so that a misspelled option
//! does not go unnoticed.

use openclaw_auth::Result;
use serde_json::{Map, Value};

use crate::boundary::invalid;

/// The members of an object.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads an object that has no other keys than these.
    pub(crate) fn read(json: &str, known: &[&str]) -> Result<Self> {
        // The parser's own message could quote a secret.
        let value = serde_json::from_str(json).map_err(|_| invalid("options", "an object"))?;
        Self::of(value, "options", known)
    }

    /// The same from a value.
    pub(crate) fn of(value: Value, name: &str, known: &[&str]) -> Result<Self> {
        let Value::Object(map) = value else {
            return Err(invalid(name, "an object"));
        };
        match map.keys().find(|key| !known.contains(&key.as_str())) {
            // Keys may be anything, secrets included.
            Some(key) if key.len() <= 40 && key.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                Err(invalid(name, &format!("an object without the key {key}")))
            }
            Some(_) => Err(invalid(name, "an object without unknown keys")),
            None => Ok(Self(map)),
        }
    }

    /// The value of a key; null is like absent.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>> {
        self.read_as(key, "a string", Value::as_str)
    }

    pub(crate) fn need(&self, key: &str) -> Result<&str> {
        self.text(key)?.ok_or_else(|| invalid(key, "a string"))
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.read_as(key, "true or false", Value::as_bool)
    }

    pub(crate) fn count(&self, key: &str) -> Result<Option<u64>> {
        self.read_as(key, "a whole number, not negative", whole)
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.read_as(key, "a list of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    /// A list of pairs of strings.
    pub(crate) fn pairs(&self, key: &str) -> Result<Vec<(&str, &str)>> {
        let pair = |value| match Value::as_array(value)?.as_slice() {
            [Value::String(name), Value::String(value)] => Some((name.as_str(), value.as_str())),
            _ => None,
        };
        let pairs = self.read_as(key, "a list of pairs of strings", |value| {
            value.as_array()?.iter().map(pair).collect()
        });
        pairs.map(Option::unwrap_or_default)
    }

    /// A word that stands for something.
    pub(crate) fn word<T>(
        &self,
        key: &str,
        of: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        self.read_as(key, "one of the words of the documentation", |value| {
            of(value.as_str()?)
        })
    }

    fn read_as<'f, T>(
        &'f self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'f Value) -> Option<T>,
    ) -> Result<Option<T>> {
        self.value(key)
            .map(|value| read(value).ok_or_else(|| invalid(key, expected)))
            .transpose()
    }
}

/// A number of JavaScript that counts something.
fn whole(value: &Value) -> Option<u64> {
    let number = || {
        value
            .as_f64()
            .filter(|n| n.fract() == 0.0 && (0.0..9e15).contains(n))
    };
    // Exact: whole and below 2^53.
    value
        .as_u64()
        .or_else(|| number().and_then(|n| format!("{n:.0}").parse().ok()))
}
