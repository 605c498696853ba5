//! The report of `security audit`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::access::{
    AccessInput, AuditFinding, AuditInput, AuditSeverity, AuthMethod, CertificateFacts,
    ChecklistLine, DEFAULT_SECRET_HEADER, FileFact, FileFacts, SecretInput, audit, sort_findings,
};
use crate::config::{self, Input, ReadOptions, Source, Watched, expand_home};
use crate::engine::Options;
use crate::error::{Code, Result};
use crate::host::Host;
use crate::json::lookup;
use crate::secrets::{
    self, ActivateOptions, Attempt, ExecMode, Failure, Loaded, Origin, Registry, Rules, State, Stop,
};
use crate::text::SecretText;

/// What to audit.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SecurityOptions {
    /// The configuration file, when not the default one.
    pub config: Option<PathBuf>,
    /// The whole configuration as text, instead of a file.
    pub config_text: Option<String>,
    /// The state folder, when not the default one.
    pub state_dir: Option<PathBuf>,
    /// What the caller knows about the certificate of the gateway's own TLS.
    pub certificate: Option<ReadCertificate>,
}

/// How the facts about a certificate are read from its file.
type ReadCertificate = fn(&Host, &Path) -> Option<CertificateFacts>;

/// What the audit found.
#[derive(Debug, Clone)]
pub struct SecurityReport {
    ts: u64,
    findings: Vec<AuditFinding>,
    secret_diagnostics: Vec<Value>,
    facts: ReportFacts,
}

/// Settings that the report quotes.
#[derive(Debug, Clone, Default)]
struct ReportFacts {
    by_proxy: bool,
    user_header: String,
    proxies: usize,
    users: usize,
    port: Option<u16>,
}

/// Reads the configuration and audits its access settings. Reads files, runs no program, and
/// needs no secret to resolve.
///
/// # Errors
///
/// Every problem of a configuration that cannot be read.
pub fn security(host: &Host, options: &SecurityOptions) -> Result<SecurityReport> {
    let loaded = load(host, options)?;
    Ok(examine(host, &loaded, options.certificate))
}

/// The same for the installation that an engine is opened from.
///
/// # Errors
///
/// As [`security`].
pub(crate) fn of_options(host: &Host, options: &Options) -> Result<SecurityReport> {
    let source = config::read(host, &options.read_options());
    let rules = Arc::new(Rules::new(&Registry::default()));
    let loaded = secrets::load(host, source, rules, &mut Watched::new())?;
    Ok(examine(host, &loaded, None))
}

fn examine(host: &Host, loaded: &Loaded, certificate: Option<ReadCertificate>) -> SecurityReport {
    let examined = loaded.attempt(
        host,
        &ActivateOptions {
            exec: ExecMode::Check,
            stop: Stop::default(),
            only: None,
        },
    );
    let source = &loaded.source;
    let certificate = certificate.and_then(|read| {
        let tls = setting(source, "gateway.tls.enabled").and_then(Value::as_bool);
        let path = tls_file(source, "certPath", "gateway-cert.pem");
        read(host, &path).filter(|_| tls == Some(true))
    });
    let input = AuditInput {
        access: access_input(host, source, &examined),
        files: files(host, source),
        certificate,
    };
    let findings = audit(&input);
    SecurityReport {
        ts: host.clock.now_ms(),
        findings,
        secret_diagnostics: diagnostics(&examined),
        facts: report_facts(source),
    }
}

fn load(host: &Host, options: &SecurityOptions) -> Result<Loaded> {
    let read = ReadOptions {
        input: match (&options.config_text, &options.config) {
            (Some(text), _) => Input::Text(text.clone().into()),
            (None, Some(path)) => Input::File(path.clone()),
            (None, None) => Input::DefaultFile,
        },
        state_dir: options.state_dir.clone(),
        ..ReadOptions::default()
    };
    let source = config::read(host, &read);
    let rules = Arc::new(Rules::new(&Registry::default()));
    secrets::load(host, source, rules, &mut Watched::new())
}

fn access_input<'a>(host: &Host, source: &'a Source, examined: &Attempt) -> AccessInput<'a> {
    let secret = |path: &str| {
        let literal = examined.inactive_literals.get(path);
        let mut entries = examined.entries.iter();
        let entry = entries.find(|entry| entry.path.to_string() == path);
        match (entry.map(|entry| (&entry.state, entry.origin)), literal) {
            (_, Some(text)) => SecretInput::Literal(text.clone()),
            (Some((State::Ready(value), Origin::Literal)), _) => {
                SecretInput::Literal(value.text.clone())
            }
            (Some((State::Ready(value), _)), _) => SecretInput::Reference(Some(value.text.clone())),
            (Some((State::Inactive(_), _)), _) => SecretInput::Reference(None),
            // It is there, but was not resolved.
            (None, _)
                if examined
                    .active
                    .iter()
                    .any(|active| active.to_string() == path) =>
            {
                SecretInput::Reference(None)
            }
            (None, _) => SecretInput::Absent,
        }
    };
    let variable = |name: &str| {
        let value = source.env.non_blank(name);
        value.map(|value| SecretText::new(value.to_owned()))
    };
    AccessInput {
        token: secret("gateway.auth.token"),
        password: secret("gateway.auth.password"),
        proxy_secret: secret("gateway.auth.trustedProxy.proxySecret.value"),
        previous_proxy_secret: secret("gateway.auth.trustedProxy.proxySecret.previousValue"),
        env_token: variable("OPENCLAW_GATEWAY_TOKEN"),
        env_password: variable("OPENCLAW_GATEWAY_PASSWORD"),
        ..AccessInput::new(&source.tree, host.interfaces.clone(), host.clock.clone())
    }
}

/// Facts about the files that exist.
fn files(host: &Host, source: &Source) -> FileFacts {
    let fact = |path: &Path| {
        let meta = host.files.stat(path).ok()?;
        let path = path.to_string_lossy().into_owned();
        Some(FileFact {
            path,
            mode: meta.mode,
        })
    };
    FileFacts {
        config: fact(&source.places.config).filter(|_| source.is_from_files()),
        state_dir: fact(&source.places.state),
        tls_key: fact(&tls_file(source, "keyPath", "gateway-key.pem")),
    }
}

fn tls_file(source: &Source, key: &str, default: &str) -> PathBuf {
    match setting(source, &format!("gateway.tls.{key}")).and_then(Value::as_str) {
        Some(path) => expand_home(path, &source.places.home),
        None => source.places.state.join("gateway/tls").join(default),
    }
}

fn setting<'a>(source: &'a Source, path: &str) -> Option<&'a Value> {
    let segments: Vec<&str> = path.split('.').collect();
    lookup(&source.tree, &segments)
}

fn diagnostics(examined: &Attempt) -> Vec<Value> {
    let failures = examined.failures.iter().map(Failure::to_json);
    let not_run = examined.unchecked.iter().map(|reference| {
        json!({
            "code": Code::SecretsExecNotRun.as_str(),
            "ref": reference.to_string(),
            "message": format!("{reference} was not resolved: the audit starts no program"),
        })
    });
    failures.chain(not_run).collect()
}

fn report_facts(source: &Source) -> ReportFacts {
    let text = |path: &str| setting(source, path).and_then(Value::as_str);
    let count = |path: &str| {
        setting(source, path)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    };
    let port = setting(source, "gateway.port").and_then(Value::as_u64);
    ReportFacts {
        by_proxy: text("gateway.auth.mode") == Some(AuthMethod::TrustedProxy.as_str()),
        user_header: text("gateway.auth.trustedProxy.userHeader")
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase(),
        proxies: count("gateway.trustedProxies"),
        users: count("gateway.auth.trustedProxy.allowUsers"),
        port: port.and_then(|port| u16::try_from(port).ok()),
    }
}

/// Names that a probe needs to know.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AccessNames {
    /// `gateway.auth.trustedProxy.userHeader`; empty when there is none.
    pub user_header: String,
    /// `gateway.auth.trustedProxy.requiredHeaders`.
    pub required: Vec<String>,
    /// The header of the proxy's own secret, when one is configured.
    pub secret_header: Option<String>,
    /// The state folder.
    pub state_dir: Option<PathBuf>,
}

/// Reads the names from a configuration; nothing is resolved.
///
/// # Errors
///
/// Every problem of a configuration that cannot be read.
pub fn access_names(host: &Host, options: &SecurityOptions) -> Result<AccessNames> {
    let loaded = load(host, options)?;
    let source = &loaded.source;
    let proxy = "gateway.auth.trustedProxy";
    let text = |key: &str| {
        let value = setting(source, &format!("{proxy}.{key}")).and_then(Value::as_str);
        value.map(|text| text.trim().to_owned())
    };
    let required = setting(source, &format!("{proxy}.requiredHeaders"));
    let required = required.and_then(Value::as_array).into_iter().flatten();
    let has_secret = setting(source, &format!("{proxy}.proxySecret")).is_some();
    let secret_header = text("proxySecret.header");
    Ok(AccessNames {
        user_header: text("userHeader").unwrap_or_default(),
        required: required
            .filter_map(|name| name.as_str().map(|name| name.trim().to_owned()))
            .collect(),
        secret_header: has_secret
            .then(|| secret_header.unwrap_or_else(|| DEFAULT_SECRET_HEADER.to_owned())),
        state_dir: Some(source.places.state.clone()),
    })
}

/// What became of a line of the checklist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It holds.
    Holds,
    /// A finding says that it does not.
    Fails,
    /// Settings do not show it.
    Unknown,
}

impl SecurityReport {
    /// The findings, sorted by severity, id and path.
    pub fn findings(&self) -> &[AuditFinding] {
        &self.findings
    }

    /// Secrets that could not be looked at: `{code, message, ...}` each.
    pub fn secret_diagnostics(&self) -> &[Value] {
        &self.secret_diagnostics
    }

    /// The configured port, if any.
    pub fn port(&self) -> Option<u16> {
        self.facts.port
    }

    /// Adds findings of a probe.
    pub fn add(&mut self, findings: impl IntoIterator<Item = AuditFinding>) {
        self.findings.extend(findings);
        sort_findings(&mut self.findings);
    }

    /// How many findings are of a severity.
    pub fn count(&self, severity: AuditSeverity) -> usize {
        let all = self.findings.iter();
        all.filter(|finding| finding.severity == severity).count()
    }

    /// The checklist of the trusted-proxy mode, each line with its verdict and what it rests on;
    /// empty in other modes.
    pub fn checklist(&self) -> Vec<(ChecklistLine, Verdict, String)> {
        if !self.facts.by_proxy {
            return Vec::new();
        }
        let line = |line: ChecklistLine| {
            let broken = self.findings.iter().find(|finding| {
                finding.line == Some(line) && finding.severity != AuditSeverity::Info
            });
            match broken {
                Some(finding) => (line, Verdict::Fails, finding.check_id.to_owned()),
                None if line.needs_probe() => {
                    (line, Verdict::Unknown, "settings do not show it".to_owned())
                }
                None => (line, Verdict::Holds, self.ground(line)),
            }
        };
        ChecklistLine::ALL.into_iter().map(line).collect()
    }

    /// What the truth of a line rests on.
    fn ground(&self, line: ChecklistLine) -> String {
        let count = |number: usize, one: &str, many: &str| match number {
            1 => format!("1 {one}"),
            _ => format!("{number} {many}"),
        };
        match line {
            ChecklistLine::MinimalProxies => count(self.facts.proxies, "entry", "entries"),
            ChecklistLine::AllowUsers => count(self.facts.users, "entry", "entries"),
            ChecklistLine::OverwritesHeaders => self.facts.user_header.clone(),
            _ => "x-forwarded-proto is required".to_owned(),
        }
    }

    /// The document: the members of OpenClaw 2026.4, and `version`.
    pub fn to_json(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(AuditFinding::to_json).collect();
        json!({
            "ts": self.ts,
            "version": env!("CARGO_PKG_VERSION"),
            "summary": {
                "critical": self.count(AuditSeverity::Critical),
                "warn": self.count(AuditSeverity::Warn),
                "info": self.count(AuditSeverity::Info),
            },
            "findings": findings,
            "secretDiagnostics": self.secret_diagnostics,
        })
    }
}
