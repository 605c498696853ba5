//! Checks settings and compiles them into a policy.

use std::sync::Arc;

use super::AuthMethod;
use super::allow_users::{AllowUsers, UserMatch};
use super::client_ip::ClientIpSource;
use super::control::Policy;
use super::digest::Digest;
use super::headers::{HeaderPlan, MAX_REQUIRED, PlanNames, is_alias, is_header_name};
use super::hsts;
use super::limiter::Limits;
use super::load::{AccessInput, SecretInput, filled};
use super::origin::{Hosts, Origins};
use super::ranges::{MAX_ENTRIES, ProxyEntry, ProxyRanges};
use super::settings::{Problems, Section, shown};
use super::trusted_proxy::{ProxySecret, TrustedProxy};
use crate::error::Code;
use crate::text::{REDACTED, SecretText};

/// Reads one configuration.
pub(super) struct Compiler<'a> {
    input: &'a AccessInput<'a>,
    problems: &'a Problems,
    gateway: Section<'a>,
    auth: Section<'a>,
    trusted: Section<'a>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(input: &'a AccessInput<'a>, problems: &'a Problems) -> Self {
        let gateway = Section::root(input.config, problems).section("gateway");
        let auth = gateway.section("auth");
        let trusted = auth.section("trustedProxy");
        Self {
            input,
            problems,
            gateway,
            auth,
            trusted,
        }
    }

    /// The policy, which is only good for use when there are no errors; `None` when not even the
    /// mode is clear.
    pub(super) fn policy(&self) -> Option<Policy> {
        self.auth
            .only(AUTH_KEYS, &["allowTailscale", "identityScopes"]);
        self.trusted
            .only(TRUSTED_KEYS, &["deviceAutoApprove", "cloudflareAccessOidc"]);
        self.gateway.ignored("tailscale");
        let mode = self.mode();
        let proxies = self.proxies(mode);
        let trusted = match mode {
            Some(AuthMethod::TrustedProxy) => self.trusted_proxy(),
            _ => None,
        };
        self.bind(mode, &proxies);
        let (token, password) = self.shared_secrets(mode);
        let rate_limit = self.auth.section("rateLimit");
        rate_limit.only(RATE_LIMIT_KEYS, &[]);
        let client_ip_header = self.client_ip_header();
        let plan = HeaderPlan::new(&PlanNames {
            user: trusted.as_ref().map(|trusted| &*trusted.user_header),
            secret: trusted
                .as_ref()
                .and_then(|t| t.secret.as_ref())
                .map(|s| &*s.header),
            client_ip: client_ip_header,
            required: trusted
                .as_ref()
                .map(|trusted| &*trusted.required)
                .unwrap_or_default(),
        });
        let http = self.gateway.section("http");
        let admins = self.auth.has("adminUsers");
        let policy = Policy {
            mode: mode.unwrap_or(AuthMethod::Token),
            client_ip: self.client_ip(client_ip_header, &plan),
            origins: self.origins(),
            hosts: self.hosts(),
            limits: self.limits(&rate_limit),
            exempt_loopback: rate_limit.flag("exemptLoopback").unwrap_or(true),
            hsts: self.hsts(&http.section("securityHeaders")),
            hide_reasons: http.flag("hideAuthReasons").unwrap_or(false),
            admins: admins.then(|| self.users(&self.auth, "adminUsers", UserMatch::Exact)),
            proxies,
            plan,
            trusted,
            token,
            password,
        };
        mode.map(|_| policy)
    }

    fn mode(&self) -> Option<AuthMethod> {
        if let Some(mode) = self.input.overrides.mode {
            return Some(mode);
        }
        if self.auth.has("mode") {
            let word = self.auth.text("mode")?;
            let mode = AuthMethod::from_word(word);
            if mode.is_none() {
                let modes = AuthMethod::ALL.map(AuthMethod::as_str).join(", ");
                let message = format!("{} is not a mode; use one of {modes}", shown(word));
                self.problems.error(
                    Code::GatewayAuthModeUnknown,
                    self.auth.path("mode"),
                    message,
                );
            }
            return mode;
        }
        if self.input.token.is_configured() && self.input.password.is_configured() {
            let message = "token and password are both configured; choose one";
            self.problems.error(
                Code::GatewayAuthModeAmbiguous,
                self.auth.path("mode"),
                message,
            );
            return None;
        }
        if self.effective(Shared::Password).is_none() {
            return Some(AuthMethod::Token);
        }
        if filled(self.input.env_token.as_ref()).is_some() {
            let message = "the password is used, although OPENCLAW_GATEWAY_TOKEN is set too";
            self.problems.warning(
                Code::GatewayAuthModeImplicit,
                self.auth.path("mode"),
                message,
            );
        }
        Some(AuthMethod::Password)
    }

    fn proxies(&self, mode: Option<AuthMethod>) -> ProxyRanges {
        let entries = self.gateway.texts("trustedProxies");
        let path = self.gateway.path("trustedProxies");
        let decides = mode == Some(AuthMethod::TrustedProxy);
        if entries.is_empty() && decides {
            let message = "no proxy is listed, so nobody could come in";
            self.problems
                .error(Code::TrustedProxyNoProxiesConfigured, path, message);
            return ProxyRanges::default();
        }
        if entries.len() > MAX_ENTRIES {
            let message = format!(
                "{} entries; at most {MAX_ENTRIES} are possible",
                entries.len()
            );
            self.problems
                .error(Code::TrustedProxiesTooMany, path, message);
            return ProxyRanges::default();
        }
        let entries = entries
            .into_iter()
            .filter_map(|(path, text)| self.proxy(path, text, decides));
        ProxyRanges::new(&entries.collect::<Vec<_>>())
    }

    fn proxy(&self, path: String, text: &str, decides: bool) -> Option<ProxyEntry> {
        let trimmed = text.trim();
        let entry = match ProxyEntry::parse(trimmed) {
            Ok(entry) => entry,
            Err(fault) => {
                self.problems.error(
                    fault.code,
                    path,
                    format!("{}: {}", shown(text), fault.advice),
                );
                return None;
            }
        };
        if trimmed != text {
            let message = "there are blanks around the entry";
            self.problems
                .warning(Code::TrustedProxiesWhitespace, path.as_str(), message);
        }
        if entry.is_any() {
            let message = format!("{} covers every address", shown(text));
            match decides {
                true => self.problems.error(Code::TrustedProxiesAny, path, message),
                false => self
                    .problems
                    .warning(Code::TrustedProxiesAny, path, message),
            }
        } else if entry.host_bits {
            let message = format!("{} is taken as {}", shown(text), entry.net);
            self.problems
                .warning(Code::TrustedProxiesHostBits, path, message);
        }
        Some(entry)
    }

    fn trusted_proxy(&self) -> Option<TrustedProxy> {
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

    fn users(&self, section: &Section<'a>, key: &str, rule: UserMatch) -> AllowUsers {
        let mut users = AllowUsers::new(rule);
        for (path, text) in section.texts(key) {
            let entry = text.trim();
            match users.add(entry) {
                Err(code) => {
                    let message = format!("{} cannot be an entry", shown(text));
                    self.problems.error(code, path, message);
                }
                Ok(()) if entry != text => {
                    let message = "there are blanks around the entry";
                    self.problems
                        .warning(Code::AllowUsersWhitespace, path, message);
                }
                Ok(()) => {}
            }
        }
        users
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

    fn bind(&self, mode: Option<AuthMethod>, proxies: &ProxyRanges) {
        let bind = self.gateway.text("bind").unwrap_or("loopback");
        if !BINDS.contains(&bind) {
            let message = format!("{} is not one of {}", shown(bind), BINDS.join(", "));
            self.problems
                .error(Code::ConfigInvalidValue, self.gateway.path("bind"), message);
        }
        let by_proxy = mode == Some(AuthMethod::TrustedProxy);
        if by_proxy && bind == "loopback" && !proxies.is_empty() && !proxies.reaches_loopback() {
            let message = "the gateway listens on loopback, where none of these connects from";
            self.problems.warning(
                Code::TrustedProxiesUnreachable,
                self.gateway.path("trustedProxies"),
                message,
            );
        }
        if mode == Some(AuthMethod::None) && bind != "loopback" {
            let message = format!("without authentication, {} is not possible", shown(bind));
            self.problems.error(
                Code::GatewayBindWithoutAuth,
                self.gateway.path("bind"),
                message,
            );
        }
    }

    /// Token and password, as far as the mode uses them.
    fn shared_secrets(&self, mode: Option<AuthMethod>) -> (Option<Digest>, Option<Digest>) {
        match mode {
            Some(AuthMethod::Token) => (self.shared(Shared::Token, true), None),
            Some(AuthMethod::Password) => (None, self.shared(Shared::Password, true)),
            Some(AuthMethod::TrustedProxy) if self.opens_local_password() => {
                (None, self.shared(Shared::Password, false))
            }
            _ => (None, None),
        }
    }

    /// Whether callers on this host may use the password beside the proxy. A variable inherited
    /// from somewhere must not add a way in silently.
    fn opens_local_password(&self) -> bool {
        self.trusted
            .flag("localPasswordFallback")
            .unwrap_or_else(|| {
                self.input.password.is_configured() || self.input.overrides.password.is_some()
            })
    }

    fn shared(&self, shared: Shared, needed: bool) -> Option<Digest> {
        let facts = shared.facts(self.input);
        let path = self.auth.path(facts.key);
        let Some(secret) = self.effective(shared) else {
            if needed {
                let message = format!("set {path} or {}", facts.variable);
                self.problems.error(facts.missing, path, message);
            }
            return None;
        };
        let overridden = filled(facts.overriding).is_some();
        let from_env = filled(facts.env).is_some() && !overridden;
        if from_env && matches!(facts.configured, SecretInput::Reference(_)) {
            let message = format!("{} is used instead of the reference", facts.variable);
            self.problems
                .warning(Code::GatewaySecretEnvOverride, path.as_str(), message);
        }
        let text = secret.expose().trim();
        if PLACEHOLDERS
            .iter()
            .chain([&REDACTED])
            .any(|word| text.eq_ignore_ascii_case(word))
        {
            let message = "this is a stand-in from documentation, not a secret";
            self.problems.error(facts.placeholder, path, message);
        } else if is_short(secret) {
            let message = format!("fewer than {SHORT} characters");
            self.problems.warning(facts.short, path, message);
        }
        Some(digest(secret))
    }

    /// The secret that counts: caller, plain text, environment, reference.
    fn effective(&self, shared: Shared) -> Option<&'a SecretText> {
        let facts = shared.facts(self.input);
        let literal = match facts.configured {
            SecretInput::Literal(_) => facts.configured.value(),
            _ => None,
        };
        filled(facts.overriding)
            .or(literal)
            .or(filled(facts.env))
            .or_else(|| facts.configured.value())
    }

    fn client_ip_header(&self) -> Option<&'a str> {
        let name = self.gateway.text("clientIpHeader")?.trim();
        self.check_name(&self.gateway.path("clientIpHeader"), name)
            .then_some(name)
    }

    fn client_ip(&self, header: Option<&str>, plan: &HeaderPlan) -> ClientIpSource {
        let real_ip_fallback = self.gateway.flag("allowRealIpFallback").unwrap_or(false);
        let lists = ClientIpSource::ForwardedFor { real_ip_fallback };
        match header {
            Some(name) if name.eq_ignore_ascii_case("forwarded") => ClientIpSource::Forwarded,
            Some(name) if !name.eq_ignore_ascii_case("x-forwarded-for") => {
                plan.slot_of(name).map_or(lists, ClientIpSource::Single)
            }
            _ => lists,
        }
    }

    fn origins(&self) -> Origins {
        let section = self.gateway.section("controlUi");
        let mut origins = Origins::default();
        let fallback = section.flag("dangerouslyAllowHostHeaderOriginFallback");
        origins.host_fallback = fallback.unwrap_or(false);
        for (path, text) in section.texts("allowedOrigins") {
            if !origins.add(text.trim()) {
                let message = format!("{} is not scheme://host[:port]", shown(text));
                self.problems
                    .error(Code::AllowedOriginsInvalid, path, message);
            } else if text.trim() == "*" {
                let message = "every page of every origin is allowed";
                self.problems
                    .warning(Code::AllowedOriginsWildcard, path, message);
            }
        }
        origins
    }

    fn hosts(&self) -> Hosts {
        let mut hosts = Hosts::default();
        let port = self
            .gateway
            .number("port", 1, 65_535, Code::ConfigInvalidValue);
        let port = self.input.overrides.port.map(u32::from).or(port);
        hosts.default_port = matches!(port, Some(80 | 443));
        for (path, text) in self.gateway.texts("allowedHosts") {
            if !hosts.add(text.trim()) {
                let message = format!("{} is not a host with optional port", shown(text));
                self.problems.error(Code::ConfigInvalidValue, path, message);
            }
        }
        hosts
    }

    /// `None` when limiting is switched off.
    fn limits(&self, section: &Section<'a>) -> Option<Limits> {
        let number = |key, low, high| section.number(key, low, high, Code::RateLimitInvalid);
        let millis = |number: u32| std::time::Duration::from_millis(number.into());
        let defaults = Limits::default();
        let entries = number("maxEntries", 100, 1_000_000);
        let limits = Limits {
            max_attempts: number("maxAttempts", 1, 1_000).unwrap_or(defaults.max_attempts),
            window: number("windowMs", 1_000, DAY_MS).map_or(defaults.window, millis),
            lockout: number("lockoutMs", 0, DAY_MS).map_or(defaults.lockout, millis),
            global_max_attempts: number("globalMaxAttempts", 0, 1_000_000)
                .unwrap_or(defaults.global_max_attempts),
            max_entries: entries
                .and_then(|entries| usize::try_from(entries).ok())
                .unwrap_or(defaults.max_entries),
        };
        section.flag("enabled").unwrap_or(true).then_some(limits)
    }

    fn hsts(&self, section: &Section<'a>) -> Option<String> {
        let path = section.path("strictTransportSecurity");
        let text = section.text_or_false("strictTransportSecurity")??;
        match hsts::check(text) {
            Err(code) => {
                let message = format!("{} is not a valid value", shown(text));
                self.problems.error(code, path, message);
                None
            }
            Ok(hsts) => {
                for code in hsts.warnings {
                    self.problems
                        .warning(code, path.as_str(), format!("{} counts", shown(text)));
                }
                hsts.value.map(str::to_owned)
            }
        }
    }

    fn check_name(&self, path: &str, name: &str) -> bool {
        let fine = is_header_name(name);
        if !fine {
            let message = format!("{} cannot be a header name", shown(name));
            self.problems
                .error(Code::TrustedProxyHeaderNameInvalid, path, message);
        }
        fine
    }
}

/// One of the two shared secrets.
#[derive(Clone, Copy)]
enum Shared {
    Password,
    Token,
}

/// What belongs to a shared secret.
struct SharedFacts<'a> {
    key: &'static str,
    variable: &'static str,
    configured: &'a SecretInput,
    env: Option<&'a SecretText>,
    overriding: Option<&'a SecretText>,
    missing: Code,
    placeholder: Code,
    short: Code,
}

impl Shared {
    fn facts<'a>(self, input: &'a AccessInput<'_>) -> SharedFacts<'a> {
        match self {
            Self::Password => SharedFacts {
                key: "password",
                variable: "OPENCLAW_GATEWAY_PASSWORD",
                configured: &input.password,
                env: input.env_password.as_ref(),
                overriding: input.overrides.password.as_ref(),
                missing: Code::PasswordMissingConfig,
                placeholder: Code::PasswordPlaceholder,
                short: Code::PasswordTooShort,
            },
            Self::Token => SharedFacts {
                key: "token",
                variable: "OPENCLAW_GATEWAY_TOKEN",
                configured: &input.token,
                env: input.env_token.as_ref(),
                overriding: input.overrides.token.as_ref(),
                missing: Code::TokenMissingConfig,
                placeholder: Code::TokenPlaceholder,
                short: Code::TokenTooShort,
            },
        }
    }
}

fn digest(secret: &SecretText) -> Digest {
    Digest::of(secret.expose().trim().as_bytes())
}

fn is_short(secret: &SecretText) -> bool {
    secret.expose().trim().chars().count() < SHORT
}

fn is_listed(list: &[&str], name: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

/// Fewer characters than this make a secret worth a warning.
const SHORT: usize = 24;

const DAY_MS: u32 = 86_400_000;

const DEFAULT_SECRET_HEADER: &str = "x-openclaw-proxy-secret";

const BINDS: &[&str] = &["loopback", "lan", "custom", "auto", "tailnet"];

const AUTH_KEYS: &[&str] = &[
    "mode",
    "token",
    "password",
    "rateLimit",
    "trustedProxy",
    "adminUsers",
];

const TRUSTED_KEYS: &[&str] = &[
    "userHeader",
    "requiredHeaders",
    "allowUsers",
    "allowUsersMatch",
    "allowLoopback",
    "proxySecret",
    "requireClientIp",
    "localPasswordFallback",
];

const RATE_LIMIT_KEYS: &[&str] = &[
    "enabled",
    "maxAttempts",
    "windowMs",
    "lockoutMs",
    "exemptLoopback",
    "globalMaxAttempts",
    "maxEntries",
];

/// Values that documentation and templates use in place of a secret, besides [`REDACTED`].
const PLACEHOLDERS: &[&str] = &[
    "change-me-to-a-long-random-token",
    "change-me-now",
    "change-me-to-a-strong-password",
    "your-token",
    "your-password",
    "undefined",
    "null",
];

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
