//! `security audit`.

use std::path::{Path, PathBuf};

use openclaw_auth::access::{AuditSeverity, CertificateFacts};
use openclaw_auth::host::Host;
use openclaw_auth::report::{SecurityOptions, SecurityReport, security};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::super::args::{flag, json, several};
use super::super::call::Call;
use super::super::output::{Failed, Layout, note, print, print_json};
use super::super::tree::{Node, Outcome};
use super::{probe, text};

pub(super) const NODE: Node = Node {
    name: "audit",
    about: "Check settings, files and secrets for what is risky",
    build: |command| {
        command.args([
            json(),
            flag("check", "Exit with 1 for critical findings, 2 for warnings"),
            flag(
                "deep",
                "Also probe the gateway on this host and every --url",
            ),
            several(
                "url",
                "URL",
                "Also probe this address of the gateway; may be repeated",
            ),
        ])
    },
    run: Some(run),
    below: &[],
};

/// Runs it.
///
/// # Errors
///
/// A configuration that cannot be read, or a wrong URL.
fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    let host = &call.host;
    let options = options(call);
    let mut report = security(host, &options).map_err(Failed::of_command)?;
    let urls: Vec<String> = matches
        .get_many::<String>("url")
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let deep = matches.get_flag("deep");
    if deep || !urls.is_empty() {
        let direct = deep.then(|| {
            let port = report.port().unwrap_or(DEFAULT_PORT);
            format!("http://127.0.0.1:{port}/")
        });
        let found = probe::deep(host, &options, &urls, direct.as_slice())?;
        for unsure in &found.unsure {
            note(&format!("not clear: {unsure}"));
        }
        report.add(found.findings);
    }
    if matches.get_flag("json") {
        print_json(&report.to_json());
    } else {
        print(&human(&report));
    }
    Ok(match matches.get_flag("check") {
        true => exit(&report),
        false => 0,
    })
}

/// What the global options say about where the configuration is.
pub(super) fn options(call: &Call<'_>) -> SecurityOptions {
    let mut options = SecurityOptions::default();
    options.config = call.text("config").map(PathBuf::from);
    options.state_dir = call.named_state_dir();
    options.certificate = Some(certificate);
    options
}

fn exit(report: &SecurityReport) -> u8 {
    if report.count(AuditSeverity::Critical) > 0 {
        1
    } else if report.count(AuditSeverity::Warn) > 0 {
        2
    } else {
        0
    }
}

fn human(report: &SecurityReport) -> String {
    let mut parts = vec![format!("Summary: {}\n", text::summary(report.findings()))];
    parts.extend(report.findings().iter().map(text::finding));
    let untold: Vec<String> = report
        .secret_diagnostics()
        .iter()
        .filter_map(|told| told.get("message")?.as_str().map(str::to_owned))
        .collect();
    if !untold.is_empty() {
        let mut lines = String::from("Secrets that were not looked at\n");
        for told in untold {
            lines.push_str(&Layout::of_stdout().wrap(&format!("  {told}"), "    "));
            lines.push('\n');
        }
        parts.push(lines);
    }
    let checklist = report.checklist();
    if !checklist.is_empty() {
        parts.push(text::checklist(&checklist));
    }
    parts.join("\n").trim_end().to_owned()
}

/// What the audit needs to know about the gateway's certificate.
fn certificate(host: &Host, path: &Path) -> Option<CertificateFacts> {
    let mut file = host.files.open(path).ok()?;
    let text = file.read_to_limit(CERTIFICATE_LIMIT).ok()??;
    let own = CertificateDer::from_pem_slice(&text).ok()?;
    let certificate = Certificate::from_der(&own).ok()?;
    let body = certificate.tbs_certificate();
    let end = body.validity().not_after.to_unix_duration().as_millis();
    let now = i64::try_from(host.clock.now_ms()).ok()?;
    Some(CertificateFacts {
        is_self_signed: body.issuer() == body.subject(),
        valid_for_ms: i64::try_from(end).ok()?.saturating_sub(now),
    })
}

const CERTIFICATE_LIMIT: u64 = 1 << 20;
const DEFAULT_PORT: u16 = 18_789;

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed by itself, for a hundred years from November 2026.
    const SELF_SIGNED: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBjTCCATOgAwIBAgIUaNE+oSETeyu3MUK28/0SafvVfSkwCgYIKoZIzj0EAwIw\n\
GzEZMBcGA1UEAwwQY2xhdy5leGFtcGxlLmNvbTAgFw0yNjExMjQyMzE5MjdaGA8y\n\
MTI2MTAzMTIzMTkyN1owGzEZMBcGA1UEAwwQY2xhdy5leGFtcGxlLmNvbTBZMBMG\n\
ByqGSM49AgEGCCqGSM49AwEHA0IABPL6Q8Fkuo8ZHXLYxEKUitpPMbZE1m9PkhVj\n\
y+O7M/aalenC8hjrFL1L2dO8BOBzLy2N/85W5G+v5/44vSJMPnajUzBRMB0GA1Ud\n\
DgQWBBT3kR4LOVe8GlWSFSs2B0YsBhivhDAfBgNVHSMEGDAWgBT3kR4LOVe8GlWS\n\
FSs2B0YsBhivhDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDL\n\
6cxJY/uRTpIrTIJLUa0Y5UnzI5EDwaqVKJAL1T0rhAIgGqUVkBF0iHWwjLDAtoBo\n\
1COXuFk/q2ad5a7QGEEf+ac=\n\
-----END CERTIFICATE-----\n\
";

    #[test]
    fn what_a_certificate_says_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        let host = Host::real();
        host.files
            .write_atomic(&path, SELF_SIGNED.as_bytes(), 0o600)
            .unwrap();
        let facts = certificate(&host, &path).unwrap();
        assert!(facts.is_self_signed);
        let years = facts.valid_for_ms / (365 * 86_400_000);
        assert!((0..=100).contains(&years), "{years}");
        host.files
            .write_atomic(&path, b"not a certificate", 0o600)
            .unwrap();
        assert!(certificate(&host, &path).is_none());
    }
}
