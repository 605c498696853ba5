//! The token or password that a caller presents.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::digest::Digest;
use super::headers::{Slot, Slots};
use super::user::trim_blanks;
use super::{AccessRequest, ConnectionKind};

/// What a caller presents.
#[derive(Clone, Copy)]
pub(super) enum Presented<'a> {
    /// A password by HTTP Basic, which browsers attach by themselves.
    Basic(Digest),
    /// The same secret for both slots.
    Bearer(Secret<'a>),
    /// Given by other means than headers.
    Explicit {
        token: Option<Secret<'a>>,
        password: Option<Secret<'a>>,
    },
    Nothing,
}

/// A presented secret, raw or already hashed.
#[derive(Clone, Copy)]
pub(super) enum Secret<'a> {
    Hashed(Digest),
    Raw(&'a [u8]),
}

impl Secret<'_> {
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Hashed(digest) => *digest,
            Self::Raw(bytes) => Digest::of(bytes),
        }
    }
}

/// There is more than one credential of the same kind.
#[derive(Debug)]
pub(super) struct Ambiguous;

impl<'a> Presented<'a> {
    /// Takes explicit credentials, else the `Authorization` line, else, for WebSockets, the
    /// subprotocol `openclaw.token.<base64url>`: browsers cannot set headers there.
    pub(super) fn find(request: &AccessRequest<'a>, slots: &Slots<'a>) -> Result<Self, Ambiguous> {
        let filled = |secret: Option<&'a [u8]>| secret.filter(|s| !s.is_empty()).map(Secret::Raw);
        if let Some(given) = request.credentials {
            let (token, password) = (filled(given.token), filled(given.password));
            return Ok(Self::Explicit { token, password });
        }
        let line = slots.line(Slot::Authorization);
        match line.single() {
            Some(value) => Ok(authorization(value)),
            None if line.count > 1 => Err(Ambiguous),
            None if request.kind == ConnectionKind::WebSocket => subprotocol(slots),
            None => Ok(Self::Nothing),
        }
    }

    pub(super) fn token(&self) -> Option<Secret<'a>> {
        match self {
            Self::Bearer(secret) => Some(*secret),
            Self::Explicit { token, .. } => *token,
            Self::Basic(_) | Self::Nothing => None,
        }
    }

    pub(super) fn password(&self) -> Option<Secret<'a>> {
        match self {
            Self::Basic(digest) => Some(Secret::Hashed(*digest)),
            Self::Bearer(secret) => Some(*secret),
            Self::Explicit { password, .. } => *password,
            Self::Nothing => None,
        }
    }

    /// Whether a browser attaches it without the page's doing.
    pub(super) fn is_ambient(&self) -> bool {
        matches!(self, Self::Basic(_))
    }
}

fn authorization<'a>(value: &'a [u8]) -> Presented<'a> {
    let Some(at) = value.iter().position(|b| matches!(b, b' ' | b'\t')) else {
        return Presented::Nothing;
    };
    let (scheme, rest) = value.split_at(at);
    let rest = trim_blanks(rest);
    if rest.is_empty() {
        return Presented::Nothing;
    }
    if scheme.eq_ignore_ascii_case(b"bearer") {
        Presented::Bearer(Secret::Raw(rest))
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        decoded(&STANDARD, rest, basic_password).map_or(Presented::Nothing, Presented::Basic)
    } else {
        Presented::Nothing
    }
}

/// The part after the first colon; the user name is ignored.
fn basic_password(decoded: &[u8]) -> Option<&[u8]> {
    let at = decoded.iter().position(|b| *b == b':')?;
    decoded.get(at + 1..)
}

fn subprotocol<'a>(slots: &Slots<'_>) -> Result<Presented<'a>, Ambiguous> {
    let line = slots.line(Slot::WebSocketProtocol);
    if line.count > 1 {
        return Err(Ambiguous);
    }
    let mut found = None;
    for protocol in line.value.split(|b| *b == b',').map(trim_blanks) {
        let Some(token) = protocol.strip_prefix(b"openclaw.token.") else {
            continue;
        };
        if found.replace(token).is_some() {
            return Err(Ambiguous);
        }
    }
    let digest = found.and_then(|token| decoded(&URL_SAFE_NO_PAD, token, |token| Some(token)));
    Ok(digest.map_or(Presented::Nothing, |digest| {
        Presented::Bearer(Secret::Hashed(digest))
    }))
}

/// The digest of a part of a base64 text. The text is decoded in place and wiped, not allocated.
fn decoded(engine: &impl Engine, text: &[u8], part: fn(&[u8]) -> Option<&[u8]>) -> Option<Digest> {
    let mut buffer = Zeroizing::new([0; LONGEST_DECODED]);
    let length = engine.decode_slice(text, buffer.as_mut_slice()).ok()?;
    let secret = part(buffer.get(..length)?)?;
    (!secret.is_empty()).then(|| Digest::of(secret))
}

/// Most bytes that a decoded credential can have; a longer one counts as undecodable.
const LONGEST_DECODED: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::super::headers::{HeaderPlan, PlanNames};
    use super::*;

    /// Which slots hold `secret`, as "tp", "-p" and so on; "a" marks ambient ones.
    fn presented(kind: ConnectionKind, headers: &[(&str, &str)], secret: &str) -> String {
        let slots = HeaderPlan::new(&PlanNames::default()).scan(&headers);
        let request = AccessRequest {
            remote: None,
            local: None,
            headers: &headers,
            kind,
            tls: false,
            credentials: None,
        };
        let Ok(presented) = Presented::find(&request, &slots) else {
            return "ambiguous".into();
        };
        let is = |found: Option<Secret<'_>>, mark| match found {
            Some(found) if found.digest().matches(&Digest::of(secret.as_bytes())) => mark,
            Some(_) => "?",
            None => "-",
        };
        let ambient = if presented.is_ambient() { "a" } else { "" };
        [
            is(presented.token(), "t"),
            is(presented.password(), "p"),
            ambient,
        ]
        .concat()
    }

    #[test]
    fn authorization_lines() {
        for (value, found) in [
            ("Bearer abc", "tp"),
            ("bearer\t  abc  ", "tp"),
            ("Bearer", "--"),
            ("Bearer  ", "--"),
            ("Bearerabc", "--"),
            ("Digest abc", "--"),
            ("Basic dXNlcjphYmM=", "-pa"),
            ("BASIC OmFiYw==", "-pa"),
            ("Basic OmFiYw", "--"),
            ("Basic YWJj", "--"),
            ("Basic dXNlcjo=", "--"),
            ("Basic !", "--"),
        ] {
            let headers = [("Authorization", value)];
            assert_eq!(
                presented(ConnectionKind::Http, &headers, "abc"),
                found,
                "{value}"
            );
        }
        let twice = [
            ("Authorization", "Bearer abc"),
            ("authorization", "Bearer abc"),
        ];
        assert_eq!(presented(ConnectionKind::Http, &twice, "abc"), "ambiguous");
    }

    #[test]
    fn overlong_basic_credential_is_none() {
        let value = format!(
            "Basic {}",
            STANDARD.encode(format!(":{}", "x".repeat(3_000)))
        );
        assert_eq!(
            presented(ConnectionKind::Http, &[("Authorization", &value)], "x"),
            "--"
        );
    }

    #[test]
    fn websocket_subprotocol_carries_a_token() {
        let name = "Sec-WebSocket-Protocol";
        let ws = ConnectionKind::WebSocket;
        let token = [(name, "openclaw.v1, openclaw.token.YWJj")];
        assert_eq!(presented(ws, &token, "abc"), "tp");
        assert_eq!(presented(ConnectionKind::Http, &token, "abc"), "--");
        let twice = [(name, "openclaw.token.YWJj, openclaw.token.YWJj")];
        assert_eq!(presented(ws, &twice, "abc"), "ambiguous");
        assert_eq!(presented(ws, &[(name, "openclaw.v1")], "abc"), "--");
        let both = [("Authorization", "Bearer abc"), (name, "openclaw.token.eA")];
        assert_eq!(presented(ws, &both, "abc"), "tp");
    }
}
