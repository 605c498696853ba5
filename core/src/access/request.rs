//! Requests as JSON, for other languages and for test vectors.

use serde_json::Value;
use zeroize::Zeroizing;

use super::{AccessRequest, ConnectionKind, Credentials};
use crate::error::{Code, Error, Result};

/// A request that owns its parts, as read from JSON.
#[derive(Default)]
pub struct OwnedRequest {
    remote: Option<String>,
    local: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    kind: ConnectionKind,
    tls: bool,
    credentials: Option<(Option<Secret>, Option<Secret>)>,
}

type Secret = Zeroizing<Vec<u8>>;

impl OwnedRequest {
    /// Reads `{remote, local, kind, method, tls, headers: [[name, value], ...],
    /// credentials: {token, password}}`; every key may be absent. `null` is no request.
    ///
    /// Header values carry one byte for each character U+0000 to U+00FF.
    ///
    /// # Errors
    ///
    /// `invalid_argument` for an unknown key, a wrong type, or a character above U+00FF in a
    /// header value.
    pub fn from_json(value: &Value) -> Result<Option<Self>> {
        let object = match value {
            Value::Null => return Ok(None),
            Value::Object(object) => object,
            _ => return Err(invalid("request", "an object or null")),
        };
        let mut request = Self::default();
        for (key, value) in object {
            match key.as_str() {
                "remote" => request.remote = text("remote", value)?.map(str::to_owned),
                "local" => request.local = text("local", value)?.map(str::to_owned),
                "kind" => request.kind = kind(value)?,
                // For the host's log; decisions do not depend on it.
                "method" => drop(text("method", value)?),
                "tls" => {
                    request.tls = value
                        .as_bool()
                        .ok_or_else(|| invalid("tls", "true or false"))?;
                }
                "headers" => request.headers = headers(value)?,
                "credentials" => request.credentials = credentials(value)?,
                _ => return Err(invalid("request", "an object without unknown keys")),
            }
        }
        Ok(Some(request))
    }

    /// The request as `authorize` takes it.
    pub fn as_request(&self) -> AccessRequest<'_> {
        AccessRequest {
            remote: self.remote.as_deref(),
            local: self.local.as_deref(),
            headers: &self.headers,
            kind: self.kind,
            tls: self.tls,
            credentials: self
                .credentials
                .as_ref()
                .map(|(token, password)| Credentials {
                    token: token.as_ref().map(|secret| secret.as_slice()),
                    password: password.as_ref().map(|secret| secret.as_slice()),
                }),
        }
    }
}

impl std::fmt::Debug for OwnedRequest {
    /// Values are left out: some of them are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnedRequest")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

fn kind(value: &Value) -> Result<ConnectionKind> {
    match value.as_str() {
        Some("http") => Ok(ConnectionKind::Http),
        Some("websocket") => Ok(ConnectionKind::WebSocket),
        _ => Err(invalid("kind", "\"http\" or \"websocket\"")),
    }
}

fn headers(value: &Value) -> Result<Vec<(String, Vec<u8>)>> {
    let shape = || invalid("headers", "a list of pairs [name, value]");
    let mut headers = Vec::new();
    for line in value.as_array().ok_or_else(shape)? {
        let [Value::String(name), Value::String(value)] =
            line.as_array().ok_or_else(shape)?.as_slice()
        else {
            return Err(shape());
        };
        let bytes = value
            .chars()
            .map(|c| u8::try_from(u32::from(c)))
            .collect::<std::result::Result<_, _>>();
        let bytes = bytes.map_err(|_| invalid("headers", "bytes, U+0000 to U+00FF, as values"))?;
        headers.push((name.clone(), bytes));
    }
    Ok(headers)
}

fn credentials(value: &Value) -> Result<Option<(Option<Secret>, Option<Secret>)>> {
    let object = match value {
        Value::Null => return Ok(None),
        Value::Object(object) => object,
        _ => return Err(invalid("credentials", "an object or null")),
    };
    let (mut token, mut password) = (None, None);
    for (key, value) in object {
        let secret = text("credentials", value)?.map(|text| Secret::new(text.as_bytes().to_vec()));
        match key.as_str() {
            "token" => token = secret,
            "password" => password = secret,
            _ => return Err(invalid("credentials", "token and password")),
        }
    }
    Ok(Some((token, password)))
}

fn text<'v>(key: &str, value: &'v Value) -> Result<Option<&'v str>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(invalid(key, "a string or null")),
    }
}

fn invalid(key: &str, expected: &str) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!("request facts: `{key}` must be {expected}"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_every_key() {
        let request = OwnedRequest::from_json(&json!({
            "remote": "10.0.0.1:5", "local": null, "kind": "websocket", "method": "GET", "tls": true,
            "headers": [["X-User", "j\u{fc}"], ["X-User", ""]],
            "credentials": {"token": null, "password": "p"},
        }));
        let request = request.unwrap().unwrap();
        let request = request.as_request();
        assert_eq!((request.remote, request.local), (Some("10.0.0.1:5"), None));
        assert_eq!(
            (request.kind, request.tls),
            (ConnectionKind::WebSocket, true)
        );
        let mut lines = Vec::new();
        request
            .headers
            .each(&mut |name, value| lines.push((name, value)));
        assert_eq!(lines, [("X-User", &b"j\xfc"[..]), ("X-User", b"")]);
        let credentials = request.credentials.unwrap();
        assert_eq!(
            (credentials.token, credentials.password),
            (None, Some(&b"p"[..]))
        );
        assert!(OwnedRequest::from_json(&Value::Null).unwrap().is_none());
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for value in [
            json!([]),
            json!({"peer": "10.0.0.1"}),
            json!({"remote": 5}),
            json!({"kind": "ftp"}),
            json!({"tls": "yes"}),
            json!({"headers": {}}),
            json!({"headers": [["a"]]}),
            json!({"headers": [["a", "\u{100}"]]}),
            json!({"credentials": "secret"}),
            json!({"credentials": {"key": "x"}}),
        ] {
            let error = OwnedRequest::from_json(&value).map(|_| ()).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{value}");
        }
    }
}
