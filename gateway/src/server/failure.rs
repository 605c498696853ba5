//! What the gateway itself refuses, as a value that turns into an answer.

use std::borrow::Cow;

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use openclaw_auth::Code;
use serde_json::{Map, Value};

use super::answer;
use super::body::ReplyBody;
use super::core_api::Denied;

/// A refusal or failure of the gateway, before it becomes an answer.
#[derive(Debug)]
pub(crate) struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    message: Cow<'static, str>,
    extra: Map<String, Value>,
    allow: Option<&'static str>,
    challenge: Option<&'static str>,
    retry_after_s: Option<u64>,
    close: bool,
    /// A status that is not that of the code.
    status: Option<StatusCode>,
    /// A denial of the access rules brings its own status and body.
    denied: Option<(StatusCode, Value)>,
}

impl Failure {
    /// The failure with the message that belongs to its code.
    pub(crate) fn new(code: Code) -> Self {
        Self(Box::new(Inner {
            code,
            message: Cow::Borrowed(row(code).2),
            extra: Map::new(),
            allow: None,
            challenge: None,
            retry_after_s: None,
            close: false,
            status: None,
            denied: None,
        }))
    }

    /// The failure with a message of its own; never text from the request.
    pub(crate) fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Adds a member to the error object.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(key.to_owned(), value.into());
        self
    }

    /// Says which methods the route has.
    pub(crate) fn allowing(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// Another status than the one that belongs to the code.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = StatusCode::from_u16(status).ok();
        self
    }

    /// Says when to try again.
    pub(crate) fn retry_after_s(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// Ends the connection after the answer, because the rest of the request is not read.
    pub(crate) fn closing(mut self) -> Self {
        self.0.close = true;
        self
    }

    /// A denial by the access rules.
    pub(crate) fn denied(denied: Denied) -> Self {
        let status = StatusCode::from_u16(denied.status).unwrap_or(StatusCode::FORBIDDEN);
        let mut failure = Self::new(denied.code);
        failure.0.challenge = denied
            .challenge
            .filter(|_| status == StatusCode::UNAUTHORIZED);
        failure.0.retry_after_s = denied.retry_after_ms.map(|ms| ms.div_ceil(1000));
        failure.0.denied = Some((status, denied.body));
        failure
    }

    /// The stable code.
    pub(crate) fn code(&self) -> Code {
        self.0.code
    }

    /// The message.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match &self.0.denied {
            Some((status, _)) => *status,
            None => self.0.status.unwrap_or_else(|| {
                StatusCode::from_u16(row(self.0.code).1)
                    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }),
        }
    }

    /// The answer.
    pub(crate) fn into_response(self) -> Response<ReplyBody> {
        let status = self.status();
        let inner = *self.0;
        let body = match inner.denied {
            Some((_, body)) => body,
            None => {
                let mut error = Map::new();
                error.insert("message".to_owned(), inner.message.into());
                error.insert("type".to_owned(), kind(status).into());
                error.insert("code".to_owned(), inner.code.as_str().into());
                error.extend(inner.extra);
                Value::Object(Map::from_iter([("error".to_owned(), Value::Object(error))]))
            }
        };
        let mut response = answer::json(status, &body);
        let headers = response.headers_mut();
        if let Some(methods) = inner.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(challenge) = inner.challenge {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            let version = HeaderValue::from_static("13");
            headers.insert(header::SEC_WEBSOCKET_VERSION, version);
        }
        if let Some(seconds) = inner.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if inner.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

/// The `type` member of an error object, by status.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        429 => "rate_limited",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

fn row(code: Code) -> &'static (Code, u16, &'static str) {
    ROWS.iter().find(|row| row.0 == code).unwrap_or(&FALLBACK)
}

const FALLBACK: (Code, u16, &str) = (Code::InternalError, 500, "internal error");

/// Status and message of each code that the gateway answers with.
const ROWS: &[(Code, u16, &str)] = &[
    (
        Code::AllUnavailable,
        503,
        "no credential of the provider can be used now; its limits are used up",
    ),
    (Code::AdminRequired, 403, "this route is for administrators"),
    (
        Code::BodyIncomplete,
        400,
        "the request body ended early or was framed wrongly",
    ),
    (Code::BodyTimeout, 408, "the request body stopped arriving"),
    (Code::BodyTooLarge, 413, "the request body is too large"),
    (
        Code::CredentialInQuery,
        400,
        "credentials are not accepted in the query; use the Authorization header",
    ),
    (
        Code::CredentialInvalid,
        500,
        "a configured credential cannot be sent as a header",
    ),
    (
        Code::CredentialMissing,
        500,
        "no credential is configured for the provider",
    ),
    (
        Code::HeadersTooLarge,
        431,
        "the request has too many or too long header fields",
    ),
    (
        Code::HostInvalid,
        400,
        "the request needs exactly one Host line that fits its target",
    ),
    (
        Code::MethodNotAllowed,
        405,
        "the route does not have this method",
    ),
    (Code::MethodUnsupported, 400, "the method is not supported"),
    (
        Code::ModelUnknown,
        400,
        "the model belongs to no configured provider; name it as provider/model",
    ),
    (Code::NotFound, 404, "no such route"),
    (
        Code::Overloaded,
        503,
        "too many requests are being forwarded; try again shortly",
    ),
    (
        Code::PathInvalid,
        400,
        "the path contains dot segments, encoded slashes or back-slashes",
    ),
    (
        Code::ProviderAuthUnsupported,
        501,
        "the provider's way of signing is not supported",
    ),
    (
        Code::ProviderInvalid,
        500,
        "the settings of the provider cannot be used",
    ),
    (
        Code::ProfileIneligible,
        400,
        "the profile that the session has selected cannot be used",
    ),
    (
        Code::ProfileNotFound,
        400,
        "the profile that the session has selected does not exist",
    ),
    (Code::ProviderUnknown, 404, "no such provider is configured"),
    (
        Code::RefreshFailed,
        502,
        "the provider refused to renew the gateway's token",
    ),
    (
        Code::RefreshUnavailable,
        502,
        "the gateway's token has run out and cannot be renewed",
    ),
    (
        Code::SessionInvalid,
        400,
        "a session key is 1 to 128 letters, digits and any of . _ : @ / -",
    ),
    (
        Code::TargetInvalid,
        400,
        "the request target is not acceptable",
    ),
    (Code::TargetTooLong, 414, "the request target is too long"),
    (
        Code::UnknownCommand,
        400,
        "the text contains no /model command",
    ),
    (
        Code::UpgradeUnsupported,
        400,
        "only upgrades to websocket are possible",
    ),
    (
        Code::UpstreamAuthFailed,
        502,
        "the provider refused the gateway's credential",
    ),
    (
        Code::UpstreamRedirect,
        502,
        "the provider answered with a redirect",
    ),
    (
        Code::UpstreamTimeout,
        504,
        "the provider did not answer in time",
    ),
    (
        Code::UpstreamUnreachable,
        502,
        "the provider cannot be reached",
    ),
    (
        Code::WebsocketRequired,
        426,
        "the route needs a WebSocket handshake: HTTP/1.1, version 13",
    ),
    FALLBACK,
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn rows_are_unique_and_have_real_statuses() {
        let mut seen = HashSet::new();
        for (code, status, message) in ROWS {
            assert!(seen.insert(*code), "{code} occurs twice");
            let status = StatusCode::from_u16(*status).unwrap();
            assert!(status.is_client_error() || status.is_server_error());
            assert!(!message.ends_with('.'));
        }
    }

    #[test]
    fn status_and_type_follow_the_code() {
        for (code, status, kind_text) in [
            (Code::PathInvalid, 400, "invalid_request_error"),
            (Code::AdminRequired, 403, "forbidden"),
            (Code::BodyTooLarge, 413, "invalid_request_error"),
            (Code::UpstreamAuthFailed, 502, "server_error"),
            (Code::ConfigNotFound, 500, "server_error"),
        ] {
            let failure = Failure::new(code);
            assert_eq!(failure.status().as_u16(), status, "{code}");
            assert_eq!(kind(failure.status()), kind_text, "{code}");
        }
    }
}
