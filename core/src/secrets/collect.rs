//! Walking a configuration: every place that holds a secret, and taking literal secrets out.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::channels;
use super::condition::{Activity, Condition, Context, ancestors, evaluate, plugin};
use super::failure::Diagnostic;
use super::gateway_auth;
use super::pattern::{PatternIndex, Position, captures, fill};
use super::reference::{
    Classified, Defaults, InvalidRef, SecretRef, classify_object, classify_text,
    classify_unregistered,
};
use super::rules::{Expected, Role, Rule, Rules};
use super::sensitive::is_sensitive_header;
use super::value::{Resolved, wipe};
use crate::config::{EnvView, Issue, Part, Severity};
use crate::error::Code;
use crate::json::{Path, lookup};
use crate::text::REDACTED;

/// What stands at a surface.
#[derive(Debug)]
pub(crate) enum Content {
    Reference(SecretRef),
    Template(Vec<Part>),
    Literal(Resolved),
    Invalid(InvalidRef),
    Unsupported,
}

/// A surface of one configuration.
#[derive(Debug)]
pub(crate) struct Surface {
    pub(crate) path: Path,
    /// Row of the table; `None` for references found by the walker.
    rule: Option<usize>,
    pub(crate) content: Content,
    pub(crate) expected: Expected,
    pub(crate) multiline: bool,
    /// The reference stands beside the key that it belongs to.
    sibling: bool,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) surfaces: Vec<Surface>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) issues: Vec<Issue>,
    /// A literal secret was among them.
    pub(crate) has_literal: bool,
}

/// Sections that hold no secrets of the walker's kind.
const SKIPPED: [&str; 5] = ["secrets", "env", "meta", "wizard", "$schema"];

/// Finds all surfaces. Literal secrets are moved out of the tree; [`REDACTED`] takes their place.
pub(crate) fn collect(tree: &mut Value, rules: &Rules, defaults: &Defaults) -> Collected {
    let mut walk = Walk {
        rules,
        defaults,
        path: Path::root(),
        found: Collected::default(),
    };
    if let Value::Object(map) = tree {
        for (key, value) in map
            .iter_mut()
            .filter(|(key, _)| !SKIPPED.contains(&key.as_str()))
        {
            let at = rules.index.key(&PatternIndex::start(), key);
            walk.path.push(key.as_str());
            walk.value(value, &at);
            walk.path.pop();
        }
    }
    let mut found = walk.found;
    found.prefer_siblings();
    found
}

impl Collected {
    /// Of two contents for one path, the one from the sibling reference wins.
    fn prefer_siblings(&mut self) {
        let mut seen: HashSet<Path> = HashSet::new();
        let mut kept = Vec::with_capacity(self.surfaces.len());
        self.surfaces
            .sort_by(|a, b| (&a.path, a.sibling).cmp(&(&b.path, b.sibling)));
        for surface in std::mem::take(&mut self.surfaces).into_iter().rev() {
            if seen.insert(surface.path.clone()) {
                kept.push(surface);
            } else if matches!(surface.content, Content::Literal(_)) {
                let path = &surface.path;
                let key = path
                    .segments()
                    .last()
                    .map(String::as_str)
                    .unwrap_or_default();
                let message = format!("{path}: {key}Ref is set, the plain value is ignored");
                let code = Code::SecretsRefOverridesPlaintext;
                self.diagnostics
                    .push(Diagnostic::new(code, Severity::Warning, path, message));
            }
        }
        kept.reverse();
        self.surfaces = kept;
    }

    /// The paths that no substitution may touch: surfaces, and everything inside references.
    pub(crate) fn secret_paths(&self) -> HashSet<Path> {
        self.surfaces
            .iter()
            .map(|surface| surface.path.clone())
            .collect()
    }
}

struct Walk<'a> {
    rules: &'a Rules,
    defaults: &'a Defaults,
    path: Path,
    found: Collected,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value, at: &Position) {
        let rule = self.rules.index.ends(at);
        if let Some((number, rule)) =
            rule.and_then(|number| Some((number, self.rules.rows.get(number)?)))
        {
            if self.surface(value, number, rule) {
                return;
            }
        } else if let Value::Object(map) = value
            && self.unregistered(map)
        {
            return;
        }
        match value {
            Value::Array(items) => {
                let at = self.rules.index.index(at);
                for (index, item) in items
                    .iter_mut()
                    .enumerate()
                    .filter(|(_, item)| may_hold(item))
                {
                    self.path.push(index.to_string());
                    self.value(item, &at);
                    self.path.pop();
                }
            }
            Value::Object(map) => {
                for (key, item) in map.iter_mut().filter(|(_, item)| may_hold(item)) {
                    let at = self.rules.index.key(at, key);
                    // A text is only of interest where a pattern still fits.
                    if item.is_string() && at.is_empty() {
                        continue;
                    }
                    self.path.push(key.as_str());
                    self.value(item, &at);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    /// Reads a value at a registered place. `false`: it is not a secret, look deeper.
    fn surface(&mut self, value: &mut Value, number: usize, rule: &Rule) -> bool {
        let classified = match value {
            Value::String(text) if rule.role == Role::Unsupported || text.trim().is_empty() => {
                return true;
            }
            Value::String(text) => classify_text(text, self.defaults),
            Value::Object(map) => match classify_object(map, self.defaults) {
                Some(classified) => classified,
                None if rule.expected == Expected::TextOrObject && !map.is_empty() => {
                    Classified::Literal(None)
                }
                None => return false,
            },
            _ => return true,
        };
        let content = match classified {
            _ if rule.role == Role::Unsupported => Content::Unsupported,
            Classified::Reference(reference, legacy) => {
                if legacy {
                    let message = format!(
                        "{}: the reference has no provider; {} is used",
                        self.path, reference
                    );
                    self.note(Code::SecretsLegacyRefForm, Severity::Info, message);
                }
                Content::Reference(reference)
            }
            Classified::Template(parts) => Content::Template(parts),
            Classified::Invalid(invalid) if invalid.code == Code::ConfigRedactedValue => {
                let issue = Issue::error(invalid.code, &self.path, invalid.message);
                self.found
                    .issues
                    .push(issue.hint("put the reference or the secret back"));
                return true;
            }
            Classified::Invalid(invalid) => Content::Invalid(invalid),
            // A sibling key holds references only; a plain text there is not the secret.
            Classified::Literal(_) if rule.role != Role::Secret => return true,
            Classified::Literal(_) if rule.header && !self.is_sensitive_header() => return true,
            Classified::Literal(undone) => {
                let taken = std::mem::replace(value, Value::String(REDACTED.to_owned()));
                self.found.has_literal = true;
                match undone {
                    Some(text) => {
                        wipe(taken);
                        Content::Literal(Resolved::Text(text))
                    }
                    None => Content::Literal(Resolved::from_json(taken)),
                }
            }
        };
        let path = match rule.role {
            Role::ReferenceFor(key) => parent(&self.path).child(key),
            _ => self.path.clone(),
        };
        self.found.surfaces.push(Surface {
            path,
            rule: Some(number),
            content,
            expected: rule.expected,
            multiline: rule.multiline,
            sibling: rule.role != Role::Secret,
        });
        true
    }

    /// Reads an object at any other place. `true`: it is a reference.
    fn unregistered(&mut self, map: &Map<String, Value>) -> bool {
        match classify_unregistered(map, self.defaults) {
            None => false,
            Some(Ok(reference)) => {
                self.found.surfaces.push(Surface {
                    path: self.path.clone(),
                    rule: None,
                    content: Content::Reference(reference),
                    expected: Expected::TextOrObject,
                    multiline: true,
                    sibling: false,
                });
                true
            }
            Some(Err(invalid)) => {
                let message = format!("{}: {}", self.path, invalid.message);
                self.note(Code::SecretsRefShapeSuspect, Severity::Warning, message);
                false
            }
        }
    }

    fn is_sensitive_header(&self) -> bool {
        self.path
            .segments()
            .last()
            .is_some_and(|name| is_sensitive_header(name))
    }

    fn note(&mut self, code: Code, severity: Severity, message: String) {
        self.found
            .diagnostics
            .push(Diagnostic::new(code, severity, &self.path, message));
    }
}

fn may_hold(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Array(_) | Value::Object(_))
}

fn parent(path: &Path) -> Path {
    let segments = path.segments();
    Path::new(
        segments
            .iter()
            .take(segments.len().saturating_sub(1))
            .map(String::as_str),
    )
}

/// A surface with the answer to "is it needed, and by whom?".
pub(crate) struct Judged<'a> {
    pub(crate) surface: &'a Surface,
    pub(crate) active: Activity,
    pub(crate) owners: Vec<String>,
}

/// Judges every surface against the effective configuration.
pub(crate) fn judge<'a>(
    surfaces: &'a [Surface],
    rules: &Rules,
    tree: &Value,
    env: &EnvView,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Judged<'a>> {
    let context = Context { tree, env };
    let mut judged = Vec::with_capacity(surfaces.len());
    for surface in surfaces {
        let row = surface.rule.and_then(|number| rules.rows.get(number));
        let (active, owners) = match row {
            Some(rule) => by_rule(&context, rule, &surface.path),
            None => by_container(&context, &surface.path),
        };
        diagnose(&context, surface, &active, &owners, diagnostics);
        judged.push(Judged {
            surface,
            active,
            owners,
        });
    }
    judged
}

fn by_rule(context: &Context<'_>, rule: &Rule, path: &Path) -> (Activity, Vec<String>) {
    let segments = path.segments();
    let captured = captures(&rule.pattern, segments);
    if matches!(
        rule.condition,
        Condition::Native(super::condition::Native::Channel)
    ) {
        let found = channels::activity(context, path);
        return (found.active, found.owners);
    }
    let above = if rule.ancestors {
        ancestors(context, segments)
    } else {
        Ok(())
    };
    let active = above.and_then(|()| evaluate(&rule.condition, context, &captured, path));
    let mut owner = fill(rule.owner, &captured);
    if owner.contains("{agent}") {
        owner = owner.replace(
            "{agent}",
            &agent_id(context, captured.first().copied().unwrap_or_default()),
        );
    }
    (
        active,
        if owner.is_empty() {
            Vec::new()
        } else {
            vec![owner]
        },
    )
}

fn agent_id(context: &Context<'_>, index: &str) -> String {
    let id = lookup(context.tree, &["agents", "list", index, "id"]).and_then(Value::as_str);
    id.unwrap_or(index).to_owned()
}

/// The rules of the section that a reference at an unregistered place lies in.
fn by_container(context: &Context<'_>, path: &Path) -> (Activity, Vec<String>) {
    let segments = path.segments();
    let above = || ancestors(context, segments);
    let segment = |index: usize| segments.get(index).map(String::as_str).unwrap_or_default();
    match (segment(0), segment(1)) {
        ("channels", _) if segments.len() > 2 => {
            let found = channels::activity(context, path);
            (found.active, found.owners)
        }
        ("plugins", "entries") => {
            let id = segment(2);
            (
                plugin(context, id).and_then(|()| above()),
                vec![format!("plugin:{id}")],
            )
        }
        ("agents", "list") => (
            above(),
            vec![format!("agent:{}", agent_id(context, segment(2)))],
        ),
        ("models", "providers") => (above(), vec![format!("provider:{}", segment(2))]),
        ("skills", "entries") => (above(), vec![format!("skill:{}", segment(2))]),
        (first, _) => (above(), vec![format!("config:{first}")]),
    }
}

fn diagnose(
    context: &Context<'_>,
    surface: &Surface,
    active: &Activity,
    owners: &[String],
    diagnostics: &mut Vec<Diagnostic>,
) {
    if matches!(surface.content, Content::Literal(_)) {
        return;
    }
    let text = surface.path.to_string();
    let mut add = |code, severity, message: String, reason: String| {
        let mut diagnostic = Diagnostic::new(code, severity, &surface.path, message);
        diagnostic.owner = owners.first().cloned();
        diagnostic.reason = Some(reason);
        diagnostics.push(diagnostic);
    };
    if let Err(reason) = active {
        let message = format!("{text}: {reason}; the reference is not resolved");
        add(
            Code::SecretsRefIgnoredInactiveSurface,
            Severity::Warning,
            message,
            reason.clone(),
        );
    }
    if gateway_auth::PATHS.contains(&text.as_str()) {
        let (state, reason) = match gateway_auth::decide(context, &text) {
            Ok(reason) => ("active", reason),
            Err(reason) => ("inactive", reason),
        };
        let message = format!("{text} is {state}: {reason}");
        add(
            Code::SecretsGatewayAuthSurface,
            Severity::Info,
            message,
            reason,
        );
        if let Some(last) = diagnostics.last_mut() {
            last.details.insert("state".to_owned(), state.into());
        }
    }
}
