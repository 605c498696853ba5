//! Which session a request belongs to, and what a session has selected.

use hyper::Request;
use openclaw_auth::{Code, SessionEntry};
use serde_json::{Value, json};

use super::core_api::{Core, Identity};
use super::failure::Failure;

/// The session of a request: of the header, else of the query, else `main`. Every user has their
/// own.
///
/// # Errors
///
/// `session_invalid` when the key cannot be one.
pub(crate) fn of_request<B>(request: &Request<B>, identity: &Identity) -> Result<String, Failure> {
    let mut lines = request.headers().get_all(HEADER).iter();
    let key = match (lines.next(), lines.next()) {
        (Some(line), None) => Some(line.to_str().map_err(|_| Code::SessionInvalid)?.to_owned()),
        (Some(_), Some(_)) => return Err(Code::SessionInvalid.into()),
        (None, _) => in_query(request.uri().query().unwrap_or_default())?,
    };
    named(key.as_deref().unwrap_or(MAIN), identity)
}

/// The session of a caller with this key.
///
/// # Errors
///
/// `session_invalid` when the key cannot be one.
pub(crate) fn named(key: &str, identity: &Identity) -> Result<String, Failure> {
    let is_fine = (1..=LONGEST).contains(&key.len())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:@/-".contains(&byte));
    if !is_fine {
        return Err(Code::SessionInvalid.into());
    }
    Ok(match &identity.user {
        // No user has a control character in their name.
        Some(user) => format!("{user}\u{1f}{key}"),
        None => key.to_owned(),
    })
}

/// The key in a path or query, where other characters are escaped.
///
/// # Errors
///
/// `session_invalid` when it is escaped wrongly.
pub(crate) fn unescaped(text: &str) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, left) = match (first, after) {
            (b'%', [high, low, left @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(*high).zip(digit(*low));
                let value = value.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                (value.ok_or(Code::SessionInvalid)?, left)
            }
            (byte, left) => (*byte, left),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8(bytes).map_err(|_| Code::SessionInvalid.into())
}

/// What a session has selected, as callers see it. Without a choice of its own it uses the
/// default model.
pub(crate) fn selection(core: &dyn Core, entry: &SessionEntry) -> Value {
    let is_chosen = entry.model.is_some() || entry.pin.is_some();
    let model = entry.model.clone().or_else(|| core.default_model());
    let by = entry.pin.as_ref().map(|pin| pin.source.as_str());
    json!({
        "provider": model.as_ref().map(|model| model.provider.as_str()),
        "model": model.as_ref().map(|model| model.model.as_str()),
        "profile": entry.pin.as_ref().map(|pin| pin.profile.as_str()),
        "source": match (by, &entry.model) {
            (Some("auto"), None) => "auto",
            _ if is_chosen => "user",
            _ => "default",
        },
    })
}

fn in_query(query: &str) -> Result<Option<String>, Failure> {
    let mut found = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name == "session");
    match (found.next(), found.next()) {
        (Some((_, key)), None) => unescaped(key).map(Some),
        (Some(_), Some(_)) => Err(Code::SessionInvalid.into()),
        (None, _) => Ok(None),
    }
}

const HEADER: &str = "x-openclaw-session-key";
const MAIN: &str = "main";
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: Option<&str>) -> Identity {
        Identity {
            method: "token",
            user: user.map(str::to_owned),
            client_ip: None,
            peer_ip: None,
            local_direct: false,
            is_admin: false,
        }
    }

    fn key(header: &[&str], uri: &str, user: Option<&str>) -> Result<String, Code> {
        let mut request = Request::builder().uri(uri);
        for line in header {
            request = request.header(HEADER, *line);
        }
        let request = request.body(()).unwrap();
        of_request(&request, &identity(user)).map_err(|failure| failure.code())
    }

    #[test]
    fn header_then_query_then_main() {
        for (header, uri, user, expected) in [
            (&["a"][..], "/x?session=b", None, Some("a")),
            (&[], "/x?y=1&session=b%3Ac", None, Some("b:c")),
            (&[], "/x?sessions=b", None, Some("main")),
            (&[], "/x", Some("nick"), Some("nick\u{1f}main")),
            (&["a", "b"], "/x", None, None),
            (&[""], "/x", None, None),
            (&["a b"], "/x", None, None),
            (&["a\u{e9}"], "/x", None, None),
            (&[], "/x?session=a&session=b", None, None),
            (&[], "/x?session=%1f", None, None),
            (&[], "/x?session=%zz", None, None),
            (&[], "/x?session=%2", None, None),
        ] {
            let expected = expected.map(str::to_owned).ok_or(Code::SessionInvalid);
            assert_eq!(key(header, uri, user), expected, "{header:?} {uri}");
        }
        let long = "x".repeat(129);
        assert_eq!(key(&[&long], "/x", None), Err(Code::SessionInvalid));
        let longest = "x".repeat(128);
        assert!(key(&[&longest], "/x", None).is_ok());
    }
}
