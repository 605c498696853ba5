//! What the checks ask about, worked out once.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::AuditInput;
use crate::access::AuthMethod;
use crate::access::compile::Compiler;
use crate::access::control::Policy;
use crate::access::load::{Problem, SecretInput};
use crate::access::ranges::ProxyEntry;
use crate::access::settings::{Problems, Section};
use crate::error::Code;
use crate::json::lookup;

/// The settings in the form in which checks ask about them.
pub(super) struct Facts<'a> {
    pub(super) input: &'a AuditInput<'a>,
    /// What loading says about the settings, errors first.
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// The compiled settings; `None` when not even the mode is clear.
    pub(super) policy: Option<Policy>,
    pub(super) entries: Vec<Entry>,
    /// `gateway.auth.trustedProxy.requiredHeaders`, lower case.
    pub(super) required: Vec<String>,
    /// `gateway.auth.trustedProxy.allowUsers` with paths.
    pub(super) users: Vec<(String, String)>,
    /// This host's own addresses; `None` when they cannot be determined.
    pub(super) own: Option<Vec<IpAddr>>,
}

/// An entry of `gateway.trustedProxies` that is understood.
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) net: IpNet,
}

impl Entry {
    /// Whether it lies wholly inside loopback space.
    pub(super) fn is_loopback(&self) -> bool {
        self.net.network().is_loopback() && self.net.broadcast().is_loopback()
    }

    pub(super) fn is_single(&self) -> bool {
        self.net.prefix_len() == self.net.max_prefix_len()
    }

    pub(super) fn is_any(&self) -> bool {
        self.net.prefix_len() == 0
    }
}

impl<'a> Facts<'a> {
    pub(super) fn new(input: &'a AuditInput<'a>) -> Self {
        let problems = Problems::default();
        let policy = Compiler::new(&input.access, &problems).policy();
        let (errors, warnings) = problems.into_lists();
        // Read again for paths and spellings; the compiler has noted what is wrong with them.
        let unheard = Problems::default();
        let gateway = Section::root(input.access.config, &unheard).section("gateway");
        let trusted = gateway.section("auth").section("trustedProxy");
        let entries = gateway.texts("trustedProxies").into_iter();
        let entries = entries.filter_map(|(path, text)| {
            let net = ProxyEntry::parse(text.trim()).ok()?.net;
            Some(Entry { path, net })
        });
        let lowered = |(_, text): (String, &str)| text.trim().to_ascii_lowercase();
        let trimmed = |(path, text): (String, &str)| (path, text.trim().to_owned());
        Self {
            errors,
            warnings,
            policy,
            entries: entries.collect(),
            required: trusted
                .texts("requiredHeaders")
                .into_iter()
                .map(lowered)
                .collect(),
            users: trusted
                .texts("allowUsers")
                .into_iter()
                .map(trimmed)
                .collect(),
            own: input.access.interfaces.addresses().ok(),
            input,
        }
    }

    /// A setting by its dotted path.
    pub(super) fn value(&self, path: &str) -> Option<&'a Value> {
        let segments: Vec<&str> = path.split('.').collect();
        lookup(self.input.access.config, &segments)
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, path: &str) -> bool {
        self.value(path).and_then(Value::as_bool) == Some(true)
    }

    pub(super) fn text(&self, path: &str) -> Option<&'a str> {
        self.value(path).and_then(Value::as_str)
    }

    pub(super) fn mode(&self) -> Option<AuthMethod> {
        self.policy.as_ref().map(|policy| policy.mode)
    }

    pub(super) fn by_proxy(&self) -> bool {
        self.mode() == Some(AuthMethod::TrustedProxy)
    }

    /// Whether a token or password is what callers are known by.
    pub(super) fn by_secret(&self) -> bool {
        matches!(self.mode(), Some(AuthMethod::Token | AuthMethod::Password))
    }

    pub(super) fn bind(&self) -> &str {
        self.text("gateway.bind").unwrap_or("loopback")
    }

    /// Whether other machines may be able to connect.
    pub(super) fn is_exposed(&self) -> bool {
        match self.bind() {
            "loopback" => false,
            "custom" => {
                let host = self.text("gateway.customBindHost").unwrap_or_default();
                let host = host.trim().trim_matches(['[', ']']).parse::<IpAddr>();
                !host.is_ok_and(|host| host.to_canonical().is_loopback())
            }
            _ => true,
        }
    }

    /// Whether the proxy proves itself by a secret of its own.
    pub(super) fn has_proxy_secret(&self) -> bool {
        let trusted = self
            .policy
            .as_ref()
            .and_then(|policy| policy.trusted.as_ref());
        trusted.is_some_and(|trusted| trusted.secret.is_some())
            || self.input.access.proxy_secret.is_configured()
    }

    pub(super) fn user_header(&self) -> Option<String> {
        let name = self.text("gateway.auth.trustedProxy.userHeader")?.trim();
        (!name.is_empty()).then(|| name.to_ascii_lowercase())
    }

    pub(super) fn own_tls(&self) -> bool {
        self.is_on("gateway.tls.enabled")
    }

    /// Whether clients must show a certificate.
    pub(super) fn client_certificates(&self) -> bool {
        self.own_tls() && self.text("gateway.tls.clientAuth") == Some("require")
    }

    /// What loading said with these codes.
    pub(super) fn problems(&self, codes: &'static [Code]) -> impl Iterator<Item = &Problem> {
        let all = self.errors.iter().chain(&self.warnings);
        all.filter(|problem| codes.contains(&problem.code))
    }

    /// The secrets of access settings, each with its path.
    pub(super) fn secrets(&self) -> [(&'static str, &SecretInput); 4] {
        let input = &self.input.access;
        [
            ("gateway.auth.token", &input.token),
            ("gateway.auth.password", &input.password),
            (
                "gateway.auth.trustedProxy.proxySecret.value",
                &input.proxy_secret,
            ),
            (
                "gateway.auth.trustedProxy.proxySecret.previousValue",
                &input.previous_proxy_secret,
            ),
        ]
    }
}
