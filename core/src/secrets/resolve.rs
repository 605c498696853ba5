//! From references to values: de-duplicate, group, run, collect every failure in a fixed order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::exec::ExecProvider;
use super::failure::{Diagnostic, Failure, Fault, Scope};
use super::file;
use super::path_policy::{PathKind, PathPolicy};
use super::progress::Progress;
use super::provider::{EnvSettings, ExecSettings, FileSettings, Found, Providers, Settings};
use super::reference::{SecretRef, SecretSource};
use super::value::Resolved;
use crate::config::{EnvView, Severity};
use crate::error::Code;
use crate::host::{Cancel, Host};
use crate::json::Path as ConfigPath;

pub(super) type IdResult = Result<Resolved, Fault>;

/// What one provider gave.
#[derive(Debug, Default)]
pub(super) struct GroupResult {
    pub(super) values: BTreeMap<String, IdResult>,
    pub(super) bypassed: bool,
    pub(super) plain_assumed: bool,
    pub(super) missing_env: Vec<String>,
    pub(super) runs: usize,
}

/// What ends an activation early, and who looks on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// On the host's monotonic clock.
    pub(crate) deadline: Option<Duration>,
    pub(crate) cancel: Cancel,
    pub(crate) progress: Progress,
}

impl Stop {
    /// Time left, if there is a deadline.
    pub(super) fn remaining(&self, host: &Host) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_sub(host.clock.monotonic()))
    }

    /// Why a provider was stopped.
    pub(super) fn fault(&self, alias: &str) -> Fault {
        if self.cancel.is_cancelled() {
            return Fault::new(
                Code::SecretsActivationCancelled,
                format!("cancelled before provider \"{alias}\" finished"),
            )
            .retryable();
        }
        Fault::new(
            Code::SecretsActivationDeadline,
            format!("the activation's deadline passed before provider \"{alias}\" finished"),
        )
        .retryable()
    }

    fn is_over(&self, host: &Host) -> bool {
        self.cancel.is_cancelled() || self.remaining(host).is_some_and(|left| left.is_zero())
    }
}

/// Everything a resolution needs to know.
pub(crate) struct Resolver<'a> {
    pub(crate) host: &'a Host,
    pub(crate) env: &'a EnvView,
    pub(crate) home: &'a Path,
    pub(crate) state_dir: &'a Path,
    pub(crate) providers: &'a Providers,
    pub(crate) stop: Stop,
    pub(crate) exec: ExecMode,
}

/// Whether programs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecMode {
    /// Always.
    Always,
    /// Never; only their settings and paths are checked.
    Check,
    /// Unless the resolution is bound to fail already.
    Gated,
}

/// The outcome of a resolution, before the values are put where they belong.
#[derive(Debug, Default)]
pub(crate) struct Resolution {
    pub(crate) values: HashMap<SecretRef, Resolved, RandomState>,
    /// Failures by what they are about: `refs` is filled, paths and owners are not.
    pub(crate) failures: Vec<Failure>,
    pub(crate) not_attempted: BTreeSet<SecretRef>,
    /// References whose programs were checked but not run.
    pub(crate) unchecked: BTreeSet<SecretRef>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) reports: Vec<ProviderReport>,
}

impl Resolution {
    /// Adds reports of a further round; each provider has one.
    pub(super) fn add_reports(&mut self, reports: Vec<ProviderReport>) {
        for report in reports {
            let same = |known: &&mut ProviderReport| {
                (known.source, &known.provider) == (report.source, &report.provider)
            };
            match self.reports.iter_mut().find(same) {
                Some(known) => {
                    known.refs += report.refs;
                    known.runs += report.runs;
                    known.elapsed_ms += report.elapsed_ms;
                }
                None => self.reports.push(report),
            }
        }
    }
}

/// What one provider did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProviderReport {
    /// Where its references are resolved.
    pub source: SecretSource,
    /// Its alias.
    pub provider: String,
    /// Number of distinct references.
    pub refs: usize,
    /// Number of programs started.
    pub runs: usize,
    /// Time it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// Where a worker leaves what a provider gave, and how long it took.
type Slot = Mutex<Option<(Result<GroupResult, Fault>, Duration)>>;

/// Most distinct references of one activation.
const MAX_REFS: usize = 65_536;

/// Distinct references under one provider, ids sorted.
struct Group<'a> {
    source: SecretSource,
    alias: &'a str,
    refs: Vec<&'a SecretRef>,
    settings: GroupSettings<'a>,
}

enum GroupSettings<'a> {
    Env(Option<&'a EnvSettings>),
    File(&'a FileSettings),
    Exec(&'a ExecSettings),
}

impl Resolver<'_> {
    /// Resolves distinct references. `bound_to_fail`: something else has failed already.
    pub(crate) fn resolve<'b>(
        &'b self,
        refs: impl ExactSizeIterator<Item = &'b SecretRef>,
        bound_to_fail: bool,
    ) -> Resolution {
        let mut resolution = Resolution::default();
        if refs.len() > MAX_REFS {
            let message = format!(
                "{} distinct references, at most {MAX_REFS} are allowed",
                refs.len()
            );
            let fault = Fault::new(Code::SecretProviderLimit, message).reason("total_refs");
            let failure = fault.failure(Scope::Activation, None);
            resolution.failures.push(failure);
            return resolution;
        }
        let groups = self.groups(refs, &mut resolution);
        let (env, rest): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|group| group.source == SecretSource::Env);
        let (file, exec): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|group| group.source == SecretSource::File);
        for group in &env {
            self.variables(group, &mut resolution);
        }
        self.run_all(&file, &mut resolution);
        if self.exec == ExecMode::Check {
            for group in &exec {
                self.check(group, &mut resolution);
            }
        } else if self.exec == ExecMode::Gated && (bound_to_fail || !resolution.failures.is_empty())
        {
            for group in &exec {
                resolution
                    .not_attempted
                    .extend(group.refs.iter().copied().cloned());
            }
        } else {
            self.run_all(&exec, &mut resolution);
        }
        resolution
    }

    /// The references by provider: groups by source and alias, ids in order where a program is
    /// shown them.
    fn groups<'b>(
        &'b self,
        refs: impl Iterator<Item = &'b SecretRef>,
        resolution: &mut Resolution,
    ) -> Vec<Group<'b>> {
        let mut by_provider: Vec<((SecretSource, &str), Vec<&SecretRef>)> = Vec::new();
        let mut index: HashMap<(SecretSource, &str), usize, RandomState> = HashMap::default();
        for reference in refs {
            let key = (reference.source(), reference.provider());
            // References of one provider usually stand together.
            if let Some((_, refs)) = by_provider.last_mut().filter(|(last, _)| *last == key) {
                refs.push(reference);
                continue;
            }
            let at = *index.entry(key).or_insert(by_provider.len());
            match by_provider.get_mut(at) {
                Some((_, refs)) => refs.push(reference),
                None => by_provider.push((key, vec![reference])),
            }
        }
        by_provider.sort_by_key(|(key, _)| *key);
        let mut groups: Vec<Group<'_>> = Vec::with_capacity(by_provider.len());
        for ((source, alias), mut refs) in by_provider {
            let settings = match self.providers.find(source, alias) {
                Ok(Found::BuiltInEnv) => GroupSettings::Env(None),
                Ok(Found::Declared(Settings::Env(settings))) => GroupSettings::Env(Some(settings)),
                Ok(Found::Declared(Settings::File(settings))) => GroupSettings::File(settings),
                Ok(Found::Declared(Settings::Exec(settings))) => {
                    refs.sort_unstable();
                    GroupSettings::Exec(settings)
                }
                Ok(Found::Declared(Settings::Unusable)) => {
                    let message = format!("secrets.providers.{alias} is invalid");
                    let fault = Fault::new(Code::SecretProviderInvalid, message);
                    let failure = with_refs(fault, Scope::Provider, &refs);
                    resolution.failures.push(failure);
                    continue;
                }
                Err(fault) => {
                    let failure = with_refs(fault, Scope::Provider, &refs);
                    resolution.failures.push(failure);
                    continue;
                }
            };
            groups.push(Group {
                source,
                alias,
                refs,
                settings,
            });
        }
        groups
    }

    /// Runs groups side by side; results are taken in the groups' order whatever the timing.
    fn run_all(&self, groups: &[Group<'_>], resolution: &mut Resolution) {
        let workers = self.providers.limits.concurrency.min(groups.len());
        self.stop.progress.expect(groups.len());
        let results: Vec<Slot> = groups.iter().map(|_| Slot::default()).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((group, slot)) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                groups.get(index).zip(results.get(index))
            } {
                let start = self.host.clock.monotonic();
                let progress = &self.stop.progress;
                progress.start(group.source, group.alias, start);
                let result = self.run(group);
                progress.finish(group.source, group.alias);
                *slot.lock() = Some((result, self.host.clock.monotonic().saturating_sub(start)));
            }
        };
        if workers <= 1 {
            work();
        } else {
            std::thread::scope(|scope| {
                // The calling thread is one of the workers; a thread that cannot be started only
                // makes it slower.
                for _ in 1..workers {
                    let _ = std::thread::Builder::new().spawn_scoped(scope, work);
                }
                work();
            });
        }
        for (group, slot) in groups.iter().zip(results) {
            match slot.into_inner() {
                Some((result, elapsed)) => self.collect(group, result, elapsed, resolution),
                None => {
                    let message = format!("provider \"{}\" was not run", group.alias);
                    let fault = Fault::new(Code::InternalError, message);
                    resolution
                        .failures
                        .push(with_refs(fault, Scope::Provider, &group.refs));
                }
            }
        }
    }

    fn run(&self, group: &Group<'_>) -> Result<GroupResult, Fault> {
        let ids: Vec<&str> = group.refs.iter().map(|reference| reference.id()).collect();
        if self.stop.is_over(self.host) {
            return Err(self.stop.fault(group.alias));
        }
        match group.settings {
            // Variables need no provider to be asked; see `variables`.
            GroupSettings::Env(_) => Ok(GroupResult::default()),
            GroupSettings::File(settings) => {
                let budget = self.stop.remaining(self.host);
                file::resolve(self.host, self.home, group.alias, settings, &ids, budget)
            }
            GroupSettings::Exec(settings) => ExecProvider {
                host: self.host,
                env: self.env,
                home: self.home,
                alias: group.alias,
                settings,
                limits: self.providers.limits,
                stop: &self.stop,
            }
            .resolve(&ids),
        }
    }

    /// Looks variables up, on the calling thread.
    fn variables(&self, group: &Group<'_>, resolution: &mut Resolution) {
        let GroupSettings::Env(settings) = group.settings else {
            return;
        };
        resolution.values.reserve(group.refs.len());
        for reference in &group.refs {
            match self.variable(group.alias, settings, reference.id()) {
                Ok(value) => {
                    resolution.values.insert((*reference).clone(), value);
                }
                Err(fault) => {
                    let failure = with_refs(fault, Scope::Ref, &[reference]);
                    resolution.failures.push(failure);
                }
            }
        }
        resolution.reports.push(ProviderReport {
            source: SecretSource::Env,
            provider: group.alias.to_owned(),
            refs: group.refs.len(),
            runs: 0,
            elapsed_ms: 0,
        });
    }

    /// Judges a program without running it.
    fn check(&self, group: &Group<'_>, resolution: &mut Resolution) {
        let GroupSettings::Exec(settings) = group.settings else {
            return;
        };
        let policy = PathPolicy {
            host: self.host,
            home: self.home,
            alias: group.alias,
            kind: PathKind::Exec,
            settings: &settings.path,
        };
        match policy.check() {
            Ok(_) => {
                let refs = group.refs.iter().copied().cloned();
                resolution.unchecked.extend(refs);
            }
            Err(fault) => {
                let failure = with_refs(fault, Scope::Provider, &group.refs);
                resolution.failures.push(failure);
            }
        }
    }

    /// Looks one variable up.
    pub(super) fn variable(
        &self,
        alias: &str,
        settings: Option<&EnvSettings>,
        name: &str,
    ) -> IdResult {
        let allowlist = settings.and_then(|settings| settings.allowlist.as_ref());
        if allowlist.is_some_and(|names| !names.iter().any(|allowed| allowed == name)) {
            let message = format!(
                "environment variable {name} is not in secrets.providers.{alias}.allowlist"
            );
            return Err(Fault::new(Code::SecretRefPolicyDenied, message)
                .reason("allowlist")
                .hint(format!("add \"{name}\" to the allowlist")));
        }
        match self.env.secret(name) {
            Some(value) => Ok(Resolved::Text(value.clone())),
            None => {
                let dotenv = self.state_dir.join(".env");
                let message = format!("environment variable {name} is missing or empty");
                Err(Fault::new(Code::SecretRefNotFound, message)
                    .reason("env_missing")
                    .hint(format!(
                        "looked in: process environment, {}, config env block",
                        dotenv.display()
                    )))
            }
        }
    }

    fn collect(
        &self,
        group: &Group<'_>,
        result: Result<GroupResult, Fault>,
        elapsed: Duration,
        resolution: &mut Resolution,
    ) {
        let mut report = ProviderReport {
            source: group.source,
            provider: group.alias.to_owned(),
            refs: group.refs.len(),
            runs: 0,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        };
        match result {
            Err(fault) => {
                let fault = match group.source {
                    SecretSource::Env => fault,
                    _ => fault.detail("elapsedMs", report.elapsed_ms),
                };
                let scope = match fault.code {
                    // A bad id is the reference's own fault, not its provider's.
                    Code::SecretRefInvalid => Scope::Ref,
                    _ => Scope::Provider,
                };
                resolution
                    .failures
                    .push(with_refs(fault, scope, &group.refs));
            }
            Ok(mut result) => {
                report.runs = result.runs;
                self.diagnose(group, &result, resolution);
                for reference in &group.refs {
                    match result.values.remove(reference.id()) {
                        Some(Ok(value)) => {
                            resolution.values.insert((*reference).clone(), value);
                        }
                        Some(Err(fault)) => {
                            resolution
                                .failures
                                .push(with_refs(fault, Scope::Ref, &[reference]));
                        }
                        None => {
                            let message = format!("provider \"{}\" gave no answer", group.alias);
                            let fault = Fault::new(Code::InternalError, message);
                            resolution
                                .failures
                                .push(with_refs(fault, Scope::Ref, &[reference]));
                        }
                    }
                }
            }
        }
        resolution.reports.push(report);
    }

    fn diagnose(&self, group: &Group<'_>, result: &GroupResult, resolution: &mut Resolution) {
        let path = ConfigPath::new(["secrets", "providers", group.alias]);
        let mut note = |code, severity, message: String| {
            resolution
                .diagnostics
                .push(Diagnostic::new(code, severity, &path, message));
        };
        if result.bypassed {
            let message =
                format!("{path}: allowInsecurePath is on; owner and permissions are not checked");
            note(Code::SecretsPathCheckBypassed, Severity::Warning, message);
        }
        if result.plain_assumed {
            let message = format!(
                "{path}: the command printed plain text, which was taken as the secret; write jsonOnly: \
                 false so that the file also works in OpenClaw"
            );
            note(Code::SecretsExecPlaintextAssumed, Severity::Info, message);
        }
        if !result.missing_env.is_empty() {
            let message = format!("{path}: not set: {}", result.missing_env.join(", "));
            note(Code::SecretsPassenvMissing, Severity::Info, message);
        }
    }
}

fn with_refs(fault: Fault, scope: Scope, refs: &[&SecretRef]) -> Failure {
    let labels = refs.iter().map(ToString::to_string).collect();
    Failure {
        refs: labels,
        ..fault.failure(scope, refs.first().copied())
    }
}
