//! Checks settings and compiles them into a policy.

mod shared_secrets;
mod trusted_proxy;

pub(crate) use trusted_proxy::DEFAULT_SECRET_HEADER;

use super::AuthMethod;
use super::allow_users::{AllowUsers, UserMatch};
use super::client_ip::ClientIpSource;
use super::control::Policy;
use super::headers::{HeaderPlan, PlanNames, is_header_name};
use super::hsts;
use super::limiter::Limits;
use super::load::AccessInput;
use super::origin::{Hosts, Origins};
use super::ranges::{MAX_ENTRIES, ProxyEntry, ProxyRanges};
use super::settings::{Problems, Section, shown};
use crate::error::Code;
use crate::text::CText;

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
            wanted: CText::new(&plan.wanted()),
            plan,
            trusted,
            token,
            password,
        };
        mode.map(|_| policy)
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

    fn hsts(&self, section: &Section<'a>) -> Option<CText> {
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
                hsts.value.map(CText::new)
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

const DAY_MS: u32 = 86_400_000;

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
