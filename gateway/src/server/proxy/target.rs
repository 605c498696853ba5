//! From the path of a request to the address at the provider.

use std::net::IpAddr;

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};
use openclaw_auth::Code;

use super::super::failure::Failure;

/// Splits `/proxy/{provider}/{rest}`; the rest has no leading slash.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/proxy/")?
        .split_once('/')
        .filter(|(id, _)| !id.is_empty())
}

/// The model that a path names, as Google's do: `v1beta/models/gemini-2.5-pro:generateContent`.
pub(super) fn model_in(rest: &str) -> Option<String> {
    let (_, named) = rest.split_once("models/")?;
    let model = named.split([':', '/', '?']).next()?;
    (!model.is_empty() && named.contains(':')).then(|| model.to_owned())
}

/// The checked `baseUrl` of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    path: String,
}

impl BaseUrl {
    /// Reads a `baseUrl`.
    ///
    /// Plain http is for loopback and private addresses; a name under plain http is accepted
    /// here and must resolve to such addresses when the connection is made.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the second half of a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.trim().parse().map_err(|_| "is not an address")?;
        let is_plain = match uri.scheme_str() {
            Some("https") => false,
            Some("http") => true,
            _ => return Err("must begin with https://"),
        };
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err("is not an address");
        };
        if authority.as_str().contains('@') {
            return Err("must not contain a user name or password");
        }
        if is_plain && ip_of(&authority).is_some_and(|ip| !is_private(ip)) {
            return Err("must use https unless the address is loopback or private");
        }
        let target = parts.path_and_query;
        if target
            .as_ref()
            .is_some_and(|target| target.query().is_some())
        {
            return Err("must not have a query");
        }
        let path = target
            .as_ref()
            .map_or("", |target| target.path())
            .trim_end_matches('/');
        Ok(Self {
            scheme,
            authority,
            path: path.to_owned(),
        })
    }

    /// Whether connections to it are not encrypted.
    pub(super) fn is_plain(&self) -> bool {
        self.scheme == Scheme::HTTP
    }

    /// The address of a path below it.
    ///
    /// # Errors
    ///
    /// `path_invalid` when the path could mean something else to the provider than to us.
    pub(super) fn join(&self, rest: &str, query: Option<&str>) -> Result<Uri, Failure> {
        if is_ambiguous(rest) {
            return Err(Code::PathInvalid.into());
        }
        let rest = match rest.strip_prefix("v1/") {
            Some(below) if self.path.ends_with("/v1") => below,
            _ => rest,
        };
        let mut target = format!("{}/{rest}", self.path);
        if let Some(query) = query.map(without_session).filter(|query| !query.is_empty()) {
            target.push('?');
            target.push_str(&query);
        }
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target)
            .build()
            .map_err(|_| Failure::new(Code::PathInvalid))
    }
}

/// Whether an address is loopback or private (RFC 1918, RFC 4193).
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

fn ip_of(authority: &Authority) -> Option<IpAddr> {
    authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// Dot segments, slashes in disguise and back-slashes.
fn is_ambiguous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let has_hidden_slash = ["%2f", "%5c", "\\"]
        .iter()
        .any(|hidden| lower.contains(hidden));
    has_hidden_slash
        || lower.split('/').any(|segment| {
            let segment = segment.replace("%2e", ".");
            // `..;x` is a dot segment to servers that strip path parameters.
            let name = segment
                .split_once(';')
                .map_or(segment.as_str(), |(name, _)| name);
            name == "." || name == ".."
        })
}

/// The query without the parameter that is meant for the gateway.
fn without_session(query: &str) -> String {
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| pair.split_once('=').map_or(*pair, |(name, _)| name) != "session")
        .collect();
    kept.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_paths_split_into_provider_and_rest() {
        for (path, expected) in [
            ("/proxy/mock/v1/models", Some(("mock", "v1/models"))),
            ("/proxy/mock/", Some(("mock", ""))),
            ("/proxy/mock", None),
            ("/proxy//v1", None),
        ] {
            assert_eq!(split(path), expected, "{path}");
        }
    }

    #[test]
    fn models_in_paths() {
        for (rest, model) in [
            (
                "v1beta/models/gemini-2.5-pro:generateContent",
                Some("gemini-2.5-pro"),
            ),
            ("v1/models", None),
            ("v1/models/gpt-5", None),
            ("v1beta/models/:x", None),
        ] {
            assert_eq!(model_in(rest).as_deref(), model, "{rest}");
        }
    }

    #[test]
    fn base_addresses() {
        for (text, accepted) in [
            ("https://api.openai.com/v1", true),
            ("https://api.openai.com", true),
            ("https://203.0.113.9/", true),
            ("http://127.0.0.1:11434", true),
            ("http://[::1]:11434/v1", true),
            ("http://192.168.1.9:8000/v1/", true),
            ("http://[fd00::1]/", true),
            ("http://ollama:11434", true),
            ("http://203.0.113.9/", false),
            ("http://169.254.169.254/", false),
            ("http://[2001:db8::1]/", false),
            ("ftp://127.0.0.1/", false),
            ("api.openai.com/v1", false),
            ("/v1", false),
            ("", false),
            ("https://user:pw@api.example/", false),
            ("https://api.example/v1?x=1", false),
            ("https://exa mple/", false),
        ] {
            assert_eq!(BaseUrl::parse(text).is_ok(), accepted, "{text}");
        }
    }

    #[test]
    fn paths_join_with_one_v1() {
        for (base, rest, query, expected) in [
            (
                "https://a.example/v1",
                "v1/chat",
                None,
                "https://a.example/v1/chat",
            ),
            (
                "https://a.example/v1/",
                "chat",
                None,
                "https://a.example/v1/chat",
            ),
            (
                "https://a.example",
                "v1/chat",
                None,
                "https://a.example/v1/chat",
            ),
            (
                "https://a.example/api/v1",
                "v1/v1/x",
                None,
                "https://a.example/api/v1/v1/x",
            ),
            (
                "https://a.example/xv1",
                "v1/chat",
                None,
                "https://a.example/xv1/v1/chat",
            ),
            (
                "https://a.example/v1",
                "v1",
                None,
                "https://a.example/v1/v1",
            ),
            ("https://a.example", "", None, "https://a.example/"),
            (
                "https://a.example/b",
                "c%20d",
                Some("x=1&y=%2F"),
                "https://a.example/b/c%20d?x=1&y=%2F",
            ),
            (
                "https://a.example",
                "c",
                Some("session=s&x=1"),
                "https://a.example/c?x=1",
            ),
            (
                "https://a.example",
                "c",
                Some("session=s"),
                "https://a.example/c",
            ),
            (
                "https://a.example",
                "c",
                Some("sessions=s"),
                "https://a.example/c?sessions=s",
            ),
            (
                "http://127.0.0.1:9/v1",
                "v1/a..b/.well",
                None,
                "http://127.0.0.1:9/v1/a..b/.well",
            ),
        ] {
            let joined = BaseUrl::parse(base).unwrap().join(rest, query).unwrap();
            assert_eq!(joined.to_string(), expected, "{base} {rest}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        let base = BaseUrl::parse("https://a.example/v1").unwrap();
        for rest in [
            "..",
            ".",
            "../admin",
            "a/../b",
            "a/./b",
            "a/..",
            "%2e%2e/x",
            "a/.%2E/b",
            "a%2fb",
            "a%2Fb",
            "a%5cb",
            "a\\b",
            "v1/../../x",
            "..;/x",
            "a/..;p=1/b",
        ] {
            let failure = base.join(rest, None).unwrap_err();
            assert_eq!(failure.code(), Code::PathInvalid, "{rest}");
        }
    }
}
