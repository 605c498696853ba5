//! What a decision looks like from outside: status, texts, headers, JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{Denied, Identity};
use crate::error::Code;

/// Headers for every answer of a gateway.
pub const SECURITY_HEADERS: &[(&str, &str)] = &[
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    (
        "permissions-policy",
        "camera=(), microphone=(), geolocation=()",
    ),
];

/// Further headers for JSON that the gateway makes itself.
pub const JSON_HEADERS: &[(&str, &str)] = &[
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
];

/// A decision as JSON: `{"ok": true, ...}` or `{"ok": false, "code": ...}`.
pub fn decision_to_json(decision: &Result<Identity, Denied>) -> Value {
    match decision {
        Ok(identity) => identity.to_json(),
        Err(denied) => denied.to_json(),
    }
}

impl Identity {
    /// The identity as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "ok": true,
            "method": self.method.as_str(),
            "user": self.user,
            "clientIp": self.client_ip.map(|ip| ip.to_string()),
            "peerIp": self.peer_ip.map(|ip| ip.to_string()),
            "localDirect": self.local_direct,
        })
    }
}

impl Denied {
    /// The HTTP status to answer with: 401 for a missing or wrong token or password, 403 for a
    /// request that was understood and refused, 400 for one that is ambiguous or malformed, 429
    /// for too many attempts, 500 for a fault of the configuration.
    pub fn http_status(&self) -> u16 {
        self.row().status
    }

    /// The close code for a WebSocket that is already open.
    pub fn ws_close_code(&self) -> u16 {
        if self.http_status() == 500 {
            1011
        } else {
            1008
        }
    }

    /// The value of `WWW-Authenticate`, exactly when the status is 401.
    pub fn challenge(&self) -> Option<&'static str> {
        match self.code {
            Code::TokenMissing | Code::PasswordMissing => Some(r#"Bearer realm="openclaw""#),
            Code::TokenMismatch | Code::PasswordMismatch => {
                Some(r#"Bearer realm="openclaw", error="invalid_token""#)
            }
            _ => None,
        }
    }

    /// The value of `Retry-After` in seconds, rounded up.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after_ms.map(|ms| ms.div_ceil(1_000))
    }

    /// The word that OpenClaw 2026.4 reports: the code, with the header glued on where it does so.
    pub fn compat_reason(&self) -> String {
        match (self.code, self.header()) {
            (Code::TrustedProxyMissingHeader, Some(header)) => format!("{}_{header}", self.code),
            _ => self.code.as_str().to_owned(),
        }
    }

    /// The denial as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "ok": false,
            "code": self.code.as_str(),
            "header": self.header(),
            "reason": self.reason,
            "httpStatus": self.http_status(),
            "message": self.to_string(),
            "retryAfterMs": self.retry_after_ms,
            "penaltyMs": self.penalty_ms,
            "wsCloseCode": self.ws_close_code(),
            "compatReason": self.compat_reason(),
        })
    }

    /// The JSON body of the answer. With `hide_reasons`, 401 and 403 tell nothing more than that.
    pub fn body(&self, hide_reasons: bool) -> Value {
        let status = self.http_status();
        if hide_reasons && matches!(status, 401 | 403) {
            return json!({"error": {"message": "Unauthorized", "type": "unauthorized"}});
        }
        let mut error = Map::new();
        error.insert("message".into(), self.to_string().into());
        error.insert("type".into(), type_of(status).into());
        error.insert("code".into(), self.code.as_str().into());
        for (key, value) in [("header", self.header()), ("reason", self.reason)] {
            if let Some(value) = value {
                error.insert(key.into(), value.into());
            }
        }
        json!({ "error": error })
    }

    fn row(&self) -> &'static Row {
        ROWS.iter()
            .find(|row| row.code == self.code)
            .unwrap_or(&FAULT)
    }
}

/// One sentence with configured names only, never a value from the request.
impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row().message.split_once("{header}") {
            Some((before, after)) => {
                write!(f, "{before}{}{after}", self.header().unwrap_or_default())
            }
            None => f.write_str(self.row().message),
        }
    }
}

impl std::error::Error for Denied {}

fn type_of(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "unauthorized",
        403 => "forbidden",
        429 => "rate_limited",
        _ => "server_error",
    }
}

struct Row {
    code: Code,
    status: u16,
    message: &'static str,
}

const fn row(code: Code, status: u16, message: &'static str) -> Row {
    Row {
        code,
        status,
        message,
    }
}

/// For [`Code::InternalError`].
const FAULT: Row = row(Code::InternalError, 500, "internal error");

const ROWS: &[Row] = &[
    row(
        Code::TrustedProxyConfigMissing,
        500,
        "trusted-proxy mode is selected but gateway.auth.trustedProxy is not configured",
    ),
    row(
        Code::TrustedProxyNoProxiesConfigured,
        500,
        "trusted-proxy mode is selected but gateway.trustedProxies is empty",
    ),
    row(
        Code::TrustedProxyNoRequest,
        400,
        "no request facts were supplied",
    ),
    row(
        Code::TrustedProxyUntrustedSource,
        403,
        "the connection does not come from an address in gateway.trustedProxies",
    ),
    row(
        Code::TrustedProxyLoopbackSource,
        403,
        "loopback sources are not accepted; name the loopback address in gateway.trustedProxies \
         or set gateway.auth.trustedProxy.allowLoopback",
    ),
    row(
        Code::TrustedProxyLocalInterfaceSource,
        403,
        "the source is one of this host's own addresses and only matches a range; list it as a \
         single address to trust it",
    ),
    row(
        Code::TrustedProxyLocalInterfaceCheckFailed,
        403,
        "this host's own addresses could not be determined",
    ),
    row(
        Code::TrustedProxyAmbiguousHeader,
        400,
        "security header {header} is ambiguous",
    ),
    row(
        Code::TrustedProxySecretMissing,
        403,
        "proxy secret header {header} is missing or blank",
    ),
    row(
        Code::TrustedProxySecretMismatch,
        403,
        "proxy secret header {header} has the wrong value",
    ),
    row(
        Code::TrustedProxyMissingHeader,
        403,
        "required header {header} is missing or blank",
    ),
    row(
        Code::TrustedProxyUserMissing,
        403,
        "user header {header} is missing or blank",
    ),
    row(
        Code::TrustedProxyUserInvalid,
        400,
        "user header {header} has an unusable value",
    ),
    row(
        Code::TrustedProxyUserNotAllowed,
        403,
        "the user is not in gateway.auth.trustedProxy.allowUsers",
    ),
    row(Code::TrustedProxyOriginNotAllowed, 403, FOREIGN_ORIGIN),
    row(
        Code::ProxyAttributionRequired,
        403,
        "the client address cannot be determined from the proxy headers",
    ),
    row(Code::OriginNotAllowed, 403, FOREIGN_ORIGIN),
    row(
        Code::HostNotAllowed,
        403,
        "the Host header is not accepted on a loopback connection; list it in \
         gateway.allowedHosts",
    ),
    row(
        Code::TokenMissingConfig,
        500,
        "token mode is selected but no token is configured",
    ),
    row(Code::TokenMissing, 401, "a gateway token is required"),
    row(Code::TokenMismatch, 401, "the gateway token is wrong"),
    row(
        Code::PasswordMissingConfig,
        500,
        "password mode is selected but no password is configured",
    ),
    row(Code::PasswordMissing, 401, "a gateway password is required"),
    row(Code::PasswordMismatch, 401, "the gateway password is wrong"),
    row(
        Code::CredentialAmbiguous,
        400,
        "more than one credential was sent",
    ),
    row(
        Code::RateLimited,
        429,
        "too many failed attempts; try again later",
    ),
];

const FOREIGN_ORIGIN: &str =
    "the browser origin is not allowed; list it in gateway.controlUi.allowedOrigins";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_goes_with_401_only() {
        for row in ROWS {
            let denied = Denied::new(row.code);
            assert_eq!(
                denied.challenge().is_some(),
                row.status == 401,
                "{}",
                row.code
            );
            assert_eq!(
                denied.ws_close_code() == 1011,
                row.status == 500,
                "{}",
                row.code
            );
        }
    }

    #[test]
    fn body_tells_or_hides_the_reason() {
        let denied = Denied::header_because(
            Code::TrustedProxyUserMissing,
            &"X-User".into(),
            Some("placeholder"),
        );
        assert_eq!(
            denied.body(false),
            json!({"error": {
                "message": "user header X-User is missing or blank",
                "type": "forbidden",
                "code": "trusted_proxy_user_missing",
                "header": "X-User",
                "reason": "placeholder",
            }})
        );
        let hidden = json!({"error": {"message": "Unauthorized", "type": "unauthorized"}});
        assert_eq!(denied.body(true), hidden);
        let limited = Denied::rate_limited(1_001);
        assert_eq!(limited.body(true)["error"]["code"], "rate_limited");
        assert_eq!(limited.retry_after_seconds(), Some(2));
    }

    #[test]
    fn missing_header_is_glued_on_for_openclaw() {
        let header = "x-forwarded-proto".into();
        let denied = Denied::header_because(Code::TrustedProxyMissingHeader, &header, None);
        let json = denied.to_json();
        assert_eq!(json["code"], "trusted_proxy_missing_header");
        assert_eq!(
            json["compatReason"],
            "trusted_proxy_missing_header_x-forwarded-proto"
        );
        assert_eq!(json["httpStatus"], 403);
        assert_eq!(json["wsCloseCode"], 1008);
        assert_eq!(
            Denied::new(Code::TokenMissing).compat_reason(),
            "token_missing"
        );
    }

    #[test]
    fn unlisted_code_is_an_internal_error() {
        let denied = Denied::new(Code::InternalError);
        assert_eq!(
            (denied.http_status(), denied.to_string().as_str()),
            (500, "internal error")
        );
    }
}
