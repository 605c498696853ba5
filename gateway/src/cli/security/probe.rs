//! `security probe`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, value_parser};
use hyper::Uri;
use openclaw_auth::access::{AuditFinding, AuditSeverity, sort_findings};
use openclaw_auth::host::{self, Host};
use openclaw_auth::report::{AccessNames, SecurityOptions, access_names};
use openclaw_auth::{Code, Error};
use serde_json::{Value, json};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::super::args::{flag, json, option, path, several};
use super::super::call::Call;
use super::super::output::{Failed, Layout, print, print_json};
use super::super::tree::{Node, Outcome};
use super::{audit, text};
use crate::probe::{Found, Probe};
use crate::server::probe::NONCE_FILE;

pub(super) const NODE: Node = Node {
    name: "probe",
    about: "Find out whether forged headers or a way around the proxy work",
    build: |command| {
        command.args([
            several(
                "url",
                "URL",
                "Address of the gateway as users open it; may be repeated",
            )
            .required_unless_present("direct"),
            several(
                "direct",
                "URL",
                "Address of the gateway itself; may be repeated",
            ),
            path(
                "cookie-file",
                "FILE",
                "File with the cookies of your login at the proxy",
            ),
            path(
                "header-file",
                "FILE",
                "File with header lines of your login at the proxy",
            ),
            path(
                "ca-file",
                "FILE",
                "Certificates (PEM) of the authority that signed the proxy's",
            ),
            option("expect-user", "USER", "The user that the login belongs to"),
            option(
                "user-header",
                "NAME",
                "The user header, when there is no configuration here",
            ),
            flag("ws", "Try WebSocket upgrades too"),
            json(),
            option("timeout", "SECONDS", "Longest time for one request")
                .value_parser(value_parser!(u64).range(1..=300))
                .default_value("10"),
        ])
    },
    run: Some(run),
    below: &[],
};

/// Runs it.
///
/// # Errors
///
/// A wrong URL, a login that cannot be read, or no user header.
fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    let host = &call.host;
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let names = names(host, &audit::options(call), text("user-header"))?;
    let seconds = matches.get_one::<u64>("timeout").copied().unwrap_or(10);
    let probe = Probe {
        urls: urls(matches, "url")?,
        direct: urls(matches, "direct")?,
        login: login(host, matches)?,
        expect_user: text("expect-user"),
        websocket: matches.get_flag("ws"),
        roots: roots(&host, matches)?,
        timeout: Duration::from_secs(seconds),
        ..empty(&names)?
    };
    let found = take(host, &probe, names.state_dir.as_deref())?;
    if matches.get_flag("json") {
        print_json(&document(host, &found));
    } else {
        print(&human(&found));
    }
    Ok(exit(&found))
}

/// The probe as a part of the audit.
///
/// # Errors
///
/// A wrong URL.
pub(super) fn deep(
    host: &Host,
    options: &SecurityOptions,
    url: &[String],
    direct: &[String],
) -> Result<Found, Failed> {
    let names = access_names(host, options).map_err(Failed::of_command)?;
    let parsed = |texts: &[String]| -> Result<Vec<Uri>, Failed> {
        texts.iter().map(|text| parse(text)).collect()
    };
    let probe = Probe {
        urls: parsed(url)?,
        direct: parsed(direct)?,
        ..empty(&names)?
    };
    take(host, &probe, names.state_dir.as_deref())
}

/// A probe of nothing.
fn empty(names: &AccessNames) -> Result<Probe, Failed> {
    Ok(Probe {
        urls: Vec::new(),
        direct: Vec::new(),
        login: Vec::new(),
        expect_user: None,
        websocket: false,
        roots: None,
        timeout: Duration::from_secs(10),
        user_header: names.user_header.clone(),
        required: names.required.clone(),
        secret_header: names.secret_header.clone(),
        nonce: nonce().map_err(Failed::of_command)?,
    })
}

/// Leaves the nonce where the gateway looks for it, probes, and takes it away again.
fn take(host: &Host, probe: &Probe, state_dir: Option<&Path>) -> Result<Found, Failed> {
    let file = state_dir.map(|state| state.join(NONCE_FILE));
    // Without a gateway on this host there is no such folder; the probe then sees less.
    let file = file.filter(|file| {
        let written = host.files.write_atomic(file, probe.nonce.as_bytes(), 0o600);
        written.is_ok()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let found = runtime.map(|runtime| runtime.block_on(probe.run()));
    if let Some(file) = file
        && let Err(error) = host.files.remove_file(&file)
    {
        log::warn!("{} stays behind: {}", file.display(), error.kind());
    }
    let mut found = found.map_err(|error| {
        let message = format!("the probe cannot start: {}", error.kind());
        Failed::of_command(Error::new(Code::InternalError, message))
    })?;
    sort_findings(&mut found.findings);
    Ok(found)
}

fn nonce() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    host::random(&mut bytes).map_err(|error| {
        let message = format!("no random numbers: {}", error.kind());
        Error::new(Code::InternalError, message)
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Header names from the configuration, or from the command line where there is none.
fn names(
    host: &Host,
    options: &SecurityOptions,
    user_header: Option<String>,
) -> Result<AccessNames, Failed> {
    let mut names = access_names(host, options).map_err(Failed::of_command)?;
    if let Some(name) = user_header {
        names.user_header = name;
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if names.user_header.is_empty() || !names.user_header.chars().all(is_name) {
        return Err(Failed::usage(
            Code::UsageError,
            "no user header is configured here; name it with --user-header",
        ));
    }
    Ok(names)
}

fn urls(matches: &ArgMatches, name: &str) -> Result<Vec<Uri>, Failed> {
    let texts = matches.get_many::<String>(name).into_iter().flatten();
    texts.map(|text| parse(text)).collect()
}

fn parse(text: &str) -> Result<Uri, Failed> {
    let uri: Option<Uri> = text.parse().ok();
    let is_fine = |uri: &Uri| {
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        scheme && !authority.is_empty() && !authority.contains('@')
    };
    uri.filter(is_fine).ok_or_else(|| {
        Failed::usage(
            Code::UsageError,
            "a URL must be http:// or https:// with a host",
        )
    })
}

/// The caller's login as header lines.
fn login(host: &Host, matches: &ArgMatches) -> Result<Vec<(String, String)>, Failed> {
    let mut lines = Vec::new();
    if let Some(path) = matches.get_one::<PathBuf>("cookie-file") {
        let cookies = read(host, path)?;
        let joined: Vec<&str> = cookies
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        lines.push(("Cookie".to_owned(), joined.join("; ")));
    }
    if let Some(path) = matches.get_one::<PathBuf>("header-file") {
        for line in read(host, path)?
            .lines()
            .filter(|line| !line.trim().is_empty())
        {
            let Some((name, value)) = line.split_once(':') else {
                let message = format!("{}: a line is not `Name: value`", path.display());
                return Err(Failed::usage(Code::UsageError, &message));
            };
            lines.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    let is_clean = |(name, value): &(String, String)| {
        !name.is_empty() && !name.contains(char::is_whitespace) && !value.contains(char::is_control)
    };
    match lines.iter().all(is_clean) {
        true => Ok(lines),
        false => Err(Failed::usage(
            Code::UsageError,
            "the login has characters that cannot stand in a header",
        )),
    }
}

/// The authorities of a file, instead of the usual ones.
fn roots(host: &Host, matches: &ArgMatches) -> Result<Option<Arc<RootCertStore>>, Failed> {
    let Some(path) = matches.get_one::<PathBuf>("ca-file") else {
        return Ok(None);
    };
    let text = read(host, path)?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes());
    let added = certificates
        .map(|certificate| roots.add(certificate.ok()?).ok())
        .collect::<Option<Vec<()>>>();
    match added {
        Some(added) if !added.is_empty() => Ok(Some(Arc::new(roots))),
        _ => {
            let message = format!("{}: no certificates that can be used", path.display());
            Err(Failed::of_command(Error::new(
                Code::GatewayFileFailed,
                message,
            )))
        }
    }
}

fn read(host: &Host, path: &Path) -> Result<String, Failed> {
    let failed = |reason: &str| {
        let message = format!("{}: {reason}", path.display());
        Failed::of_command(Error::new(Code::GatewayFileFailed, message))
    };
    let content = host
        .files
        .open(path)
        .and_then(|mut file| file.read_to_limit(LOGIN_LIMIT))
        .map_err(|error| failed(&error.kind().to_string()))?
        .ok_or_else(|| failed("too large"))?;
    let text = std::str::from_utf8(&content).map_err(|_| failed("not UTF-8"))?;
    Ok(text.to_owned())
}

fn exit(found: &Found) -> u8 {
    let worst = found.findings.iter().map(|finding| finding.severity).min();
    match worst {
        Some(AuditSeverity::Critical) => 1,
        Some(AuditSeverity::Warn) => 2,
        _ if !found.unsure.is_empty() => 3,
        _ => 0,
    }
}

fn document(host: &Host, found: &Found) -> Value {
    json!({
        "ts": host.clock.now_ms(),
        "version": env!("CARGO_PKG_VERSION"),
        "findings": found.findings.iter().map(AuditFinding::to_json).collect::<Vec<_>>(),
        "passed": found.passed,
        "inconclusive": found.unsure,
    })
}

fn human(found: &Found) -> String {
    let mut parts = vec![format!(
        "Summary: {}, {} passed, {} not clear\n",
        text::summary(&found.findings),
        found.passed.len(),
        found.unsure.len()
    )];
    parts.extend(found.findings.iter().map(text::finding));
    let layout = Layout::of_stdout();
    let list = |title: &str, lines: &[String]| {
        let lines: String = lines
            .iter()
            .map(|line| format!("{}\n", layout.wrap(&format!("  {line}"), "    ")))
            .collect();
        (!lines.is_empty()).then(|| format!("{title}\n{lines}"))
    };
    parts.extend(list("Not clear", &found.unsure));
    parts.extend(list("Passed", &found.passed));
    parts.join("\n").trim_end().to_owned()
}

const LOGIN_LIMIT: u64 = 256 * 1024;
