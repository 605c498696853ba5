//! What a failed refresh means, and whether it is tried again.

use crate::error::{Code, Error};
use crate::host::HttpFailureKind;
use crate::oauth::provider::Provider;
use crate::oauth::response::{Refusal, Rejection, busy, is_busy};
use crate::oauth::tokens::Failure;

/// Longest `Retry-After` that is waited for, in milliseconds.
const MAX_RETRY_AFTER_MS: u64 = 5_000;

/// What the failure of one request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    /// The provider has not seen it.
    NotSent,
    /// No secure connection; trying again does not help.
    Tls,
    /// The provider may have processed it.
    Ambiguous,
    /// Not now.
    Busy {
        rate_limited: bool,
        retry_after_ms: Option<u64>,
    },
    /// The refresh token will not work again, unless the description is wrong (`dead` is false).
    Permanent { reason: &'static str, dead: bool },
    /// The request itself is refused.
    Rejected { reason: &'static str },
}

/// Signal of the provider, reason, whether the token itself is dead.
const PERMANENT: &[(&str, &str, bool)] = &[
    ("refresh_token_reused", "refresh_token_reused", true),
    ("refresh_token_expired", "refresh_token_expired", true),
    ("refresh_token_invalidated", "refresh_token_revoked", true),
    ("token_revoked", "refresh_token_revoked", true),
    ("invalid_grant", "invalid_grant", true),
    ("invalid_refresh_token", "invalid_grant", true),
    ("invalid_client", "client_rejected", false),
    ("unauthorized_client", "client_rejected", false),
];

/// Signals that say that the request is wrong, not the token.
const REJECTED: &[&str] = &["invalid_request", "unsupported_grant_type", "invalid_scope"];

/// Judges a failure.
pub(super) fn classify(failure: &Failure) -> Class {
    let rejection = match failure {
        Failure::Http(failure) => {
            return match failure.kind {
                HttpFailureKind::NotSent => Class::NotSent,
                HttpFailureKind::Tls => Class::Tls,
                HttpFailureKind::Unusable => Class::Rejected {
                    reason: "unavailable",
                },
                HttpFailureKind::TooLarge | HttpFailureKind::Unanswered => Class::Ambiguous,
            };
        }
        // The answer may have carried the only copy of new tokens.
        Failure::Refused(Refusal::Unusable(_)) => return Class::Ambiguous,
        Failure::Refused(Refusal::Rejected(rejection)) => rejection,
    };
    let code = rejection.code.as_deref().unwrap_or_default();
    if let Some((_, reason, dead)) = PERMANENT.iter().find(|(signal, ..)| *signal == code) {
        return Class::Permanent {
            reason,
            dead: *dead,
        };
    }
    let revoked = rejection
        .message
        .as_deref()
        .is_some_and(|text| text.contains("revoked"));
    match rejection.status {
        400 | 401 | 403 if revoked => Class::Permanent {
            reason: "refresh_token_revoked",
            dead: true,
        },
        status if is_busy(status) => Class::Busy {
            rate_limited: status == 429,
            retry_after_ms: rejection.retry_after_ms,
        },
        _ if REJECTED.contains(&code) => Class::Rejected {
            reason: "request_rejected",
        },
        401 => Class::Permanent {
            reason: "unauthorized",
            dead: true,
        },
        _ => Class::Rejected {
            reason: "unavailable",
        },
    }
}

/// How often each kind of failure has been met in one refresh.
#[derive(Debug, Default)]
pub(super) struct Retries {
    not_sent: usize,
    busy: usize,
    rate_limited: usize,
    ambiguous: usize,
}

impl Retries {
    /// Milliseconds to wait before the next try; `None` when there is none.
    pub(super) fn next(&mut self, class: &Class, provider: &Provider) -> Option<u64> {
        let step = |count: &mut usize, waits: &[u64]| {
            let wait = waits.get(*count).copied();
            *count += 1;
            wait
        };
        match class {
            Class::NotSent => step(&mut self.not_sent, &[250, 1_000]),
            // If the first request was processed, its tokens are lost either way.
            Class::Ambiguous if provider.ambiguous_retry => step(&mut self.ambiguous, &[0]),
            Class::Busy {
                rate_limited: true,
                retry_after_ms,
            } => {
                let wait = retry_after_ms.unwrap_or(500);
                let fine = wait <= MAX_RETRY_AFTER_MS;
                fine.then(|| step(&mut self.rate_limited, &[wait]))
                    .flatten()
            }
            Class::Busy { .. } => step(&mut self.busy, &[500, 2_000]),
            _ => None,
        }
    }

    /// Whether a request of unknown outcome was among the tries.
    pub(super) fn had_ambiguous(&self) -> bool {
        self.ambiguous > 0
    }
}

/// The error of a refresh. The beginning of the text is what failure classifiers look for.
pub(super) fn error_of(provider: &Provider, failure: &Failure, class: &Class) -> Error {
    let said = match failure {
        Failure::Refused(Refusal::Rejected(rejection)) => rejection.text(),
        other => other.to_string(),
    };
    let prefix = format!("OAuth token refresh failed for {}: ", provider.id);
    match class {
        Class::Permanent { reason, .. } => reauth(provider, reason, &said),
        Class::Busy { .. } => match failure {
            Failure::Refused(Refusal::Rejected(rejection)) => prefixed(&prefix, &busy(rejection)),
            other => prefixed(&prefix, &other.to_error(provider)),
        },
        Class::Rejected { reason } => {
            let code = Code::OauthExchangeRejected;
            let status = match failure {
                Failure::Refused(Refusal::Rejected(Rejection { status, .. })) => Some(*status),
                _ => None,
            };
            Error::new(code, format!("{prefix}{reason}: {said}"))
                .with("reason", *reason)
                .with("status", status)
                .with("provider", provider.id.clone())
        }
        _ => prefixed(&prefix, &failure.to_error(provider)),
    }
}

/// `oauth_reauth_required`.
pub(super) fn reauth(provider: &Provider, reason: &str, said: &str) -> Error {
    let id = &provider.id;
    let message = format!("OAuth token refresh failed for {id}: {reason}: {said}");
    Error::new(Code::OauthReauthRequired, message)
        .with("reason", reason)
        .with("provider", id.clone())
        .with_hint(format!("openclaw-auth models auth login --provider {id}"))
}

fn prefixed(prefix: &str, error: &Error) -> Error {
    let mut next = Error::new(error.code(), format!("{prefix}{}", error.message()))
        .retryable(error.is_retryable());
    if let Some(ms) = error.retry_after_ms() {
        next = next.with_retry_after_ms(ms);
    }
    for (key, value) in error.details() {
        next = next.with(key, value.clone());
    }
    match error.hint() {
        Some(hint) => next.with_hint(hint),
        None => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HttpFailure;
    use crate::oauth::provider::Providers;

    fn rejected(status: u16, code: &str, message: &str) -> Failure {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Failure::Refused(Refusal::Rejected(Rejection {
            status,
            code: text(code),
            message: text(message),
            retry_after_ms: None,
        }))
    }

    #[test]
    fn every_signal_has_its_class() {
        let permanent = |reason, dead| Class::Permanent { reason, dead };
        let wrong = |reason| Class::Rejected { reason };
        let busy = |rate_limited| Class::Busy {
            rate_limited,
            retry_after_ms: None,
        };
        for (failure, expected) in [
            (
                rejected(400, "invalid_grant", ""),
                permanent("invalid_grant", true),
            ),
            (
                rejected(401, "refresh_token_reused", "x"),
                permanent("refresh_token_reused", true),
            ),
            (
                rejected(400, "refresh_token_expired", ""),
                permanent("refresh_token_expired", true),
            ),
            (
                rejected(400, "token_revoked", ""),
                permanent("refresh_token_revoked", true),
            ),
            (
                rejected(403, "", "it was revoked"),
                permanent("refresh_token_revoked", true),
            ),
            (
                rejected(400, "invalid_client", ""),
                permanent("client_rejected", false),
            ),
            (rejected(401, "", ""), permanent("unauthorized", true)),
            (
                rejected(400, "invalid_scope", ""),
                wrong("request_rejected"),
            ),
            (rejected(418, "", ""), wrong("unavailable")),
            (rejected(429, "", ""), busy(true)),
            (rejected(503, "", "revoked?"), busy(false)),
            (
                Failure::Refused(Refusal::Unusable("x".to_owned())),
                Class::Ambiguous,
            ),
            (
                Failure::Http(HttpFailure::new(HttpFailureKind::NotSent, "")),
                Class::NotSent,
            ),
            (
                Failure::Http(HttpFailure::new(HttpFailureKind::Unanswered, "")),
                Class::Ambiguous,
            ),
            (
                Failure::Http(HttpFailure::new(HttpFailureKind::Tls, "")),
                Class::Tls,
            ),
        ] {
            assert_eq!(classify(&failure), expected, "{failure:?}");
        }
    }

    #[test]
    fn tries_are_counted() {
        let providers = Providers::built_in();
        let codex = providers.get("openai-codex").unwrap();
        let waits = |class: Class| {
            let mut retries = Retries::default();
            let mut waits = Vec::new();
            while let Some(wait) = retries.next(&class, codex) {
                waits.push(wait);
            }
            waits
        };
        let limited = |retry_after_ms| Class::Busy {
            rate_limited: true,
            retry_after_ms,
        };
        assert_eq!(waits(Class::NotSent), [250, 1_000]);
        assert_eq!(waits(Class::Ambiguous), [0]);
        assert_eq!(
            waits(Class::Busy {
                rate_limited: false,
                retry_after_ms: None
            }),
            [500, 2_000]
        );
        assert_eq!(waits(limited(Some(2_000))), [2_000]);
        assert!(waits(limited(Some(60_000))).is_empty());
        assert!(waits(Class::Tls).is_empty());
        assert!(
            waits(Class::Permanent {
                reason: "x",
                dead: true
            })
            .is_empty()
        );
    }

    #[test]
    fn the_text_is_what_classifiers_look_for() {
        let providers = Providers::built_in();
        let codex = providers.get("openai-codex").unwrap();
        let failure = rejected(400, "invalid_grant", "grant request is invalid");
        let error = error_of(codex, &failure, &classify(&failure));
        assert_eq!(
            error.message(),
            "OAuth token refresh failed for openai-codex: invalid_grant: grant request is invalid"
        );
        assert_eq!(error.code(), Code::OauthReauthRequired);
        let down = rejected(503, "", "");
        let error = error_of(codex, &down, &classify(&down));
        assert_eq!(error.code(), Code::OauthProviderUnavailable);
        assert!(
            error
                .message()
                .starts_with("OAuth token refresh failed for openai-codex: ")
        );
        assert!(error.is_retryable());
    }
}
