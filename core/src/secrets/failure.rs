//! What an activation says: failures that stop it, diagnostics that do not.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::reference::{SecretRef, SecretSource};
use crate::config::Severity;
use crate::error::{Code, Error};
use crate::json::{Path, Place};
use crate::text::SecretText;

/// How much one failure affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// The whole activation.
    Activation,
    /// Everything under one provider.
    Provider,
    /// One reference.
    Ref,
    /// One place that uses a reference.
    Assignment,
}

impl Scope {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::Provider => "provider",
            Self::Ref => "ref",
            Self::Assignment => "assignment",
        }
    }
}

/// One reason why an activation failed, with everything that depends on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub(crate) scope: Scope,
    pub(crate) code: Code,
    pub(crate) reason: Option<String>,
    pub(crate) source: Option<SecretSource>,
    pub(crate) provider: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) refs: Vec<String>,
    pub(crate) paths: Vec<String>,
    pub(crate) owners: Vec<String>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) retryable: bool,
    pub(crate) details: Map<String, Value>,
    pub(crate) declared_at: Option<(PathBuf, Place)>,
    pub(crate) program_output: Option<SecretText>,
}

impl Failure {
    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// A finer reason below the code.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// How much it affects.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// One sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Labels of the affected references, sorted.
    pub fn refs(&self) -> &[String] {
        &self.refs
    }

    /// Configuration paths that need them, sorted.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Whether a later try may succeed.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// Structured fields of the code.
    pub fn details(&self) -> &Map<String, Value> {
        &self.details
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        json!({
            "scope": self.scope.as_str(),
            "code": self.code.as_str(),
            "reason": self.reason,
            "source": self.source.map(SecretSource::as_str),
            "provider": self.provider,
            "id": self.id,
            "refs": self.refs,
            "paths": self.paths,
            "owners": self.owners,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "details": self.details,
            "declaredAt": self.declared_at.as_ref().map(|(file, place)| json!({
                "file": file.to_string_lossy(), "line": place.line, "column": place.column,
            })),
        })
    }

    /// Sorting key: scope, source, provider, id, first path, code.
    fn order(&self) -> (Scope, Option<SecretSource>, &str, &str, &str, &'static str) {
        (
            self.scope,
            self.source,
            self.provider.as_deref().unwrap_or_default(),
            self.id.as_deref().unwrap_or_default(),
            self.paths.first().map(String::as_str).unwrap_or_default(),
            self.code.as_str(),
        )
    }
}

/// A fault on its way to becoming a [`Failure`]: what happened, not yet to whom. One word wide.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault(Box<FaultParts>);

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FaultParts {
    pub(crate) code: Code,
    pub(crate) reason: Option<String>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) retryable: bool,
    pub(crate) details: Map<String, Value>,
    pub(crate) program_output: Option<SecretText>,
}

impl Deref for Fault {
    type Target = FaultParts;

    fn deref(&self) -> &FaultParts {
        &self.0
    }
}

impl DerefMut for Fault {
    fn deref_mut(&mut self) -> &mut FaultParts {
        &mut self.0
    }
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(FaultParts {
            code,
            reason: None,
            message: message.into(),
            hint: None,
            retryable: false,
            details: Map::new(),
            program_output: None,
        }))
    }

    pub(crate) fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    pub(crate) fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// The failure of this fault, for one provider or reference if it is about one.
    pub(crate) fn failure(self, scope: Scope, reference: Option<&SecretRef>) -> Failure {
        let parts = *self.0;
        Failure {
            scope,
            code: parts.code,
            reason: parts.reason,
            source: reference.map(SecretRef::source),
            provider: reference.map(|reference| reference.provider().to_owned()),
            id: reference
                .filter(|_| scope != Scope::Provider)
                .map(|reference| reference.id().to_owned()),
            refs: Vec::new(),
            paths: Vec::new(),
            owners: Vec::new(),
            message: parts.message,
            hint: parts.hint,
            retryable: parts.retryable,
            details: parts.details,
            declared_at: None,
            program_output: parts.program_output,
        }
    }
}

/// Something worth knowing that does not stop an activation.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    pub(crate) code: Code,
    pub(crate) severity: Severity,
    pub(crate) path: Path,
    pub(crate) owner: Option<String>,
    pub(crate) message: String,
    pub(crate) reason: Option<String>,
    pub(crate) details: Map<String, Value>,
}

impl Diagnostic {
    pub(crate) fn new(
        code: Code,
        severity: Severity,
        path: &Path,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity,
            path: path.clone(),
            owner: None,
            message: message.into(),
            reason: None,
            details: Map::new(),
        }
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// How bad it is; never an error.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Configuration path; empty for the whole file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What decided it, when there is a choice.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code.as_str(),
            "severity": self.severity.as_str(),
            "path": self.path.to_string(),
            "pathSegments": self.path.segments(),
            "owner": self.owner,
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
        })
    }
}

/// Puts failures and the lists in them in their fixed order.
pub(crate) fn sort_failures(failures: &mut [Failure]) {
    for failure in failures.iter_mut() {
        for list in [&mut failure.refs, &mut failure.paths, &mut failure.owners] {
            list.sort();
            list.dedup();
        }
    }
    failures.sort_by(|a, b| a.order().cmp(&b.order()));
}

/// Sorts diagnostics by path and code; one of each (code, path, reason) stays.
pub(crate) fn sort_diagnostics(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| {
        (&a.path, a.code.as_str(), &a.reason).cmp(&(&b.path, b.code.as_str(), &b.reason))
    });
    diagnostics.dedup_by(|a, b| (a.code, &a.path, &a.reason) == (b.code, &b.path, &b.reason));
}

/// An activation that did not happen. Everything is in its fixed order.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActivationFailure {
    pub(crate) failures: Vec<Failure>,
    /// Labels of references that were not tried because of the failures.
    pub(crate) not_attempted: Vec<String>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl ActivationFailure {
    /// The error as callers get it.
    pub(crate) fn into_error(self) -> Error {
        let rendered = self.to_string();
        let first = self.failures.first();
        let message = match (first, self.failures.len()) {
            (Some(first), 1) => format!("required secrets are unavailable: {}", first.message),
            (Some(first), count) => {
                format!(
                    "required secrets are unavailable: {} (and {} more)",
                    first.message,
                    count - 1
                )
            }
            (None, _) => "required secrets are unavailable".to_owned(),
        };
        let retryable = self.failures.iter().all(|failure| failure.retryable);
        let json = |items: Vec<Value>| Value::Array(items);
        let mut error = Error::new(Code::SecretUnresolved, message)
            .with(
                "failures",
                json(self.failures.iter().map(Failure::to_json).collect()),
            )
            .with("notAttempted", self.not_attempted.clone())
            .with(
                "diagnostics",
                json(self.diagnostics.iter().map(Diagnostic::to_json).collect()),
            )
            .with("text", rendered)
            .retryable(retryable);
        if let Some(hint) = first.and_then(|first| first.hint.as_deref()) {
            error = error.with_hint(hint);
        }
        error
    }
}

impl fmt::Display for ActivationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize, word: &str| {
            format!("{count} {word}{}", if count == 1 { "" } else { "s" })
        };
        write!(
            f,
            "required secrets are unavailable ({}",
            plural(self.failures.len(), "failure")
        )?;
        if !self.not_attempted.is_empty() {
            write!(
                f,
                ", {} not attempted",
                plural(self.not_attempted.len(), "ref")
            )?;
        }
        f.write_str(")")?;
        for failure in &self.failures {
            let label = match (failure.scope, failure.source, &failure.provider) {
                (Scope::Provider, Some(source), Some(provider)) => {
                    format!("provider {}:{provider}", source.as_str())
                }
                _ => failure
                    .refs
                    .first()
                    .cloned()
                    .unwrap_or_else(|| failure.scope.as_str().to_owned()),
            };
            let reason = failure
                .reason
                .as_ref()
                .map(|reason| format!("/{reason}"))
                .unwrap_or_default();
            write!(
                f,
                "\n- {label} [{}{reason}] {}",
                failure.code, failure.message
            )?;
            if !failure.paths.is_empty() {
                write!(f, "\n    used by {}", failure.paths.join(", "))?;
            }
            if let Some((file, place)) = &failure.declared_at {
                write!(
                    f,
                    "\n    declared at {}:{}:{}",
                    file.display(),
                    place.line,
                    place.column
                )?;
            }
            if let Some(hint) = &failure.hint {
                write!(f, "\n    hint: {hint}")?;
            }
        }
        if !self.not_attempted.is_empty() {
            let list = self.not_attempted.join(", ");
            write!(f, "\nnot attempted because of the failures above: {list}")?;
        }
        Ok(())
    }
}
