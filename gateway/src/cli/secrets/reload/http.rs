//! Asking a gateway by HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use openclaw_auth::{Code, Error, SecretText};
use serde_json::Value;

/// The reload route of a gateway.
#[derive(Debug)]
pub(super) struct Endpoint(Uri);

impl Endpoint {
    /// The route at the address of a gateway.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.trim_end_matches('/').parse().ok()?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_bare = uri.path() == "/" && uri.query().is_none();
        let has_user = uri.authority()?.as_str().contains('@');
        if !is_known || !is_bare || has_user {
            return None;
        }
        let url = format!("{}://{}/_auth/reload", uri.scheme_str()?, uri.authority()?);
        url.parse().ok().map(Self)
    }

    /// Whether a token sent there stays on this machine or is encrypted.
    fn is_private(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        self.0.scheme_str() == Some("https") || host == "localhost" || is_loopback
    }
}

/// Posts and returns the gateway's answer, also when it refused to reload.
///
/// # Errors
///
/// When there is no gateway, or it did not let us in.
pub(super) fn post(
    endpoint: &Endpoint,
    token: Option<&SecretText>,
    timeout: Duration,
) -> Result<Value, Error> {
    if token.is_some() && !endpoint.is_private() {
        let message = "the token is not sent over http to another machine; use https";
        return Err(Error::new(Code::UsageError, message));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            let message = format!("no runtime: {}", error.kind());
            Error::new(Code::InternalError, message)
        })?;
    let exchange = async { tokio::time::timeout(timeout, exchange(endpoint, token)).await };
    runtime.block_on(exchange).unwrap_or_else(|_| {
        let message = format!(
            "the gateway did not answer within {} ms",
            timeout.as_millis()
        );
        Err(Error::new(Code::GatewayNoAnswer, message))
    })
}

async fn exchange(endpoint: &Endpoint, token: Option<&SecretText>) -> Result<Value, Error> {
    let mut request = Request::post(endpoint.0.clone());
    if let Some(token) = token {
        let refused = |_| Error::new(Code::UsageError, "the token cannot stand in a header");
        let mut value =
            HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(refused)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|_| Error::new(Code::UsageError, "--url cannot be used for a request"))?;
    let connector = HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let answer = client.request(request).await.map_err(|error| {
        let message = match error.is_connect() {
            true => format!("no gateway answers at {}", endpoint.0),
            false => format!("{}: the connection broke off", endpoint.0),
        };
        Error::new(Code::GatewayNotRunning, message)
    })?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.ok().map(http_body_util::Collected::to_bytes);
    let body: Option<Value> = body.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match (status, body) {
        (StatusCode::OK | StatusCode::CONFLICT, Some(body)) if body.get("reloaded").is_some() => {
            Ok(body)
        }
        (_, body) => {
            let error = body.as_ref().and_then(|body| body.get("error"));
            let code = error
                .and_then(|error| error.get("code"))
                .and_then(Value::as_str);
            let code = code.unwrap_or("no reason");
            let message = format!("the gateway answered {} ({code})", status.as_u16());
            Err(Error::new(Code::GatewayNoAnswer, message)
                .with_hint("Reloading needs a caller of the gateway that may administer it."))
        }
    }
}

const MAX_ANSWER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, expected) in [
            ("http://127.0.0.1:1", Some(true)),
            ("http://[::1]:1/", Some(true)),
            ("https://gw.example", Some(true)),
            ("http://gw.example", Some(false)),
            ("http://127.0.0.1.example", Some(false)),
            ("ftp://x", None),
            ("http://x/path", None),
            ("http://user:word@x", None),
            ("127.0.0.1:1", None),
        ] {
            let endpoint = Endpoint::parse(url);
            assert_eq!(endpoint.map(|e| e.is_private()), expected, "{url}");
        }
    }
}
