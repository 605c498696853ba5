//! From settings to a policy, with every problem at once.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::AuthMethod;
use super::compile::Compiler;
use super::control::AccessControl;
use super::limiter::Limiter;
use super::settings::Problems;
use crate::error::Code;
use crate::host::{Clock, Interfaces};
use crate::text::SecretText;

/// Everything the access policy is built from.
pub struct AccessInput<'a> {
    /// The effective configuration. Only settings are read from it; where secrets belong, their
    /// stand-ins are not looked at.
    pub config: &'a Value,
    /// `gateway.auth.token`.
    pub token: SecretInput,
    /// `gateway.auth.password`.
    pub password: SecretInput,
    /// `gateway.auth.trustedProxy.proxySecret.value`.
    pub proxy_secret: SecretInput,
    /// `gateway.auth.trustedProxy.proxySecret.previousValue`.
    pub previous_proxy_secret: SecretInput,
    /// `OPENCLAW_GATEWAY_TOKEN`.
    pub env_token: Option<SecretText>,
    /// `OPENCLAW_GATEWAY_PASSWORD`.
    pub env_password: Option<SecretText>,
    /// What the caller decides itself.
    pub overrides: Overrides,
    /// Where this host's own addresses come from.
    pub interfaces: Arc<dyn Interfaces>,
    /// Where the time for limits comes from.
    pub clock: Arc<dyn Clock>,
}

impl<'a> AccessInput<'a> {
    /// Settings alone: no secret from anywhere, nothing overridden.
    pub fn new(config: &'a Value, interfaces: Arc<dyn Interfaces>, clock: Arc<dyn Clock>) -> Self {
        Self {
            config,
            token: SecretInput::Absent,
            password: SecretInput::Absent,
            proxy_secret: SecretInput::Absent,
            previous_proxy_secret: SecretInput::Absent,
            env_token: None,
            env_password: None,
            overrides: Overrides::default(),
            interfaces,
            clock,
        }
    }
}

/// A secret as the configuration file gives it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SecretInput {
    /// It is not there.
    #[default]
    Absent,
    /// It stands there as plain text.
    Literal(SecretText),
    /// It is a reference: with its value, or without when it was not resolved.
    Reference(Option<SecretText>),
}

impl SecretInput {
    /// Whether the file has it, resolved or not.
    pub(super) fn is_configured(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Literal(_) => self.value().is_some(),
            Self::Reference(_) => true,
        }
    }

    /// The value; a blank one counts as absent.
    pub(super) fn value(&self) -> Option<&SecretText> {
        match self {
            Self::Absent => None,
            Self::Literal(text) => filled(Some(text)),
            Self::Reference(text) => filled(text.as_ref()),
        }
    }
}

/// A secret that is not blank.
pub(super) fn filled(secret: Option<&SecretText>) -> Option<&SecretText> {
    secret.filter(|secret| !secret.expose().trim().is_empty())
}

/// Settings that win over the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Instead of `gateway.auth.mode`.
    pub mode: Option<AuthMethod>,
    /// Instead of every other token.
    pub token: Option<SecretText>,
    /// Instead of every other password.
    pub password: Option<SecretText>,
    /// The port that is listened on, instead of `gateway.port`.
    pub port: Option<u16>,
}

/// What loading found.
#[derive(Debug)]
pub struct AccessLoad {
    /// The policy. `None` when the settings cannot be used.
    ///
    /// There is one in spite of errors when the only thing wrong is that something is not
    /// configured; it refuses every request with that error's code. Do not start to serve, and
    /// keep an older policy on reload, when there are errors.
    pub control: Option<AccessControl>,
    /// Everything that must be fixed, in a fixed order.
    pub errors: Vec<Problem>,
    /// Everything that is worth knowing, in a fixed order.
    pub warnings: Vec<Problem>,
}

/// A problem with a setting.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The stable code.
    pub code: Code,
    /// Where, such as `gateway.trustedProxies[3]`.
    pub path: String,
    /// One sentence; never a secret.
    pub message: String,
}

impl Problem {
    pub(super) fn new(code: Code, path: String, message: String) -> Self {
        Self {
            code,
            path,
            message,
        }
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.path, self.message, self.code)
    }
}

impl AccessControl {
    /// Checks the settings and compiles them.
    ///
    /// The limiter is the caller's, so that failures and lockouts outlive a reload.
    pub fn load(input: AccessInput<'_>, limiter: Arc<Limiter>) -> AccessLoad {
        let problems = Problems::default();
        let policy = Compiler::new(&input, &problems).policy();
        let (mut errors, mut warnings) = problems.into_lists();
        errors.sort_by_key(|problem| rank(problem.code));
        warnings.sort_by_key(|problem| rank(problem.code));
        let usable = errors
            .iter()
            .all(|problem| ANSWERABLE.contains(&problem.code));
        let control = policy
            .filter(|_| usable)
            .map(|policy| Self::new(policy, limiter, input.interfaces, input.clock));
        AccessLoad {
            control,
            errors,
            warnings,
        }
    }
}

/// Errors that a request can be refused with.
const ANSWERABLE: &[Code] = &[
    Code::PasswordMissingConfig,
    Code::TokenMissingConfig,
    Code::TrustedProxyConfigMissing,
    Code::TrustedProxyNoProxiesConfigured,
];

/// The order in which problems are reported.
const ORDER: &[Code] = &[
    Code::ConfigUnknownKey,
    Code::ConfigInvalidValue,
    Code::GatewaySettingIgnored,
    Code::GatewayAuthModeAmbiguous,
    Code::GatewayAuthModeUnknown,
    Code::GatewayAuthModeImplicit,
    Code::GatewaySecretEnvOverride,
    Code::TrustedProxiesBlankEntry,
    Code::TrustedProxiesNotAnIp,
    Code::TrustedProxiesBadPrefix,
    Code::TrustedProxiesMappedPrefix,
    Code::TrustedProxiesZoneId,
    Code::TrustedProxiesAny,
    Code::TrustedProxiesUnspecified,
    Code::TrustedProxiesTooMany,
    Code::TrustedProxiesHostBits,
    Code::TrustedProxiesWhitespace,
    Code::TokenMissingConfig,
    Code::PasswordMissingConfig,
    Code::TokenPlaceholder,
    Code::PasswordPlaceholder,
    Code::TokenTooShort,
    Code::PasswordTooShort,
    Code::TrustedProxyConfigMissing,
    Code::TrustedProxyUserHeaderBlank,
    Code::TrustedProxyHeaderNameInvalid,
    Code::TrustedProxyUserHeaderForbidden,
    Code::TrustedProxyUserHeaderUnusual,
    Code::TrustedProxyRequiredHeaderForbidden,
    Code::AllowUsersBlankEntry,
    Code::AllowUsersWildcard,
    Code::AllowUsersBadPattern,
    Code::AllowUsersMatchUnknown,
    Code::AllowUsersWhitespace,
    Code::TrustedProxySecretMissingConfig,
    Code::TrustedProxySecretTooShort,
    Code::TrustedProxyNoProxiesConfigured,
    Code::MixedTrustedProxyToken,
    Code::TrustedProxiesUnreachable,
    Code::GatewayBindWithoutAuth,
    Code::AllowedOriginsInvalid,
    Code::AllowedOriginsWildcard,
    Code::RateLimitInvalid,
];

fn rank(code: Code) -> usize {
    ORDER
        .iter()
        .position(|listed| *listed == code)
        .unwrap_or(ORDER.len())
}
