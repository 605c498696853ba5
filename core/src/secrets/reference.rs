//! Secret references: the accepted forms, and what is said about the others.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::{Part, split_references};
use crate::error::Code;
use crate::json::{lookup, type_name};
use crate::text::{REDACTED, SecretText};

/// Where a reference is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SecretSource {
    /// An environment variable.
    Env,
    /// A file.
    File,
    /// A program.
    Exec,
}

impl SecretSource {
    /// The text in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::File => "file",
            Self::Exec => "exec",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Env, Self::File, Self::Exec]
            .into_iter()
            .find(|source| source.as_str() == text)
    }
}

/// A secret reference in normal form. Its text form is `source:provider:id`; clones share it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecretRef {
    label: Arc<str>,
    source: SecretSource,
    /// Where the id starts in the label.
    id_at: usize,
}

impl SecretRef {
    /// The reference of parts that are known to be valid.
    pub(crate) fn new(source: SecretSource, provider: &str, id: &str) -> Self {
        let mut label = String::with_capacity(provider.len() + id.len() + 6);
        for part in [source.as_str(), ":", provider, ":", id] {
            label.push_str(part);
        }
        Self {
            id_at: label.len() - id.len(),
            label: label.into(),
            source,
        }
    }

    /// Reads the text form `source:provider:id`; `None` when a part of it is not valid.
    pub fn parse(label: &str) -> Option<Self> {
        let (source, _, id) = Self::parts(label)?;
        Some(Self {
            label: label.into(),
            source,
            id_at: label.len() - id.len(),
        })
    }

    /// Source, provider and id of a text form, all valid.
    pub(super) fn parts(label: &str) -> Option<(SecretSource, &str, &str)> {
        let (source, rest) = label.split_once(':')?;
        let (provider, id) = rest.split_once(':')?;
        let source = SecretSource::parse(source)?;
        let fine = is_alias(provider) && check_id(source, id).is_ok();
        fine.then_some((source, provider, id))
    }

    /// The text form.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Where it is resolved.
    pub fn source(&self) -> SecretSource {
        self.source
    }

    /// The provider's alias.
    pub fn provider(&self) -> &str {
        let start = self.source.as_str().len() + 1;
        self.label.get(start..self.id_at - 1).unwrap_or_default()
    }

    /// The id inside the provider.
    pub fn id(&self) -> &str {
        self.label.get(self.id_at..).unwrap_or_default()
    }
}

impl Ord for SecretRef {
    /// By source, provider and id.
    fn cmp(&self, other: &Self) -> Ordering {
        self.source
            .cmp(&other.source)
            .then_with(|| self.provider().cmp(other.provider()))
            .then_with(|| self.id().cmp(other.id()))
    }
}

impl PartialOrd for SecretRef {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretRef({self})")
    }
}

/// The aliases of forms without a provider (`secrets.defaults`).
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    env: String,
    file: String,
    exec: String,
}

impl Defaults {
    pub(crate) fn read(tree: &Value) -> Self {
        let alias = |source: &str| {
            let text = lookup(tree, &["secrets", "defaults", source]).and_then(Value::as_str);
            text.filter(|text| is_alias(text))
                .unwrap_or("default")
                .to_owned()
        };
        Self {
            env: alias("env"),
            file: alias("file"),
            exec: alias("exec"),
        }
    }

    pub(crate) fn alias(&self, source: SecretSource) -> &str {
        match source {
            SecretSource::Env => &self.env,
            SecretSource::File => &self.file,
            SecretSource::Exec => &self.exec,
        }
    }
}

/// How a value on a secret surface is to be read.
pub(crate) enum Classified {
    /// A reference; the flag marks the old form without provider.
    Reference(SecretRef, bool),
    /// Literal text and environment references, put together at activation.
    Template(Vec<Part>),
    /// A literal secret whose escapes were undone. `None`: take the text as it is.
    Literal(Option<SecretText>),
    /// Not acceptable.
    Invalid(InvalidRef),
}

/// What is wrong with a reference. The text never echoes an invalid id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidRef {
    pub(crate) code: Code,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl InvalidRef {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code: Code::SecretRefInvalid,
            reason,
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Reads a string on a secret surface.
pub(crate) fn classify_text(text: &str, defaults: &Defaults) -> Classified {
    let trimmed = text.trim();
    if trimmed == REDACTED {
        let mut invalid = InvalidRef::new("redacted_id", "a redaction placeholder is not a secret");
        invalid.code = Code::ConfigRedactedValue;
        return Classified::Invalid(invalid);
    }
    if let Some(name) = legacy_marker(trimmed) {
        let name = if is_env_id(name) { name } else { "NAME" };
        return Classified::Invalid(
            InvalidRef::new("legacy_marker", "marker strings are not references here").hint(
                format!("write {{\"source\":\"env\",\"provider\":\"default\",\"id\":\"{name}\"}}"),
            ),
        );
    }
    let shorthand = trimmed
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .or_else(|| trimmed.strip_prefix('$'))
        .filter(|name| is_env_id(name));
    if let Some(name) = shorthand {
        let provider = defaults.alias(SecretSource::Env);
        let reference = SecretRef::new(SecretSource::Env, provider, name);
        return Classified::Reference(reference, false);
    }
    if !text.contains("${") {
        return Classified::Literal(None);
    }
    let (parts, _) = split_references(text);
    match parts.as_slice() {
        [Part::Literal(literal)] => {
            Classified::Literal((literal != text).then(|| SecretText::new(literal.clone())))
        }
        _ => Classified::Template(parts),
    }
}

fn legacy_marker(text: &str) -> Option<&str> {
    text.strip_prefix("secretref-env:")
        .or_else(|| text.strip_prefix("__env__:"))
        .or_else(|| (text == "secretref-managed").then_some(""))
}

/// Reads an object on a registered surface. `None`: it does not try to be a reference.
pub(crate) fn classify_object(map: &Map<String, Value>, defaults: &Defaults) -> Option<Classified> {
    if !map.contains_key("source") && !map.contains_key("id") {
        return None;
    }
    Some(match read_object(map, defaults) {
        Ok((reference, legacy)) => Classified::Reference(reference, legacy),
        Err(invalid) => Classified::Invalid(invalid),
    })
}

/// Whether an object on an unregistered path is a reference (`Some(Ok)`), looks almost like one
/// (`Some(Err)`), or is something else.
pub(crate) fn classify_unregistered(
    map: &Map<String, Value>,
    defaults: &Defaults,
) -> Option<Result<SecretRef, InvalidRef>> {
    let source = map
        .get("source")
        .and_then(Value::as_str)
        .filter(|s| SecretSource::parse(s).is_some());
    let id = map.get("id").filter(|id| id.is_string());
    if source.is_none() || id.is_none() {
        return None;
    }
    if map.len() != 3 || !map.contains_key("provider") {
        return Some(Err(InvalidRef::new(
            "extra_key",
            "looks like a secret reference but is not one",
        )));
    }
    Some(read_object(map, defaults).map(|(reference, _)| reference))
}

fn read_object(
    map: &Map<String, Value>,
    defaults: &Defaults,
) -> Result<(SecretRef, bool), InvalidRef> {
    let text = |key: &'static str| match map.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(InvalidRef::new(
            "type",
            format!("{key} must be a string, not {}", type_name(other)),
        )),
    };
    let missing = |key: &str| InvalidRef::new("missing_key", format!("the reference has no {key}"));
    let source = text("source")?.ok_or_else(|| missing("source"))?;
    if source == "store" {
        let mut invalid = InvalidRef::new("store", "the source \"store\" is not supported here");
        invalid.code = Code::SecretProviderUnsupportedSource;
        return Err(invalid.hint("keep the secret in a file and use a file provider"));
    }
    let source = SecretSource::parse(source)
        .ok_or_else(|| InvalidRef::new("source", "source must be \"env\", \"file\" or \"exec\""))?;
    if let Some(key) = map
        .keys()
        .find(|key| !["source", "provider", "id"].contains(&key.as_str()))
    {
        let message = format!("unexpected key \"{}\"", crate::text::printable_key(key));
        return Err(InvalidRef::new("extra_key", message));
    }
    let provider = text("provider")?;
    let alias = provider.unwrap_or_else(|| defaults.alias(source));
    if !is_alias(alias) {
        let message =
            "the provider is not a valid alias (a-z, 0-9, _, -; at most 64; starts with a letter)";
        return Err(InvalidRef::new("provider_alias", message));
    }
    let id = text("id")?.ok_or_else(|| missing("id"))?;
    check_id(source, id)?;
    let reference = SecretRef::new(source, alias, id);
    Ok((reference, provider.is_none()))
}

fn check_id(source: SecretSource, id: &str) -> Result<(), InvalidRef> {
    if id == REDACTED {
        let mut invalid = InvalidRef::new("redacted_id", "the id is a redaction placeholder");
        invalid.code = Code::ConfigRedactedValue;
        return Err(invalid);
    }
    // People paste the secret itself into the id, so an invalid one is never shown.
    let invalid = |reason, rule: &str| {
        let count = id.chars().count();
        let message = format!("{rule}; got <invalid id, {count} characters>");
        Err(InvalidRef::new(reason, message))
    };
    match source {
        SecretSource::Env if !is_env_id(id) => invalid(
            "env_id",
            "env ids look like OPENAI_API_KEY (A-Z, 0-9, _; at most 128)",
        ),
        SecretSource::File if !is_file_id(id) => invalid(
            "file_id",
            "file ids are JSON Pointers such as /providers/openai/apiKey, or \"value\" for singleValue providers",
        ),
        SecretSource::Exec => {
            let rule = "exec ids use A-Z a-z 0-9 . _ : / # - (at most 256), start with a letter or digit \
                        and have no \".\" or \"..\" segment";
            if !is_exec_id(id) {
                return invalid("exec_id_pattern", rule);
            }
            if id
                .split('/')
                .any(|segment| segment == "." || segment == "..")
            {
                return invalid("exec_id_traversal", rule);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `^[a-z][a-z0-9_-]{0,63}$`
pub(crate) fn is_alias(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// `^[A-Z][A-Z0-9_]{0,127}$`
pub(crate) fn is_env_id(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// `value`, or a JSON Pointer of at most 1024 bytes (RFC 6901).
fn is_file_id(text: &str) -> bool {
    let escapes_ok = || {
        text.split('~')
            .skip(1)
            .all(|after| after.starts_with(['0', '1']))
    };
    text == "value" || (text.starts_with('/') && text.len() <= 1024 && escapes_ok())
}

/// `^[A-Za-z0-9][A-Za-z0-9._:/#-]{0,255}$`
fn is_exec_id(text: &str) -> bool {
    text.len() <= 256
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._:/#-".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> String {
        let defaults = Defaults::read(&json!({"secrets": {"defaults": {"file": "dfile"}}}));
        match classify_object(value.as_object().unwrap(), &defaults) {
            None => "none".to_owned(),
            Some(Classified::Reference(reference, legacy)) => format!("{reference} {legacy}"),
            Some(Classified::Invalid(invalid)) => format!("{}/{}", invalid.code, invalid.reason),
            Some(_) => unreachable!(),
        }
    }

    #[test]
    fn object_forms() {
        for (value, expected) in [
            (
                json!({"source": "env", "provider": "default", "id": "K"}),
                "env:default:K false",
            ),
            (json!({"source": "file", "id": "/a"}), "file:dfile:/a true"),
            (
                json!({"source": "env", "provider": "p", "id": "K", "x": 1}),
                "secret_ref_invalid/extra_key",
            ),
            (
                json!({"source": "env", "provider": "p"}),
                "secret_ref_invalid/missing_key",
            ),
            (json!({"id": "K"}), "secret_ref_invalid/missing_key"),
            (
                json!({"source": "env", "provider": 1, "id": "K"}),
                "secret_ref_invalid/type",
            ),
            (
                json!({"source": "env", "provider": "p", "id": ""}),
                "secret_ref_invalid/env_id",
            ),
            (
                json!({"source": "store", "provider": "p", "id": "K"}),
                "secret_provider_unsupported_source/store",
            ),
            (
                json!({"source": "exec", "provider": "p", "id": REDACTED}),
                "config_redacted_value/redacted_id",
            ),
            (json!({"apiKey": "x"}), "none"),
        ] {
            assert_eq!(object(&value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn invalid_ids_are_never_echoed(id in "[a-z]{12,20}") {
            let value = json!({"source": "env", "provider": "p", "id": id});
            let defaults = Defaults::read(&Value::Null);
            let Some(Classified::Invalid(invalid)) = classify_object(value.as_object().unwrap(), &defaults)
                else { panic!("accepted") };
            prop_assert!(!invalid.message.contains(&id));
        }

        #[test]
        fn any_text_classifies_without_panic(text in ".{0,40}") {
            let _ = classify_text(&text, &Defaults::read(&Value::Null));
        }
    }
}
