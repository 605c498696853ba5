//! One activation: judge, resolve, select, put every value where it belongs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::collect::{Content, Judged, Surface, diagnose, judge};
use super::condition::Context;
use super::failure::{ActivationFailure, Diagnostic, Failure, Fault, Scope, sort_diagnostics};
use super::reference::{SecretRef, SecretSource};
use super::resolve::{ExecMode, ProviderReport, Resolution, Resolver, Stop};
use super::rules::Expected;
use super::scrub::Scrubber;
use super::selection::{GROUPS, Selecting, Selection, replaced};
use super::value::Resolved;
use super::{Entry, Loaded, Origin, SecretValue, State};
use crate::config::{Part, Severity};
use crate::error::Code;
use crate::host::Host;
use crate::json::{Path, Place};
use crate::text::{REDACTED, SecretText};

/// How an activation goes about it.
#[derive(Debug, Clone)]
pub(crate) struct ActivateOptions {
    pub(crate) exec: ExecMode,
    pub(crate) stop: Stop,
    /// Resolve these places only.
    pub(crate) only: Option<Vec<Path>>,
}

/// Everything an activation produced, whether or not it succeeded.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) entries: Vec<Entry>,
    pub(crate) by_ref: HashMap<String, SecretValue>,
    /// Literal secrets on inactive places, which typed reads do not show but access rules need.
    pub(crate) inactive_literals: BTreeMap<String, SecretText>,
    pub(crate) selections: Vec<Selection>,
    pub(crate) failures: Vec<Failure>,
    /// References that were not tried because of the failures.
    pub(crate) not_attempted: BTreeSet<SecretRef>,
    /// References whose programs were only checked, not run.
    pub(crate) unchecked: BTreeSet<SecretRef>,
    /// Active places whose reference was only checked.
    pub(crate) unchecked_paths: BTreeMap<String, SecretRef>,
    /// Number of distinct references of active places.
    pub(crate) refs: usize,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) reports: Vec<ProviderReport>,
    pub(crate) redaction_hits: usize,
    /// Places that must resolve, sorted.
    pub(crate) active: Vec<Path>,
    /// Places with references that do not count, with the reason; sorted.
    pub(crate) inactive: Vec<(Path, String)>,
}

impl Attempt {
    /// Success, or everything that stands against it.
    pub(crate) fn into_result(self) -> Result<Self, ActivationFailure> {
        if self.failures.is_empty() {
            return Ok(self);
        }
        let labels = self.not_attempted.iter().map(ToString::to_string);
        Err(ActivationFailure {
            not_attempted: labels.collect(),
            failures: self.failures,
            diagnostics: self.diagnostics,
        })
    }
}

impl Loaded {
    /// Resolves every active surface.
    pub(crate) fn attempt(&self, host: &Host, options: &ActivateOptions) -> Attempt {
        let source = &self.source;
        let context = self.context();
        let mut attempt = Attempt {
            diagnostics: self.diagnostics.clone(),
            ..Attempt::default()
        };
        let mut judged = judge(&self.surfaces, &self.rules, &context, host.clock.now_ms());
        if let Some(only) = &options.only {
            judged.retain(|judged| only.contains(&judged.surface.path));
        }
        let mut wanted: BTreeSet<SecretRef> = BTreeSet::new();
        for judged in judged.iter().filter(|judged| judged.is_required()) {
            match judged.surface.content.fault(&judged.surface.path) {
                Some(fault) => attempt.failures.push(of_surface(judged, fault)),
                None => wanted.extend(self.refs_of(&judged.surface.content)),
            }
        }
        let resolver = Resolver {
            host,
            env: &source.env,
            home: &source.places.home,
            state_dir: &source.places.state,
            providers: &self.providers,
            stop: options.stop.clone(),
            exec: options.exec,
        };
        let mut resolution = resolver.resolve(wanted.iter(), !attempt.failures.is_empty());
        let from_env = self.select(
            &context,
            &resolver,
            &mut judged,
            &mut resolution,
            &mut attempt,
        );
        self.attribute(&judged, &mut resolution.failures);
        attempt.failures.append(&mut resolution.failures);
        attempt.diagnostics.append(&mut resolution.diagnostics);
        attempt.refs = resolution.values.len() + resolution.unchecked.len();

        for judged in judged {
            diagnose(&context, &judged, &mut attempt.diagnostics);
            self.place(judged, &resolution, &mut attempt);
        }
        attempt.entries.extend(from_env);
        attempt.reports = resolution.reports;
        attempt.not_attempted = resolution.not_attempted;
        attempt.unchecked = resolution.unchecked;
        attempt.by_ref = resolution
            .values
            .iter()
            .filter_map(|(reference, value)| Some((reference.to_string(), secret_of(value)?)))
            .collect();
        self.tidy(&mut attempt);
        attempt
    }

    /// Puts failures and diagnostics in their order, with places, and free of secrets.
    fn tidy(&self, attempt: &mut Attempt) {
        attempt.active.sort();
        attempt.inactive.sort();
        if attempt.failures.is_empty() && attempt.diagnostics.is_empty() {
            return;
        }
        let entries = attempt
            .entries
            .iter()
            .filter_map(|entry| match &entry.state {
                State::Ready(value) => Some(&value.text),
                State::Inactive(_) => None,
            });
        let known = attempt.by_ref.values().map(|value| &value.text);
        let known = known
            .chain(attempt.inactive_literals.values())
            .chain(entries);
        let mut scrubber = Scrubber::new(known);
        scrubber.failures(&mut attempt.failures);
        scrubber.diagnostics(&mut attempt.diagnostics);
        let hits = scrubber.hits;
        attempt.redaction_hits = hits;
        for failure in &mut attempt.failures {
            failure.declared_at = self.declared_at(failure);
        }
        super::failure::sort_failures(&mut attempt.failures);
        sort_diagnostics(&mut attempt.diagnostics);
    }

    fn context(&self) -> Context<'_> {
        Context {
            tree: &self.source.tree,
            env: &self.source.env,
            plugins: self.rules.plugins.as_ref(),
            predicates: &self.rules.predicates,
        }
    }

    /// Every surface with its verdict, for reports.
    pub(super) fn judged(&self, now_ms: u64) -> Vec<Judged<'_>> {
        judge(&self.surfaces, &self.rules, &self.context(), now_ms)
    }

    /// Lets every selection group decide. Returns the secrets that come from variables which no
    /// place of the configuration names.
    fn select(
        &self,
        context: &Context<'_>,
        resolver: &Resolver<'_>,
        judged: &mut [Judged<'_>],
        resolution: &mut Resolution,
        attempt: &mut Attempt,
    ) -> Vec<Entry> {
        let mut entries = Vec::new();
        for group in GROUPS {
            let selected = Selecting {
                context,
                resolver,
                template_refs: &|content| self.refs_of(content),
                failed_already: !attempt.failures.is_empty(),
            }
            .run(group, judged, resolution);
            attempt.selections.extend(selected.selection);
            attempt.diagnostics.extend(selected.diagnostics);
            resolution.failures.extend(selected.failures);
            entries.extend(selected.from_env.map(|found| Entry {
                path: found.path,
                state: State::Ready(SecretValue {
                    text: found.value,
                    is_json: false,
                }),
                origin: Origin::Env,
                owners: vec![found.owner],
                reference: None,
            }));
        }
        entries
    }

    /// The references of a place.
    pub(super) fn refs_of(&self, content: &Content) -> Vec<SecretRef> {
        match content {
            Content::Reference(reference) => vec![reference.clone()],
            Content::Template(parts) => self.template_refs(parts).collect(),
            _ => Vec::new(),
        }
    }

    fn template_refs<'a>(&'a self, parts: &'a [Part]) -> impl Iterator<Item = SecretRef> + 'a {
        let provider = self.providers.defaults.alias(SecretSource::Env);
        parts.iter().filter_map(move |part| match part {
            Part::Reference(name) => Some(SecretRef::new(SecretSource::Env, provider, name)),
            Part::Literal(_) => None,
        })
    }

    /// Adds to every failure who needs its references.
    fn attribute(&self, judged: &[Judged<'_>], failures: &mut [Failure]) {
        if failures.is_empty() {
            return;
        }
        let mut users: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, judged) in judged.iter().enumerate().filter(|(_, j)| j.is_required()) {
            for reference in self.refs_of(&judged.surface.content) {
                users.entry(reference.to_string()).or_default().push(index);
            }
        }
        for failure in failures {
            for label in &failure.refs {
                for judged in users
                    .get(label)
                    .into_iter()
                    .flatten()
                    .filter_map(|index| judged.get(*index))
                {
                    failure.paths.push(judged.surface.path.to_string());
                    failure.owners.extend(judged.owners.iter().cloned());
                }
            }
        }
    }

    /// Puts one surface's value where it belongs, after checking that it fits.
    fn place(&self, judged: Judged<'_>, resolution: &Resolution, attempt: &mut Attempt) {
        let surface = judged.surface;
        let reference = match &surface.content {
            Content::Reference(reference) => Some(reference.clone()),
            _ => None,
        };
        let origin = match (&surface.content, &reference) {
            _ if judged.replacement.is_some() => Origin::Env,
            (Content::Template(_), _) => Origin::Template,
            (_, None) => Origin::Literal,
            (_, Some(reference)) => match reference.source() {
                SecretSource::Env => Origin::Env,
                SecretSource::File => Origin::File,
                SecretSource::Exec => Origin::Exec,
            },
        };
        let is_literal = matches!(surface.content, Content::Literal(_));
        match &judged.active {
            Ok(()) => attempt.active.push(surface.path.clone()),
            Err(_) if is_literal => {}
            Err(reason) => attempt
                .inactive
                .push((surface.path.clone(), reason.clone())),
        }
        let value = match (&judged.active, &surface.content) {
            (Err(reason), content) => {
                if let Content::Literal(Resolved::Text(text)) = content {
                    let path = surface.path.to_string();
                    attempt.inactive_literals.insert(path, text.clone());
                }
                attempt.entries.push(Entry {
                    path: surface.path.clone(),
                    state: State::Inactive(reason.clone()),
                    origin,
                    owners: judged.owners,
                    reference,
                });
                return;
            }
            (Ok(()), _) if judged.replacement.is_some() => replaced(&judged),
            (Ok(()), Content::Reference(reference)) => resolution.values.get(reference).cloned(),
            (Ok(()), Content::Template(parts)) => self.assemble(parts, resolution),
            (Ok(()), Content::Literal(value)) => Some(value.clone()),
            (Ok(()), Content::Invalid(_) | Content::OauthPolicy | Content::Unsupported) => None,
        };
        // Without a value there is a failure already, or its program was not run.
        let Some(value) = value else {
            if let Some(reference) = reference.filter(|r| resolution.unchecked.contains(r)) {
                let path = surface.path.to_string();
                attempt.unchecked_paths.insert(path, reference);
            }
            return;
        };
        match fit(surface, reference.as_ref(), value, &mut attempt.diagnostics) {
            Ok(value) => attempt.entries.push(Entry {
                path: surface.path.clone(),
                state: State::Ready(value),
                origin,
                owners: judged.owners,
                reference,
            }),
            Err(fault) => {
                let mut failure = of_surface(&judged, fault);
                if let Some(reference) = reference {
                    failure.source = Some(reference.source());
                    failure.provider = Some(reference.provider().to_owned());
                    failure.id = Some(reference.id().to_owned());
                    failure.refs = vec![reference.to_string()];
                }
                attempt.failures.push(failure);
            }
        }
    }

    fn assemble(&self, parts: &[Part], resolution: &Resolution) -> Option<Resolved> {
        let mut text = Zeroizing::new(String::new());
        let mut references = self.template_refs(parts);
        for part in parts {
            match part {
                Part::Literal(literal) => push_wiping(&mut text, literal),
                Part::Reference(_) => match resolution.values.get(&references.next()?)? {
                    Resolved::Text(value) => push_wiping(&mut text, value.expose()),
                    _ => return None,
                },
            }
        }
        Some(Resolved::Text(SecretText::from_zeroizing(text)))
    }

    /// Where a failure's provider is declared.
    fn declared_at(&self, failure: &Failure) -> Option<(PathBuf, Place)> {
        match (failure.scope, &failure.provider) {
            (Scope::Provider, Some(alias)) if self.providers.declared.contains_key(alias) => self
                .source
                .locate(&Path::new(["secrets", "providers", alias])),
            _ => self.source.locate(&Path::parse(failure.paths.first()?)?),
        }
    }
}

/// Appends without leaving the old buffer behind when it has to grow.
fn push_wiping(text: &mut Zeroizing<String>, more: &str) {
    if text.capacity() - text.len() < more.len() {
        let mut larger = Zeroizing::new(String::with_capacity((text.len() + more.len()) * 2));
        larger.push_str(text);
        *text = larger;
    }
    text.push_str(more);
}

/// The failure of one place, whatever a provider would say.
pub(super) fn of_surface(judged: &Judged<'_>, fault: Fault) -> Failure {
    let scope = match fault.code {
        Code::SecretRefUnsupportedSurface
        | Code::SecretRefOauthPolicy
        | Code::SecretRefValueType => Scope::Assignment,
        _ => Scope::Ref,
    };
    Failure {
        paths: vec![judged.surface.path.to_string()],
        owners: judged.owners.clone(),
        ..fault.failure(scope, None)
    }
}

pub(super) fn secret_of(value: &Resolved) -> Option<SecretValue> {
    match value {
        Resolved::Text(text) => Some(SecretValue {
            text: text.clone(),
            is_json: false,
        }),
        Resolved::Object(text) => Some(SecretValue {
            text: text.clone(),
            is_json: true,
        }),
        Resolved::Other(_) => None,
    }
}

/// Texts that stand for a hidden secret in somebody's output.
const PLACEHOLDERS: &[&str] = &[
    REDACTED,
    "REDACTED",
    "xoxb-REDACTED",
    "xapp-REDACTED",
    "***",
    "[redacted]",
    "[REDACTED]",
    "<redacted>",
    "[REDACTED_PRIVATE_KEY]",
    "[REDACTED CREDENTIAL]",
];

/// The value as the surface wants it, or why it does not fit.
fn fit(
    surface: &Surface,
    reference: Option<&SecretRef>,
    value: Resolved,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<SecretValue, Fault> {
    let path = &surface.path;
    let label = reference.map_or_else(|| "the value".to_owned(), ToString::to_string);
    let wrong_type = |actual: &str| {
        let message =
            format!("{path}: {label} resolved to {actual}, a non-empty string is required");
        let fault = Fault::new(Code::SecretRefValueType, message).detail("actual", actual);
        match actual {
            "number" | "boolean" => fault.hint("quote the value in the secrets file"),
            _ => fault,
        }
    };
    let text = match value {
        Resolved::Object(text) if surface.expected == Expected::TextOrObject => {
            return Ok(SecretValue {
                text,
                is_json: true,
            });
        }
        Resolved::Object(_) => return Err(wrong_type("object")),
        Resolved::Other(actual) => return Err(wrong_type(actual)),
        Resolved::Text(text) => text,
    };
    let trimmed = text.expose().trim();
    if trimmed.is_empty() {
        return Err(wrong_type("empty"));
    }
    if PLACEHOLDERS.contains(&trimmed) {
        let message =
            format!("{path}: {label} resolved to a redaction placeholder, not a credential");
        return Err(Fault::new(Code::SecretRefRedactedValue, message));
    }
    let mut note = |code: Code, what: &str| {
        let message = format!("{path}: {label} {what}");
        diagnostics.push(Diagnostic::new(code, Severity::Warning, path, message));
    };
    let line_break = trimmed.contains(['\n', '\r']);
    if !surface.multiline && (trimmed.len() != text.len() || line_break) {
        note(
            Code::SecretsValueWhitespace,
            "has white space at its ends or a line break inside",
        );
    }
    if text
        .expose()
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        note(
            Code::SecretsValueControlChars,
            "contains control characters",
        );
    }
    Ok(SecretValue {
        text,
        is_json: false,
    })
}
