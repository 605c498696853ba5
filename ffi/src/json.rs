//! JSON arguments: bounded, objects only, every key known.

use serde_json::{Map, Value};

use auth::{Code, Error};

use crate::boundary::{Reason, Result, invalid};

/// Most bytes of a JSON argument.
const MAX_BYTES: usize = 1 << 20;
/// Most levels of a JSON argument.
const MAX_DEPTH: usize = 128;

/// Reads a JSON argument.
pub(crate) fn parse(json: &str, argument: &str) -> Result<Value> {
    // The parser has no limit of its own here.
    if json.len() > MAX_BYTES || is_deep(json) {
        return Err(invalid(argument, Reason::TooLong));
    }
    // The parser's own message could quote a secret.
    serde_json::from_str(json).map_err(|_| wrong(argument, argument, "JSON"))
}

fn is_deep(json: &str) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    json.bytes().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_DEPTH
    })
}

/// The fields of an object. Whoever knows a field takes it out; what is left at the end is an
/// error. `null` counts as absent.
pub(crate) struct Fields<'a> {
    argument: &'a str,
    /// Where the object is in the argument, with a dot behind; empty at the top.
    prefix: String,
    map: Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of an argument; an absent argument has none.
    pub(crate) fn of(json: Option<&str>, argument: &'a str) -> Result<Self> {
        let value = match json {
            Some(json) => parse(json, argument)?,
            None => Value::Object(Map::new()),
        };
        Self::new(value, argument, String::new())
    }

    fn new(value: Value, argument: &'a str, prefix: String) -> Result<Self> {
        let Value::Object(map) = value else {
            let place = prefix.strip_suffix('.').unwrap_or(argument);
            return Err(wrong(argument, place, "an object"));
        };
        Ok(Self {
            argument,
            prefix,
            map,
        })
    }

    pub(crate) fn value(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    /// The fields of an object inside.
    pub(crate) fn object(&mut self, key: &str) -> Result<Self> {
        let value = self.value(key).unwrap_or_else(|| Map::new().into());
        Self::new(value, self.argument, format!("{}{key}.", self.prefix))
    }

    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    pub(crate) fn texts(&mut self, key: &str) -> Result<Vec<String>> {
        let Some(value) = self.value(key) else {
            return Ok(Vec::new());
        };
        texts(value).ok_or_else(|| self.wrong(key, "a list of texts"))
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<u64>> {
        let value = self.value(key);
        let number = value.map(|value| {
            value
                .as_u64()
                .ok_or_else(|| self.wrong(key, "a whole number"))
        });
        number.transpose()
    }

    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        let value = self.value(key);
        let flag = value.map(|value| {
            value
                .as_bool()
                .ok_or_else(|| self.wrong(key, "true or false"))
        });
        flag.transpose()
    }

    /// A word of a list that `read` knows.
    pub(crate) fn word<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(word) = self.text(key)? else {
            return Ok(None);
        };
        let found = read(&word).ok_or_else(|| self.wrong(key, expected))?;
        Ok(Some(found))
    }

    pub(crate) fn wrong(&self, key: &str, expected: &str) -> Error {
        wrong(self.argument, &format!("{}{key}", self.prefix), expected)
    }

    /// Refuses what nobody has taken.
    pub(crate) fn end(self) -> Result<()> {
        let Some(key) = self.map.keys().next() else {
            return Ok(());
        };
        // It could be anything, so it is cut short.
        let path: String = format!("{}{key}", self.prefix).chars().take(64).collect();
        Err(invalid(self.argument, Reason::UnknownField).with("path", path))
    }
}

/// A list of texts.
pub(crate) fn texts(value: Value) -> Option<Vec<String>> {
    let Value::Array(items) = value else {
        return None;
    };
    let texts = items.into_iter().map(|item| match item {
        Value::String(text) => Some(text),
        _ => None,
    });
    texts.collect()
}

/// The error for a value of the wrong type.
pub(crate) fn wrong(argument: &str, path: &str, expected: &str) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!("argument `{argument}`: `{path}` must be {expected}"),
    )
    .with("argument", argument)
    .with("reason", "unknown_value")
    .with("path", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_or_refused() {
        let json = r#"{"a": "x", "b": 5, "c": true, "d": ["y"], "e": {"f": null, "g": "z"}}"#;
        let mut fields = Fields::of(Some(json), "json").unwrap();
        assert_eq!(fields.text("a").unwrap().as_deref(), Some("x"));
        assert_eq!(fields.number("b").unwrap(), Some(5));
        assert_eq!(fields.flag("c").unwrap(), Some(true));
        assert_eq!(fields.texts("d").unwrap(), ["y"]);
        let mut inner = fields.object("e").unwrap();
        assert_eq!(inner.text("f").unwrap(), None);
        let error = inner.end().unwrap_err();
        assert_eq!(error.details()["path"], "e.g");
        assert!(fields.end().is_ok());
        assert!(Fields::of(None, "json").unwrap().end().is_ok());
    }

    #[test]
    fn wrong_types_say_where() {
        let mut fields = Fields::of(Some(r#"{"a": {"b": 1}}"#), "json").unwrap();
        let mut inner = fields.object("a").unwrap();
        assert_eq!(inner.text("b").unwrap_err().details()["path"], "a.b");
        for json in ["", "[]", "null", "{\"a\": \"sk-canary"] {
            let error = Fields::of(Some(json), "json").err().unwrap();
            assert!(!error.message().contains("canary"), "{error}");
        }
    }

    #[test]
    fn only_nesting_counts_as_depth() {
        let flat = format!("[{}]", vec!["{}"; 500].join(","));
        assert!(parse(&flat, "json").is_ok());
        assert!(parse(&format!("\"{}\\\"[\"", "[".repeat(500)), "json").is_ok());
        assert!(parse(&"[".repeat(129), "json").is_err());
    }
}
