//! `gateway.auth.trustedProxy`.

use std::sync::Arc;

use super::super::allow_users::UserMatch;
use super::super::headers::{MAX_REQUIRED, is_alias};
use super::super::load::filled;
use super::super::settings::shown;
use super::super::trusted_proxy::{ProxySecret, TrustedProxy};
use super::Compiler;
use super::shared_secrets::{SHORT, digest, is_short};
use crate::error::Code;

impl<'a> Compiler<'a> {
    pub(super) fn trusted_proxy(&self) -> Option<TrustedProxy> {
        if !self.auth.has("trustedProxy") {
            let message = "trusted-proxy mode needs this block";
            self.problems.error(
                Code::TrustedProxyConfigMissing,
                self.auth.path("trustedProxy"),
                message,
            );
        }
        self.no_token_beside();
        if !self.trusted.exists() {
            return None;
        }
        let user_header = self.user_header();
        let secret = self.proxy_secret(user_header);
        let required = self.required_headers();
        let rule = self.user_match();
        let users = self.users(&self.trusted, "allowUsers", rule);
        Some(TrustedProxy {
            user_header: user_header?.into(),
            secret,
            required,
            users,
            allow_loopback: self.trusted.flag("allowLoopback"),
            require_client_ip: self.trusted.flag("requireClientIp").unwrap_or(false),
        })
    }

    fn no_token_beside(&self) {
        let configured = [
            ("gateway.auth.token", self.input.token.is_configured()),
            (
                "OPENCLAW_GATEWAY_TOKEN",
                filled(self.input.env_token.as_ref()).is_some(),
            ),
            (
                "the caller's options",
                filled(self.input.overrides.token.as_ref()).is_some(),
            ),
        ];
        for (source, _) in configured.iter().filter(|(_, exists)| *exists) {
            let message = format!(
                "trusted-proxy mode and a shared token exclude each other; \
                remove the token from {source}"
            );
            self.problems.error(
                Code::MixedTrustedProxyToken,
                self.auth.path("token"),
                message,
            );
        }
    }

    fn user_header(&self) -> Option<&'a str> {
        let path = self.trusted.path("userHeader");
        let name = match self.trusted.text("userHeader") {
            Some(name) => name.trim(),
            None if self.trusted.has("userHeader") => return None,
            None => "",
        };
        if name.is_empty() {
            let message = "name the header in which the proxy sends the user";
            self.problems
                .error(Code::TrustedProxyUserHeaderBlank, path, message);
            return None;
        }
        if !self.check_name(&path, name) {
            return None;
        }
        if is_listed(CLIENT_HEADERS, name) {
            let message = format!("{} is a header that clients send themselves", shown(name));
            self.problems
                .error(Code::TrustedProxyUserHeaderForbidden, path, message);
            return None;
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let message = format!(
                "{} is dropped by some proxies; use dashes only",
                shown(name)
            );
            self.problems
                .warning(Code::TrustedProxyUserHeaderUnusual, path, message);
        }
        Some(name)
    }

    fn required_headers(&self) -> Box<[Arc<str>]> {
        let mut required: Vec<Arc<str>> = Vec::new();
        for (path, name) in self.trusted.texts("requiredHeaders") {
            let name = name.trim();
            if !self.check_name(&path, name) {
                continue;
            }
            if is_listed(CONNECTION_HEADERS, name) {
                let message = format!("{} belongs to one connection only", shown(name));
                self.problems
                    .error(Code::TrustedProxyRequiredHeaderForbidden, path, message);
            } else if !required
                .iter()
                .any(|listed| listed.eq_ignore_ascii_case(name))
            {
                required.push(name.into());
            }
        }
        if required.len() > MAX_REQUIRED {
            let path = self.trusted.path("requiredHeaders");
            let message = format!("at most {MAX_REQUIRED} headers can be required");
            self.problems.error(Code::ConfigInvalidValue, path, message);
        }
        required.into_boxed_slice()
    }

    fn user_match(&self) -> UserMatch {
        match self.trusted.text("allowUsersMatch") {
            None | Some("exact") => UserMatch::Exact,
            Some("email-ci") => UserMatch::EmailIgnoringCase,
            Some(word) => {
                let path = self.trusted.path("allowUsersMatch");
                let message = format!("{} is not a rule; use exact or email-ci", shown(word));
                self.problems
                    .error(Code::AllowUsersMatchUnknown, path, message);
                UserMatch::Exact
            }
        }
    }

    fn proxy_secret(&self, user_header: Option<&str>) -> Option<ProxySecret> {
        let section = self.trusted.section("proxySecret");
        if !section.exists() {
            return None;
        }
        section.only(&["header", "value", "previousValue"], &[]);
        let path = section.path("header");
        let header = section
            .text("header")
            .unwrap_or(DEFAULT_SECRET_HEADER)
            .trim();
        let named = self.check_name(&path, header);
        let taken = is_listed(CLIENT_HEADERS, header)
            || user_header.is_some_and(|user| is_alias(user.as_bytes(), header.as_bytes()));
        if named && taken {
            let message = format!("{} is used for something else", shown(header));
            self.problems
                .error(Code::TrustedProxyHeaderNameInvalid, path, message);
        }
        let Some(value) = self.input.proxy_secret.value() else {
            let message = "the secret has no value";
            self.problems.error(
                Code::TrustedProxySecretMissingConfig,
                section.path("value"),
                message,
            );
            return None;
        };
        let previous = self.input.previous_proxy_secret.value();
        for (key, secret) in [("value", Some(value)), ("previousValue", previous)] {
            if secret.is_some_and(is_short) {
                let message = format!("fewer than {SHORT} characters");
                self.problems
                    .warning(Code::TrustedProxySecretTooShort, section.path(key), message);
            }
        }
        Some(ProxySecret {
            header: header.into(),
            current: digest(value),
            previous: previous.map(digest),
        })
    }
}

fn is_listed(list: &[&str], name: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

/// The header of the proxy's own secret when the settings name none.
pub(crate) const DEFAULT_SECRET_HEADER: &str = "x-openclaw-proxy-secret";

/// Headers that describe one connection and never come from a proxy's client.
const CONNECTION_HEADERS: &[&str] = &[
    "connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "content-length",
];

/// Headers that clients send themselves, so that they cannot say who the user is.
const CLIENT_HEADERS: &[&str] = &[
    "connection",
    "host",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "authorization",
    "cookie",
    "set-cookie",
    "date",
    "expect",
    "via",
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "origin",
    "referer",
    "user-agent",
    "accept",
    "content-type",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];
