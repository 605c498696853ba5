//! What a token says about its owner, and whether two credentials belong to the same one.
//!
//! Payloads are decoded for labels, the account id and the expiry only. Signatures are not
//! checked, and nothing is permitted because of a claim.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use crate::text::SecretText;

/// Longest payload that is decoded, in characters.
const MAX_PAYLOAD: usize = 64 * 1024;
/// Latest moment that counts as a time, in milliseconds since 1970 (the limit of JavaScript dates).
pub(crate) const MAX_TIME_MS: f64 = 8.64e15;

/// Which token of an answer a claim is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Access,
    Id,
}

/// Where a claim stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimPath {
    pub(crate) token: TokenKind,
    pub(crate) place: Place,
}

/// The part of the payload that holds a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Member within member; names are literal.
    Path(Vec<String>),
    /// Several members of the top level, all present, joined with `|`.
    Join(Vec<String>),
}

/// The decoded payloads of one token answer.
pub(crate) struct Claims {
    access: Map<String, Value>,
    id: Map<String, Value>,
}

impl Claims {
    /// Decodes both tokens; one that is no JSON Web Token has no claims.
    pub(crate) fn of(access: &str, id: Option<&str>) -> Self {
        Self {
            access: decode(access).unwrap_or_default(),
            id: id.and_then(decode).unwrap_or_default(),
        }
    }

    /// The first claim that is a text with something in it.
    pub(crate) fn first(&self, paths: &[ClaimPath]) -> Option<String> {
        paths.iter().find_map(|path| {
            let payload = match path.token {
                TokenKind::Access => &self.access,
                TokenKind::Id => &self.id,
            };
            match &path.place {
                Place::Path(members) => at(payload, members).map(str::to_owned),
                Place::Join(members) => {
                    let parts: Option<Vec<&str>> = members
                        .iter()
                        .map(|member| at(payload, std::slice::from_ref(member)))
                        .collect();
                    parts.map(|parts| parts.join("|"))
                }
            }
        })
    }

    /// When the access token ends (claim `exp`), in milliseconds since 1970.
    pub(crate) fn expires_ms(&self) -> Option<u64> {
        seconds(&self.access, "exp")
    }

    /// How long the access token lives from its issue to its end, in milliseconds.
    pub(crate) fn lifetime_ms(&self) -> Option<u64> {
        let issued = seconds(&self.access, "iat")?;
        self.expires_ms()?
            .checked_sub(issued)
            .filter(|lifetime| *lifetime > 0)
    }
}

/// The payload of a JSON Web Token (RFC 7519). `None` when the text is anything else.
fn decode(token: &str) -> Option<Map<String, Value>> {
    let mut segments = token.split('.');
    let payload = segments.nth(1)?.trim_end_matches('=');
    if payload.is_empty() || payload.len() > MAX_PAYLOAD {
        return None;
    }
    // Providers have been seen to use either alphabet.
    let url_safe: String = payload
        .chars()
        .map(|c| match c {
            '+' => '-',
            '/' => '_',
            c => c,
        })
        .collect();
    let bytes = BASE64URL.decode(url_safe).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(payload) => Some(payload),
        _ => None,
    }
}

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Base64 for addresses and names (RFC 4648, section 5), without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

fn at<'a>(payload: &'a Map<String, Value>, members: &[String]) -> Option<&'a str> {
    let (last, parents) = members.split_last()?;
    let mut map = payload;
    for member in parents {
        map = map.get(member)?.as_object()?;
    }
    map.get(last)?
        .as_str()
        .filter(|text| !text.trim().is_empty())
}

/// A time claim, whole seconds since 1970, as milliseconds.
fn seconds(payload: &Map<String, Value>, name: &str) -> Option<u64> {
    let ms = payload.get(name)?.as_f64()?.floor() * 1e3;
    (ms > 0.0 && ms <= MAX_TIME_MS).then_some(ms as u64)
}

/// Whose credential it is, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    pub(crate) account_id: Option<String>,
    pub(crate) email: Option<String>,
}

/// Whether two credentials of one provider belong to the same person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    Same,
    Different,
    /// Nothing is known about the first one, so nothing contradicts.
    Unknown,
}

impl Identity {
    /// Compares with the identity of an incoming credential.
    pub(crate) fn matches(&self, incoming: &Self) -> Match {
        let by = |equal: bool| if equal { Match::Same } else { Match::Different };
        if let (Some(ours), Some(theirs)) = (&self.account_id, &incoming.account_id) {
            return by(ours.trim() == theirs.trim());
        }
        match (&self.email, &incoming.email) {
            (Some(ours), Some(theirs)) => {
                by(ours.trim().to_lowercase() == theirs.trim().to_lowercase())
            }
            _ if self.account_id.is_none() && self.email.is_none() => Match::Unknown,
            _ => Match::Different,
        }
    }

    /// Whether a refreshed token contradicts what is known: both sides name an account, or both
    /// an address, and they differ. A token that says nothing contradicts nothing.
    pub(crate) fn is_contradicted_by(&self, refreshed: &Self) -> bool {
        let silent = refreshed.account_id.is_none() && refreshed.email.is_none();
        !silent
            && self.matches(refreshed) == Match::Different
            && (self.account_id.is_some() && refreshed.account_id.is_some()
                || self.email.is_some() && refreshed.email.is_some())
    }
}

/// Hash of a refresh token that tells equal ones without holding them.
pub(crate) fn refresh_digest(provider: &str, refresh: &SecretText) -> String {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    for part in [
        provider.as_bytes(),
        b"\0refresh\0",
        refresh.expose().as_bytes(),
    ] {
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// The first 16 digits of a digest, for lineages and file names.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

/// SHA-256 of a text in hexadecimal.
pub(crate) fn sha256_hex(text: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) fn token_of(payload: &str) -> String {
    format!(
        "{}.{}.c2ln",
        base64url(b"{\"alg\":\"RS256\"}"),
        base64url(payload.as_bytes())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::provider::Providers;

    /// Account id, address, subject, end and lifetime as the rules of `openai-codex` find them.
    fn read(access: &str) -> [Option<String>; 5] {
        let providers = Providers::built_in();
        let codex = providers.get("openai-codex").unwrap();
        let claims = Claims::of(access, None);
        [
            claims.first(&codex.account_id),
            claims.first(&codex.email),
            claims.first(&codex.subject),
            claims.expires_ms().map(|ms| ms.to_string()),
            claims.lifetime_ms().map(|ms| ms.to_string()),
        ]
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn examples_30_to_39_claims() {
        let full = r#"{"iss":"https://auth.openai.com","sub":"auth0|u1","exp":1795363200,
            "iat":1795359600,"https://api.openai.com/auth":{"chatgpt_account_id":"acct-123",
            "chatgpt_user_id":"user-9"},
            "https://api.openai.com/profile":{"email":"Ana@Example.com"}}"#;
        assert_eq!(
            read(&token_of(full)),
            [
                some("acct-123"),
                some("Ana@Example.com"),
                some("user-9"),
                some("1795363200000"),
                some("3600000")
            ]
        );
        for (payload, account, subject, expires) in [
            (
                r#"{"sub":"s","https://api.openai.com/auth":{"user_id":"u?>~"}}"#,
                None,
                some("u?>~"),
                None,
            ),
            (
                r#"{"iss":"http://127.0.0.1:44510","sub":"alice"}"#,
                None,
                some("http://127.0.0.1:44510|alice"),
                None,
            ),
            (
                r#"{"https://api.openai.com/auth":{"chatgpt_account_id":""}}"#,
                None,
                None,
                None,
            ),
            (
                r#"{"https://api.openai.com/auth":"oops"}"#,
                None,
                None,
                None,
            ),
            (r#"{"exp":"1795363200"}"#, None, None, None),
            (r#"{"exp":1795363200.9}"#, None, None, some("1795363200000")),
            (r#"{"exp":1e300}"#, None, None, None),
            ("[]", None, None, None),
        ] {
            let found = read(&token_of(payload));
            assert_eq!(
                [&found[0], &found[2], &found[3]],
                [&account, &subject, &expires],
                "{payload}"
            );
        }
        let url_only = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJodHRwczovL2FwaS5vcGVuYWkuY29tL2F1dGgiOnsiY2hhdGdwdF9hY2NvdW50X2lkIjoiYWM-Pj4_Pz8ifX0.c2ln";
        assert_eq!(read(url_only)[0], some("ac>>>???"));
        let standard = url_only.replace('-', "+").replace('_', "/");
        assert_eq!(read(&standard)[0], some("ac>>>???"));
        let padded = format!("h.{}==.s", base64url(br#"{"exp":5}"#));
        assert_eq!(read(&padded)[3], some("5000"));
        for none in ["not-a-jwt", "a.b", "a..c", "", "."] {
            assert_eq!(read(none), [const { None }; 5], "{none}");
        }
        let huge = format!("a.{}.c", "A".repeat(MAX_PAYLOAD + 1));
        assert_eq!(read(&huge), [const { None }; 5]);
    }

    #[test]
    fn identities_match_by_account_then_by_address() {
        let id = |account: &str, email: &str| Identity {
            account_id: (!account.is_empty()).then(|| account.to_owned()),
            email: (!email.is_empty()).then(|| email.to_owned()),
        };
        for (ours, theirs, expected) in [
            (id("a", ""), id(" a ", ""), Match::Same),
            (id("a", "x@y"), id("b", "x@y"), Match::Different),
            (id("a", "x@y"), id("", "X@Y"), Match::Same),
            (id("", "x@y"), id("b", "z@y"), Match::Different),
            (id("", ""), id("b", "z@y"), Match::Unknown),
            (id("", ""), id("", ""), Match::Unknown),
            (id("a", ""), id("", "x@y"), Match::Different),
            (id("a", ""), id("", ""), Match::Different),
        ] {
            assert_eq!(ours.matches(&theirs), expected, "{ours:?} {theirs:?}");
        }
        assert!(!id("a", "").is_contradicted_by(&id("", "")), "example 40");
        assert!(
            id("acct-123", "").is_contradicted_by(&id("acct-999", "")),
            "example 41"
        );
        assert!(!id("a", "").is_contradicted_by(&id("", "x@y")));
    }

    #[test]
    fn digests_depend_on_the_provider() {
        let token = SecretText::new("r1".to_owned());
        let one = refresh_digest("a", &token);
        assert_eq!(one.len(), 64);
        assert_ne!(one, refresh_digest("b", &token));
        assert_eq!(short(&one).len(), 16);
    }
}
