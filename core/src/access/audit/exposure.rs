//! Checks of how the gateway can be reached, and what protects the way to it.

use super::AuditSeverity::{Critical, Info, Warn};
use super::Hits;
use super::facts::Facts;
use super::proxies::sentence;
use crate::access::AuthMethod;
use crate::access::load::{SecretInput, filled};
use crate::error::Code;
use crate::text::SecretText;

/// Shorter validity of `Strict-Transport-Security` is worth a remark: 180 days, in seconds.
const SHORT_HSTS: u32 = 15_552_000;
/// A certificate that ends within this time, in milliseconds: 30 days.
const SOON_MS: i64 = 30 * 86_400_000;

pub(super) fn exposed_bind(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.is_exposed() {
        let severity = if facts.by_proxy() { Warn } else { Info };
        hits.add_as(severity, format!("gateway.bind is {}.", facts.bind()));
    }
}

pub(super) fn bind_no_auth(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.is_exposed() && facts.mode() == Some(AuthMethod::None) {
        hits.add(format!(
            "gateway.bind is {} and gateway.auth.mode is none.",
            facts.bind()
        ));
    }
}

/// A reference that does not resolve here still is a credential.
pub(super) fn loopback_no_auth(facts: &Facts<'_>, hits: &mut Hits) {
    let input = &facts.input.access;
    let without = |secret: &SecretInput, variable: Option<&SecretText>| {
        !secret.is_configured() && filled(variable).is_none()
    };
    match facts.mode().filter(|_| !facts.is_exposed()) {
        Some(AuthMethod::None) => hits.add_as(Warn, "gateway.auth.mode is none."),
        Some(AuthMethod::Token) if without(&input.token, input.env_token.as_ref()) => {
            hits.add("No token is configured.");
        }
        Some(AuthMethod::Password) if without(&input.password, input.env_password.as_ref()) => {
            hits.add("No password is configured.");
        }
        _ => {}
    }
}

pub(super) fn http_no_auth(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.mode() == Some(AuthMethod::None) {
        let severity = worse_when_exposed(facts);
        hits.add_as(severity, "gateway.auth.mode is none.");
    }
}

pub(super) fn plain_exposed(facts: &Facts<'_>, hits: &mut Hits) {
    if !facts.is_exposed() || facts.own_tls() {
        return;
    }
    let detail = format!("gateway.bind is {} without TLS.", facts.bind());
    if facts.by_proxy() {
        hits.add_as(Warn, detail);
    } else if facts.by_secret() {
        hits.add(detail);
    }
}

pub(super) fn tls_self_signed(facts: &Facts<'_>, hits: &mut Hits) {
    let certificate = facts.input.certificate.filter(|_| facts.own_tls());
    if facts.is_exposed() && certificate.is_some_and(|certificate| certificate.is_self_signed) {
        hits.add("Clients can only trust it by its fingerprint.");
    }
}

pub(super) fn tls_expires_soon(facts: &Facts<'_>, hits: &mut Hits) {
    let certificate = facts.input.certificate.filter(|_| facts.own_tls());
    match certificate.map(|certificate| certificate.valid_for_ms) {
        Some(left) if left < 0 => hits.add_as(Critical, "It is no longer valid."),
        Some(left) if left < SOON_MS => {
            hits.add(format!("It is valid for {} more days.", left / 86_400_000));
        }
        _ => {}
    }
}

pub(super) fn tls_key_permissions(facts: &Facts<'_>, hits: &mut Hits) {
    let key = facts.input.files.tls_key.as_ref();
    if let Some(key) = key.filter(|key| facts.own_tls() && key.mode & 0o077 != 0) {
        hits.add_at(&key.path, format!("Its mode is {:04o}.", key.mode));
    }
}

pub(super) fn hsts_at_gateway(facts: &Facts<'_>, hits: &mut Hits) {
    let behind_proxy = facts.by_proxy() || !facts.entries.is_empty();
    if behind_proxy && hsts(facts).is_some() {
        hits.add("The proxy may send its own Strict-Transport-Security too.");
    }
}

pub(super) fn hsts_short(facts: &Facts<'_>, hits: &mut Hits) {
    if let Some(max_age) = hsts(facts).filter(|max_age| (1..SHORT_HSTS).contains(max_age)) {
        hits.add(format!("max-age is {max_age} seconds."));
    }
}

/// The configured `max-age`.
fn hsts(facts: &Facts<'_>) -> Option<u32> {
    let value = facts.policy.as_ref()?.hsts.as_ref()?.as_str();
    crate::access::hsts::check(value).ok()?.max_age
}

pub(super) fn real_ip_fallback(facts: &Facts<'_>, hits: &mut Hits) {
    if !facts.is_on("gateway.allowRealIpFallback") {
        return;
    }
    let remote_proxy = facts.by_proxy() && facts.entries.iter().any(|entry| !entry.is_loopback());
    let severity = if facts.is_exposed() || remote_proxy {
        Critical
    } else {
        Warn
    };
    hits.add_as(severity, "gateway.allowRealIpFallback is true.");
}

pub(super) fn origins_wildcard(facts: &Facts<'_>, hits: &mut Hits) {
    for problem in facts.problems(&[Code::AllowedOriginsWildcard]) {
        let severity = worse_when_exposed(facts);
        hits.push(
            Some(severity),
            Some(&problem.path),
            sentence(&problem.message),
        );
    }
}

pub(super) fn host_origin_fallback(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.is_on("gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback") {
        hits.add_as(worse_when_exposed(facts), "The switch is on.");
    }
}

pub(super) fn origins_required(facts: &Facts<'_>, hits: &mut Hits) {
    let listed = facts
        .value("gateway.controlUi.allowedOrigins")
        .and_then(serde_json::Value::as_array);
    if facts.is_exposed() && listed.is_none_or(Vec::is_empty) {
        hits.add("gateway.controlUi.allowedOrigins is empty.");
    }
}

fn worse_when_exposed(facts: &Facts<'_>) -> super::AuditSeverity {
    if facts.is_exposed() { Critical } else { Warn }
}
