//! What is wrong, or worth knowing, about a configuration.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::error::{Code, Error};
use crate::json::{Mismatch, Path, Place};
use crate::text::printable_key;

/// How bad an issue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but something is probably not as meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One finding about a configuration file. Never holds a value from a place for secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    pub(crate) code: Code,
    pub(crate) severity: Severity,
    pub(crate) file: Option<PathBuf>,
    pub(crate) place: Option<Place>,
    pub(crate) path: Path,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) reason: Option<&'static str>,
    pub(crate) include_chain: Vec<PathBuf>,
}

impl Issue {
    pub(crate) fn error(code: Code, path: &Path, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, path, message)
    }

    pub(crate) fn warning(code: Code, path: &Path, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, path, message)
    }

    fn new(severity: Severity, code: Code, path: &Path, message: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            file: None,
            place: None,
            path: path.clone(),
            message: message.into(),
            hint: None,
            reason: None,
            include_chain: Vec::new(),
        }
    }

    /// The issue of a value or key that does not fit.
    pub(crate) fn mismatch(severity: Severity, mismatch: Mismatch) -> Self {
        let code = if mismatch.unknown_key {
            Code::ConfigUnknownKey
        } else {
            Code::ConfigInvalidValue
        };
        let issue = Self::new(severity, code, &mismatch.path, mismatch.message);
        Self {
            hint: mismatch.hint,
            ..issue
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn in_file(mut self, file: impl Into<PathBuf>, place: Option<Place>) -> Self {
        self.file = Some(file.into());
        self.place = place;
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Configuration path, empty for the whole file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, when one is known.
    pub fn file(&self) -> Option<&std::path::Path> {
        self.file.as_deref()
    }

    /// Line and column, both from one, when known.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        self.place.map(|place| (place.line, place.column))
    }

    /// One sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// A finer reason below the code.
    pub fn reason_text(&self) -> Option<&'static str> {
        self.reason
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code.as_str(),
            "severity": self.severity.as_str(),
            "file": self.file.as_ref().map(|file| file.to_string_lossy()),
            "line": self.place.map(|place| place.line),
            "column": self.place.map(|place| place.column),
            "path": self.shown_path(),
            "pathSegments": self.path.segments().iter().map(|s| printable_key(s)).collect::<Vec<_>>(),
            "message": self.message,
            "hint": self.hint,
            "reason": self.reason,
            "includeChain": self.include_chain.iter().map(|file| file.to_string_lossy()).collect::<Vec<_>>(),
        })
    }

    /// `<file>:<line>:<column>: <severity> <code>: <message> (at <path>). <hint>`
    pub fn render(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!(". {hint}"));
        let (severity, code) = (self.severity.as_str(), self.code);
        let (place, what) = (self.shown_place(), self.what());
        format!(
            "{place}{severity} {code}: {what}{}",
            hint.unwrap_or_default()
        )
    }

    /// The message with the configuration path.
    fn what(&self) -> String {
        if self.path.segments().is_empty() {
            self.message.clone()
        } else {
            format!("{} (at {})", self.message, self.shown_path())
        }
    }

    fn shown_place(&self) -> String {
        let file = self.file.as_ref().map(|file| file.display());
        match (file, self.place) {
            (Some(file), Some(place)) => format!("{file}:{}:{}: ", place.line, place.column),
            (Some(file), None) => format!("{file}: "),
            (None, _) => String::new(),
        }
    }

    fn shown_path(&self) -> String {
        Path::new(
            self.path
                .segments()
                .iter()
                .map(|segment| printable_key(segment)),
        )
        .to_string()
    }
}

/// Issues of one load, collected by every step.
pub(crate) type Issues = Vec<Issue>;

/// The error of a load with at least one issue of severity error.
pub(crate) fn into_error(issues: &[Issue]) -> Option<Error> {
    let errors: Vec<&Issue> = issues
        .iter()
        .filter(|issue| issue.severity == Severity::Error)
        .collect();
    let first = errors.first()?;
    let more = match errors.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Some(
        Error::new(
            first.code,
            format!("{}{}{more}", first.shown_place(), first.what()),
        )
        .with_hint(
            first
                .hint
                .clone()
                .unwrap_or_else(|| first.code.info().remedy.to_owned()),
        )
        .with(
            "issues",
            issues.iter().map(Issue::to_json).collect::<Vec<_>>(),
        ),
    )
}
