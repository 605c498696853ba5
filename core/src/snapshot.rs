//! One generation: resolved secrets, settings and access rules, immutable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::{Value, json};

use crate::access::{AccessControl, AccessInput, Limiter, Overrides, Problem, SecretInput};
use crate::config::{EnvView, Issue, Locations, Source, is_env_name};
use crate::error::{Code, Error, Result};
use crate::host::{Clock, Interfaces};
use crate::json::{Path, lookup};
use crate::secrets::{
    Attempt, Diagnostic, Entry, Failure, Loaded, Origin, ProviderReport, SecretRef, SecretValue,
    Selection, State, is_sensitive_key, wipe,
};
use crate::text::{REDACTED, SecretText};

/// Everything that was resolved by one activation.
///
/// Immutable and shared: whoever holds it sees one generation, completely. Reads come from
/// memory, never from a file, the environment or a program, and do not allocate unless they fail.
/// Secrets are wiped when the last holder lets go.
pub struct Snapshot {
    generation: u64,
    activated_at_ms: u64,
    pub(crate) tree: Value,
    by_path: HashMap<Box<str>, Entry, RandomState>,
    by_ref: HashMap<String, SecretValue, RandomState>,
    inactive_literals: BTreeMap<String, SecretText>,
    issues: Vec<Issue>,
    diagnostics: Vec<Diagnostic>,
    failures: Vec<Failure>,
    /// Path and label of references whose programs were not run.
    unchecked: BTreeMap<String, String>,
    selections: Vec<Selection>,
    providers: Vec<ProviderReport>,
    pub(crate) env: EnvView,
    pub(crate) places: Locations,
    redaction_hits: usize,
    access: AccessControl,
    access_complete: bool,
    access_problems: Vec<Problem>,
}

/// What the access policy needs beyond the configuration; shared by all generations.
#[derive(Clone)]
pub(crate) struct AccessParts {
    pub(crate) overrides: Overrides,
    /// Access must be configured completely, from the start.
    pub(crate) required: bool,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) interfaces: Arc<dyn Interfaces>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Snapshot {
    /// Puts an activation together under the next generation number.
    ///
    /// # Errors
    ///
    /// Every problem of the access settings.
    pub(crate) fn build(
        loaded: Loaded,
        mut activated: Attempt,
        parts: &AccessParts,
        previous: Option<&Self>,
    ) -> Result<Self> {
        let source = loaded.source;
        // What was complete once must stay so: a reload never closes the door for everybody.
        let required = parts.required || previous.is_some_and(|previous| previous.access_complete);
        let entries = std::mem::take(&mut activated.entries).into_iter();
        let by_path: HashMap<Box<str>, Entry, RandomState> = entries
            .map(|entry| (entry.path.to_string().into_boxed_str(), entry))
            .collect();
        let secret = |path: &str| {
            let literal = activated.inactive_literals.get(path);
            secret_input(by_path.get(path), literal)
        };
        let (access, access_complete, access_problems) = access(&source, &secret, parts, required)?;
        Ok(Self {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            activated_at_ms: parts.clock.now_ms(),
            tree: source.tree,
            by_path,
            by_ref: activated.by_ref.into_iter().collect(),
            inactive_literals: activated.inactive_literals,
            issues: source.issues,
            diagnostics: activated.diagnostics,
            failures: activated.failures,
            unchecked: activated
                .unchecked_paths
                .into_iter()
                .map(|(path, reference)| (path, reference.to_string()))
                .collect(),
            selections: activated.selections,
            providers: activated.reports,
            env: source.env,
            places: source.places,
            redaction_hits: activated.redaction_hits,
            access,
            access_complete,
            access_problems,
        })
    }

    /// Who may use the gateway. While the access settings are missing or unusable (and not
    /// required) it refuses everybody with `token_missing_config`; see
    /// [`Snapshot::access_problems`].
    pub fn access(&self) -> &AccessControl {
        &self.access
    }

    /// What is wrong with, or worth knowing about, the access settings.
    pub fn access_problems(&self) -> &[Problem] {
        &self.access_problems
    }

    /// Number of this generation: 1 for the first activation, one more for every swap.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When it was activated, in milliseconds since 1970.
    pub fn activated_at_ms(&self) -> u64 {
        self.activated_at_ms
    }

    /// The secret at a configuration path, as text (`models.providers.openai.apiKey`, or as JSON
    /// Pointer `/models/providers/openai/apiKey`). Secrets that are JSON objects are given as
    /// compact JSON.
    ///
    /// # Errors
    ///
    /// `secret_inactive` when the setting is not in use, `secret_path_unknown` when there is no
    /// secret at the path.
    pub fn secret(&self, path: &str) -> Result<&SecretText> {
        self.secret_value(path).map(SecretValue::text)
    }

    /// Like [`Snapshot::secret`], with the kind of the value.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::secret`].
    pub fn secret_value(&self, path: &str) -> Result<&SecretValue> {
        match self.entry(path).map(|entry| &entry.state) {
            Some(State::Ready(value)) => Ok(value),
            Some(State::Inactive(reason)) => Err(Error::new(
                Code::SecretInactive,
                format!("{}: not active: {reason}", shown(path)),
            )
            .with("reason", reason.clone())),
            None => Err(Error::new(
                Code::SecretPathUnknown,
                format!("{}: there is no secret at this path", shown(path)),
            )),
        }
    }

    /// The value of a reference that was part of this activation, by its label
    /// `source:provider:id`. Never resolves on demand.
    ///
    /// # Errors
    ///
    /// `secret_ref_not_in_snapshot`.
    pub fn secret_ref(&self, label: &str) -> Result<&SecretText> {
        self.by_ref
            .get(label)
            .map(SecretValue::text)
            .ok_or_else(|| {
                Error::new(
                    Code::SecretRefNotInSnapshot,
                    "the reference was not part of the last activation",
                )
            })
    }

    /// A setting that is not secret. Inside a larger value, secrets are shown as
    /// `__OPENCLAW_REDACTED__` and references as they were written.
    ///
    /// # Errors
    ///
    /// `secret_use_typed_read` on the path of a secret.
    pub fn value(&self, path: &str) -> Result<Option<&Value>> {
        if self.entry(path).is_some() {
            return Err(Error::new(
                Code::SecretUseTypedRead,
                format!("{}: holds a secret; read it with secret()", shown(path)),
            ));
        }
        Ok(Path::parse(path).and_then(|path| lookup(&self.tree, path.segments())))
    }

    /// A copy of the effective configuration for showing: `__OPENCLAW_REDACTED__` in place of
    /// literal secrets and of texts whose key merely looks sensitive, references as they were
    /// written.
    pub fn config_json(&self) -> Value {
        redacted(&self.tree)
    }

    /// Every secret surface: path, state, origin, owners, reference. No values.
    pub fn surfaces(&self) -> Vec<SurfaceInfo<'_>> {
        let mut surfaces: Vec<SurfaceInfo<'_>> = self
            .by_path
            .iter()
            .map(|(path, entry)| SurfaceInfo { path, entry })
            .collect();
        surfaces.sort_by_key(|surface| surface.path);
        surfaces
    }

    /// Warnings about the configuration files.
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// What the activation noticed.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Active secrets that did not resolve, sorted; empty unless
    /// [`Options::tolerate_unresolved`](crate::Options::tolerate_unresolved) was set.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Paths and labels of references whose programs were only checked, not run.
    pub(crate) fn unchecked(&self) -> &BTreeMap<String, String> {
        &self.unchecked
    }

    /// The provider in use of a selection group (`web-search`, `web-fetch`).
    pub fn selection(&self, group: &str) -> Option<&Selection> {
        self.selections.iter().find(|known| known.group() == group)
    }

    /// What each provider did.
    pub fn providers(&self) -> &[ProviderReport] {
        &self.providers
    }

    /// Where home, state and configuration are.
    pub fn locations(&self) -> &Locations {
        &self.places
    }

    /// How often a message had to be scrubbed of a secret. Anything but 0 is a defect.
    pub fn redaction_hits(&self) -> usize {
        self.redaction_hits
    }

    /// Every secret of the generation, also those of settings that are not in use; some come twice.
    pub(crate) fn each_secret(&self, visit: &mut dyn FnMut(&SecretText)) {
        for entry in self.by_path.values() {
            if let State::Ready(value) = &entry.state {
                visit(&value.text);
            }
        }
        self.by_ref.values().for_each(|value| visit(&value.text));
        self.inactive_literals.values().for_each(visit);
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        self.by_path.get(path).or_else(|| {
            // Another spelling of the path.
            let canonical = Path::parse(path)?.to_string();
            self.by_path.get(canonical.as_str())
        })
    }

    /// Whether it says the same as another one, apart from generation and times.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let same_entries = || {
            self.by_path.len() == other.by_path.len()
                && self.by_path.iter().all(|(path, entry)| {
                    let known = other.by_path.get(path);
                    known.is_some_and(|known| known.says_the_same(entry))
                })
        };
        self.tree == other.tree
            && same_entries()
            && self.by_ref == other.by_ref
            && self.inactive_literals == other.inactive_literals
            && self.selections == other.selections
            && self.issues == other.issues
            && self.diagnostics == other.diagnostics
            && self.failures == other.failures
            && self.env == other.env
            && self.places == other.places
    }

    /// How the secrets differ from an older generation.
    pub(crate) fn changes_since(&self, older: &Self) -> Changes {
        let mut changes = Changes::default();
        for (path, entry) in &self.by_path {
            let before = older.by_path.get(path);
            if !before.is_some_and(|before| same_state(&before.state, &entry.state)) {
                changes.paths.insert(path.to_string());
                changes.owners.extend(entry.owners.iter().cloned());
            }
        }
        for (path, entry) in &older.by_path {
            if !self.by_path.contains_key(path) {
                changes.removed.insert(path.to_string());
                changes.owners.extend(entry.owners.iter().cloned());
            }
        }
        changes
    }
}

/// A copy in which texts under sensitive-looking keys are hidden, references excepted.
fn redacted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let is_reference = map.contains_key("source") && map.contains_key("id");
            let entry = |(key, value): (&String, &Value)| {
                let hidden = match value {
                    Value::String(text)
                        if !is_reference && is_sensitive_key(key) && !is_variable(text) =>
                    {
                        Value::String(REDACTED.to_owned())
                    }
                    other => redacted(other),
                };
                (key.clone(), hidden)
            };
            Value::Object(map.iter().map(entry).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(redacted).collect()),
        other => other.clone(),
    }
}

/// Whether a text is nothing but `${NAME}` or `$NAME`.
fn is_variable(text: &str) -> bool {
    let name = text.trim().strip_prefix('$').unwrap_or_default();
    let name = name
        .strip_prefix('{')
        .and_then(|name| name.strip_suffix('}'))
        .unwrap_or(name);
    is_env_name(name)
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // Settings may hold secrets that nobody declared as such.
        wipe(std::mem::take(&mut self.tree));
    }
}

/// What changed between two generations; all sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) paths: BTreeSet<String>,
    pub(crate) owners: BTreeSet<String>,
    pub(crate) removed: BTreeSet<String>,
}

fn same_state(a: &State, b: &State) -> bool {
    match (a, b) {
        (State::Ready(a), State::Ready(b)) => a == b,
        (State::Inactive(_), State::Inactive(_)) => true,
        _ => false,
    }
}

/// A secret of the access settings: as it stands in the configuration, or from a reference.
fn secret_input(entry: Option<&Entry>, inactive: Option<&SecretText>) -> SecretInput {
    match (entry, inactive) {
        (None, _) => SecretInput::Absent,
        (_, Some(literal)) => SecretInput::Literal(literal.clone()),
        (Some(entry), None) => match (&entry.state, entry.origin) {
            (State::Ready(value), Origin::Literal) => SecretInput::Literal(value.text.clone()),
            (State::Ready(value), _) => SecretInput::Reference(Some(value.text.clone())),
            (State::Inactive(_), _) => SecretInput::Reference(None),
        },
    }
}

/// Compiles the access settings; also tells whether they are complete. Errors stop the load only
/// where access is required: a program that only wants secrets must not fail for a missing token.
fn access(
    source: &Source,
    secret: &dyn Fn(&str) -> SecretInput,
    parts: &AccessParts,
    required: bool,
) -> Result<(AccessControl, bool, Vec<Problem>)> {
    let variable = |name: &str| {
        source
            .env
            .non_blank(name)
            .map(|value| SecretText::new(value.to_owned()))
    };
    let input = AccessInput {
        config: &source.tree,
        token: secret("gateway.auth.token"),
        password: secret("gateway.auth.password"),
        proxy_secret: secret("gateway.auth.trustedProxy.proxySecret.value"),
        previous_proxy_secret: secret("gateway.auth.trustedProxy.proxySecret.previousValue"),
        env_token: variable("OPENCLAW_GATEWAY_TOKEN"),
        env_password: variable("OPENCLAW_GATEWAY_PASSWORD"),
        overrides: parts.overrides.clone(),
        interfaces: Arc::clone(&parts.interfaces),
        clock: Arc::clone(&parts.clock),
    };
    let loaded = AccessControl::load(input, Arc::clone(&parts.limiter));
    match loaded.control {
        _ if required && !loaded.errors.is_empty() => Err(access_error(&loaded.errors)),
        Some(control) if loaded.errors.is_empty() => Ok((control, true, loaded.warnings)),
        // Not usable and not required: everybody is refused, as without any settings.
        _ => {
            let nothing = Value::Object(serde_json::Map::new());
            let (interfaces, clock) = (Arc::clone(&parts.interfaces), Arc::clone(&parts.clock));
            let input = AccessInput::new(&nothing, interfaces, clock);
            let closed = AccessControl::load(input, Arc::clone(&parts.limiter));
            let problems = loaded.errors.into_iter().chain(loaded.warnings).collect();
            match closed.control {
                Some(control) => Ok((control, false, problems)),
                None => Err(access_error(&closed.errors)),
            }
        }
    }
}

fn access_error(problems: &[Problem]) -> Error {
    let Some(first) = problems.first() else {
        return Error::new(Code::InternalError, "the access settings gave no policy");
    };
    let more = match problems.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let list: Vec<Value> = problems
        .iter()
        .map(|problem| {
            let Problem {
                code,
                path,
                message,
                ..
            } = problem;
            json!({"code": code.as_str(), "path": path, "message": message})
        })
        .collect();
    Error::new(
        first.code,
        format!("{}: {}{more}", first.path, first.message),
    )
    .with_hint(first.code.info().remedy)
    .with("problems", list)
}

/// A path as given by the caller, when it looks like one.
fn shown(path: &str) -> String {
    if path.len() <= 200 && !path.chars().any(char::is_control) {
        path.to_owned()
    } else {
        "<unprintable path>".to_owned()
    }
}

/// One secret surface, without its value.
#[derive(Debug, Clone, Copy)]
pub struct SurfaceInfo<'a> {
    path: &'a str,
    entry: &'a Entry,
}

impl SurfaceInfo<'_> {
    /// Configuration path.
    pub fn path(&self) -> &str {
        self.path
    }

    /// Whether its secret can be read.
    pub fn is_ready(&self) -> bool {
        matches!(self.entry.state, State::Ready(_))
    }

    /// Why it is not active.
    pub fn inactive_reason(&self) -> Option<&str> {
        match &self.entry.state {
            State::Inactive(reason) => Some(reason),
            State::Ready(_) => None,
        }
    }

    /// Where the secret comes from.
    pub fn origin(&self) -> Origin {
        self.entry.origin
    }

    /// Who needs it.
    pub fn owners(&self) -> &[String] {
        &self.entry.owners
    }

    /// The reference, if it is one.
    pub fn reference(&self) -> Option<&SecretRef> {
        self.entry.reference.as_ref()
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        json!({
            "path": self.path,
            "state": if self.is_ready() { "ready" } else { "inactive" },
            "reason": self.inactive_reason(),
            "origin": self.origin().as_str(),
            "owners": self.owners(),
            "ref": self.reference().map(ToString::to_string),
        })
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("generation", &self.generation)
            .field("surfaces", &self.by_path.len())
            .finish_non_exhaustive()
    }
}
