//! Answers of token endpoints, brought into the shape that RFC 6749 describes.
//!
//! Real providers deviate from it in a handful of ways that a strict parser would refuse after
//! the refresh token has been spent, so they are put right first.

use serde_json::{Map, Number, Value};

use super::redact::redact;
use crate::error::{Code, Error};
use crate::host::HttpAnswer;

/// Longest lifetime that is believed, in seconds: ten years.
const MAX_LIFETIME_S: f64 = 315_360_000.0;

/// Why a token request brought no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The provider said no.
    Rejected(Rejection),
    /// The provider said something that is no token answer.
    Unusable(String),
}

/// What the provider said, fit for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) status: u16,
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    /// From `Retry-After`, in milliseconds.
    pub(crate) retry_after_ms: Option<u64>,
}

impl Rejection {
    /// Status and code, for messages: `HTTP 400, invalid_grant`.
    pub(crate) fn label(&self) -> String {
        match &self.code {
            Some(code) => format!("HTTP {}, {code}", self.status),
            None => format!("HTTP {}", self.status),
        }
    }

    /// The provider's own words, or the label.
    pub(crate) fn text(&self) -> String {
        self.message.clone().unwrap_or_else(|| self.label())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rejected(rejection) => f.write_str(&rejection.label()),
            Self::Unusable(reason) => f.write_str(reason),
        }
    }
}

/// The members of a token answer, as RFC 6749 (section 5.1) wants them. `secrets` are those of
/// the request; they are cut out of messages.
pub(crate) fn normalise(answer: &HttpAnswer, secrets: &[&str]) -> Result<Value, Refusal> {
    let unusable = |reason: &str| Err(Refusal::Unusable(reason.to_owned()));
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    match answer.status {
        200..=299 => {}
        300..=399 => return unusable("the token endpoint redirects"),
        _ => return Err(Refusal::Rejected(rejection(answer, body.as_ref(), secrets))),
    }
    let Some(Value::Object(mut body)) = body else {
        return unusable("token response is not a JSON object");
    };
    let has_token = body.get("access_token").and_then(Value::as_str);
    if has_token.is_none_or(str::is_empty) {
        return unusable("token response lacks access_token");
    }
    let token_type = body.get("token_type").and_then(Value::as_str);
    if token_type.is_none_or(str::is_empty) {
        body.insert("token_type".to_owned(), "bearer".into());
    }
    match lifetime(body.get("expires_in")) {
        Some(seconds) => body.insert("expires_in".to_owned(), seconds.into()),
        None => body.remove("expires_in"),
    };
    for name in ["refresh_token", "id_token"] {
        if body
            .get(name)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            body.remove(name);
        }
    }
    match body.get("scope") {
        Some(Value::Array(list)) => {
            let scopes: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            let scopes = scopes.join(" ");
            body.insert("scope".to_owned(), scopes.into());
        }
        Some(Value::String(_)) | None => {}
        Some(_) => {
            body.remove("scope");
        }
    }
    Ok(Value::Object(body))
}

/// `expires_in` in whole seconds; `None` for what cannot be meant.
fn lifetime(value: Option<&Value>) -> Option<u64> {
    let seconds = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    let fine = (1.0..=MAX_LIFETIME_S).contains(&seconds);
    fine.then(|| seconds.floor() as u64)
}

fn rejection(answer: &HttpAnswer, body: Option<&Value>, secrets: &[&str]) -> Rejection {
    let empty = Map::new();
    let body = body.and_then(Value::as_object).unwrap_or(&empty);
    let error = body.get("error");
    let inner = |key: &str| error.and_then(|error| error.get(key));
    let code = match error {
        Some(Value::Object(_)) => inner("code"),
        Some(Value::String(_)) => error,
        _ => body.get("code"),
    };
    let code = match code {
        Some(Value::String(code)) => Some(code.clone()),
        Some(Value::Number(code)) => Some(Number::to_string(code)),
        _ => None,
    };
    let message = [
        inner("message"),
        body.get("error_description"),
        body.get("message"),
    ];
    let message = message.into_iter().flatten().find_map(Value::as_str);
    let shown = |text: &str| Some(redact(text, secrets)).filter(|text| !text.is_empty());
    Rejection {
        status: answer.status,
        code: code.as_deref().and_then(shown),
        message: message.and_then(shown),
        retry_after_ms: answer
            .header("retry-after")
            .and_then(|text| text.trim().parse::<u64>().ok())
            .map(|seconds| seconds.saturating_mul(1_000)),
    }
}

/// The error of an exchange that was refused.
pub(crate) fn exchange_error(refusal: &Refusal) -> Error {
    match refusal {
        Refusal::Rejected(rejection) if is_busy(rejection.status) => busy(rejection),
        Refusal::Rejected(rejection) => {
            let message = format!(
                "token exchange rejected ({}): {}",
                rejection.label(),
                rejection.text()
            );
            Error::new(Code::OauthExchangeRejected, message)
                .with("status", rejection.status)
                .with("providerCode", rejection.code.clone())
        }
        Refusal::Unusable(reason) => {
            Error::new(Code::OauthTokenResponseInvalid, reason.clone()).retryable(true)
        }
    }
}

/// `oauth_provider_unavailable`.
pub(crate) fn busy(rejection: &Rejection) -> Error {
    let message = format!("the provider is unavailable ({})", rejection.label());
    let error =
        Error::new(Code::OauthProviderUnavailable, message).with("status", rejection.status);
    match rejection.retry_after_ms {
        Some(ms) => error.with_retry_after_ms(ms),
        None => error.retryable(true),
    }
}

/// Whether a status says "not now".
pub(crate) fn is_busy(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;

    fn answer(status: u16, body: &str) -> HttpAnswer {
        HttpAnswer {
            status,
            headers: vec![("retry-after".to_owned(), "2".to_owned())],
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    #[test]
    fn deviations_are_put_right() {
        for (body, expected) in [
            (
                r#"{"access_token":"A"}"#,
                json!({"access_token": "A", "token_type": "bearer"}),
            ),
            (
                r#"{"access_token":"A","token_type":"","expires_in":"3600","refresh_token":"","scope":["a","b"]}"#,
                json!({"access_token": "A", "token_type": "bearer", "expires_in": 3600, "scope": "a b"}),
            ),
            (
                r#"{"access_token":"A","token_type":"Bearer","expires_in":59.9,"id_token":null,"scope":7}"#,
                json!({"access_token": "A", "token_type": "Bearer", "expires_in": 59}),
            ),
            (
                r#"{"access_token":"A","expires_in":0,"x":1}"#,
                json!({"access_token": "A", "token_type": "bearer", "x": 1}),
            ),
            (
                r#"{"access_token":"A","expires_in":1e12}"#,
                json!({"access_token": "A", "token_type": "bearer"}),
            ),
        ] {
            assert_eq!(normalise(&answer(201, body), &[]).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_token_answer_is_named_without_its_values() {
        for (status, body, reason) in [
            (
                200,
                "<html>sk-canary-000000</html>",
                "token response is not a JSON object",
            ),
            (
                200,
                r#"["sk-canary-000000"]"#,
                "token response is not a JSON object",
            ),
            (
                200,
                r#"{"refresh_token":"sk-canary-000000"}"#,
                "token response lacks access_token",
            ),
            (302, "", "the token endpoint redirects"),
        ] {
            let refusal = normalise(&answer(status, body), &[]).unwrap_err();
            assert_eq!(refusal, Refusal::Unusable(reason.to_owned()));
            assert_eq!(
                exchange_error(&refusal).code(),
                Code::OauthTokenResponseInvalid
            );
        }
    }

    #[test]
    fn every_shape_of_a_rejection_is_read() {
        for (body, code, message) in [
            (
                r#"{"error":"invalid_grant","error_description":"grant request is invalid"}"#,
                Some("invalid_grant"),
                Some("grant request is invalid"),
            ),
            (
                r#"{"error":{"message":"Your refresh token R-1234567 has already been used","type":"x","code":"refresh_token_reused"}}"#,
                Some("refresh_token_reused"),
                Some("Your refresh token [redacted] has already been used"),
            ),
            (r#"{"code":17,"message":"no"}"#, Some("17"), Some("no")),
            ("<html>", None, None),
            ("", None, None),
        ] {
            let Err(Refusal::Rejected(found)) = normalise(&answer(400, body), &["R-1234567"])
            else {
                panic!("{body}");
            };
            assert_eq!(
                (found.code.as_deref(), found.message.as_deref()),
                (code, message)
            );
            assert_eq!(found.retry_after_ms, Some(2_000));
        }
    }
}
