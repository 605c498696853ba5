//! Walking a configuration: every place that holds a secret, and taking literal secrets out.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::channels;
use super::condition::{Activity, Bound, Context, ancestors, evaluate, plugin};
use super::failure::{Diagnostic, Fault};
use super::gateway_auth;
use super::pattern::{PatternIndex, Position, captures, fill, fits};
use super::reference::{
    Classified, Defaults, InvalidRef, SecretRef, classify_object, classify_text,
    classify_unregistered,
};
use super::registry::Override;
use super::rules::{Expected, Role, Rule, Rules};
use super::sensitive::is_sensitive_header;
use super::stores::ProfileFacts;
use super::value::{Resolved, wipe};
use crate::config::{Issue, Part, Severity};
use crate::error::Code;
use crate::json::{Path, lookup};
use crate::text::{REDACTED, SecretText};

/// What stands at a surface.
#[derive(Debug)]
pub(crate) enum Content {
    Reference(SecretRef),
    Template(Vec<Part>),
    Literal(Resolved),
    Invalid(InvalidRef),
    /// A reference where OAuth credentials are kept.
    OauthPolicy,
    Unsupported,
}

impl Content {
    /// What is wrong with it, without any I/O.
    pub(super) fn fault(&self, path: &Path) -> Option<Fault> {
        match self {
            Self::Reference(_) | Self::Template(_) | Self::Literal(_) => None,
            Self::Invalid(invalid) => {
                let fault = Fault::new(invalid.code, format!("{path}: {}", invalid.message));
                let fault = fault.reason(invalid.reason);
                Some(match &invalid.hint {
                    Some(hint) => fault.hint(hint.clone()),
                    None => fault,
                })
            }
            Self::OauthPolicy => Some(Fault::new(
                Code::SecretRefOauthPolicy,
                format!("{path}: OAuth credentials change at run time and cannot be references"),
            )),
            Self::Unsupported => Some(Fault::new(
                Code::SecretRefUnsupportedSurface,
                format!(
                    "{path} does not accept a secret reference; use a plain string (it may be \"${{NAME}}\")"
                ),
            )),
        }
    }
}

/// A surface of one configuration.
#[derive(Debug)]
pub(crate) struct Surface {
    pub(crate) path: Path,
    /// Rows of the table that fit, the one that decides how the value is read first; none for
    /// references found by the walker.
    pub(super) rules: Vec<usize>,
    /// Of a surface in a store of auth profiles.
    pub(super) profile: Option<Box<ProfileFacts>>,
    pub(crate) content: Content,
    pub(crate) expected: Expected,
    pub(crate) multiline: bool,
    /// The reference stands beside the key that it belongs to.
    sibling: bool,
}

impl Surface {
    /// A reference in a store of auth profiles.
    pub(super) fn of_profile(path: Path, content: Content, profile: ProfileFacts) -> Self {
        Self {
            path,
            rules: Vec::new(),
            profile: Some(Box::new(profile)),
            content,
            expected: Expected::Text,
            multiline: false,
            sibling: false,
        }
    }
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
        if !self.surfaces.iter().any(|surface| surface.sibling) {
            return;
        }
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
        let rule = self.rules.index.first(at);
        if let Some(rule) = rule.and_then(|number| self.rules.rows.get(number)) {
            if self.surface(value, at, rule) {
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
    fn surface(&mut self, value: &mut Value, at: &Position, rule: &Rule) -> bool {
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
            Classified::Literal(_) if rule.flags.header && !self.is_sensitive_header() => {
                return true;
            }
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
        let path = match &rule.role {
            Role::ReferenceFor(key) => parent(&self.path).child(key.as_str()),
            _ => self.path.clone(),
        };
        let mut claims: Vec<usize> = self.rules.index.ends(at).collect();
        if claims.len() > 1 {
            claims.sort_unstable();
            let same = |number: &usize| {
                let row = self.rules.rows.get(*number);
                row.is_some_and(|row| {
                    (row.role == Role::Unsupported) == (rule.role == Role::Unsupported)
                })
            };
            claims.retain(same);
        }
        self.found.surfaces.push(Surface {
            path,
            rules: claims,
            profile: None,
            content,
            expected: rule.expected,
            multiline: rule.flags.multiline,
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
                    rules: Vec::new(),
                    profile: None,
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
    /// The selection group that decides about it, while it has not decided.
    pub(super) candidate_of: Option<&'static str>,
    /// A value that takes the place of a reference that does not resolve.
    pub(super) replacement: Option<SecretText>,
}

impl Judged<'_> {
    /// Whether it must resolve.
    pub(super) fn is_required(&self) -> bool {
        self.active.is_ok() && self.candidate_of.is_none()
    }
}

/// Judges every surface against the effective configuration.
pub(super) fn judge<'a>(
    surfaces: &'a [Surface],
    rules: &Rules,
    context: &Context<'_>,
    now_ms: u64,
) -> Vec<Judged<'a>> {
    surfaces
        .iter()
        .map(|surface| {
            let mut verdict = match (&surface.profile, surface.rules.as_slice()) {
                (Some(profile), _) => Verdict {
                    active: profile.activity(context, now_ms),
                    owners: vec![profile.owner()],
                    candidate_of: None,
                },
                (None, []) => by_container(context, &surface.path),
                (None, numbers) => by_rules(context, rules, numbers, &surface.path),
            };
            verdict.overrule(context, rules, &surface.path);
            Judged {
                surface,
                active: verdict.active,
                owners: verdict.owners,
                candidate_of: verdict.candidate_of,
                replacement: None,
            }
        })
        .collect()
}

struct Verdict {
    active: Activity,
    owners: Vec<String>,
    candidate_of: Option<&'static str>,
}

impl Verdict {
    fn new(active: Activity, owners: Vec<String>) -> Self {
        Self {
            active,
            owners,
            candidate_of: None,
        }
    }

    /// Applies the host's word: a veto wins over everything, an activation over the rules.
    fn overrule(&mut self, context: &Context<'_>, rules: &Rules, path: &Path) {
        if rules.vetoes.is_empty() && rules.activations.is_empty() {
            return;
        }
        let holds = |entry: &&Override| {
            let segments = path.segments();
            if !fits(&entry.steps, segments) {
                return false;
            }
            let captured = captures(&entry.steps, segments);
            let bound = Bound {
                captures: &captured,
                item: None,
                path,
            };
            let condition = entry.condition.as_ref();
            condition.is_none_or(|condition| evaluate(condition, context, &bound).is_ok())
        };
        if let Some(veto) = rules.vetoes.iter().find(holds) {
            self.active = Err(veto.reason.clone());
            self.candidate_of = None;
        } else if rules.activations.iter().any(|entry| holds(&entry)) {
            self.active = Ok(());
            self.candidate_of = None;
        }
    }
}

/// Active if any of the rows says so; else the reason of the first one.
fn by_rules(context: &Context<'_>, rules: &Rules, numbers: &[usize], path: &Path) -> Verdict {
    let mut first: Option<Verdict> = None;
    for rule in numbers.iter().filter_map(|number| rules.rows.get(*number)) {
        let verdict = by_rule(context, rule, path);
        if verdict.active.is_ok() {
            return verdict;
        }
        first = first.or(Some(verdict));
    }
    first.unwrap_or_else(|| Verdict::new(Ok(()), Vec::new()))
}

fn by_rule(context: &Context<'_>, rule: &Rule, path: &Path) -> Verdict {
    if rule.is_channel() {
        let found = channels::activity(context, path);
        return Verdict::new(found.active, found.owners);
    }
    let segments = path.segments();
    let captured = captures(&rule.steps, segments);
    let above = if rule.ancestors {
        ancestors(context, segments)
    } else {
        Ok(())
    };
    let bound = Bound {
        captures: &captured,
        item: None,
        path,
    };
    let active = above.and_then(|()| match &rule.condition {
        None => Ok(()),
        Some(condition) => {
            let result = evaluate(condition, context, &bound);
            match &rule.inactive_reason {
                Some(reason) => result.map_err(|_| reason.clone()),
                None => result,
            }
        }
    });
    let mut owner = fill(&rule.owner, &captured);
    if owner.contains("{agent}") {
        let index = captured.first().copied().unwrap_or_default();
        owner = owner.replace("{agent}", &agent_id(context, index));
    }
    let owners = match owner.as_str() {
        "" => by_container(context, path).owners,
        _ => vec![owner],
    };
    Verdict {
        active,
        owners,
        candidate_of: rule.group.map(|group| group.id),
    }
}

fn agent_id(context: &Context<'_>, index: &str) -> String {
    let id = lookup(context.tree, &["agents", "list", index, "id"]).and_then(Value::as_str);
    id.unwrap_or(index).to_owned()
}

/// The rules of the section that a reference at an unregistered place lies in.
fn by_container(context: &Context<'_>, path: &Path) -> Verdict {
    let segments = path.segments();
    let above = || ancestors(context, segments);
    let segment = |index: usize| segments.get(index).map(String::as_str).unwrap_or_default();
    let (active, owner) = match (segment(0), segment(1)) {
        ("channels", _) if segments.len() > 2 => {
            let found = channels::activity(context, path);
            return Verdict::new(found.active, found.owners);
        }
        ("plugins", "entries") => {
            let id = segment(2);
            let active = plugin(context, id).and_then(|()| above());
            (active, format!("plugin:{id}"))
        }
        ("agents", "list") => {
            let id = agent_id(context, segment(2));
            (above(), format!("agent:{id}"))
        }
        ("models", "providers") => (above(), format!("provider:{}", segment(2))),
        ("skills", "entries") => (above(), format!("skill:{}", segment(2))),
        (first, _) => (above(), format!("config:{first}")),
    };
    Verdict::new(active, vec![owner])
}

/// Says which references are not resolved and why, and what became of the gateway's credentials.
pub(super) fn diagnose(
    context: &Context<'_>,
    judged: &Judged<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let surface = judged.surface;
    if matches!(surface.content, Content::Literal(_)) {
        return;
    }
    let is_gateway = surface
        .path
        .segments()
        .first()
        .is_some_and(|s| s == "gateway");
    if judged.active.is_ok() && !is_gateway {
        return;
    }
    let text = surface.path.to_string();
    let mut add = |code, severity, message: String, reason: String| {
        let mut diagnostic = Diagnostic::new(code, severity, &surface.path, message);
        diagnostic.owner = judged.owners.first().cloned();
        diagnostic.reason = Some(reason);
        diagnostics.push(diagnostic);
    };
    if let Err(reason) = &judged.active {
        let message = format!("{text}: {reason}; the reference is not resolved");
        add(
            Code::SecretsRefIgnoredInactiveSurface,
            Severity::Warning,
            message,
            reason.clone(),
        );
    }
    if gateway_auth::PATHS.contains(&text.as_str()) {
        let (state, reason) = match (&judged.active, gateway_auth::decide(context, &text)) {
            // A rule of the host may have decided otherwise.
            (Ok(()), Ok(reason) | Err(reason)) => ("active", reason),
            (Err(reason), _) => ("inactive", reason.clone()),
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
