//! Who may come in: one packed text in, one packed text out.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use napi::bindgen_prelude::Latin1String;
use napi_derive::napi;
use openclaw_auth::Result;
use openclaw_auth::access::{
    AccessRequest, Admitted, AuthMethod, ConnectionKind, Credentials, Denied, JSON_HEADERS,
    SECURITY_HEADERS,
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
    lines: Vec<(&'p str, &'p [u8])>,
}

impl<'p> Facts<'p> {
    fn unpack(packed: &'p [u8], parts: u32) -> Result<Self> {
        let wrong = || invalid("request", "texts without NUL");
        let parts = usize::try_from(parts).map_err(|_| wrong())?;
        let mut texts = Texts::of(packed);
        let mut front = || texts.next().filter(|text| !text.is_empty());
        let (remote, local, token, password) = (front(), front(), front(), front());
        let mut lines = Vec::with_capacity(parts / 2);
        let mut found = IN_FRONT;
        while let Some(name) = texts.next() {
            let name = str::from_utf8(name).map_err(|_| invalid("header name", "UTF-8"))?;
            lines.push((name, texts.next().ok_or_else(wrong)?));
            found += 2;
        }
        if found != parts || !texts.is_at_end() {
            return Err(wrong());
        }
        let text = |bytes: Option<&'p [u8]>| bytes.map(str::from_utf8).transpose();
        let given = token.is_some() || password.is_some();
        Ok(Self {
            remote: text(remote).map_err(|_| wrong())?,
            local: text(local).map_err(|_| wrong())?,
            credentials: given.then_some(Credentials { token, password }),
            lines,
        })
    }
}

/// Texts that lie end to end, each with a NUL behind it.
struct Texts<'p> {
    packed: &'p [u8],
    ends: memchr::Memchr<'p>,
    start: usize,
}

impl<'p> Texts<'p> {
    fn of(packed: &'p [u8]) -> Self {
        Self {
            packed,
            ends: memchr::memchr_iter(0, packed),
            start: 0,
        }
    }

    fn next(&mut self) -> Option<&'p [u8]> {
        let end = self.ends.next()?;
        let text = self.packed.get(self.start..end);
        self.start = end + 1;
        text
    }

    fn is_at_end(&self) -> bool {
        self.start == self.packed.len()
    }
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
    text.push_str("1\0");
    push_number(&mut text, generation);
    text.push('\0');
    text.push_str(method);
    text.push_str(if admitted.local_direct {
        "\x001\0"
    } else {
        "\x000\0"
    });
    for address in [admitted.client_ip, admitted.peer_ip] {
        match address {
            Some(IpAddr::V4(address)) => push_v4(&mut text, address),
            // Writing into a string does not fail.
            Some(IpAddr::V6(address)) => drop(write!(text, "{address}")),
            None => {}
        }
        text.push('\0');
    }
    text.push_str(admitted.user.as_deref().unwrap_or_default());
    text
}

// Without the machinery of formatting: this happens for each request.
fn push_v4(text: &mut String, address: Ipv4Addr) {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        push_number(text, octet.into());
    }
}

fn push_number(text: &mut String, number: u64) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
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
