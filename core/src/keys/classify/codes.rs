//! Error codes and types of providers, and what they mean.

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::RandomState;

use crate::error::Reason;

/// The code that means an empty account at some providers and a throttle at others.
pub(super) const INSUFFICIENT_QUOTA: &str = "insufficient_quota";

/// Codes in lower case with `_` for `-`, separated by `|`.
const CODES: &[(Reason, &str)] = &[
    (
        Reason::RateLimit,
        "rate_limit_error|rate_limit_exceeded|rate_limit|rate_limited|\
         too_many_requests|throttled|throttling|throttlingexception|\
         throttling_exception|throttling.ratequota|throttling.allocationquota|\
         toomanyrequestsexception|provisionedthroughputexceededexception|\
         servicequotaexceededexception|resource_exhausted|tokens|requests|\
         ratelimitexceeded|userratelimitexceeded|quotaexceeded|quota_exceeded|\
         usage_limit_reached|concurrency_limit_exceeded",
    ),
    (
        Reason::Overloaded,
        "overloaded|overloaded_error|engine_overloaded|server_overloaded|slow_down|\
         modelnotreadyexception|serviceunavailableexception",
    ),
    (
        Reason::Billing,
        "billing_error|billing_hard_limit_reached|billing_not_active|billing_disabled|\
         insufficient_credits|insufficient_balance|insufficient_funds|payment_required",
    ),
    (
        Reason::Auth,
        "authentication_error|permission_error|invalid_api_key|invalid_authentication|\
         api_key_invalid|unauthenticated|permission_denied|accessdeniedexception|\
         unrecognizedclientexception|invalidclienttokenid|invalidsignatureexception|\
         signaturedoesnotmatch|incompletesignature|expiredtokenexception|expiredtoken|\
         requestexpired|token_expired|expired_token|invalid_token|insufficient_scope|\
         missing_scope",
    ),
    (
        Reason::AuthPermanent,
        "account_deactivated|account_disabled|deactivated_workspace|\
         organization_disabled|consumer_suspended|api_key_service_blocked",
    ),
    (
        Reason::ModelNotFound,
        "not_found_error|model_not_found|not_found|resourcenotfoundexception|\
         model_deactivated|deployment_not_found|deploymentnotfound",
    ),
    (
        Reason::ContextOverflow,
        "request_too_large|context_length_exceeded|context_window_exceeded",
    ),
    (
        Reason::ServerError,
        "api_error|server_error|internal|internal_server_error|internalserverexception|\
         modelerrorexception|upstream_error|unavailable|aborted|data_loss",
    ),
    (
        Reason::Timeout,
        "timeout_error|deadline_exceeded|request_timeout|modeltimeoutexception|\
         etimedout|esockettimedout|econnaborted",
    ),
    (
        Reason::Network,
        "econnreset|econnrefused|enotfound|eai_again|ehostunreach|ehostdown|\
         enetunreach|enetreset|epipe|err_stream_premature_close|cert_has_expired|\
         depth_zero_self_signed_cert|self_signed_cert_in_chain|\
         unable_to_verify_leaf_signature",
    ),
    (
        Reason::Format,
        "invalid_request_error|invalid_argument|validationexception|\
         failed_precondition|out_of_range|unimplemented|unknown_parameter|\
         unsupported_parameter|unsupported_value|invalid_prompt|\
         content_policy_violation|content_filter",
    ),
];

/// The meaning of a code in normal form.
pub(super) fn reason_of(code: &str) -> Option<Reason> {
    MEANINGS.get(code).copied()
}

static MEANINGS: LazyLock<HashMap<&str, Reason, RandomState>> = LazyLock::new(|| {
    let rows = CODES.iter();
    rows.flat_map(|(reason, codes)| codes.split('|').map(|code| (code, *reason)))
        .collect()
});

/// When a text says more than a code of this meaning: the meanings of texts that win over it.
/// `None`: any.
pub(super) fn overruled_by(code: Reason, status: Option<u16>, text: Reason) -> bool {
    match code {
        Reason::Format => true,
        Reason::ServerError => matches!(
            text,
            Reason::Overloaded
                | Reason::Billing
                | Reason::AuthPermanent
                | Reason::ContextOverflow
                | Reason::Format
        ),
        Reason::RateLimit => text == Reason::ContextOverflow,
        Reason::Auth => {
            matches!(text, Reason::AuthPermanent | Reason::Billing)
                || (text == Reason::RateLimit && status == Some(403))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_has_two_meanings() {
        let all: usize = CODES
            .iter()
            .map(|(_, codes)| codes.split('|').count())
            .sum();
        assert_eq!(MEANINGS.len(), all);
        assert_eq!(reason_of("overloaded_error"), Some(Reason::Overloaded));
        assert_eq!(reason_of(INSUFFICIENT_QUOTA), None);
    }
}
