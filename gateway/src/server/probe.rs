//! `GET /_auth/probe`: what reached the gateway, for the active probe of `security probe`.
//!
//! Only for a caller who is let in and who also shows a nonce, which the command line has left in
//! the state folder. It tells lengths and whether a value is the probe's own, never a value.

use std::path::Path;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use openclaw_auth::host::Host;
use openclaw_auth::{Code, SecretText};
use serde_json::{Value, json};

use super::answer;
use super::body::ReplyBody;
use super::core_api::Identity;
use super::failure::Failure;
use super::routes::Call;
use super::settings::security_headers;

/// Header of the probe's nonce.
pub(crate) const NONCE_HEADER: &str = "x-openclaw-auth-probe";
/// File of the nonce, below the state folder.
pub(crate) const NONCE_FILE: &str = "gateway/probe-nonce";
/// How long a nonce is good for.
const LIFETIME: Duration = Duration::from_secs(600);

/// Answers with the identity and what is known about the security headers.
///
/// # Errors
///
/// `not_found` without the nonce of a probe that runs now.
pub(crate) async fn answer(
    call: &Call<'_>,
    identity: &Identity,
    request: &Request<Incoming>,
) -> Result<Response<ReplyBody>, Failure> {
    let shown = request.headers().get(NONCE_HEADER);
    let shown = shown.and_then(|value| value.to_str().ok()).map(str::trim);
    let Some(shown) = shown.filter(|nonce| nonce.len() >= MIN_NONCE) else {
        return Err(Code::NotFound.into());
    };
    let path = call.current.snapshot.state_dir().join(NONCE_FILE);
    let nonce = tokio::task::spawn_blocking(move || read_nonce(&path)).await;
    let shown = SecretText::new(shown.to_owned());
    match nonce {
        Ok(Some(nonce)) if nonce == shown => {}
        _ => return Err(Code::NotFound.into()),
    }
    let mut body = identity.json.clone();
    if let Value::Object(members) = &mut body {
        let names = security_headers(&*call.current.snapshot);
        let lines = lines(request.headers(), &names, shown.expose());
        members.insert("lines".to_owned(), lines.into());
    }
    Ok(answer::json(StatusCode::OK, &body))
}

/// The nonce that is good now.
fn read_nonce(path: &Path) -> Option<SecretText> {
    let host = Host::real();
    let mut file = host.files.open(path).ok()?;
    let meta = file.meta().ok()?;
    let age_ns = i128::from(host.clock.now_ms()) * 1_000_000 - meta.modified_ns;
    let is_fresh = age_ns < i128::try_from(LIFETIME.as_nanos()).ok()?;
    let is_private = meta.mode & 0o077 == 0;
    let text = file.read_to_limit(256).ok()??;
    let text = std::str::from_utf8(&text).ok()?.trim().to_owned();
    (is_fresh && is_private && text.len() >= MIN_NONCE).then(|| SecretText::new(text))
}

/// Lines whose name is, or is another spelling of, a security or forwarding header.
fn lines<'n>(
    headers: &HeaderMap,
    names: impl IntoIterator<Item = &'n String>,
    nonce: &str,
) -> Vec<Value> {
    let wanted: Vec<String> = names
        .into_iter()
        .map(String::as_str)
        .chain(FORWARDING.iter().copied())
        .map(folded)
        .collect();
    headers
        .iter()
        .filter(|(name, _)| wanted.contains(&folded(name.as_str())))
        .map(|(name, value)| {
            let value = value.as_bytes();
            let is_probe = value
                .windows(nonce.len())
                .any(|part| part == nonce.as_bytes());
            json!({"name": name.as_str(), "len": value.len(), "equalsProbe": is_probe})
        })
        .collect()
}

/// The name as servers see it that take every special character for the same.
fn folded(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect()
}

/// 128 bits in hexadecimal.
const MIN_NONCE: usize = 32;

const FORWARDING: &[&str] = &[
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_is_shown_without_its_value() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-user", "nick"),
            ("x_user", "probe-abc"),
            ("x.forwarded~for", "192.0.2.1"),
            ("accept", "text/plain"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let names = ["x-user".to_owned()];
        let lines = lines(&headers, &names, "abc");
        assert_eq!(
            lines,
            [
                json!({"name": "x-user", "len": 4, "equalsProbe": false}),
                json!({"name": "x_user", "len": 9, "equalsProbe": true}),
                json!({"name": "x.forwarded~for", "len": 9, "equalsProbe": false}),
            ]
        );
    }

    #[test]
    fn a_nonce_must_be_private_and_fresh() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nonce");
        let host = Host::real();
        let nonce = "0123456789abcdef0123456789abcdef";
        for (mode, text, good) in [
            (0o600, nonce, true),
            (0o640, nonce, false),
            (0o600, "short", false),
        ] {
            host.files
                .write_atomic(&path, text.as_bytes(), mode)
                .unwrap();
            assert_eq!(read_nonce(&path).is_some(), good, "{mode:o} {text}");
        }
        assert!(read_nonce(&folder.path().join("none")).is_none());
    }
}
