//! Checks of who comes in through the proxy, and by which headers.

use serde_json::Value;

use super::AuditSeverity::Warn;
use super::Hits;
use super::facts::Facts;
use super::proxies::{by_secret, sentence};
use crate::access::load::filled;
use crate::error::Code;

/// User headers that attackers try first, and that clients or inner proxies may set.
const GENERIC: &[&str] = &[
    "remote-user",
    "x-auth-user",
    "x-forwarded-email",
    "x-forwarded-user",
    "x-remote-user",
    "x-user",
];

/// Headers that any client can send, so that their presence proves little.
const WEAK: &[&str] = &[
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "x-request-id",
];

/// Domains in which anybody can have an address.
const PUBLIC_MAIL: &[&str] = &[
    "163.com",
    "gmail.com",
    "hotmail.com",
    "icloud.com",
    "outlook.com",
    "proton.me",
    "qq.com",
    "yahoo.com",
];

pub(super) fn no_user_header(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.by_proxy() && facts.user_header().is_none() {
        hits.add("gateway.auth.trustedProxy.userHeader is not set.");
    }
}

pub(super) fn no_allow_list(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.by_proxy() && facts.users.is_empty() {
        hits.add("gateway.auth.trustedProxy.allowUsers is empty.");
    }
}

pub(super) fn generic_header(facts: &Facts<'_>, hits: &mut Hits) {
    let name = facts.user_header().filter(|_| facts.by_proxy());
    if let Some(name) = name.filter(|name| GENERIC.contains(&name.as_str())) {
        hits.add_as(
            by_secret(facts, Warn),
            format!("The user header is {name}."),
        );
    }
}

pub(super) fn unusual_header(facts: &Facts<'_>, hits: &mut Hits) {
    for problem in facts.problems(&[Code::TrustedProxyUserHeaderUnusual]) {
        hits.add(sentence(&problem.message));
    }
}

pub(super) fn no_required(facts: &Facts<'_>, hits: &mut Hits) {
    if facts.by_proxy() && facts.required.is_empty() && !facts.has_proxy_secret() {
        hits.add("Neither requiredHeaders nor proxySecret is set.");
    }
}

pub(super) fn weak_required(facts: &Facts<'_>, hits: &mut Hits) {
    let weak = |name: &String| WEAK.contains(&name.as_str());
    if facts.by_proxy() && !facts.required.is_empty() && facts.required.iter().all(weak) {
        hits.add(format!("Required are only {}.", facts.required.join(", ")));
    }
}

pub(super) fn mixed_script(facts: &Facts<'_>, hits: &mut Hits) {
    for (path, entry) in &facts.users {
        let latin = entry.chars().any(|c| c.is_ascii_alphabetic());
        if latin && entry.chars().any(is_other_script) {
            let detail = format!(
                "The entry {} mixes Latin letters with others.",
                escaped(entry)
            );
            hits.add_at(path, detail);
        }
    }
}

/// Whether a letter belongs to another script than Latin.
fn is_other_script(c: char) -> bool {
    let latin = matches!(
        c,
        '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{2c60}'..='\u{2c7f}' |
        '\u{a720}'..='\u{a7ff}' | 'ª' | 'º'
    );
    c.is_alphabetic() && !c.is_ascii() && !latin
}

/// Letters that merely look like Latin ones are shown by number.
fn escaped(entry: &str) -> String {
    entry
        .chars()
        .take(80)
        .flat_map(char::escape_default)
        .collect()
}

pub(super) fn public_domain(facts: &Facts<'_>, hits: &mut Hits) {
    for (path, entry) in &facts.users {
        let domain = entry.strip_prefix("*@").map(str::to_ascii_lowercase);
        if let Some(domain) = domain.filter(|domain| PUBLIC_MAIL.contains(&domain.as_str())) {
            hits.add_at(path, format!("Anybody can have an address at {domain}."));
        }
    }
}

pub(super) fn local_password(facts: &Facts<'_>, hits: &mut Hits) {
    let opened = facts.value("gateway.auth.trustedProxy.localPasswordFallback");
    let input = &facts.input.access;
    let in_file = input.password.is_configured();
    let in_env = filled(input.env_password.as_ref()).is_some();
    let is_open = match opened.and_then(Value::as_bool) {
        Some(open) => open && (in_file || in_env),
        None => in_file,
    };
    if facts.by_proxy() && is_open {
        hits.add("Callers on this host may use the password instead of the proxy.");
    }
}

pub(super) fn no_forwarded_proto(facts: &Facts<'_>, hits: &mut Hits) {
    let required = facts
        .required
        .iter()
        .any(|name| name == "x-forwarded-proto");
    if facts.by_proxy() && !facts.own_tls() && !required {
        hits.add("requiredHeaders does not contain x-forwarded-proto.");
    }
}
