//! Which headers pass, in both directions.

use std::collections::BTreeSet;

use hyper::header::{self, HeaderMap, HeaderName};

/// Request headers that are passed on: an allow list, because a deny list hands the identity
/// header of the next proxy to a provider.
#[derive(Debug)]
pub(crate) struct RequestHeaders {
    allowed: BTreeSet<String>,
    security: BTreeSet<String>,
}

impl RequestHeaders {
    /// The built-in list and the configured names, without those that must never pass.
    /// `security` names are in lower case.
    pub(crate) fn new(configured: &[String], security: &BTreeSet<String>) -> Self {
        let configured = configured
            .iter()
            .map(|name| name.trim().to_ascii_lowercase());
        let mut allowed = BTreeSet::new();
        for name in configured {
            if may_be_allowed(&name) && !security.contains(&name) {
                allowed.insert(name);
            } else {
                log::warn!("gateway.http.proxy.allowRequestHeaders: {name} never passes");
            }
        }
        allowed.extend(PASSED.iter().map(|name| (*name).to_owned()));
        Self {
            allowed,
            security: security.clone(),
        }
    }

    /// The headers of a request that pass, every line of them.
    pub(crate) fn pass(&self, headers: &HeaderMap) -> HeaderMap {
        let listed = listed_in_connection(headers);
        let mut passed = HeaderMap::new();
        for (name, value) in headers {
            let text = name.as_str();
            let is_allowed = self.allowed.contains(text) || text.starts_with("x-stainless-");
            if is_allowed && !self.security.contains(text) && !listed.contains(text) {
                passed.append(name.clone(), value.clone());
            }
        }
        passed
    }
}

/// The headers of a provider's answer that pass.
pub(super) fn pass_back(headers: &HeaderMap) -> HeaderMap {
    let listed = listed_in_connection(headers);
    let mut passed = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let text = name.as_str();
        let is_denied = is_hop_by_hop(text)
            || KEPT_BACK.contains(&text)
            || text.starts_with("access-control-")
            || text.starts_with("x-openclaw-")
            || listed.contains(text);
        if !is_denied {
            passed.append(name.clone(), value.clone());
        }
    }
    passed
}

/// Whether a provider's configured header may be sent: nothing that frames or routes.
pub(super) fn may_be_configured(name: &HeaderName) -> bool {
    !is_hop_by_hop(name.as_str()) && ![header::HOST, header::CONTENT_LENGTH].contains(name)
}

fn may_be_allowed(name: &str) -> bool {
    !is_hop_by_hop(name)
        && !NEVER_PASSED.contains(&name)
        && !name.starts_with("x-forwarded-")
        && !name.starts_with("x-openclaw-")
        && HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// RFC 9110, section 7.6.1.
fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

fn listed_in_connection(headers: &HeaderMap) -> BTreeSet<String> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

const PASSED: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "content-encoding",
    "user-agent",
    "anthropic-version",
    "anthropic-beta",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "idempotency-key",
    "x-request-id",
    "traceparent",
    "tracestate",
];

const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const NEVER_PASSED: &[&str] = &[
    "api-key",
    "authorization",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "via",
    "x-api-key",
    "x-goog-api-key",
    "x-real-ip",
];

const KEPT_BACK: &[&str] = &[
    "alt-svc",
    "nel",
    "report-to",
    "server-timing",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "www-authenticate",
];

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        map
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn request_headers_pass_by_name() {
        let configured = [
            "X-Trace".to_owned(),
            "cookie".to_owned(),
            "X-Forwarded-For".to_owned(),
        ];
        let security = BTreeSet::from(["x-forwarded-user".to_owned(), "user-agent".to_owned()]);
        let headers = RequestHeaders::new(&configured, &security);
        let passed = headers.pass(&map(&[
            ("accept", "text/event-stream"),
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b"),
            ("x-stainless-os", "Linux"),
            ("x-trace", "1"),
            ("user-agent", "kept back: configured as a security header"),
            ("authorization", "Bearer gateway-token"),
            ("cookie", "session=1"),
            ("x-forwarded-user", "nick"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x_forwarded_user", "nick"),
            ("x-auth-request-email", "nick@example.com"),
            ("host", "gw.example"),
            ("content-length", "7"),
            ("expect", "100-continue"),
            ("te", "trailers"),
        ]));
        assert_eq!(
            names(&passed),
            ["accept", "anthropic-beta", "x-stainless-os", "x-trace"]
        );
        assert_eq!(passed.get_all("anthropic-beta").iter().count(), 2);
    }

    #[test]
    fn names_in_connection_do_not_pass() {
        let headers = RequestHeaders::new(&[], &BTreeSet::new());
        let passed = headers.pass(&map(&[
            ("connection", "close, Accept"),
            ("accept", "a"),
            ("openai-beta", "b"),
        ]));
        assert_eq!(names(&passed), ["openai-beta"]);
        let back = pass_back(&map(&[
            ("connection", "x-own"),
            ("x-own", "1"),
            ("x-other", "2"),
        ]));
        assert_eq!(names(&back), ["x-other"]);
    }

    #[test]
    fn answer_headers_pass_unless_denied() {
        let back = pass_back(&map(&[
            ("content-type", "text/event-stream"),
            ("content-length", "3"),
            ("openai-processing-ms", "12"),
            ("retry-after", "1"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a=b"),
            ("www-authenticate", "Basic"),
            ("strict-transport-security", "max-age=1"),
            ("access-control-allow-origin", "*"),
            ("alt-svc", "h3"),
            ("x-openclaw-provider", "forged"),
        ]));
        assert_eq!(
            names(&back),
            [
                "content-type",
                "content-length",
                "openai-processing-ms",
                "retry-after"
            ]
        );
    }

    #[test]
    fn configured_headers_cannot_frame_or_route() {
        for (name, allowed) in [
            ("x-team", true),
            ("authorization", true),
            ("host", false),
            ("content-length", false),
            ("te", false),
        ] {
            assert_eq!(
                may_be_configured(&HeaderName::from_static(name)),
                allowed,
                "{name}"
            );
        }
    }
}
