//! How to open an engine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::access::Overrides;
use crate::config::{self, EnvView, Input, Locations, ReadOptions};
use crate::error::Result;
use crate::host::{Cancel, Host};
use crate::secrets::{ExecMode, Progress, Registry, Rules, Stop, deadline, restore, wipe};

/// How to open an [`Engine`](super::Engine). The default reads what OpenClaw would read:
/// `OPENCLAW_CONFIG_PATH` or `~/.openclaw/openclaw.json`, and the process environment.
#[derive(Clone, Default)]
#[must_use]
pub struct Options {
    host: Option<Host>,
    input: Input,
    state_dir: Option<PathBuf>,
    env: Option<BTreeMap<String, Zeroizing<String>>>,
    strict_env: bool,
    deadline_ms: Option<u64>,
    no_exec_gate: bool,
    without_exec: bool,
    tolerate_unresolved: bool,
    overrides: Overrides,
    needs_access: bool,
    registry: Registry,
    progress: Progress,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads this configuration file. A missing file is then an error.
    pub fn config_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.input = Input::File(path.into());
        self
    }

    /// Uses this JSON5 text as the configuration; no configuration file is read.
    pub fn config_text(mut self, text: impl Into<String>) -> Self {
        self.input = Input::Text(Zeroizing::new(text.into()));
        self
    }

    /// Uses this value as the configuration; no configuration file is read.
    pub fn config_value(mut self, value: Value) -> Self {
        self.input = Input::Value(value);
        self
    }

    /// The state directory (default: `OPENCLAW_STATE_DIR` or `~/.openclaw`).
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(path.into());
        self
    }

    /// Replaces the process environment. `.env` is then not read.
    pub fn env<K: Into<String>, V: Into<String>>(
        mut self,
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let vars = vars
            .into_iter()
            .map(|(name, value)| (name.into(), Zeroizing::new(value.into())));
        self.env = Some(vars.collect());
        self
    }

    /// Makes a missing `${VAR}` in a setting an error (default: a warning, and the text stays).
    pub fn strict_env(mut self, strict: bool) -> Self {
        self.strict_env = strict;
        self
    }

    /// Longest time one activation may take, in milliseconds (default: no limit beyond the
    /// providers' own).
    pub fn deadline(mut self, ms: u64) -> Self {
        self.deadline_ms = Some(ms);
        self
    }

    /// Runs exec providers even if the activation is bound to fail already, so that all failures
    /// are seen at once (default: they are not run).
    pub fn run_exec_always(mut self, always: bool) -> Self {
        self.no_exec_gate = always;
        self
    }

    /// Runs no exec provider; their references stay unresolved, which is no error (default: they
    /// are run).
    pub fn without_exec(mut self, without: bool) -> Self {
        self.without_exec = without;
        self
    }

    /// Opens although active secrets do not resolve; they are then absent, and
    /// [`Snapshot::failures`](crate::Snapshot::failures) lists them. For tools that look at an
    /// installation or mend it (default: an error).
    pub fn tolerate_unresolved(mut self, tolerate: bool) -> Self {
        self.tolerate_unresolved = tolerate;
        self
    }

    /// Settings about access that win over the configuration.
    pub fn access_overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// Makes missing access settings an error, as a gateway wants it (default: only what is
    /// configured must be right).
    pub fn require_access(mut self, required: bool) -> Self {
        self.needs_access = required;
        self
    }

    /// Adds the host's own secret surfaces to the built-in table (default: none).
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Lets another thread see which providers are being waited for.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Replaces the outside world (default: this machine).
    pub fn with_host(mut self, host: Host) -> Self {
        self.host = Some(host);
        self
    }

    /// Where home, state and configuration are. Reads no file but looks whether some are there.
    pub fn locations(&self) -> Locations {
        self.locations_on(&self.host())
    }

    /// See [`Engine::restore_redacted`](super::Engine::restore_redacted); works without resolving
    /// anything.
    ///
    /// # Errors
    ///
    /// `config_redacted_value`, and the errors of reading the configuration.
    pub fn restore_redacted(&self, proposed: &Value) -> Result<Value> {
        let read = ReadOptions {
            as_written: true,
            ..self.read_options()
        };
        let mut source = config::read(&self.host(), &read);
        source.finish()?;
        let rules = Rules::new(&self.registry);
        let restored = restore(proposed, &source.tree, &rules);
        wipe(source.tree);
        restored
    }

    pub(crate) fn host(&self) -> Host {
        self.host.clone().unwrap_or_else(Host::real)
    }

    /// Whether the configuration was given as a text or value instead of a file.
    pub(super) fn has_own_config(&self) -> bool {
        matches!(self.input, Input::Text(_) | Input::Value(_))
    }

    pub(crate) fn read_options(&self) -> ReadOptions {
        ReadOptions {
            input: self.input.clone(),
            state_dir: self.state_dir.clone(),
            env: self.env.clone(),
            strict_env: self.strict_env,
            as_written: false,
        }
    }

    /// Where home, state and configuration are.
    pub(super) fn locations_on(&self, host: &Host) -> Locations {
        let read = self.read_options();
        let vars = read.env.unwrap_or_else(|| host.env.vars().clone());
        let named = match &read.input {
            Input::File(path) => Some(path.as_path()),
            _ => None,
        };
        let state = read.state_dir.as_deref();
        Locations::find(host, &EnvView::new(vars), named, state, &mut Vec::new())
    }

    pub(super) fn overrides(&self) -> Overrides {
        self.overrides.clone()
    }

    pub(super) fn needs_access(&self) -> bool {
        self.needs_access
    }

    /// What ends an activation that starts now.
    pub(super) fn stop(&self, host: &Host, cancel: &Cancel) -> Stop {
        self.progress.reset();
        Stop {
            deadline: deadline(host, self.deadline_ms),
            cancel: cancel.clone(),
            progress: self.progress.clone(),
        }
    }

    pub(super) fn exec_mode(&self) -> ExecMode {
        match (self.without_exec, self.no_exec_gate) {
            (true, _) => ExecMode::Check,
            (false, true) => ExecMode::Always,
            (false, false) => ExecMode::Gated,
        }
    }

    pub(super) fn tolerates_unresolved(&self) -> bool {
        self.tolerate_unresolved
    }

    pub(super) fn registry_copy(&self) -> Registry {
        self.registry.clone()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}
