//! The result of an audit.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::Severity;
use crate::error::Code;
use crate::json::Place;

/// One thing that an audit found. Never holds a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub(super) code: Code,
    pub(super) severity: Severity,
    pub(super) file: PathBuf,
    pub(super) place: Option<Place>,
    pub(super) path: String,
    pub(super) message: String,
    pub(super) provider: Option<String>,
    pub(super) profile_id: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) failure: Option<Value>,
}

impl Finding {
    pub(super) fn new(code: Code, severity: Severity, file: &Path) -> Self {
        Self {
            code,
            severity,
            file: file.to_owned(),
            place: None,
            path: String::new(),
            message: String::new(),
            provider: None,
            profile_id: None,
            reference: None,
            failure: None,
        }
    }

    /// The stable code, such as `PLAINTEXT_FOUND`.
    pub fn code(&self) -> Code {
        self.code
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The file it is about.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The place in the file, line and column from one, when known.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        self.place.map(|place| (place.line, place.column))
    }

    /// Where in the document: a configuration path, `$env.NAME` in a `.env` file, `<root>`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// One sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code.as_str(),
            "severity": match self.severity {
                Severity::Warning => "warn",
                other => other.as_str(),
            },
            "file": self.file.to_string_lossy(),
            "line": self.place.map(|place| place.line),
            "column": self.place.map(|place| place.column),
            "path": self.path,
            // The name that OpenClaw 2026.4 has for it.
            "jsonPath": self.path,
            "message": self.message,
            "provider": self.provider,
            "profileId": self.profile_id,
            "ref": self.reference,
            "failure": self.failure,
        })
    }
}

/// The answer of an audit in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditStatus {
    /// Nothing to do.
    Clean,
    /// Plain text, shadowed references or leftovers.
    Findings,
    /// References do not resolve.
    Unresolved,
}

impl AuditStatus {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Findings => "findings",
            Self::Unresolved => "unresolved",
        }
    }
}

/// What an audit found, in order of files and places.
#[derive(Debug, Default)]
pub struct AuditReport {
    pub(super) findings: Vec<Finding>,
    pub(super) scanned: BTreeSet<PathBuf>,
    pub(super) refs_checked: usize,
    pub(super) skipped_exec_refs: usize,
    pub(super) inactive_refs: usize,
}

impl AuditReport {
    /// Everything that was found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The answer in one word.
    pub fn status(&self) -> AuditStatus {
        let any = |wanted: &[Code]| self.findings.iter().any(|f| wanted.contains(&f.code));
        if any(&[Code::RefUnresolved, Code::ProviderPathInsecure]) {
            AuditStatus::Unresolved
        } else if self.findings.iter().any(|f| f.severity != Severity::Info) {
            AuditStatus::Findings
        } else {
            AuditStatus::Clean
        }
    }

    /// Whether every active reference was resolved, those of programs included.
    pub fn is_complete(&self) -> bool {
        self.skipped_exec_refs == 0
    }

    /// Number of references whose programs were not run.
    pub fn skipped_exec_refs(&self) -> usize {
        self.skipped_exec_refs
    }

    /// The files that were looked at, sorted.
    pub fn files_scanned(&self) -> impl Iterator<Item = &Path> {
        self.scanned.iter().map(PathBuf::as_path)
    }

    /// The exit code of `secrets audit`: 2 for references that do not resolve, 1 for findings
    /// (with `check`; with `strict` also for suspected plain text), 3 when `require_complete` is
    /// not fulfilled, else 0.
    pub fn exit_code(&self, check: bool, strict: bool, require_complete: bool) -> u8 {
        let suspected = || {
            self.findings
                .iter()
                .any(|f| f.code == Code::PlaintextSuspected)
        };
        match self.status() {
            AuditStatus::Unresolved => 2,
            AuditStatus::Findings if check => 1,
            _ if check && strict && suspected() => 1,
            _ if require_complete && !self.is_complete() => 3,
            _ => 0,
        }
    }

    fn count(&self, code: Code) -> usize {
        self.findings.iter().filter(|f| f.code == code).count()
    }

    /// The first line for people. What was not measured does not read as healthy.
    pub fn summary_line(&self) -> String {
        let incomplete = match self.skipped_exec_refs {
            0 => String::new(),
            count => {
                format!(" (INCOMPLETE: {count} exec refs not checked, re-run with --allow-exec)")
            }
        };
        format!(
            "Secrets audit: {}{incomplete}. plaintext={}, unresolved={}, \
             shadowed={}, legacy={}.",
            self.status().as_str(),
            self.count(Code::PlaintextFound),
            self.count(Code::RefUnresolved) + self.count(Code::ProviderPathInsecure),
            self.count(Code::RefShadowed),
            self.count(Code::LegacyResidue),
        )
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        json!({
            "version": 1,
            "status": self.status().as_str(),
            "complete": self.is_complete(),
            "resolution": {
                "refsChecked": self.refs_checked,
                "skippedExecRefs": self.skipped_exec_refs,
                "inactiveRefs": self.inactive_refs,
                "resolvabilityComplete": self.is_complete(),
            },
            "filesScanned":
                self.scanned.iter().map(|file| file.to_string_lossy()).collect::<Vec<_>>(),
            "summary": {
                "plaintextCount": self.count(Code::PlaintextFound),
                "unresolvedRefCount": self.count(Code::RefUnresolved),
                "shadowedRefCount": self.count(Code::RefShadowed),
                "legacyResidueCount": self.count(Code::LegacyResidue),
                "suspectedCount": self.count(Code::PlaintextSuspected),
                "providerIssueCount": self.count(Code::ProviderPathInsecure),
            },
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        })
    }

    /// Puts the findings in their fixed order.
    pub(super) fn finish(&mut self) {
        self.findings.sort_by(|a, b| {
            (&a.file, a.place, &a.path, a.code.as_str()).cmp(&(
                &b.file,
                b.place,
                &b.path,
                b.code.as_str(),
            ))
        });
        self.findings.dedup();
    }
}
