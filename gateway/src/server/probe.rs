//! `GET /_auth/probe`: what reached the gateway, for the active probe of `security probe`.
//!
//! Only for a caller who is let in and who also shows a nonce: one that an administrator has got
//! from `POST /_auth/probe`, or that the command line has left in the state folder. It tells
//! lengths and whether a value is the probe's own, never a value.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use openclaw_auth::host::{self, Host};
use openclaw_auth::{Code, SecretText};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

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
/// How often it may be shown.
const USES: u32 = 500;
/// Nonces that are good at the same time.
const NONCES: usize = 16;

/// The nonces that are good, and how often they may still be shown.
#[derive(Debug, Default)]
pub(crate) struct Nonces(Mutex<VecDeque<Nonce>>);

#[derive(Debug)]
struct Nonce {
    text: SecretText,
    until: Instant,
    left: u32,
}

impl Nonces {
    /// A new one.
    fn begin(&self) -> Result<SecretText, Failure> {
        let mut bytes = [0_u8; 16];
        host::random(&mut bytes).map_err(|_| Code::InternalError)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = SecretText::new(text);
        self.remember(text.clone());
        Ok(text)
    }

    fn remember(&self, text: SecretText) {
        let mut nonces = self.0.lock();
        if nonces.len() == NONCES {
            nonces.pop_front();
        }
        nonces.push_back(Nonce {
            text,
            until: Instant::now() + LIFETIME,
            left: USES,
        });
    }

    /// Uses one; `None` when it is not known.
    fn show(&self, text: &SecretText) -> Option<bool> {
        let mut nonces = self.0.lock();
        let nonce = nonces.iter_mut().find(|nonce| nonce.text == *text)?;
        let is_good = nonce.left > 0 && Instant::now() < nonce.until;
        nonce.left = nonce.left.saturating_sub(1);
        Some(is_good)
    }
}

/// Answers `POST /_auth/probe` with a nonce.
///
/// # Errors
///
/// `admin_required`, or `internal_error` without random numbers.
pub(crate) fn begin(call: &Call<'_>, identity: &Identity) -> Result<Response<ReplyBody>, Failure> {
    if !identity.is_admin {
        return Err(Code::AdminRequired.into());
    }
    let nonce = call.state.nonces.begin()?;
    let body = json!({
        "nonce": nonce.expose(),
        "header": NONCE_HEADER,
        "seconds": LIFETIME.as_secs(),
        "uses": USES,
    });
    Ok(answer::json(StatusCode::OK, &body))
}

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
    let shown = SecretText::new(shown.to_owned());
    let nonces = &call.state.nonces;
    let is_good = match nonces.show(&shown) {
        Some(is_good) => is_good,
        None => {
            let path = call.current.snapshot.state_dir().join(NONCE_FILE);
            let nonce = tokio::task::spawn_blocking(move || read_nonce(&path)).await;
            let is_good = matches!(nonce, Ok(Some(nonce)) if nonce == shown);
            if is_good {
                nonces.remember(shown.clone());
            }
            is_good
        }
    };
    if !is_good {
        return Err(Code::NotFound.into());
    }
    let mut body = identity.to_json();
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

    #[tokio::test(start_paused = true)]
    async fn a_nonce_ends_by_use_and_by_time() {
        let nonces = Nonces::default();
        let first = nonces.begin().unwrap();
        assert_eq!(first.expose().len(), 32);
        for _ in 0..USES {
            assert_eq!(nonces.show(&first), Some(true));
        }
        assert_eq!(nonces.show(&first), Some(false), "used up");
        let second = nonces.begin().unwrap();
        assert!(first != second);
        tokio::time::advance(LIFETIME).await;
        assert_eq!(nonces.show(&second), Some(false), "too old");
        for _ in 0..NONCES {
            nonces.begin().unwrap();
        }
        assert_eq!(nonces.show(&first), None, "forgotten");
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
