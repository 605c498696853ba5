//! The authentication mode, and the token or password that belongs to it.

use super::super::AuthMethod;
use super::super::digest::Digest;
use super::super::load::{AccessInput, SecretInput, filled};
use super::super::settings::shown;
use super::Compiler;
use crate::error::Code;
use crate::text::{REDACTED, SecretText};

impl<'a> Compiler<'a> {
    pub(super) fn mode(&self) -> Option<AuthMethod> {
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

    /// Token and password, as far as the mode uses them.
    pub(super) fn shared_secrets(
        &self,
        mode: Option<AuthMethod>,
    ) -> (Option<Digest>, Option<Digest>) {
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

pub(super) fn digest(secret: &SecretText) -> Digest {
    Digest::of(secret.expose().trim().as_bytes())
}

pub(super) fn is_short(secret: &SecretText) -> bool {
    secret.expose().trim().chars().count() < SHORT
}

/// Fewer characters than this make a secret worth a warning.
pub(super) const SHORT: usize = 24;

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
