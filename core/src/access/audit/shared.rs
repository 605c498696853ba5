//! Checks of shared secrets, of the limits on guessing them, and of the files that hold them.

use std::time::Duration;

use super::AuditSeverity::{Critical, Info, Warn};
use super::facts::Facts;
use super::proxies::sentence;
use super::{FileFact, Hits};
use crate::access::load::SecretInput;
use crate::error::Code;

/// More guesses per minute than this are too many.
const MANY_GUESSES: u64 = 100;

pub(super) fn token_short(facts: &Facts<'_>, hits: &mut Hits) {
    repeat(facts, hits, &[Code::TokenTooShort]);
}

pub(super) fn password_short(facts: &Facts<'_>, hits: &mut Hits) {
    repeat(facts, hits, &[Code::PasswordTooShort]);
}

pub(super) fn token_placeholder(facts: &Facts<'_>, hits: &mut Hits) {
    repeat(facts, hits, &[Code::TokenPlaceholder]);
}

pub(super) fn password_placeholder(facts: &Facts<'_>, hits: &mut Hits) {
    repeat(facts, hits, &[Code::PasswordPlaceholder]);
}

pub(super) fn ignored_keys(facts: &Facts<'_>, hits: &mut Hits) {
    repeat(facts, hits, &[Code::GatewaySettingIgnored]);
}

/// Errors of loading that no other check is about: with them the gateway does not start.
pub(super) fn invalid(facts: &Facts<'_>, hits: &mut Hits) {
    // Whether a reference resolves is not for the audit to say.
    let unresolved = facts.input.access.proxy_secret.is_configured();
    let told = |code: &Code| {
        TOLD_ELSEWHERE.contains(code)
            || (*code == Code::TrustedProxySecretMissingConfig && unresolved)
    };
    for problem in facts.errors.iter().filter(|problem| !told(&problem.code)) {
        let detail = format!("{}: {}", problem.code, sentence(&problem.message));
        hits.add_at(&problem.path, detail);
    }
}

/// Errors of loading that have a check of their own.
const TOLD_ELSEWHERE: &[Code] = &[
    Code::GatewayBindWithoutAuth,
    Code::PasswordMissingConfig,
    Code::PasswordPlaceholder,
    Code::TokenMissingConfig,
    Code::TokenPlaceholder,
    Code::TrustedProxiesAny,
    Code::TrustedProxyNoProxiesConfigured,
    Code::TrustedProxyUserHeaderBlank,
];

pub(super) fn limit_off(facts: &Facts<'_>, hits: &mut Hits) {
    if facts
        .policy
        .as_ref()
        .is_some_and(|policy| policy.limits.is_none())
    {
        let severity = if facts.is_exposed() { Critical } else { Warn };
        hits.add_as(severity, "gateway.auth.rateLimit.enabled is false.");
    }
}

pub(super) fn limit_weak(facts: &Facts<'_>, hits: &mut Hits) {
    let limits = facts
        .policy
        .as_ref()
        .and_then(|policy| policy.limits.as_ref());
    let Some(limits) = limits else { return };
    let window_ms = limits.window.as_millis().max(1);
    let per_minute = u128::from(limits.max_attempts) * 60_000 / window_ms;
    if per_minute > u128::from(MANY_GUESSES) {
        hits.add(format!("{per_minute} guesses a minute are possible."));
    }
    let short = [Code::TokenTooShort, Code::PasswordTooShort];
    let is_short = facts
        .warnings
        .iter()
        .any(|problem| short.contains(&problem.code));
    if limits.lockout == Duration::ZERO && is_short {
        hits.add("lockoutMs is 0 and the secret has fewer than 24 characters.");
    }
}

pub(super) fn in_config(facts: &Facts<'_>, hits: &mut Hits) {
    let open = facts.input.files.config.as_ref();
    let open = open.filter(|file| file.mode & 0o077 != 0);
    for (path, secret) in facts.secrets() {
        if !matches!(secret, SecretInput::Literal(_)) || secret.value().is_none() {
            continue;
        }
        match open {
            Some(file) => {
                let detail = format!(
                    "It stands as plain text in {}, which others can read (mode {:04o}).",
                    file.path, file.mode
                );
                hits.push(Some(Warn), Some(path), detail);
            }
            None => hits.push(
                Some(Info),
                Some(path),
                "It stands as plain text.".to_owned(),
            ),
        }
    }
}

pub(super) fn config_writable(facts: &Facts<'_>, hits: &mut Hits) {
    mode(facts.input.files.config.as_ref(), 0o022, hits);
}

pub(super) fn config_readable(facts: &Facts<'_>, hits: &mut Hits) {
    mode(facts.input.files.config.as_ref(), 0o004, hits);
}

pub(super) fn state_writable(facts: &Facts<'_>, hits: &mut Hits) {
    mode(facts.input.files.state_dir.as_ref(), 0o002, hits);
}

fn mode(file: Option<&FileFact>, bits: u32, hits: &mut Hits) {
    if let Some(file) = file.filter(|file| file.mode & bits != 0) {
        hits.add_at(&file.path, format!("Its mode is {:04o}.", file.mode));
    }
}

fn repeat(facts: &Facts<'_>, hits: &mut Hits, codes: &'static [Code]) {
    for problem in facts.problems(codes) {
        hits.add_at(&problem.path, sentence(&problem.message));
    }
}
