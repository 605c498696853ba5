//! `${VAR}` in settings that are not secret.

use serde_json::Value;

use super::env::EnvView;
use super::issue::{Issue, Issues, Severity};
use crate::error::Code;
use crate::json::Path;

/// A piece of a text with references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text as it is, escapes undone.
    Literal(String),
    /// `${NAME}`.
    Reference(String),
}

/// Splits a text at its references. `$${NAME}` gives the literal `${NAME}`; anything else with a
/// dollar sign stays as it is. The flag tells whether something looks like a reference but is
/// none (`${lower}`, `${A:-b}`).
pub(crate) fn split_references(text: &str) -> (Vec<Part>, bool) {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut malformed = false;
    let mut rest = text;
    while let Some((before, from_dollar)) = rest.find('$').and_then(|at| rest.split_at_checked(at))
    {
        literal.push_str(before);
        let escaped = from_dollar
            .strip_prefix('$')
            .filter(|tail| tail.starts_with("${"));
        if let Some((name, tail)) = escaped.and_then(|tail| braced(tail)) {
            literal.push_str("${");
            literal.push_str(name);
            literal.push('}');
            rest = tail;
        } else if let Some((name, tail)) = braced(from_dollar) {
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Reference(name.to_owned()));
            rest = tail;
        } else {
            malformed |= from_dollar
                .strip_prefix("${")
                .is_some_and(|tail| tail.contains('}'));
            literal.push('$');
            rest = from_dollar.strip_prefix('$').unwrap_or_default();
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Literal(literal));
    }
    (parts, malformed)
}

/// The name of a `${NAME}` at the start of the text, and what follows it.
fn braced(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix("${")?.split_once('}')?;
    is_env_name(name).then_some((name, rest))
}

/// `^[A-Z_][A-Z0-9_]*$`
pub(crate) fn is_env_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether a text has a `${NAME}` or an escape that substitution would change.
pub(super) fn has_reference(text: &str) -> bool {
    text.contains("${")
        && (split_references(text)
            .0
            .iter()
            .any(|part| matches!(part, Part::Reference(_)))
            || text.contains("$${"))
}

/// The text with references replaced, or `None` when nothing changes.
pub(super) fn substitute_text(
    text: &str,
    env: &EnvView,
    path: &Path,
    strict: bool,
    issues: &mut Issues,
) -> Option<String> {
    if !text.contains("${") {
        return None;
    }
    let (parts, malformed) = split_references(text);
    if malformed {
        issues.push(
            Issue::warning(
                Code::ConfigEnvRefMalformed,
                path,
                "text with ${…} is not a variable reference",
            )
            .hint("references look like ${NAME}; default values are not supported"),
        );
    }
    let mut output = String::with_capacity(text.len());
    for part in &parts {
        match part {
            Part::Literal(literal) => output.push_str(literal),
            Part::Reference(name) => match env.get(name).filter(|value| !value.is_empty()) {
                Some(value) => output.push_str(value),
                None => {
                    output.push_str("${");
                    output.push_str(name);
                    output.push('}');
                    let mut issue = Issue::warning(
                        Code::ConfigEnvVarMissing,
                        path,
                        format!("variable {name} is missing or empty"),
                    );
                    if strict {
                        issue.severity = Severity::Error;
                    }
                    issues.push(issue);
                }
            },
        }
    }
    (output != text).then_some(output)
}

/// Substitutes every string value of the tree except those that `is_secret` claims.
/// Returns the paths that changed.
pub(super) fn substitute_tree(
    tree: &mut Value,
    env: &EnvView,
    strict: bool,
    is_secret: &dyn Fn(&Path) -> bool,
    issues: &mut Issues,
) {
    let mut walk = Walk {
        env,
        strict,
        is_secret,
        issues,
        path: Path::root(),
    };
    walk.value(tree);
}

struct Walk<'a> {
    env: &'a EnvView,
    strict: bool,
    is_secret: &'a dyn Fn(&Path) -> bool,
    issues: &'a mut Issues,
    path: Path,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) if text.contains("${") && !(self.is_secret)(&self.path) => {
                if let Some(new) =
                    substitute_text(text, self.env, &self.path, self.strict, self.issues)
                {
                    *text = new;
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if may_change(item) {
                        self.path.push(index.to_string());
                        self.value(item);
                        self.path.pop();
                    }
                }
            }
            Value::Object(map) => {
                for (key, item) in map.iter_mut() {
                    if may_change(item) {
                        self.path.push(key.as_str());
                        self.value(item);
                        self.path.pop();
                    }
                }
            }
            _ => {}
        }
    }
}

/// Spares the path for values in which nothing can be substituted.
fn may_change(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(_) | Value::Object(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> String {
        let (parts, malformed) = split_references(text);
        let shown: Vec<String> = parts
            .into_iter()
            .map(|part| match part {
                Part::Literal(text) => text,
                Part::Reference(name) => format!("<{name}>"),
            })
            .collect();
        format!("{}{}", shown.join("|"), if malformed { "!" } else { "" })
    }

    #[test]
    fn references_escapes_and_lookalikes() {
        for (text, expected) in [
            ("${A}", "<A>"),
            ("x${A}y${B}", "x|<A>|y|<B>"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("${a}", "${a}!"),
            ("${A:-d}", "${A:-d}!"),
            ("${A", "${A"),
            ("$A", "$A"),
            ("", ""),
            ("$", "$"),
            ("$${a}", "$${a}!"),
            ("${${A}}", "${|<A>|}!"),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_dollar_is_untouched(text in "[^$]{0,30}") {
            let split = split_references(&text);
            prop_assert_eq!(split, (vec![Part::Literal(text)], false));
        }

        #[test]
        fn split_never_panics(text in "[${}A-Ca\\-:_]{0,30}") {
            let _ = split_references(&text);
        }
    }
}
