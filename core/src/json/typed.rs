//! Typed reading of one object: every mismatch is collected with its path, unknown keys included.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{Path, type_name};
use crate::text::{closest, printable_key};

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) path: Path,
    /// The key itself is unknown, as opposed to its value being wrong.
    pub(crate) unknown_key: bool,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// Reads the fields of one object. Every field that is asked for becomes a known key;
/// [`Fields::finish`] reports the others.
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: &'a Path,
    known: Vec<&'static str>,
    problems: Vec<Mismatch>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(map: &'a Map<String, Value>, path: &'a Path) -> Self {
        Self {
            map,
            path,
            known: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The raw value of a field.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.map.get(key)
    }

    pub(crate) fn string(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        value
            .as_str()
            .or_else(|| self.wrong_type(key, "a string", value))
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        value
            .as_bool()
            .or_else(|| self.wrong_type(key, "true or false", value))
    }

    pub(crate) fn integer(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(key)?;
        let number = value.as_u64().or_else(|| {
            // 5000.0 is an integer to people and to JavaScript.
            let float = value
                .as_f64()
                .filter(|f| f.fract() == 0.0 && *f >= 0.0 && *f < 9e15)?;
            format!("{float:.0}").parse().ok()
        });
        if number.is_some_and(|number| range.contains(&number)) {
            return number;
        }
        let wanted = format!("an integer from {} to {}", range.start(), range.end());
        match value {
            Value::Number(_) => self.wrong(key, format!("must be {wanted}")),
            _ => self.wrong_type(key, &wanted, value),
        }
    }

    /// A list of strings with at most `max` entries.
    pub(crate) fn strings(&mut self, key: &'static str, max: usize) -> Option<Vec<&'a str>> {
        let value = self.value(key)?;
        let Some(items) = value.as_array() else {
            return self.wrong_type(key, "a list of strings", value);
        };
        if items.len() > max {
            return self.wrong(
                key,
                format!("has {} entries, at most {max} are allowed", items.len()),
            );
        }
        let mut strings = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(text) => strings.push(text),
                None => {
                    let path = self.path.child(key).child(index.to_string());
                    let message = format!("must be a string, not {}", type_name(item));
                    self.problems.push(Mismatch {
                        path,
                        unknown_key: false,
                        message,
                        hint: None,
                    });
                }
            }
        }
        Some(strings)
    }

    pub(crate) fn object(&mut self, key: &'static str) -> Option<&'a Map<String, Value>> {
        let value = self.value(key)?;
        value
            .as_object()
            .or_else(|| self.wrong_type(key, "an object", value))
    }

    /// Records that a field's value is wrong.
    pub(crate) fn wrong<T>(&mut self, key: &str, message: impl Into<String>) -> Option<T> {
        self.problems.push(Mismatch {
            path: self.path.child(key),
            unknown_key: false,
            message: message.into(),
            hint: None,
        });
        None
    }

    fn wrong_type<T>(&mut self, key: &str, wanted: &str, value: &Value) -> Option<T> {
        self.wrong(key, format!("must be {wanted}, not {}", type_name(value)))
    }

    /// All problems, with one for every key that nobody asked for.
    pub(crate) fn finish(mut self) -> Vec<Mismatch> {
        for key in self
            .map
            .keys()
            .filter(|key| !self.known.contains(&key.as_str()))
        {
            self.problems.push(unknown_key(self.path, key, &self.known));
        }
        self.problems
    }
}

/// The problem of a key that is none of the known ones.
pub(crate) fn unknown_key(parent: &Path, key: &str, known: &[&str]) -> Mismatch {
    let hint = closest(key, known.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
    Mismatch {
        path: parent.child(key),
        unknown_key: true,
        message: format!("unknown key \"{}\"", printable_key(key)),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_mismatches_of_an_object_in_one_pass() {
        let value =
            json!({"a": 1, "b": "x", "c": [1, "y"], "d": 7.0, "e": 99, "f": "no", "typo_": 1});
        let root = Path::new(["root"]);
        let mut fields = Fields::new(value.as_object().unwrap(), &root);
        assert_eq!(fields.string("a"), None);
        assert_eq!(fields.string("b"), Some("x"));
        assert_eq!(fields.strings("c", 5), Some(vec!["y"]));
        assert_eq!(fields.integer("d", 1..=10), Some(7));
        assert_eq!(fields.integer("e", 1..=10), None);
        assert_eq!(fields.boolean("f"), None);
        assert_eq!(fields.string("typo"), None);
        let shown: Vec<String> = fields
            .finish()
            .into_iter()
            .map(|p| format!("{}: {} {}", p.path, p.message, p.hint.unwrap_or_default()))
            .collect();
        assert_eq!(
            shown,
            [
                "root.a: must be a string, not number ",
                "root.c.0: must be a string, not number ",
                "root.e: must be an integer from 1 to 10 ",
                "root.f: must be true or false, not string ",
                "root.typo_: unknown key \"typo_\" did you mean \"typo\"?",
            ]
        );
    }
}
