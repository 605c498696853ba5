//! What the server itself reads from the configuration, once per snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::core_api::Snapshot;
use super::proxy::RequestHeaders;

/// A snapshot and the server's own settings from it. One request uses exactly one of these.
pub(crate) struct Current {
    /// The snapshot.
    pub(crate) snapshot: Arc<dyn Snapshot>,
    /// Settings read from it.
    pub(crate) settings: Settings,
}

/// Settings of the server that may change with every reload.
pub(crate) struct Settings {
    /// `Strict-Transport-Security` for secure connections.
    pub(crate) hsts: Option<HeaderValue>,
    /// Whether the reason of a denial stays out of the answer.
    pub(crate) hide_reasons: bool,
    /// Most bytes in the body of a forwarded request.
    pub(crate) max_body: u64,
    /// How long running requests may take to end at a stop.
    pub(crate) shutdown_grace: Duration,
    /// Which request headers are passed on to providers.
    pub(crate) request_headers: RequestHeaders,
}

impl Settings {
    /// Reads the settings; what is absent has its default.
    pub(crate) fn read(snapshot: &dyn Snapshot) -> Self {
        let allowed = texts(snapshot, "/gateway/http/proxy/allowRequestHeaders");
        Self {
            hsts: value(
                snapshot,
                "/gateway/http/securityHeaders/strictTransportSecurity",
            )
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .and_then(|text| HeaderValue::from_str(text).ok()),
            hide_reasons: value(snapshot, "/gateway/http/hideAuthReasons")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            max_body: number(snapshot, "/gateway/http/maxBodyBytes").unwrap_or(MAX_BODY),
            shutdown_grace: Duration::from_millis(
                number(snapshot, "/gateway/shutdownGraceMs").unwrap_or(SHUTDOWN_GRACE_MS),
            ),
            request_headers: RequestHeaders::new(&allowed, &security_headers(snapshot)),
        }
    }

    /// The HSTS header for a connection: only when the client's side of it is encrypted, which
    /// a trusted proxy says with exactly one `X-Forwarded-Proto: https` (RFC 6797, 7.2).
    pub(crate) fn hsts_for(&self, is_proxy: bool, headers: &HeaderMap) -> Option<HeaderValue> {
        let hsts = self.hsts.as_ref()?;
        let mut lines = headers.get_all(FORWARDED_PROTO).iter();
        let is_https = match (lines.next(), lines.next()) {
            (Some(proto), None) => proto.as_bytes().trim_ascii().eq_ignore_ascii_case(b"https"),
            _ => false,
        };
        (is_proxy && is_https).then(|| hsts.clone())
    }
}

/// A setting; unreadable ones count as absent, because loading has validated them.
pub(crate) fn value<'a>(snapshot: &'a dyn Snapshot, path: &str) -> Option<&'a Value> {
    snapshot.value(path).ok().flatten()
}

/// A setting that is a text.
pub(crate) fn text<'a>(snapshot: &'a dyn Snapshot, path: &str) -> Option<&'a str> {
    value(snapshot, path).and_then(Value::as_str)
}

/// A setting that is a whole number.
pub(crate) fn number(snapshot: &dyn Snapshot, path: &str) -> Option<u64> {
    value(snapshot, path).and_then(Value::as_u64)
}

fn texts(snapshot: &dyn Snapshot, path: &str) -> Vec<String> {
    let list = value(snapshot, path).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Names that carry identity or attribution: they are never passed on.
fn security_headers(snapshot: &dyn Snapshot) -> BTreeSet<String> {
    let proxy = "/gateway/auth/trustedProxy";
    texts(snapshot, &format!("{proxy}/requiredHeaders"))
        .into_iter()
        .chain(text(snapshot, &format!("{proxy}/userHeader")).map(str::to_owned))
        .chain(text(snapshot, &format!("{proxy}/proxySecret/header")).map(str::to_owned))
        .chain(text(snapshot, &format!("{proxy}/assertion/header")).map(str::to_owned))
        .chain(text(snapshot, "/gateway/clientIpHeader").map(str::to_owned))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const MAX_BODY: u64 = 20 * 1024 * 1024;
const SHUTDOWN_GRACE_MS: u64 = 30_000;

/// Evidence that a request came through a proxy: any forwarding header, whatever its value.
pub(crate) fn was_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        *name == header::FORWARDED
            || name.as_str() == "x-real-ip"
            || name.as_str().starts_with("x-forwarded-")
    })
}
