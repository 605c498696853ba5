//! Checks of the gateway: summaries of what `security audit` finds in detail.

use super::DoctorFinding as Found;
use super::place::Place;
use super::table::Check;
use crate::access::{AuditFinding, AuditSeverity};
use crate::config::Severity;
use crate::error::Code;
use crate::host::HttpRequest;

/// The findings of the audit with these ids.
fn audited(place: &Place, check: &'static Check, ids: &[&str]) -> Vec<Found> {
    let Ok(report) = crate::report::security::of_options(&place.host, &place.options) else {
        return Vec::new();
    };
    let fitting = report
        .findings()
        .iter()
        .filter(|it| ids.contains(&it.check_id));
    fitting.map(|finding| found(check, finding)).collect()
}

fn found(check: &'static Check, finding: &AuditFinding) -> Found {
    let severity = match finding.severity {
        AuditSeverity::Critical => Severity::Error,
        AuditSeverity::Warn => Severity::Warning,
        _ => Severity::Info,
    };
    let detail = finding.detail.trim_end_matches('.');
    Found::new(check, format!("{}: {detail}", finding.title))
        .at(finding.path.clone())
        .hint(finding.remediation.trim_end_matches('.'))
        .rated(severity)
}

/// Problems of the access settings with these codes.
fn problems(place: &Place, check: &'static Check, codes: &[Code]) -> Vec<Found> {
    let Some(snapshot) = place.engine().map(crate::engine::Engine::snapshot) else {
        return Vec::new();
    };
    let fitting = snapshot
        .access_problems()
        .iter()
        .filter(|it| codes.contains(&it.code));
    fitting
        .map(|problem| Found::new(check, problem.message.clone()).at(problem.path.clone()))
        .collect()
}

pub(super) fn auth_missing(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut found = audited(place, check, &["gateway.loopback_no_auth"]);
    for finding in &mut found {
        finding.severity = Severity::Warning;
    }
    found.extend(audited(place, check, &["gateway.bind_no_auth"]));
    found
}

pub(super) fn auth_ambiguous(place: &Place, check: &'static Check) -> Vec<Found> {
    problems(place, check, &[Code::GatewayAuthModeAmbiguous])
}

pub(super) fn mixed_token(place: &Place, check: &'static Check) -> Vec<Found> {
    problems(place, check, &[Code::MixedTrustedProxyToken])
}

pub(super) fn incomplete(place: &Place, check: &'static Check) -> Vec<Found> {
    let ids = [
        "gateway.trusted_proxy_no_user_header",
        "gateway.trusted_proxy_no_proxies",
    ];
    audited(place, check, &ids)
}

pub(super) fn wide(place: &Place, check: &'static Check) -> Vec<Found> {
    let ids = [
        "gateway.trusted_proxies_any",
        "gateway.trusted_proxies_many",
        "gateway.trusted_proxies_wide",
    ];
    audited(place, check, &ids)
}

pub(super) fn unreachable(place: &Place, check: &'static Check) -> Vec<Found> {
    audited(place, check, &["gateway.trusted_proxies_unreachable"])
}

pub(super) fn no_allow_list(place: &Place, check: &'static Check) -> Vec<Found> {
    audited(place, check, &["gateway.trusted_proxy_no_allowlist"])
}

pub(super) fn weak_secret(place: &Place, check: &'static Check) -> Vec<Found> {
    let ids = [
        "gateway.password_placeholder_value",
        "gateway.password_too_short",
        "gateway.token_placeholder_value",
        "gateway.token_too_short",
    ];
    audited(place, check, &ids)
}

pub(super) fn tls_expires(place: &Place, check: &'static Check) -> Vec<Found> {
    audited(place, check, &["gateway.tls_expires_soon"])
}

pub(super) fn env_override(place: &Place, check: &'static Check) -> Vec<Found> {
    let set = [
        ("OPENCLAW_GATEWAY_TOKEN", "gateway.auth.token"),
        ("OPENCLAW_GATEWAY_PASSWORD", "gateway.auth.password"),
    ];
    let set = set.into_iter().filter(|(name, _)| place.variable(name));
    set.map(|(name, path)| Found::new(check, format!("{name} takes the place of {path}")).at(path))
        .collect()
}

pub(super) fn not_running(place: &Place, check: &'static Check) -> Vec<Found> {
    let port = place.setting(&["gateway", "port"]);
    let port = port.and_then(|port| port.as_u64()).unwrap_or(DEFAULT_PORT);
    let mut request = HttpRequest::get(format!("http://127.0.0.1:{port}/healthz"));
    request.allow_http = true;
    request.timeout = std::time::Duration::from_secs(2);
    match place.host.http.send(&request) {
        Ok(_) => Vec::new(),
        Err(_) => vec![Found::new(
            check,
            format!("no gateway answers at port {port}"),
        )],
    }
}

const DEFAULT_PORT: u64 = 18_789;
