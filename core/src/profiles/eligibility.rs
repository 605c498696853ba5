//! Whether a profile may be used, and the reason if not. Ordering, acquisition, probe and status
//! use this one rule.

use super::credential::{Credential, Expiry, Kind, Material};
use crate::config::{ConfigProfile, Routing, auth_provider};

/// Why a profile may or may not be used. The texts are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Eligibility {
    /// The credential has run out.
    Expired,
    /// `expires` is not a point in time.
    InvalidExpires,
    /// There is no secret in it.
    MissingCredential,
    /// The configuration says that the profile is of another type.
    ModeMismatch,
    /// It may be used.
    Ok,
    /// There is no such profile.
    ProfileMissing,
    /// It belongs to another provider.
    ProviderMismatch,
    /// Its secret is a reference that was not resolved.
    UnresolvedRef,
}

impl Eligibility {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::InvalidExpires => "invalid_expires",
            Self::MissingCredential => "missing_credential",
            Self::ModeMismatch => "mode_mismatch",
            Self::Ok => "ok",
            Self::ProfileMissing => "profile_missing",
            Self::ProviderMismatch => "provider_mismatch",
            Self::UnresolvedRef => "unresolved_ref",
        }
    }

    /// One sentence for a person.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Expired => "token credentials are expired.",
            Self::InvalidExpires => "token expires must be a positive Unix ms timestamp.",
            Self::MissingCredential => "no inline credential or SecretRef is configured.",
            Self::ModeMismatch | Self::ProfileMissing | Self::ProviderMismatch => {
                "profile is incompatible with provider config."
            }
            Self::Ok => "profile can be used.",
            Self::UnresolvedRef => "could not resolve the SecretRef of the profile.",
        }
    }
}

/// Largest `expires` that is more likely seconds than milliseconds.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// The part of eligibility that does not depend on the time: a refusal, or when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    fixed: Eligibility,
    /// From when on it is expired; `u64::MAX` for never.
    expired_from: u64,
}

impl Verdict {
    pub(crate) const MISSING: Self = Self {
        fixed: Eligibility::ProfileMissing,
        expired_from: u64::MAX,
    };

    /// Judges a stored credential for a provider (auth-normalised).
    pub(crate) fn of(
        credential: &Credential,
        config: Option<&ConfigProfile>,
        provider: &str,
        routing: &Routing,
    ) -> Self {
        let refused = |fixed| Self {
            fixed,
            expired_from: u64::MAX,
        };
        if credential.auth_provider != provider {
            return refused(Eligibility::ProviderMismatch);
        }
        if let Some(config) = config {
            if auth_provider(&config.provider, &routing.aliases) != provider {
                return refused(Eligibility::ProviderMismatch);
            }
            let same = config.mode == credential.kind.as_str();
            if !same && (config.mode.as_str(), credential.kind) != ("oauth", Kind::Token) {
                return refused(Eligibility::ModeMismatch);
            }
        }
        if credential.material == Material::Missing && credential.refresh.is_none() {
            return refused(Eligibility::MissingCredential);
        }
        match (credential.kind, credential.expiry) {
            (Kind::Token, Expiry::Invalid) => refused(Eligibility::InvalidExpires),
            (Kind::Token, Expiry::At(at)) => Self {
                fixed: Eligibility::Ok,
                expired_from: at,
            },
            // An access token is refreshed, if there is a refresh token.
            (Kind::OAuth, Expiry::At(at)) if credential.refresh.is_none() => Self {
                fixed: Eligibility::Ok,
                expired_from: at,
            },
            _ => refused(Eligibility::Ok),
        }
    }

    pub(crate) fn at(self, now_ms: u64) -> Eligibility {
        if self.fixed == Eligibility::Ok && now_ms >= self.expired_from {
            Eligibility::Expired
        } else {
            self.fixed
        }
    }

    /// What else to say about an expired profile.
    pub(crate) fn hint(self) -> Option<&'static str> {
        (self.expired_from < SECONDS_BELOW)
            .then_some("expires looks like seconds; it must be milliseconds")
    }
}

/// A reference where OAuth material must stand: the path and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyViolation {
    pub(crate) path: String,
    pub(crate) reason: String,
}

/// References in a profile whose material changes at run time.
pub(crate) fn policy_violations(
    id: &str,
    credential: &Credential,
    config: Option<&ConfigProfile>,
) -> Vec<PolicyViolation> {
    const MUTABLE: &str = "(OAuth credentials are runtime-mutable).";
    let forbidden = credential.forbidden_refs.iter();
    let mut found: Vec<PolicyViolation> = forbidden
        .map(|field| PolicyViolation {
            path: format!("profiles.{id}.{field}"),
            reason: format!("SecretRef is not allowed for type=\"oauth\" auth profiles {MUTABLE}"),
        })
        .collect();
    let is_oauth = config.is_some_and(|config| config.mode == "oauth");
    if is_oauth && credential.reference().is_some() {
        let field = if credential.kind == Kind::ApiKey {
            "key"
        } else {
            "token"
        };
        found.push(PolicyViolation {
            path: format!("profiles.{id}.{field}"),
            reason: format!(
                "SecretRef is not allowed when auth.profiles.{id}.mode is \"oauth\" {MUTABLE}"
            ),
        });
    }
    found
}
