//! Typed reading of settings: every problem is noted with its path, and reading goes on.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::load::Problem;
use crate::error::Code;
use crate::text::{closest, printable_key};

/// Errors and warnings, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Problems {
    errors: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Problems {
    pub(super) fn error(&self, code: Code, path: impl Into<String>, message: impl Into<String>) {
        self.errors
            .borrow_mut()
            .push(Problem::new(code, path.into(), message.into()));
    }

    pub(super) fn warning(&self, code: Code, path: impl Into<String>, message: impl Into<String>) {
        self.warnings
            .borrow_mut()
            .push(Problem::new(code, path.into(), message.into()));
    }

    /// Errors and warnings.
    pub(super) fn into_lists(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }
}

/// One object of the configuration, possibly absent.
#[derive(Clone)]
pub(super) struct Section<'a> {
    object: Option<&'a Map<String, Value>>,
    path: String,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    pub(super) fn root(config: &'a Value, problems: &'a Problems) -> Self {
        Self {
            object: config.as_object(),
            path: String::new(),
            problems,
        }
    }

    pub(super) fn exists(&self) -> bool {
        self.object.is_some()
    }

    pub(super) fn path(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.object.is_some_and(|object| object.contains_key(key))
    }

    pub(super) fn section(&self, key: &str) -> Self {
        let object = self.read(key, "an object", Value::as_object);
        Self {
            object,
            path: self.path(key),
            problems: self.problems,
        }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.read(key, "a string", Value::as_str)
    }

    /// A text or `false`; `Some(None)` is `false`.
    pub(super) fn text_or_false(&self, key: &str) -> Option<Option<&'a str>> {
        self.read(key, "a string or false", |value| match value {
            Value::String(text) => Some(Some(text.as_str())),
            Value::Bool(false) => Some(None),
            _ => None,
        })
    }

    /// A whole number; out of bounds is an error with the given code.
    pub(super) fn number(&self, key: &str, low: u32, high: u32, code: Code) -> Option<u32> {
        let number = self.read(key, "a whole number", Value::as_number)?;
        let number = number
            .as_u64()
            .and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (low..=high).contains(number));
        if number.is_none() {
            let message = format!("must be a whole number from {low} to {high}");
            self.problems.error(code, self.path(key), message);
        }
        number
    }

    /// The texts of a list, each with its path. Entries of other types are errors.
    pub(super) fn texts(&self, key: &str) -> Vec<(String, &'a str)> {
        let list = self.read(key, "a list of strings", Value::as_array);
        let mut texts = Vec::new();
        for (at, value) in list.into_iter().flatten().enumerate() {
            let path = format!("{}[{at}]", self.path(key));
            match value.as_str() {
                Some(text) => texts.push((path, text)),
                None => self
                    .problems
                    .error(Code::ConfigInvalidValue, path, "must be a string"),
            }
        }
        texts
    }

    /// Notes keys that are neither known nor knowingly ignored.
    pub(super) fn only(&self, known: &[&str], ignored: &[&str]) {
        for key in self.object.into_iter().flat_map(Map::keys) {
            let path = self.path(printable_key(key));
            if ignored.contains(&key.as_str()) {
                self.ignored(key);
            } else if !known.contains(&key.as_str()) {
                let message = match closest(key, known.iter().copied()) {
                    Some(near) => format!("unknown key; `{near}` is known"),
                    None => "unknown key".to_owned(),
                };
                self.problems.error(Code::ConfigUnknownKey, path, message);
            }
        }
    }

    /// Notes a key that has no effect here, if it is there.
    pub(super) fn ignored(&self, key: &str) {
        if self.has(key) {
            let message = "this setting has no effect here";
            self.problems
                .warning(Code::GatewaySettingIgnored, self.path(key), message);
        }
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.object?.get(key)?;
        let converted = convert(value);
        if converted.is_none() {
            let message = format!("must be {expected}");
            self.problems
                .error(Code::ConfigInvalidValue, self.path(key), message);
        }
        converted
    }
}

/// A configured text as it may stand in a message: on one line and not too long.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(80)
        .collect::<String>()
        .escape_debug()
        .collect();
    if text.chars().nth(80).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn problems_carry_paths_and_reading_goes_on() {
        let config =
            json!({"a": {"flag": 1, "number": 7, "list": ["x", 2], "flg": true, "old": 1}});
        let problems = Problems::default();
        let section = Section::root(&config, &problems).section("a");
        section.only(&["flag", "number", "list"], &["old"]);
        assert_eq!(section.flag("flag"), None);
        assert_eq!(section.number("number", 8, 9, Code::RateLimitInvalid), None);
        assert_eq!(section.texts("list"), [("a.list[0]".to_owned(), "x")]);
        assert_eq!(section.text("absent"), None);
        let (errors, warnings) = problems.into_lists();
        let errors: Vec<_> = errors
            .iter()
            .map(|p| (p.code.as_str(), p.path.as_str()))
            .collect();
        assert_eq!(
            errors,
            [
                ("config_unknown_key", "a.flg"),
                ("config_invalid_value", "a.flag"),
                ("rate_limit_invalid", "a.number"),
                ("config_invalid_value", "a.list[1]"),
            ]
        );
        assert_eq!(warnings[0].path, "a.old");
    }

    #[test]
    fn shown_texts_are_short_and_on_one_line() {
        assert_eq!(shown("a\nb"), "`a\\nb`");
        assert_eq!(shown(&"x".repeat(100)), format!("`{}...`", "x".repeat(80)));
    }
}
