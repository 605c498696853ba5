//! Who may come in: one packed text in, one packed text out.

use std::fmt::Write as _;

use napi::bindgen_prelude::Latin1String;
use napi_derive::napi;
use openclaw_auth::Result;
use openclaw_auth::access::{
    AccessRequest, Admitted, AuthMethod, ConnectionKind, Credentials, Denied, Headers,
    JSON_HEADERS, SECURITY_HEADERS,
};
use serde_json::json;

use crate::boundary::{guard, invalid};
use crate::engine::with;

/// The request asks for an upgrade to a WebSocket.
const WEB_SOCKET: u32 = 1;
/// The program itself terminated TLS.
const TLS: u32 = 2;
/// Nothing is known of the request.
const NO_REQUEST: u32 = 4;

/// Texts before the header lines: remote, local, token, password; empty is absent.
const IN_FRONT: usize = 4;

/// Judges a request. `packed` holds `parts` texts, each with a NUL behind it: peer, own address,
/// token, password, then name and value of each header line, one character for each byte. Gives
/// the fields of a decision with NUL between them; `lib/access.cjs` knows their order.
///
/// A text with a NUL inside makes the count wrong, so nobody can shift a field.
#[napi(catch_unwind)]
pub(crate) fn authorize(
    slot: u32,
    flags: u32,
    parts: u32,
    packed: Latin1String,
) -> napi::Result<String> {
    guard(|| {
        with(slot, |shared| {
            let snapshot = shared.core.snapshot();
            let access = snapshot.access();
            let generation = snapshot.generation();
            if flags & NO_REQUEST != 0 {
                return Ok(told(access.judge(None), generation, access.hides_reasons()));
            }
            let facts = Facts::unpack(&packed, parts)?;
            let request = AccessRequest {
                remote: facts.remote,
                local: facts.local,
                headers: &facts.lines,
                kind: match flags & WEB_SOCKET {
                    0 => ConnectionKind::Http,
                    _ => ConnectionKind::WebSocket,
                },
                tls: flags & TLS != 0,
                credentials: facts.credentials,
            };
            let judged = access.judge(Some(&request));
            Ok(told(judged, generation, access.hides_reasons()))
        })
    })
}

/// What decisions look at: the names of header lines, and a number that changes with them.
#[napi(catch_unwind)]
pub(crate) fn wanted_headers(slot: u32) -> napi::Result<String> {
    guard(|| {
        with(slot, |shared| {
            let snapshot = shared.core.snapshot();
            let wanted = snapshot.access().wanted_headers().as_str();
            Ok(format!("{}\0{wanted}", snapshot.generation()))
        })
    })
}

/// Address of the client behind the trusted proxies, and whether an address is such a proxy.
#[napi(catch_unwind)]
pub(crate) fn client_ip(
    slot: u32,
    parts: u32,
    packed: Latin1String,
) -> napi::Result<Option<String>> {
    guard(|| {
        with(slot, |shared| {
            let facts = Facts::unpack(&packed, parts)?;
            let request = AccessRequest {
                remote: facts.remote,
                local: facts.local,
                headers: &facts.lines,
                kind: ConnectionKind::Http,
                tls: false,
                credentials: None,
            };
            let client = shared.core.snapshot().access().client_address(&request);
            Ok(client.map(|address| address.to_string()))
        })
    })
}

/// The headers that belong to every refusal.
#[napi(catch_unwind)]
pub(crate) fn refusal_headers() -> String {
    let all = SECURITY_HEADERS.iter().chain(JSON_HEADERS);
    json!(all.collect::<Vec<_>>()).to_string()
}

struct Facts<'p> {
    remote: Option<&'p str>,
    local: Option<&'p str>,
    credentials: Option<Credentials<'p>>,
    lines: Lines<'p>,
}

impl<'p> Facts<'p> {
    fn unpack(packed: &'p [u8], parts: u32) -> Result<Self> {
        let wrong = || invalid("request", "texts without NUL");
        let parts = usize::try_from(parts).map_err(|_| wrong())?;
        let texts = packed.iter().filter(|byte| **byte == 0).count();
        let whole = packed.last().is_none_or(|last| *last == 0);
        if texts != parts || !whole || parts < IN_FRONT || parts % 2 != 0 {
            return Err(wrong());
        }
        let mut rest = packed;
        let mut next = || cut(&mut rest).filter(|text| !text.is_empty());
        let (remote, local, token, password) = (next(), next(), next(), next());
        let text = |bytes: Option<&'p [u8]>| bytes.map(str::from_utf8).transpose();
        let given = token.is_some() || password.is_some();
        let lines = Lines(rest);
        let mut names = rest;
        while let Some(name) = cut(&mut names) {
            str::from_utf8(name).map_err(|_| invalid("header name", "UTF-8"))?;
            cut(&mut names);
        }
        Ok(Self {
            remote: text(remote).map_err(|_| wrong())?,
            local: text(local).map_err(|_| wrong())?,
            credentials: given.then_some(Credentials { token, password }),
            lines,
        })
    }
}

/// Name and value of each line, all of them checked.
struct Lines<'p>(&'p [u8]);

impl Headers for Lines<'_> {
    fn each<'h>(&'h self, visit: &mut dyn FnMut(&'h str, &'h [u8])) {
        let mut rest = self.0;
        while let (Some(name), Some(value)) = (cut(&mut rest), cut(&mut rest)) {
            if let Ok(name) = str::from_utf8(name) {
                visit(name, value);
            }
        }
    }
}

/// Cuts the next text and its NUL off.
fn cut<'p>(rest: &mut &'p [u8]) -> Option<&'p [u8]> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (text, after) = rest.split_at_checked(end)?;
    *rest = after.split_first()?.1;
    Some(text)
}

fn told(judged: std::result::Result<Admitted<'_>, Denied>, generation: u64, hides: bool) -> String {
    match judged {
        Ok(admitted) => admission(&admitted, generation),
        Err(denied) => refusal(&denied, generation, hides),
    }
}

/// `1`, generation, method, whether the peer is on this host, client, peer, user.
fn admission(admitted: &Admitted<'_>, generation: u64) -> String {
    let method = match admitted.method {
        AuthMethod::Token => "token",
        AuthMethod::Password => "password",
        AuthMethod::TrustedProxy => "trusted-proxy",
        _ => "none",
    };
    let mut text = String::with_capacity(96);
    // Writing into a string does not fail.
    let _ = write!(
        text,
        "1\0{generation}\0{method}\0{}\0",
        u8::from(admitted.local_direct)
    );
    for address in [admitted.client_ip, admitted.peer_ip] {
        if let Some(address) = address {
            let _ = write!(text, "{address}");
        }
        text.push('\0');
    }
    text.push_str(admitted.user.as_deref().unwrap_or_default());
    text
}

/// `0`, generation, code, status, close code, penalty, time to wait, reason, header, challenge,
/// message, body.
fn refusal(denied: &Denied, generation: u64, hides: bool) -> String {
    let mut text = String::with_capacity(384);
    let _ = write!(
        text,
        "0\0{generation}\0{}\0{}\0{}\0{}\0{}\0{}\0{}\0{}\0{denied}\0{}",
        denied.code(),
        denied.http_status(),
        denied.ws_close_code(),
        denied.penalty_ms(),
        denied.retry_after_ms().unwrap_or_default(),
        denied.reason().unwrap_or_default(),
        denied.header().unwrap_or_default(),
        denied.challenge().unwrap_or_default(),
        denied.body(hides),
    );
    text
}
