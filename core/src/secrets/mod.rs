//! Secret references: where they may stand, how they are resolved, and what is said when not.
//!
//! [`load`] finds the surfaces of a configuration and takes literal secrets out of it;
//! [`Loaded::activate`] resolves everything that is active, or says all that stands against it.

mod answer;
mod channels;
mod collect;
mod condition;
mod examine;
mod exec;
mod failure;
mod file;
mod gateway_auth;
mod hints;
mod path_policy;
mod pattern;
mod provider;
mod reference;
mod resolve;
mod rules;
mod sandbox;
mod scrub;
mod sensitive;
mod value;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use zeroize::Zeroizing;

pub(crate) use examine::{Examined, Known};
pub(crate) use failure::{ActivationFailure, sort_diagnostics};
pub use failure::{Diagnostic, Failure, Scope};
pub use reference::{SecretRef, SecretSource};
pub use resolve::ProviderReport;
pub(crate) use resolve::Stop;
pub(crate) use rules::Rules;
pub(crate) use sensitive::is_sensitive_key;
pub(crate) use value::wipe;

use crate::config::{Issue, Part, Severity, Source, report_misplaced};
use crate::error::{Code, Error};
use crate::host::Host;
use crate::json::{Path, lookup};
use crate::text::{REDACTED, SecretText};
use collect::{Collected, Content, Judged, Surface, collect, judge};
use failure::Fault;
use provider::{Providers, secrets_in_args};
use resolve::{Resolution, Resolver};
use rules::Expected;
use scrub::Scrubber;
use value::Resolved;

/// A checked configuration with its surfaces found and its literal secrets taken out.
pub(crate) struct Loaded {
    pub(crate) source: Source,
    surfaces: Vec<Surface>,
    providers: Providers,
    diagnostics: Vec<Diagnostic>,
    rules: Rules,
}

/// Takes a configuration through classification, substitution and validation.
pub(crate) fn load(mut source: Source, rules: Rules) -> Result<Loaded, Error> {
    let defaults = reference::Defaults::read(&source.tree);
    let args = secrets_in_args(&source.tree);
    let Collected {
        surfaces,
        mut diagnostics,
        issues,
        has_literal,
    } = collect_into(&mut source, &rules, &defaults);
    for issue in issues {
        source.push(issue);
    }
    for (path, name) in args {
        let message =
            format!("{path}: {name} is put on the command line, which other users can see");
        diagnostics.push(Diagnostic::new(
            Code::SecretsSecretInArgs,
            Severity::Warning,
            &path,
            message,
        ));
    }
    if let Some((file, mode)) = source.open_to_others().filter(|_| has_literal) {
        let file = file.to_owned();
        let message = format!("holds secrets and can be read by other users (mode {mode:04o})");
        let hint = format!("chmod 600 {}", file.display());
        let issue = Issue::warning(Code::ConfigFilePermissions, &Path::root(), message);
        source.push(issue.in_file(file, None).hint(hint));
    }
    let providers = Providers::read(&source.tree);
    let loaded = Loaded {
        source,
        surfaces,
        providers,
        diagnostics,
        rules,
    };
    loaded.validate()
}

fn collect_into(source: &mut Source, rules: &Rules, defaults: &reference::Defaults) -> Collected {
    let found = collect(&mut source.tree, rules, defaults);
    let secret = found.secret_paths();
    source.substitute(&|path| secret.contains(path));
    found
}

impl Loaded {
    /// Adds the issues of the sections that are checked strictly, and fails if any is an error.
    fn validate(mut self) -> Result<Self, Error> {
        let mut issues: Vec<Issue> = Vec::new();
        let providers = &mut self.providers;
        let problems = std::mem::take(&mut providers.problems);
        issues.extend(
            problems
                .into_iter()
                .map(|problem| Issue::mismatch(Severity::Error, problem)),
        );
        let unknown = std::mem::take(&mut providers.unknown);
        issues.extend(
            unknown
                .into_iter()
                .map(|problem| Issue::mismatch(Severity::Warning, problem)),
        );
        let mut ignored = Vec::new();
        let judged = judge(
            &self.surfaces,
            &self.rules,
            &self.source.tree,
            &self.source.env,
            &mut ignored,
        );
        let used: BTreeSet<&str> = judged
            .iter()
            .filter(|judged| judged.active.is_ok())
            .filter_map(|judged| match &judged.surface.content {
                Content::Reference(reference) => Some(reference.provider()),
                _ => None,
            })
            .collect();
        for (alias, provider) in &self.providers.declared {
            for problem in &provider.problems {
                // A typo must never remove a protection unnoticed; a bad value in a provider that
                // nothing uses only waits to be fixed.
                let used = used.contains(alias.as_str());
                let fatal = problem.unknown_key || used;
                let severity = if fatal {
                    Severity::Error
                } else {
                    Severity::Warning
                };
                issues.push(Issue::mismatch(severity, problem.clone()));
            }
        }
        let auth = |key| lookup(&self.source.tree, &["gateway", "auth", key]);
        let set = |key| condition::is_set(auth(key));
        if auth("mode").is_none() && set("token") && set("password") {
            let path = Path::new(["gateway", "auth"]);
            let message = "token and password are both configured and mode does not choose";
            issues.push(
                Issue::error(Code::GatewayAuthModeAmbiguous, &path, message)
                    .hint("set gateway.auth.mode to \"token\" or \"password\""),
            );
        }
        for issue in issues {
            self.source.push(issue);
        }
        report_misplaced(&mut self.source);
        self.source.finish()?;
        Ok(self)
    }
}

/// How an activation goes about it.
#[derive(Debug, Clone)]
pub(crate) struct ActivateOptions {
    /// Start no program when the activation is bound to fail already.
    pub(crate) exec_gate: bool,
    pub(crate) stop: Stop,
}

/// A place in the configuration and the secret it got.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) path: Path,
    pub(crate) state: State,
    pub(crate) origin: Origin,
    pub(crate) owners: Vec<String>,
    pub(crate) reference: Option<SecretRef>,
}

#[derive(Debug, Clone)]
pub(crate) enum State {
    Ready(SecretValue),
    Inactive(String),
}

/// A secret of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretValue {
    pub(crate) text: SecretText,
    pub(crate) is_json: bool,
}

impl SecretValue {
    /// The text; of an object, its compact JSON.
    pub fn text(&self) -> &SecretText {
        &self.text
    }

    /// Whether the secret is a JSON object (service accounts).
    pub fn is_json(&self) -> bool {
        self.is_json
    }
}

/// Where the secret at a place comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Written into the configuration.
    Literal,
    /// An environment variable.
    Env,
    /// A file.
    File,
    /// A program.
    Exec,
    /// Put together from text and environment variables.
    Template,
}

impl Origin {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Env => "env",
            Self::File => "file",
            Self::Exec => "exec",
            Self::Template => "template",
        }
    }
}

/// Everything an activation produced.
#[derive(Debug)]
pub(crate) struct Activated {
    pub(crate) entries: Vec<Entry>,
    pub(crate) by_ref: HashMap<String, SecretValue>,
    /// Literal secrets on inactive places, which typed reads do not show but access rules need.
    pub(crate) inactive_literals: BTreeMap<String, SecretText>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) reports: Vec<ProviderReport>,
    pub(crate) redaction_hits: usize,
}

impl Loaded {
    /// Resolves every active surface, or tells everything that stands against it.
    pub(crate) fn activate(
        &self,
        host: &Host,
        options: &ActivateOptions,
    ) -> Result<Activated, ActivationFailure> {
        let mut diagnostics = self.diagnostics.clone();
        let source = &self.source;
        let judged = judge(
            &self.surfaces,
            &self.rules,
            &source.tree,
            &source.env,
            &mut diagnostics,
        );
        let mut failures = Vec::new();
        let mut wanted: BTreeSet<SecretRef> = BTreeSet::new();
        for judged in judged.iter().filter(|judged| judged.active.is_ok()) {
            self.want(judged, &mut wanted, &mut failures);
        }
        let resolver = Resolver {
            host,
            env: &source.env,
            home: &source.places.home,
            state_dir: &source.places.state,
            providers: &self.providers,
            stop: options.stop.clone(),
            exec_gate: options.exec_gate,
        };
        let mut resolution = resolver.resolve(&wanted, !failures.is_empty());
        self.attribute(&judged, &mut resolution.failures);
        failures.append(&mut resolution.failures);
        diagnostics.append(&mut resolution.diagnostics);

        let mut placed = Placed::default();
        for judged in judged {
            self.place(
                judged,
                &resolution,
                &mut placed,
                &mut diagnostics,
                &mut failures,
            );
        }
        let literals = placed.inactive_literals.values();
        let known = resolution
            .values
            .values()
            .filter_map(text_of)
            .chain(literals)
            .chain(placed.secrets());
        let mut scrubber = Scrubber::new(known);
        scrubber.failures(&mut failures);
        scrubber.diagnostics(&mut diagnostics);
        let redaction_hits = scrubber.hits;

        if !failures.is_empty() {
            for failure in &mut failures {
                failure.declared_at = self.declared_at(failure);
            }
            let not_attempted = resolution
                .not_attempted
                .iter()
                .map(ToString::to_string)
                .collect();
            let mut failure = ActivationFailure {
                failures,
                not_attempted,
                diagnostics,
            };
            failure.sort();
            return Err(failure);
        }
        sort_diagnostics(&mut diagnostics);
        let by_ref = resolution
            .values
            .iter()
            .filter_map(|(reference, value)| Some((reference.to_string(), secret_of(value)?)))
            .collect();
        Ok(Activated {
            entries: placed.entries,
            by_ref,
            inactive_literals: placed.inactive_literals,
            diagnostics,
            reports: resolution.reports,
            redaction_hits,
        })
    }

    /// The references that an active surface needs; what is wrong with it without any I/O.
    fn want(
        &self,
        judged: &Judged<'_>,
        wanted: &mut BTreeSet<SecretRef>,
        failures: &mut Vec<Failure>,
    ) {
        let path = &judged.surface.path;
        let fault = match &judged.surface.content {
            Content::Reference(reference) => {
                wanted.insert(reference.clone());
                return;
            }
            Content::Template(parts) => {
                wanted.extend(self.template_refs(parts));
                return;
            }
            Content::Literal(_) => return,
            Content::Invalid(invalid) => {
                let fault = Fault::new(invalid.code, format!("{path}: {}", invalid.message));
                let fault = fault.reason(invalid.reason);
                match &invalid.hint {
                    Some(hint) => fault.hint(hint.clone()),
                    None => fault,
                }
            }
            Content::Unsupported => Fault::new(
                Code::SecretRefUnsupportedSurface,
                format!(
                    "{path} does not accept a secret reference; use a plain string (it may be \"${{NAME}}\")"
                ),
            ),
        };
        let scope = match judged.surface.content {
            Content::Unsupported => Scope::Assignment,
            _ => Scope::Ref,
        };
        failures.push(Failure {
            paths: vec![path.to_string()],
            owners: judged.owners.clone(),
            source: None,
            provider: None,
            id: None,
            ..fault.failure(
                scope,
                &SecretRef {
                    source: SecretSource::Env,
                    provider: String::new(),
                    id: String::new(),
                },
            )
        });
    }

    fn template_refs<'a>(&'a self, parts: &'a [Part]) -> impl Iterator<Item = SecretRef> + 'a {
        let provider = self.providers.defaults.alias(SecretSource::Env);
        parts.iter().filter_map(move |part| match part {
            Part::Reference(name) => Some(SecretRef {
                source: SecretSource::Env,
                provider: provider.to_owned(),
                id: name.clone(),
            }),
            Part::Literal(_) => None,
        })
    }

    /// Adds to every failure who needs its references.
    fn attribute(&self, judged: &[Judged<'_>], failures: &mut [Failure]) {
        if failures.is_empty() {
            return;
        }
        let mut users: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, judged) in judged.iter().enumerate().filter(|(_, j)| j.active.is_ok()) {
            match &judged.surface.content {
                Content::Reference(reference) => {
                    users.entry(reference.to_string()).or_default().push(index);
                }
                Content::Template(parts) => {
                    for reference in self.template_refs(parts) {
                        users.entry(reference.to_string()).or_default().push(index);
                    }
                }
                _ => {}
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
    fn place(
        &self,
        judged: Judged<'_>,
        resolution: &Resolution,
        placed: &mut Placed,
        diagnostics: &mut Vec<Diagnostic>,
        failures: &mut Vec<Failure>,
    ) {
        let surface = judged.surface;
        let reference = match &surface.content {
            Content::Reference(reference) => Some(reference.clone()),
            _ => None,
        };
        let origin = match (&surface.content, &reference) {
            (Content::Template(_), _) => Origin::Template,
            (_, None) => Origin::Literal,
            (_, Some(reference)) => match reference.source {
                SecretSource::Env => Origin::Env,
                SecretSource::File => Origin::File,
                SecretSource::Exec => Origin::Exec,
            },
        };
        let value = match (&judged.active, &surface.content) {
            (Err(reason), content) => {
                if let Content::Literal(Resolved::Text(text)) = content {
                    placed
                        .inactive_literals
                        .insert(surface.path.to_string(), text.clone());
                }
                let state = State::Inactive(reason.clone());
                let path = surface.path.clone();
                placed.entries.push(Entry {
                    path,
                    state,
                    origin,
                    owners: judged.owners,
                    reference,
                });
                return;
            }
            (Ok(()), Content::Reference(reference)) => resolution.values.get(reference).cloned(),
            (Ok(()), Content::Template(parts)) => self.assemble(parts, resolution),
            (Ok(()), Content::Literal(value)) => Some(value.clone()),
            (Ok(()), Content::Invalid(_) | Content::Unsupported) => None,
        };
        // Without a value there is a failure already.
        let Some(value) = value else { return };
        match fit(surface, reference.as_ref(), value, diagnostics) {
            Ok(value) => {
                let path = surface.path.clone();
                let state = State::Ready(value);
                placed.entries.push(Entry {
                    path,
                    state,
                    origin,
                    owners: judged.owners,
                    reference,
                });
            }
            Err(fault) => {
                let nobody = SecretRef {
                    source: SecretSource::Env,
                    provider: String::new(),
                    id: String::new(),
                };
                let scope = match fault.code {
                    Code::SecretRefRedactedValue => Scope::Ref,
                    _ => Scope::Assignment,
                };
                let mut failure = fault.failure(scope, reference.as_ref().unwrap_or(&nobody));
                if reference.is_none() {
                    (failure.source, failure.provider, failure.id) = (None, None, None);
                }
                failure.refs = reference.iter().map(ToString::to_string).collect();
                failure.paths = vec![surface.path.to_string()];
                failure.owners = judged.owners;
                failures.push(failure);
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
    fn declared_at(&self, failure: &Failure) -> Option<(std::path::PathBuf, crate::json::Place)> {
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

#[derive(Default)]
struct Placed {
    entries: Vec<Entry>,
    inactive_literals: BTreeMap<String, SecretText>,
}

impl Placed {
    fn secrets(&self) -> impl Iterator<Item = &SecretText> {
        self.entries.iter().filter_map(|entry| match &entry.state {
            State::Ready(value) => Some(&value.text),
            State::Inactive(_) => None,
        })
    }
}

fn text_of(value: &Resolved) -> Option<&SecretText> {
    match value {
        Resolved::Text(text) | Resolved::Object(text) => Some(text),
        Resolved::Other(_) => None,
    }
}

fn secret_of(value: &Resolved) -> Option<SecretValue> {
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

/// The longest time an activation may take, as a point on the host's monotonic clock.
pub(crate) fn deadline(host: &Host, limit_ms: Option<u64>) -> Option<Duration> {
    limit_ms.map(|limit| host.clock.monotonic() + Duration::from_millis(limit))
}

/// A provider that ran out of its own time.
fn timeout_fault(source: &str, alias: &str, limit: Duration) -> Fault {
    let ms = limit.as_millis();
    Fault::new(
        Code::SecretProviderTimeout,
        format!("{source} provider \"{alias}\" did not finish within {ms} ms"),
    )
    .detail("timeoutMs", u64::try_from(ms).unwrap_or(u64::MAX))
    .hint(format!(
        "raise secrets.providers.{alias}.timeoutMs (at most 120000) or check the backend"
    ))
    .retryable()
}
