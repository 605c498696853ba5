//! What the server itself reads from the configuration, once per snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::bind::Listening;
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
    /// Whether strangers could come in: these settings ask for no authentication, but other
    /// machines can connect. Such settings are refused at the start; a reload may bring them.
    pub(crate) is_exposed: bool,
    /// Most bytes in the body of a forwarded request.
    pub(crate) max_body: u64,
    /// Most bytes of it that are kept to be sent again.
    pub(crate) max_replay: u64,
    /// How long running requests may take to end at a stop.
    pub(crate) shutdown_grace: Duration,
    /// Which request headers are passed on to providers.
    pub(crate) request_headers: RequestHeaders,
}

impl Settings {
    /// Reads the settings; what is absent has its default.
    pub(crate) fn read(snapshot: &dyn Snapshot, listening: &Listening) -> Self {
        let allowed = texts(snapshot, "/gateway/http/proxy/allowRequestHeaders");
        let max_body = number(snapshot, "/gateway/http/maxBodyBytes").unwrap_or(MAX_BODY);
        Self {
            is_exposed: snapshot.auth_mode() == "none" && !listening.plan.is_loopback(),
            max_body,
            max_replay: number(snapshot, "/gateway/http/maxReplayBytes").unwrap_or(max_body),
            shutdown_grace: Duration::from_millis(
                number(snapshot, "/gateway/shutdownGraceMs").unwrap_or(SHUTDOWN_GRACE_MS),
            ),
            request_headers: RequestHeaders::new(&allowed, &security_headers(snapshot)),
        }
    }
}

/// Whether the settings ask for TLS.
pub(crate) fn wants_tls(snapshot: &dyn Snapshot) -> bool {
    value(snapshot, "/gateway/tls/enabled").and_then(Value::as_bool) == Some(true)
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
pub(crate) fn security_headers(snapshot: &dyn Snapshot) -> BTreeSet<String> {
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

const MAX_BODY: u64 = 20 * 1024 * 1024;
const SHUTDOWN_GRACE_MS: u64 = 30_000;
