//! Trying a configuration without using it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Options;
use crate::config::{self, Input, Issue, Watched};
use crate::error::Error;
use crate::host::{Cancel, Host, Overlay};
use crate::json::Path;
use crate::secrets::{self, ActivateOptions, Attempt, Diagnostic, ExecMode, Rules};

/// A configuration to try: the one on disk, or a text or value that would take its place.
#[derive(Clone, Default)]
#[must_use]
pub struct Proposal {
    config: Option<Zeroizing<String>>,
    allow_exec: bool,
    only: Option<Vec<Path>>,
}

impl Proposal {
    /// What is on disk now.
    pub fn current() -> Self {
        Self::default()
    }

    /// A JSON5 text in place of the configuration file; includes are read as they are.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            config: Some(Zeroizing::new(text.into())),
            ..Self::default()
        }
    }

    /// A value in place of the configuration file.
    pub fn value(value: &Value) -> Self {
        Self::text(value.to_string())
    }

    /// Runs exec providers (default: their settings and paths are checked, no program runs).
    pub fn allow_exec(mut self, allow: bool) -> Self {
        self.allow_exec = allow;
        self
    }

    /// Limits the trial to these surfaces.
    pub fn paths<'p>(mut self, paths: impl IntoIterator<Item = &'p str>) -> Self {
        let known = paths.into_iter().filter_map(Path::parse);
        self.only = Some(known.collect());
        self
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposal")
            .field("allow_exec", &self.allow_exec)
            .finish_non_exhaustive()
    }
}

/// What would happen. Holds no values.
#[derive(Debug)]
pub struct PreflightReport {
    error: Option<Error>,
    issues: Vec<Issue>,
    active: Vec<String>,
    inactive: Vec<(String, String)>,
    diagnostics: Vec<Diagnostic>,
    refs_checked: usize,
    skipped: BTreeSet<String>,
}

impl PreflightReport {
    /// Whether the configuration could be used.
    pub fn is_ok(&self) -> bool {
        self.error.is_none()
    }

    /// The error that an activation would give.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Surfaces that must resolve, sorted.
    pub fn active_paths(&self) -> &[String] {
        &self.active
    }

    /// Surfaces whose references do not count, with the reason; sorted.
    pub fn inactive_paths(&self) -> &[(String, String)] {
        &self.inactive
    }

    /// What the trial noticed.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Labels of references whose programs were checked but not run.
    pub fn skipped_exec_refs(&self) -> impl Iterator<Item = &str> {
        self.skipped.iter().map(String::as_str)
    }

    /// Number of references that were resolved.
    pub fn refs_checked(&self) -> usize {
        self.refs_checked
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        let detail = |key: &str| {
            let details = self.error.as_ref().map(Error::details);
            details.and_then(|details| details.get(key)).cloned()
        };
        json!({
            "ok": self.is_ok(),
            "error": self.error.as_ref().map(Error::to_json),
            "failures": detail("failures").unwrap_or_else(|| json!([])),
            "notAttempted": detail("notAttempted").unwrap_or_else(|| json!([])),
            "diagnostics": self.diagnostics.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
            "warnings": self.issues.iter().map(Issue::to_json).collect::<Vec<_>>(),
            "activePaths": self.active,
            "inactivePaths": self.inactive.iter().map(|(path, _)| path).collect::<Vec<_>>(),
            "refsChecked": self.refs_checked,
            "skippedExecRefs": self.skipped.len(),
        })
    }
}

/// Runs a trial. Every value is wiped before it returns.
pub(super) fn preflight(
    host: &Host,
    options: &Options,
    rules: Arc<Rules>,
    cancel: &Cancel,
    proposal: &Proposal,
) -> PreflightReport {
    let mut read = options.read_options();
    let mut overlay = Overlay::new();
    if let Some(text) = &proposal.config {
        match read.input {
            Input::Text(_) | Input::Value(_) => read.input = Input::Text(text.clone()),
            Input::DefaultFile | Input::File(_) => {
                let path = options.locations_on(host).config;
                let path = host.files.canonical(&path).unwrap_or(path);
                let content = Zeroizing::new(text.as_bytes().to_vec());
                overlay.insert(path, Arc::new(content));
            }
        }
    }
    let stop = options.stop(host, cancel);
    let activate = ActivateOptions {
        exec: match proposal.allow_exec {
            true => options.exec_mode(),
            false => ExecMode::Check,
        },
        stop,
        only: proposal.only.clone(),
    };
    let world = host.with_overlay(overlay);
    let source = config::read(&world, &read);
    match secrets::load(&world, source, rules, &mut Watched::new()) {
        Err(error) => PreflightReport::failed(error),
        Ok(loaded) => {
            let attempt = loaded.attempt(&world, &activate);
            PreflightReport::new(attempt, loaded.source.issues)
        }
    }
}

impl PreflightReport {
    fn failed(error: Error) -> Self {
        Self {
            error: Some(error),
            issues: Vec::new(),
            active: Vec::new(),
            inactive: Vec::new(),
            diagnostics: Vec::new(),
            refs_checked: 0,
            skipped: BTreeSet::new(),
        }
    }

    fn new(attempt: Attempt, issues: Vec<Issue>) -> Self {
        let report = Self {
            issues,
            active: attempt.active.iter().map(ToString::to_string).collect(),
            inactive: attempt
                .inactive
                .iter()
                .map(|(path, reason)| (path.to_string(), reason.clone()))
                .collect(),
            diagnostics: attempt.diagnostics.clone(),
            refs_checked: attempt.by_ref.len(),
            skipped: attempt.unchecked.iter().map(ToString::to_string).collect(),
            error: None,
        };
        let error = attempt.into_result().err();
        Self {
            error: error.map(|failure| failure.into_error()),
            ..report
        }
    }
}
