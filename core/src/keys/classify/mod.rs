//! What a provider's refusal means: pure, deterministic, and linear in the length of the text.

mod codes;
mod extract;
mod hints;
mod phrases;
mod redact;

use std::fmt;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::config::{Routing, normalise_provider};
use crate::error::{FailureScope, Reason, Rotation};
use codes::{INSUFFICIENT_QUOTA, overruled_by, reason_of};
use extract::Extracted;
pub(crate) use hints::proactive_reset;
use hints::{HintInput, is_account_limited, retry_hint};
use phrases::{Mark, Marks, exceeds_its_limit};

/// A failure below HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// The caller gave up.
    Cancelled,
    /// No connection.
    Connect,
    /// The name could not be resolved.
    Dns,
    /// The connection broke.
    Reset,
    /// No answer in time.
    Timeout,
    /// No secure connection.
    Tls,
}

impl Transport {
    /// Reads the stable text: `cancelled`, `connect`, `dns`, `reset`, `timeout` or `tls`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "cancelled" => Self::Cancelled,
            "connect" => Self::Connect,
            "dns" => Self::Dns,
            "reset" => Self::Reset,
            "timeout" => Self::Timeout,
            "tls" => Self::Tls,
            _ => return None,
        })
    }
}

/// What is known about a failed request. Everything is optional; more gives a better answer.
///
/// ```
/// use openclaw_auth::{Classification, Signal};
///
/// let signal = Signal {
///     status: Some(429),
///     headers: &[("Retry-After", "12")],
///     ..Signal::default()
/// };
/// let found = Classification::of(&signal, 1_800_000_000_000);
/// assert_eq!((found.reason.as_str(), found.retry_after_ms), ("rate_limit", Some(12_000)));
/// ```
#[derive(Clone, Copy, Default)]
pub struct Signal<'a> {
    /// HTTP status. Values outside 400 to 599 are ignored, because an error event in a stream
    /// arrives with 200.
    pub status: Option<u16>,
    /// Error code of the provider, when the caller has parsed it.
    pub code: Option<&'a str>,
    /// Error type of the provider, likewise.
    pub kind: Option<&'a str>,
    /// Error text.
    pub message: Option<&'a str>,
    /// Raw body of the answer; used instead of `message` when present.
    pub body: Option<&'a str>,
    /// Headers of the answer.
    pub headers: &'a [(&'a str, &'a str)],
    /// Failure below HTTP.
    pub transport: Option<Transport>,
    /// Provider of the request.
    pub provider: Option<&'a str>,
    /// Model of the request.
    pub model: Option<&'a str>,
    /// What the caller knows already; overrides everything but retry hints.
    pub reason: Option<Reason>,
}

impl fmt::Debug for Signal<'_> {
    /// Texts of providers may repeat credentials, so they are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("status", &self.status)
            .field("transport", &self.transport)
            .field("provider", &self.provider)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// What a failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Classification {
    /// Why.
    pub reason: Reason,
    /// What it says about.
    pub scope: FailureScope,
    /// Whether a quota is involved.
    pub quota: bool,
    /// Whether another environment key may help.
    pub rotates_keys: bool,
    /// Whether another profile may help.
    pub rotates_profiles: bool,
    /// Whether the credential gets a window.
    pub penalizes: bool,
    /// When a retry makes sense, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
    /// Where `retry_after_ms` was found.
    pub retry_source: Option<&'static str>,
    /// HTTP status, given or found in the text.
    pub status: Option<u16>,
    /// The provider's code, as written.
    pub code: Option<String>,
    /// The provider's message without secrets, at most 500 characters.
    pub message: String,
    /// What decided: `caller`, `transport`, `code:…`, `text:…`, `extra:…` or `S<status>`.
    pub rule: String,
}

impl Classification {
    /// Classifies with default settings.
    pub fn of(signal: &Signal<'_>, now_ms: u64) -> Self {
        static DEFAULTS: LazyLock<Routing> = LazyLock::new(Routing::default);
        Classifier::new(&DEFAULTS).classify(signal, None, now_ms)
    }

    /// The JSON form of every language.
    pub fn to_json(&self) -> Value {
        json!({
            "reason": self.reason.as_str(),
            "scope": self.scope.as_str(),
            "quota": self.quota,
            "rotatesKeys": self.rotates_keys,
            "rotatesProfiles": self.rotates_profiles,
            "penalizes": self.penalizes,
            "retryAfterMs": self.retry_after_ms,
            "retrySource": self.retry_source,
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "rule": self.rule,
        })
    }
}

/// Classification with the settings of a configuration.
pub(crate) struct Classifier<'a> {
    routing: &'a Routing,
}

/// A reason and what decided it.
struct Decision {
    reason: Reason,
    rule: String,
}

impl<'a> Classifier<'a> {
    pub(crate) fn new(routing: &'a Routing) -> Self {
        Self { routing }
    }

    /// Classifies a failure. `secret` is the credential that was used, which the message must not
    /// repeat.
    pub(crate) fn classify(
        &self,
        signal: &Signal<'_>,
        secret: Option<&str>,
        now_ms: u64,
    ) -> Classification {
        let provider = signal
            .provider
            .map(|id| normalise_provider(id, &self.routing.aliases));
        let provider = provider.as_deref();
        let found = Extracted::read(signal);
        let lower = found.text.to_ascii_lowercase();
        let marks = Marks::read(&lower);
        let quota_code = found.codes.iter().any(|code| code == INSUFFICIENT_QUOTA);
        let decision = match (signal.reason, signal.transport) {
            (Some(reason), _) => Decision {
                reason,
                rule: "caller".to_owned(),
            },
            (None, Some(transport)) => Decision {
                reason: match transport {
                    Transport::Cancelled => Reason::Cancelled,
                    Transport::Timeout => Reason::Timeout,
                    _ => Reason::Network,
                },
                rule: "transport".to_owned(),
            },
            (None, None) => self.decide(&found, &lower, &marks, provider),
        };
        let Decision { reason, rule } = decision;

        let hint = retry_hint(&HintInput {
            headers: signal.headers,
            json: found.json.as_ref(),
            retry_in: marks.retry_in(&lower),
            now_ms,
            max_ms: self.routing.hint_max_ms,
        });
        let known_status = found.status.filter(|_| signal.transport.is_none());
        let quota = quota_code
            || marks.has(Mark::Quota)
            || (marks.has(Mark::QuotaWord) && matches!(known_status, Some(429 | 403)));
        let of_account = reason == Reason::RateLimit
            && (quota_code
                || found.codes.iter().any(|code| code == "usage_limit_reached")
                || is_account_limited(signal.headers)
                || [
                    Mark::Periodic,
                    Mark::UsageLimit,
                    Mark::SpendLimit,
                    Mark::PerDay,
                ]
                .iter()
                .any(|mark| marks.has(*mark)));
        let policy = reason.policy();
        let scope = match policy.scope {
            FailureScope::Model if of_account || signal.model.is_none() => FailureScope::Account,
            scope => scope,
        };
        let rotates_keys = (known_status == Some(429) && reason != Reason::ContextOverflow)
            || reason == Reason::RateLimit
            || quota
            || self.routing.rotate_env_on.contains(&reason);
        Classification {
            reason,
            scope,
            quota,
            rotates_keys,
            rotates_profiles: policy.rotates_profiles != Rotation::No,
            penalizes: policy.penalizes,
            retry_after_ms: hint.map(|(ms, _)| ms),
            retry_source: hint.map(|(_, source)| source),
            status: found.status,
            code: found.code.map(|code| redact::redact(&code, secret)),
            message: redact::redact(&found.text, secret),
            rule,
        }
    }

    fn decide(
        &self,
        found: &Extracted<'_>,
        lower: &str,
        marks: &Marks,
        provider: Option<&str>,
    ) -> Decision {
        if let Some((code, reason)) = self.extra_code(&found.codes, provider) {
            let text = marks.class(lower, provider);
            let refined = text.filter(|(_, text)| {
                reason == Reason::Auth && overruled_by(Reason::Auth, found.status, *text)
            });
            return Decision {
                reason: refined.map_or(reason, |(_, reason)| reason),
                rule: format!("extra:{code}"),
            };
        }
        let code = self.code_reason(found, provider);
        let html = marks.has(Mark::Html);
        let text = marks.class(lower, provider).filter(|_| !html);
        let merged = match (code, text) {
            (None, None) => None,
            (None, Some((rule, reason))) => Some((rule.to_owned(), reason)),
            (Some((code, reason)), text) => Some(
                text.filter(|(_, text)| overruled_by(reason, found.status, *text))
                    .map(|(rule, reason)| (rule.to_owned(), reason))
                    .unwrap_or_else(|| (format!("code:{code}"), reason)),
            ),
        };
        let by_status = found
            .status
            .and_then(|status| self.status_reason(status, &merged, code, lower, marks, provider));
        match (by_status, merged) {
            (Some(reason), merged) => {
                let same = merged.filter(|(_, merged)| *merged == reason);
                let rule = same.map(|(rule, _)| rule);
                let status = found.status.unwrap_or_default();
                Decision {
                    reason,
                    rule: rule.unwrap_or_else(|| format!("S{status}")),
                }
            }
            (None, Some((rule, reason))) => Decision { reason, rule },
            (None, None) if html => Decision {
                reason: Reason::Network,
                rule: "text:html".to_owned(),
            },
            (None, None) => Decision {
                reason: Reason::Unknown,
                rule: "none".to_owned(),
            },
        }
    }

    fn extra_code<'c>(
        &self,
        codes: &'c [String],
        provider: Option<&str>,
    ) -> Option<(&'c str, Reason)> {
        let table = self.routing.extra_codes.get(provider?)?;
        codes
            .iter()
            .find_map(|code| Some((code.as_str(), *table.get(code)?)))
    }

    fn code_reason<'c>(
        &self,
        found: &'c Extracted<'_>,
        provider: Option<&str>,
    ) -> Option<(&'c str, Reason)> {
        found.codes.iter().find_map(|code| {
            let reason = if code == INSUFFICIENT_QUOTA {
                self.quota_reason(found.status, provider)
            } else {
                reason_of(code)?
            };
            Some((code.as_str(), reason))
        })
    }

    fn is_prepaid(&self, provider: Option<&str>) -> bool {
        provider.is_some_and(|id| self.routing.prepaid.iter().any(|prepaid| prepaid == id))
    }

    fn quota_reason(&self, status: Option<u16>, provider: Option<&str>) -> Reason {
        let throttle = provider.is_some() || status == Some(429);
        if self.is_prepaid(provider) || !throttle {
            Reason::Billing
        } else {
            Reason::RateLimit
        }
    }

    /// The status has the last word. `None`: it says nothing beyond what was found.
    fn status_reason(
        &self,
        status: u16,
        merged: &Option<(String, Reason)>,
        code: Option<(&str, Reason)>,
        lower: &str,
        marks: &Marks,
        provider: Option<&str>,
    ) -> Option<Reason> {
        use Reason as R;
        let merged = merged.as_ref().map(|(_, reason)| *reason);
        let keep = |kept: &[Reason], other: Reason| {
            merged
                .filter(|reason| kept.contains(reason))
                .unwrap_or(other)
        };
        Some(match status {
            400 | 422 => match merged {
                None | Some(R::ServerError | R::Timeout | R::Network) => R::Format,
                Some(reason) => reason,
            },
            401 => keep(&[R::AuthPermanent, R::Billing], R::Auth),
            402 => marks.payment(),
            403 if marks.has(Mark::Html) => R::Network,
            403 if marks.has(Mark::Country) => R::Unknown,
            403 if marks.has(Mark::Flagged) => R::Format,
            403 => keep(&[R::AuthPermanent, R::Billing, R::RateLimit], R::Auth),
            404 => keep(
                &[
                    R::SessionExpired,
                    R::Billing,
                    R::AuthPermanent,
                    R::Auth,
                    R::Format,
                ],
                R::ModelNotFound,
            ),
            405 | 406 | 411 | 415 | 421 | 431 => R::Format,
            408 | 504 | 522 | 524 => R::Timeout,
            409 => R::ServerError,
            410 => keep(
                &[R::SessionExpired, R::Billing, R::AuthPermanent, R::Auth],
                R::Timeout,
            ),
            413 if marks.has(Mark::PerMinute) && !exceeds_its_limit(lower) => R::RateLimit,
            413 => R::ContextOverflow,
            429 => match (merged, code) {
                (Some(R::ContextOverflow), _) => R::ContextOverflow,
                (_, Some((_, R::Billing))) => R::Billing,
                (Some(R::Billing), _) if self.is_prepaid(provider) => R::Billing,
                _ => R::RateLimit,
            },
            499 => keep(&[R::Overloaded], R::Timeout),
            529 => R::Overloaded,
            500..=599 => match (merged, code) {
                (Some(reason @ (R::Overloaded | R::ContextOverflow)), _) => reason,
                (_, Some((_, R::RateLimit))) => R::RateLimit,
                _ => R::ServerError,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn extra_codes_come_before_the_built_in_ones() {
        let mut routing = Routing::default();
        let codes = [
            ("1302".to_owned(), Reason::RateLimit),
            ("gone".to_owned(), Reason::Auth),
        ];
        routing
            .extra_codes
            .insert("acme".to_owned(), codes.into_iter().collect());
        let classify = |body: &str| {
            let signal = Signal {
                status: Some(401),
                body: Some(body),
                provider: Some("Acme"),
                ..Signal::default()
            };
            Classifier::new(&routing).classify(&signal, None, NOW)
        };
        let found = classify(r#"{"error": {"code": 1302, "message": "slow"}}"#);
        assert_eq!(
            (found.reason, found.rule.as_str()),
            (Reason::RateLimit, "extra:1302")
        );
        let found = classify(r#"{"error": {"code": "GONE", "message": "out of credits"}}"#);
        assert_eq!(found.reason, Reason::Billing);
        let found = classify(r#"{"error": {"code": "other"}}"#);
        assert_eq!((found.reason, found.rule.as_str()), (Reason::Auth, "S401"));
    }

    #[test]
    fn what_the_caller_knows_wins_but_hints_are_read() {
        let signal = Signal {
            status: Some(401),
            headers: &[("retry-after", "9")],
            reason: Some(Reason::Overloaded),
            model: Some("m"),
            ..Signal::default()
        };
        let found = Classification::of(&signal, NOW);
        assert_eq!(found.reason, Reason::Overloaded);
        assert_eq!(found.retry_after_ms, Some(9_000));
        assert_eq!(found.scope, FailureScope::Model);
        let found = Classification::of(
            &Signal {
                model: None,
                ..signal
            },
            NOW,
        );
        assert_eq!(found.scope, FailureScope::Account);
    }

    #[test]
    fn rotation_of_keys_follows_the_setting() {
        let mut routing = Routing::default();
        let signal = Signal {
            status: Some(401),
            ..Signal::default()
        };
        let rotates = |routing: &Routing| {
            Classifier::new(routing)
                .classify(&signal, None, NOW)
                .rotates_keys
        };
        assert!(!rotates(&routing));
        routing.rotate_env_on.push(Reason::Auth);
        assert!(rotates(&routing));
    }

    #[test]
    fn the_credential_in_use_is_not_repeated() {
        let signal = Signal {
            message: Some("bad key hunter2-hunter2"),
            ..Signal::default()
        };
        let found =
            Classifier::new(&Routing::default()).classify(&signal, Some("hunter2-hunter2"), NOW);
        assert_eq!(found.message, "bad key [redacted]");
    }

    proptest! {
        #[test]
        fn any_answer_classifies(
            status in prop::option::of(0u16..700),
            body in "[ -~\u{4e0d}]{0,80}|\\{\"error\":\\{\"(code|type|message)\":\"[a-z_ ]{0,30}\"\\}\\}",
        ) {
            let signal = Signal { status, body: Some(&body), ..Signal::default() };
            let found = Classification::of(&signal, NOW);
            prop_assert_eq!(&found, &Classification::of(&signal, NOW));
            prop_assert_eq!(found.penalizes, found.reason.policy().penalizes);
            if status == Some(429) {
                prop_assert!(found.rotates_keys || found.reason == Reason::ContextOverflow);
            }
        }
    }
}
