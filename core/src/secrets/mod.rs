//! Secret references: where they may stand, how they are resolved, and what is said when not.
//!
//! [`load`] finds the surfaces of a configuration and takes literal secrets out of it;
//! [`Loaded::activate`] resolves everything that is active, or says all that stands against it.

mod activate;
mod answer;
mod apply;
mod audit;
mod channels;
mod collect;
mod condition;
mod condition_json;
mod exec;
mod failure;
mod file;
mod gateway_auth;
mod hints;
mod known;
mod path_policy;
mod pattern;
mod plan;
mod progress;
mod provider;
mod reference;
mod registry;
mod resolve;
mod restore;
mod rules;
mod sandbox;
mod scrub;
mod selection;
mod sensitive;
mod single;
mod stores;
mod targets;
mod value;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use activate::{ActivateOptions, Attempt};
pub(crate) use apply::Apply;
pub use apply::ApplyReport;
pub(crate) use audit::Audit;
pub use audit::{AuditReport, AuditStatus, Finding};
pub use condition::PredicateFacts;
pub use failure::{Diagnostic, Failure, Scope};
pub(crate) use known::shown;
pub use plan::{Plan, PlanBuilder};
pub use progress::{Progress, Running};
pub(crate) use reference::{Classified, Defaults, classify_object, is_env_id};
pub use reference::{SecretRef, SecretSource};
pub use registry::Registry;
pub use resolve::ProviderReport;
pub(crate) use resolve::{ExecMode, Stop};
pub(crate) use restore::restore;
pub(crate) use rules::Rules;
pub use selection::Selection;
pub(crate) use sensitive::is_sensitive_key;
pub use targets::{Target, TargetKind};
pub(crate) use value::wipe;

use crate::config::{Issue, OauthSettings, Routing, Severity, Source, Watched, report_misplaced};
use crate::error::{Code, Error};
use crate::host::Host;
use crate::json::{Path, lookup};
use crate::text::SecretText;
use collect::{Collected, Surface, collect};
use failure::Fault;
use provider::{Providers, secrets_in_args};

/// A checked configuration with its surfaces found and its literal secrets taken out.
pub(crate) struct Loaded {
    pub(crate) source: Source,
    surfaces: Vec<Surface>,
    providers: Providers,
    diagnostics: Vec<Diagnostic>,
    rules: Arc<Rules>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loaded({} surfaces)", self.surfaces.len())
    }
}

/// Takes a configuration through classification, substitution and validation.
/// The files that it depends on go into `watched`, also when it fails.
pub(crate) fn load(
    host: &Host,
    mut source: Source,
    rules: Arc<Rules>,
    watched: &mut Watched,
) -> Result<Loaded, Error> {
    let defaults = Defaults::read(&source.tree);
    let args = secrets_in_args(&source.tree);
    let Collected {
        mut surfaces,
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
    for store in stores::read_stores(host, &source.places, &source.env, &source.tree) {
        watched.push((store.file.clone(), store.meta));
        let tree = &source.tree;
        stores::collect_store(&store, tree, &defaults, &mut surfaces, &mut diagnostics);
    }
    let providers = Providers::read(&source.tree);
    watched.append(&mut source.watched);
    // Before they are read, so that no later change goes unnoticed.
    watched.extend(providers.files(&source.places.home).map(|file| {
        let meta = host.files.stat(&file).ok();
        (file, meta)
    }));
    let loaded = Loaded {
        source,
        surfaces,
        providers,
        diagnostics,
        rules,
    };
    loaded.validate(host)
}

fn collect_into(source: &mut Source, rules: &Rules, defaults: &Defaults) -> Collected {
    let found = collect(&mut source.tree, rules, defaults);
    // Few texts have anything to substitute, so the set is mostly never needed.
    let secret = OnceCell::new();
    source.substitute(&|path| secret.get_or_init(|| found.secret_paths()).contains(path));
    found
}

impl Loaded {
    /// Adds the issues of the sections that are checked strictly, and fails if any is an error.
    fn validate(mut self, host: &Host) -> Result<Self, Error> {
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
        let has_problems = |provider: &provider::Provider| !provider.problems.is_empty();
        let used = match self.providers.declared.values().any(has_problems) {
            true => self.used_providers(host),
            false => BTreeSet::new(),
        };
        for (alias, provider) in &self.providers.declared {
            for problem in &provider.problems {
                // A typo must never remove a protection unnoticed; a bad value in a provider that
                // nothing uses only waits to be fixed.
                let used = used.contains(alias);
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
        let (_, problems) = Routing::read(&self.source.tree);
        let (_, of_oauth) = OauthSettings::read(&self.source.tree);
        for problem in problems.into_iter().chain(of_oauth) {
            self.source.push(Issue::mismatch(Severity::Error, problem));
        }
        report_misplaced(&mut self.source);
        self.source.finish()?;
        Ok(self)
    }

    /// Aliases that active surfaces refer to.
    fn used_providers(&self, host: &Host) -> BTreeSet<String> {
        let judged = self.judged(host.clock.now_ms());
        let active = judged.iter().filter(|judged| judged.active.is_ok());
        active
            .flat_map(|judged| self.refs_of(&judged.surface.content))
            .map(|reference| reference.provider().to_owned())
            .collect()
    }
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

impl Entry {
    /// Whether it says the same, the reason for being inactive included.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let same_state = match (&self.state, &other.state) {
            (State::Ready(a), State::Ready(b)) => a == b,
            (State::Inactive(a), State::Inactive(b)) => a == b,
            _ => false,
        };
        same_state
            && self.origin == other.origin
            && self.owners == other.owners
            && self.reference == other.reference
    }
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
