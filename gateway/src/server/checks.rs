//! What is refused before anybody asks who the caller is (RFC 9112 sections 3.2 and 6).
//!
//! hyper has already refused what is not HTTP: control characters, folded lines, blanks before
//! colons, bad or conflicting lengths, transfer codings other than chunked.

use hyper::header::{self, HeaderMap};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Uri, Version};
use openclaw_auth::Code;

use super::limits::Limits;

/// Checks the head of a request.
///
/// # Errors
///
/// The code of the first rule that it breaks.
pub(crate) fn head<B>(request: &Request<B>, limits: &Limits) -> Result<(), Code> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Code::MethodUnsupported);
    }
    target(request.method(), request.uri(), limits)?;
    fields(request.headers(), limits)?;
    host(request.version(), request.uri(), request.headers())?;
    upgrade(request.headers())
}

/// Whether the request asks for a WebSocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::UPGRADE)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether the query carries a parameter that is meant for secrets.
pub(crate) fn has_credential(query: &str) -> bool {
    query.split('&').any(|pair| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let name = plain(name);
        CREDENTIAL_PARAMETERS
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// A name with its percent escapes undone.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let escape = after
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (escape, after.get(2..)) {
            (Some(byte), Some(tail)) => {
                plain.push(char::from(byte));
                rest = tail;
            }
            _ => {
                plain.push('%');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn target(method: &Method, uri: &Uri, limits: &Limits) -> Result<(), Code> {
    let text = uri.path_and_query().map_or("", |target| target.as_str());
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    if text.len() + authority > limits.target {
        return Err(Code::TargetTooLong);
    }
    let is_server_wide = text == "*" && *method == Method::OPTIONS;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !(is_server_wide || text.starts_with('/')) || !is_plain {
        return Err(Code::TargetInvalid);
    }
    Ok(())
}

fn fields(headers: &HeaderMap, limits: &Limits) -> Result<(), Code> {
    let mut total = 0;
    for (name, value) in headers {
        total += name.as_str().len() + value.len() + LINE_OVERHEAD;
        if value.len() > limits.header_value {
            return Err(Code::HeadersTooLarge);
        }
    }
    if headers.len() > limits.header_count || total > limits.header_bytes {
        return Err(Code::HeadersTooLarge);
    }
    Ok(())
}

fn host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Code> {
    let mut lines = headers.get_all(header::HOST).iter();
    let host = match (lines.next(), lines.next()) {
        (Some(line), None) => {
            Some(Authority::try_from(line.as_bytes()).map_err(|_| Code::HostInvalid)?)
        }
        (None, _) if version < Version::HTTP_11 => None,
        _ => return Err(Code::HostInvalid),
    };
    if host.as_ref().is_some_and(|host| !is_usable(host)) {
        return Err(Code::HostInvalid);
    }
    let Some(target) = uri.authority() else {
        return Ok(());
    };
    let default_port = match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    };
    let port = |authority: &Authority| authority.port_u16().or(default_port);
    let is_same = host.is_some_and(|host| {
        host.host().eq_ignore_ascii_case(target.host()) && port(&host) == port(target)
    });
    if is_same && is_usable(target) {
        Ok(())
    } else {
        Err(Code::HostInvalid)
    }
}

/// A host name or address, perhaps a port, nothing else.
fn is_usable(authority: &Authority) -> bool {
    let text = authority.as_str();
    let rest = text.strip_prefix(authority.host());
    !authority.host().is_empty()
        && match rest {
            Some("") => true,
            Some(rest) => rest.starts_with(':') && authority.port_u16().is_some(),
            None => false,
        }
}

fn upgrade(headers: &HeaderMap) -> Result<(), Code> {
    let is_foreign = headers
        .get_all(header::UPGRADE)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if is_foreign {
        Err(Code::UpgradeUnsupported)
    } else {
        Ok(())
    }
}

/// Colon, space, carriage return and line feed.
const LINE_OVERHEAD: usize = 4;

const CREDENTIAL_PARAMETERS: [&str; 4] = ["token", "password", "access_token", "api_key"];

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, lines: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(target);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn host_lines() {
        for (target, hosts, accepted) in [
            ("/", &["gw.example"][..], true),
            ("/", &["gw.example:18789"], true),
            ("/", &["[::1]:18789"], true),
            ("/", &["127.0.0.1"], true),
            ("/", &[], false),
            ("/", &[""], false),
            ("/", &["gw.example", "gw.example"], false),
            ("/", &["user@gw.example"], false),
            ("/", &["gw.example/path"], false),
            ("/", &["gw.example:port"], false),
            ("/", &["gw example"], false),
            ("http://gw.example/", &["gw.example"], true),
            ("http://gw.example/", &["GW.example:80"], true),
            ("http://gw.example:81/", &["gw.example"], false),
            ("http://other.example/", &["gw.example"], false),
            ("http://u@gw.example/", &["gw.example"], false),
        ] {
            let lines: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let verdict = head(&request(target, &lines), &Limits::default());
            let expected = if accepted {
                Ok(())
            } else {
                Err(Code::HostInvalid)
            };
            assert_eq!(verdict, expected, "{target} {hosts:?}");
        }
    }

    #[test]
    fn http_1_0_may_leave_the_host_out() {
        let mut old = request("/", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(head(&old, &Limits::default()), Ok(()));
    }

    #[test]
    fn methods_targets_and_upgrades() {
        let limits = Limits::default();
        for (method, target, lines, expected) in [
            (
                Method::CONNECT,
                "gw.example:443",
                &[][..],
                Err(Code::MethodUnsupported),
            ),
            (Method::TRACE, "/", &[], Err(Code::MethodUnsupported)),
            (Method::GET, "/ok?q=%20", &[], Ok(())),
            (Method::GET, "/caf\u{e9}", &[], Err(Code::TargetInvalid)),
            (Method::GET, "*", &[], Err(Code::TargetInvalid)),
            (Method::OPTIONS, "*", &[], Ok(())),
            (Method::GET, "/", &[("upgrade", "WebSocket")], Ok(())),
            (
                Method::GET,
                "/",
                &[("upgrade", "h2c")],
                Err(Code::UpgradeUnsupported),
            ),
            (
                Method::GET,
                "/",
                &[("upgrade", "websocket, h2c")],
                Err(Code::UpgradeUnsupported),
            ),
        ] {
            let mut all = vec![("host", "gw.example")];
            all.extend(lines);
            let mut request = request(target, &all);
            *request.method_mut() = method.clone();
            assert_eq!(
                head(&request, &limits),
                expected,
                "{method} {target} {lines:?}"
            );
        }
        let long = format!("/{}", "a".repeat(limits.target));
        assert_eq!(
            head(&request(&long, &[("host", "gw.example")]), &limits),
            Err(Code::TargetTooLong)
        );
    }

    #[test]
    fn header_sizes() {
        let limits = Limits::default();
        let value = |length: usize| "v".repeat(length);
        for (sizes, expected) in [
            (&[16 * 1024][..], Ok(())),
            (&[16 * 1024 + 1], Err(Code::HeadersTooLarge)),
            (&[16 * 1024, 15 * 1024], Ok(())),
            (&[16 * 1024, 16 * 1024], Err(Code::HeadersTooLarge)),
        ] {
            let values: Vec<_> = sizes.iter().map(|size| value(*size)).collect();
            let mut lines = vec![("host", "gw.example")];
            lines.extend(values.iter().map(|value| ("x-big", value.as_str())));
            assert_eq!(head(&request("/", &lines), &limits), expected, "{sizes:?}");
        }
        let many: Vec<_> = std::iter::once(("host", "gw.example"))
            .chain(std::iter::repeat_n(("x-a", "b"), 100))
            .collect();
        assert_eq!(
            head(&request("/", &many), &limits),
            Err(Code::HeadersTooLarge)
        );
    }

    #[test]
    fn secrets_in_the_query() {
        for (query, found) in [
            ("", false),
            ("q=token", false),
            ("tokens=1", false),
            ("token=x", true),
            ("a=1&Access_Token=x", true),
            ("%74oken=x", true),
            ("password", true),
            ("api_key=x", true),
            ("%zz=1&api%5fkey=1", true),
        ] {
            assert_eq!(has_credential(query), found, "{query}");
        }
    }
}
