//! The security audit: what is risky about settings that may well be valid.
//!
//! A pure function over settings, secrets as far as they are known, and facts about files. Every
//! check is a row of the table in `checks`; a finding names settings, addresses and users, never a
//! secret.

mod checks;
mod exposure;
mod facts;
mod proxies;
mod shared;
#[cfg(test)]
mod tests;
mod users;

use serde_json::{Value, json};

use super::load::AccessInput;
use checks::CHECKS;
use facts::Facts;

/// What the audit looks at.
pub struct AuditInput<'a> {
    /// Settings and secrets, as the access policy would be built from them.
    pub access: AccessInput<'a>,
    /// What is known about files.
    pub files: FileFacts,
    /// What is known about the gateway's own certificate.
    pub certificate: Option<CertificateFacts>,
}

/// Files that decide who can change or read the gateway's settings.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FileFacts {
    /// The main configuration file.
    pub config: Option<FileFact>,
    /// The state folder.
    pub state_dir: Option<FileFact>,
    /// The private key of the gateway's own TLS.
    pub tls_key: Option<FileFact>,
}

/// A file, and who may do what with it.
#[derive(Debug, Clone)]
pub struct FileFact {
    /// As it is to be shown.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
}

/// What the audit needs to know about a certificate.
#[derive(Debug, Clone, Copy)]
pub struct CertificateFacts {
    /// Issuer and subject are the same.
    pub is_self_signed: bool,
    /// Milliseconds from now to the end of its validity; negative when that has passed.
    pub valid_for_ms: i64,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AuditSeverity {
    /// Somebody can probably come in who should not.
    Critical,
    /// A protection is missing.
    Warn,
    /// Worth knowing.
    Info,
}

impl AuditSeverity {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }
}

/// A line of the checklist for gateways behind an identity-aware proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ChecklistLine {
    /// The proxy is the only path to the gateway.
    OnlyPath,
    /// `gateway.trustedProxies` is minimal.
    MinimalProxies,
    /// The proxy overwrites identity headers of clients.
    OverwritesHeaders,
    /// TLS ends at the proxy.
    TlsAtProxy,
    /// `allowUsers` is set.
    AllowUsers,
}

impl ChecklistLine {
    /// Every line, in the order of the checklist.
    pub const ALL: [Self; 5] = [
        Self::OnlyPath,
        Self::MinimalProxies,
        Self::OverwritesHeaders,
        Self::TlsAtProxy,
        Self::AllowUsers,
    ];

    /// The sentence that should be true.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnlyPath => "the proxy is the only path",
            Self::MinimalProxies => "trustedProxies is minimal",
            Self::OverwritesHeaders => "the proxy overwrites identity headers",
            Self::TlsAtProxy => "TLS terminates at the proxy",
            Self::AllowUsers => "allowUsers is set",
        }
    }

    /// Whether settings alone cannot show it, so that only a probe can.
    pub fn needs_probe(self) -> bool {
        matches!(self, Self::OnlyPath | Self::OverwritesHeaders)
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFinding {
    /// The stable id of the check, such as `gateway.bind_no_auth`.
    pub check_id: &'static str,
    /// How bad it is.
    pub severity: AuditSeverity,
    /// What is risky, in one sentence.
    pub title: &'static str,
    /// What was found here.
    pub detail: String,
    /// What to do.
    pub remediation: &'static str,
    /// The setting or file; may be empty.
    pub path: String,
    /// The line of the checklist that it is about.
    pub line: Option<ChecklistLine>,
}

impl AuditFinding {
    /// A finding of a check outside this crate's table, such as a probe.
    pub fn new(
        check_id: &'static str,
        severity: AuditSeverity,
        title: &'static str,
        detail: String,
        remediation: &'static str,
    ) -> Self {
        Self {
            check_id,
            severity,
            title,
            detail,
            remediation,
            path: String::new(),
            line: None,
        }
    }

    /// Names the setting, file or address that it is about.
    #[must_use]
    pub fn at(mut self, path: String) -> Self {
        self.path = path;
        self
    }

    /// Names the line of the checklist that it is about.
    #[must_use]
    pub fn about(mut self, line: ChecklistLine) -> Self {
        self.line = Some(line);
        self
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        let mut members = json!({
            "checkId": self.check_id,
            "severity": self.severity.as_str(),
            "title": self.title,
            "message": self.detail,
            "fixHint": self.remediation,
        });
        if let (Value::Object(members), false) = (&mut members, self.path.is_empty()) {
            members.insert("path".to_owned(), self.path.clone().into());
        }
        members
    }
}

/// Runs every check. Findings are sorted by severity, id and path.
pub fn audit(input: &AuditInput<'_>) -> Vec<AuditFinding> {
    let facts = Facts::new(input);
    let mut findings = Vec::new();
    for check in CHECKS {
        let mut hits = Hits::default();
        (check.find)(&facts, &mut hits);
        findings.extend(hits.0.into_iter().map(|hit| AuditFinding {
            check_id: check.id,
            severity: hit.severity.unwrap_or(check.severity),
            title: check.title,
            detail: hit.detail,
            remediation: check.remediation,
            path: hit.path.unwrap_or_else(|| check.path.to_owned()),
            line: check.line,
        }));
    }
    sort_findings(&mut findings);
    findings
}

/// Puts findings in the order of the report.
pub fn sort_findings(findings: &mut Vec<AuditFinding>) {
    findings.sort_by(|a, b| {
        (a.severity, a.check_id, &a.path, &a.detail)
            .cmp(&(b.severity, b.check_id, &b.path, &b.detail))
    });
    findings.dedup();
}

/// A row of the table of checks.
struct Check {
    id: &'static str,
    /// How bad a hit is that does not say otherwise.
    severity: AuditSeverity,
    line: Option<ChecklistLine>,
    /// The setting that a hit is about when it does not say otherwise.
    path: &'static str,
    title: &'static str,
    remediation: &'static str,
    find: fn(&Facts<'_>, &mut Hits),
}

/// What a check found.
#[derive(Default)]
struct Hits(Vec<Hit>);

struct Hit {
    severity: Option<AuditSeverity>,
    path: Option<String>,
    detail: String,
}

impl Hits {
    /// A hit with the severity and path of the row.
    fn add(&mut self, detail: impl Into<String>) {
        self.push(None, None, detail.into());
    }

    /// A hit at another path.
    fn add_at(&mut self, path: &str, detail: impl Into<String>) {
        self.push(None, Some(path), detail.into());
    }

    /// A hit of another severity.
    fn add_as(&mut self, severity: AuditSeverity, detail: impl Into<String>) {
        self.push(Some(severity), None, detail.into());
    }

    fn push(&mut self, severity: Option<AuditSeverity>, path: Option<&str>, detail: String) {
        let path = path.map(str::to_owned);
        self.0.push(Hit {
            severity,
            path,
            detail,
        });
    }
}
