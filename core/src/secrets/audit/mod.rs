//! What an installation's files say about its secrets: plain text, references that do not
//! resolve, leftovers. Reads only; programs run with consent only.

mod files;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::sync::Arc;

use serde_json::Value;

pub use report::{AuditReport, AuditStatus, Finding};

use super::collect::{Content, Judged};
use super::failure::{Failure, Scope};
use super::known::{KnownNames, provider_id};
use super::pattern::captures;
use super::reference::SecretSource;
use super::resolve::{ExecMode, Stop};
use super::rules::Rules;
use super::sensitive::is_sensitive_key;
use super::stores::read_stores;
use super::{ActivateOptions, Attempt, Loaded, load, wipe};
use crate::config::{self, ReadOptions, Severity, Watched, split_references};
use crate::error::Code;
use crate::host::Host;
use crate::json::{Path, lookup};
use crate::text::REDACTED;

/// What an audit starts from.
pub(crate) struct Audit<'a> {
    pub(crate) host: &'a Host,
    pub(crate) read: ReadOptions,
    pub(crate) rules: Arc<Rules>,
    pub(crate) allow_exec: bool,
    pub(crate) stop: Stop,
}

impl Audit<'_> {
    /// Looks at everything.
    pub(crate) fn run(&self) -> AuditReport {
        let mut report = AuditReport::default();
        let source = config::read(self.host, &self.read);
        let places = source.places.clone();
        let main = places.config.clone();
        for file in source.files() {
            report.scanned.insert(file.path.clone());
        }
        let loaded = load(
            self.host,
            source,
            Arc::clone(&self.rules),
            &mut Watched::new(),
        );
        let names = KnownNames {
            more: &self.rules.env_names,
        };
        let nothing = Value::Null;
        match &loaded {
            Err(error) => {
                let mut finding = Finding::new(Code::RefUnresolved, Severity::Error, &main);
                finding.path = "<root>".to_owned();
                finding.message = error.message().to_owned();
                finding.failure = Some(error.to_json());
                report.findings.push(finding);
            }
            Ok(loaded) => self.configuration(loaded, names, &mut report),
        }
        let (tree, env) = match &loaded {
            Ok(loaded) => (&loaded.source.tree, &loaded.source.env),
            Err(_) => (&nothing, &config::EnvView::new(BTreeMap::new())),
        };
        let scan = files::Scan {
            host: self.host,
            places: &places,
            names,
            loaded: loaded.as_ref().ok(),
        };
        scan.stores(&read_stores(self.host, &places, env, tree), &mut report);
        scan.agent_files(env, tree, &mut report);
        scan.dotenvs(&mut report);
        report.finish();
        report
    }

    fn configuration(&self, loaded: &Loaded, names: KnownNames<'_>, report: &mut AuditReport) {
        let exec = match self.allow_exec {
            true => ExecMode::Always,
            false => ExecMode::Check,
        };
        let options = ActivateOptions {
            exec,
            stop: self.stop.clone(),
            only: None,
        };
        let attempt = loaded.attempt(self.host, &options);
        report.refs_checked = attempt.by_ref.len();
        report.skipped_exec_refs = attempt.unchecked.len();
        report.inactive_refs = attempt.inactive.len();
        let judged = loaded.judged(self.host.clock.now_ms());
        self.literals(loaded, &judged, report);
        self.as_written(loaded, &judged, names, report);
        failures(loaded, &attempt, report);
        for (path, reason) in &attempt.inactive {
            let mut finding = at(loaded, Code::RefInactive, Severity::Info, path);
            finding.message = format!("{path}: {reason}; the reference is not resolved");
            report.findings.push(finding);
        }
        self.shadowed(loaded, &judged, report);
        providers(loaded, &judged, report);
    }

    /// Plain text at registered surfaces.
    fn literals(&self, loaded: &Loaded, judged: &[Judged<'_>], report: &mut AuditReport) {
        for judged in judged {
            let surface = judged.surface;
            let rule = surface.rules.first();
            let rule = rule.and_then(|number| self.rules.rows.get(*number));
            let is_audited = rule.is_some_and(|rule| rule.flags.audit);
            if !is_audited || !matches!(surface.content, Content::Literal(_)) {
                continue;
            }
            let path = &surface.path;
            let mut finding = at(loaded, Code::PlaintextFound, Severity::Warning, path);
            finding.message = format!("{path} holds a secret as plain text");
            finding.provider = judged.owners.first().and_then(|owner| {
                let provider = owner.strip_prefix("provider:")?;
                Some(provider.to_owned())
            });
            report.findings.push(finding);
        }
    }

    /// The `env` block, and texts that look like secrets at places that nobody registered.
    fn as_written(
        &self,
        loaded: &Loaded,
        judged: &[Judged<'_>],
        names: KnownNames<'_>,
        report: &mut AuditReport,
    ) {
        let read = ReadOptions {
            as_written: true,
            ..self.read.clone()
        };
        let mut source = config::read(self.host, &read);
        let surfaces: BTreeSet<&Path> = judged.iter().map(|judged| &judged.surface.path).collect();
        let mut walk = Suspects {
            surfaces: &surfaces,
            path: Path::root(),
            found: Vec::new(),
        };
        for (key, value) in source.tree.as_object().into_iter().flatten() {
            if !["env", "meta", "wizard", "$schema"].contains(&key.as_str()) {
                walk.member(key, value);
            }
        }
        for path in walk.found {
            let mut finding = at(loaded, Code::PlaintextSuspected, Severity::Info, &path);
            finding.message = format!("{path} looks like a secret in plain text");
            report.findings.push(finding);
        }
        let block = source.tree.get("env").and_then(Value::as_object);
        let vars = block.and_then(|block| block.get("vars")?.as_object());
        let direct = block.into_iter().flatten().map(|entry| (entry, None));
        let nested = vars
            .into_iter()
            .flatten()
            .map(|entry| (entry, Some("vars")));
        for ((name, value), below) in direct.chain(nested) {
            let text = value.as_str().unwrap_or_default();
            if names.is_secret(name) && is_literal(text) {
                let path = Path::new(["env"].into_iter().chain(below).chain([name.as_str()]));
                let mut finding = at(loaded, Code::PlaintextFound, Severity::Warning, &path);
                finding.message = format!("{path} holds a secret as plain text");
                report.findings.push(finding);
            }
        }
        wipe(std::mem::take(&mut source.tree));
    }

    /// References that a stored profile takes precedence over.
    fn shadowed(&self, loaded: &Loaded, judged: &[Judged<'_>], report: &mut AuditReport) {
        let source = &loaded.source;
        let stores = read_stores(self.host, &source.places, &source.env, &source.tree);
        let stored: BTreeMap<String, String> = stores
            .iter()
            .flat_map(files::usable_profiles)
            .map(|(provider, id)| (provider_id(&provider), id))
            .collect();
        for judged in judged.iter().filter(|judged| judged.is_required()) {
            let surface = judged.surface;
            let rule = surface.rules.first();
            let rule = rule.and_then(|number| self.rules.rows.get(*number));
            let Some(rule) = rule.filter(|rule| rule.flags.shadow) else {
                continue;
            };
            if !matches!(
                surface.content,
                Content::Reference(_) | Content::Template(_)
            ) {
                continue;
            }
            let captured = captures(&rule.steps, surface.path.segments());
            let provider = captured.first().copied().unwrap_or_default();
            let Some(profile) = stored.get(&provider_id(provider)) else {
                continue;
            };
            let path = &surface.path;
            let mut finding = at(loaded, Code::RefShadowed, Severity::Warning, path);
            finding.message = format!("{path}: profile {profile} takes precedence");
            finding.provider = Some(provider.to_owned());
            finding.profile_id = Some(profile.clone());
            finding.reference = loaded
                .refs_of(&surface.content)
                .first()
                .map(ToString::to_string);
            report.findings.push(finding);
        }
    }
}

/// One finding for every place that needs what failed; a path problem is one of its provider.
fn failures(loaded: &Loaded, attempt: &Attempt, report: &mut AuditReport) {
    for failure in &attempt.failures {
        let insecure = failure.code == Code::SecretProviderPathInsecure;
        if let (true, Some(provider)) = (insecure, &failure.provider) {
            let path = Path::new(["secrets", "providers", provider]);
            let mut finding = at(loaded, Code::ProviderPathInsecure, Severity::Error, &path);
            finding.message.clone_from(&failure.message);
            finding.provider = Some(provider.clone());
            finding.failure = Some(failure.to_json());
            report.findings.push(finding);
            continue;
        }
        for path in &failure.paths {
            let parsed = Path::parse(path).unwrap_or_default();
            let mut finding = at(loaded, Code::RefUnresolved, Severity::Error, &parsed);
            finding.path.clone_from(path);
            finding.message.clone_from(&failure.message);
            finding.provider.clone_from(&failure.provider);
            finding.reference = one_ref(loaded, &parsed, failure);
            finding.failure = Some(failure.to_json());
            report.findings.push(finding);
        }
    }
}

/// The reference at a place, if it is among those that failed.
fn one_ref(loaded: &Loaded, path: &Path, failure: &Failure) -> Option<String> {
    match (failure.scope, failure.refs.as_slice()) {
        (Scope::Ref | Scope::Assignment, [one]) => Some(one.clone()),
        _ => {
            let surface = loaded
                .surfaces
                .iter()
                .find(|surface| surface.path == *path)?;
            let refs = loaded.refs_of(&surface.content).into_iter();
            let mut labels = refs.map(|reference| reference.to_string());
            labels.find(|label| failure.refs.contains(label))
        }
    }
}

/// Providers that nothing uses, and fields that OpenClaw refuses.
fn providers(loaded: &Loaded, judged: &[Judged<'_>], report: &mut AuditReport) {
    let used: BTreeSet<(SecretSource, String)> = judged
        .iter()
        .flat_map(|judged| loaded.refs_of(&judged.surface.content))
        .map(|reference| (reference.source(), reference.provider().to_owned()))
        .collect();
    for (alias, provider) in &loaded.providers.declared {
        let path = Path::new(["secrets", "providers", alias]);
        let is_used = |source: SecretSource| used.contains(&(source, alias.clone()));
        if provider.source.is_some_and(|source| !is_used(source)) {
            let mut finding = at(loaded, Code::ProviderUnused, Severity::Info, &path);
            finding.message = format!("no reference uses provider \"{alias}\"");
            finding.provider = Some(alias.clone());
            report.findings.push(finding);
        }
        let written = lookup(&loaded.source.tree, path.segments());
        for key in UNPORTABLE
            .iter()
            .filter(|(source, _)| Some(*source) == provider.source)
            .flat_map(|(_, keys)| keys.iter())
            .filter(|key| written.is_some_and(|map| map.get(**key).is_some()))
        {
            let path = path.child(*key);
            let mut finding = at(loaded, Code::NotPortable, Severity::Info, &path);
            finding.message = format!("{path} would be refused by OpenClaw");
            finding.provider = Some(alias.clone());
            report.findings.push(finding);
        }
    }
    for issue in &loaded.source.issues {
        if issue.code == Code::ConfigNotPortable {
            let mut finding = at(loaded, Code::NotPortable, Severity::Info, &issue.path);
            finding.message.clone_from(&issue.message);
            report.findings.push(finding);
        }
    }
}

/// Fields of providers that only this library knows.
const UNPORTABLE: &[(SecretSource, &[&str])] = &[
    (SecretSource::Exec, &["retry"]),
    (
        SecretSource::File,
        &["trustedDirs", "allowSymlinkPath", "allowInsecurePath"],
    ),
];

/// A finding at a path of the configuration.
fn at(loaded: &Loaded, code: Code, severity: Severity, path: &Path) -> Finding {
    let source = &loaded.source;
    let located = source.locate(path);
    let file = located
        .as_ref()
        .map_or(source.places.config.as_path(), |(file, _)| file);
    let mut finding = Finding::new(code, severity, FilePath::new(file));
    finding.place = located.map(|(_, place)| place);
    finding.path = path.to_string();
    finding
}

/// Whether a text of a configuration is nothing but itself.
fn is_literal(text: &str) -> bool {
    !text.trim().is_empty()
        && text != REDACTED
        && split_references(text)
            .0
            .iter()
            .all(|part| matches!(part, config::Part::Literal(_)))
}

struct Suspects<'a> {
    surfaces: &'a BTreeSet<&'a Path>,
    path: Path,
    found: Vec<Path>,
}

impl Suspects<'_> {
    fn member(&mut self, key: &str, value: &Value) {
        self.path.push(key);
        if !self.surfaces.contains(&self.path) {
            match value {
                Value::String(text) if is_sensitive_key(key) && is_literal(text) => {
                    self.found.push(self.path.clone());
                }
                Value::Object(map) => {
                    for (key, value) in map {
                        self.member(key, value);
                    }
                }
                Value::Array(items) => {
                    for (index, value) in items.iter().enumerate() {
                        self.member(&index.to_string(), value);
                    }
                }
                _ => {}
            }
        }
        self.path.pop();
    }
}
