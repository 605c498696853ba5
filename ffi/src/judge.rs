//! From arguments to facts, and from judgements to `oca_decision`.

use std::ffi::{CStr, c_char};
use std::io::Write as _;
use std::net::IpAddr;

use auth::access::{
    AccessRequest, Admitted, AuthMethod, ConnectionKind, Credentials, Denied, Headers,
};
use auth::{Code, Engine, Error};

use crate::access::{
    OCA_CONNECTION_HTTP, OCA_CONNECTION_WEBSOCKET, OCA_DECISION_CHALLENGE,
    OCA_DECISION_HIDE_REASON, OCA_DECISION_LOCAL_DIRECT, OCA_IP_SIZE, OCA_METHOD_NONE,
    OCA_METHOD_PASSWORD, OCA_METHOD_TOKEN, OCA_METHOD_TRUSTED_PROXY, OCA_REQUEST_FOLDED,
    OCA_REQUEST_TLS, oca_decision, oca_header, oca_request, unknown,
};
use crate::boundary::{Call, Reason, Result, fenced, fixed, invalid, run};
use crate::error::oca_status;

/// The length that stands for an absent text.
const ABSENT: u32 = u32::MAX;

/// Runs a judgement and sees to it that a decision is written whatever happens.
///
/// # Safety
///
/// As for [`run`]; `decision` keeps the contract of the header too.
pub(crate) unsafe fn written(
    decision: *mut oca_decision,
    body: impl for<'c> FnOnce(Call<'c>, &mut oca_decision) -> Result<()>,
) -> oca_status {
    let body = |call: Call<'_>| {
        let decision = call.place(decision, "decision")?.clear();
        decision.struct_size = size_of::<oca_decision>();
        decision.refuse(Code::InternalError, 500);
        match fenced(|| body(call, decision)) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                decision.refuse(error.code(), 400);
                Err(error)
            }
            None => {
                decision.refuse(Code::InternalError, 500);
                Err(Error::new(
                    Code::Panic,
                    "a defect inside the library was caught",
                ))
            }
        }
    };
    // SAFETY: the caller of this function keeps the contract.
    unsafe { run(std::ptr::null_mut(), body) }
}

impl oca_decision {
    /// Decides by the current generation.
    pub(crate) fn judge(&mut self, core: &Engine, request: Option<&AccessRequest<'_>>) {
        let snapshot = core.snapshot();
        self.generation = snapshot.generation();
        match snapshot.access().judge(request) {
            Ok(admitted) => self.admit(&admitted),
            Err(denied) => {
                self.deny(&denied);
                if snapshot.access().hides_reasons() && matches!(self.http_status, 401 | 403) {
                    self.flags |= OCA_DECISION_HIDE_REASON;
                }
            }
        }
    }

    fn admit(&mut self, admitted: &Admitted<'_>) {
        self.allowed = 1;
        self.http_status = 200;
        self.ws_close_code = 0;
        self.code = fixed(c"");
        self.method = match admitted.method {
            AuthMethod::Token => OCA_METHOD_TOKEN,
            AuthMethod::Password => OCA_METHOD_PASSWORD,
            AuthMethod::TrustedProxy => OCA_METHOD_TRUSTED_PROXY,
            _ => OCA_METHOD_NONE,
        };
        if admitted.local_direct {
            self.flags |= OCA_DECISION_LOCAL_DIRECT;
        }
        put_address(&mut self.client_ip, admitted.client_ip);
        put_address(&mut self.peer_ip, admitted.peer_ip);
        put_text(&mut self.user, admitted.user.as_deref().unwrap_or_default());
    }

    fn deny(&mut self, denied: &Denied) {
        self.refuse(denied.code(), denied.http_status());
        self.ws_close_code = denied.ws_close_code().into();
        self.penalty_ms = denied.penalty_ms();
        self.retry_after_ms = denied.retry_after_ms().unwrap_or(0);
        self.reason = fixed(reason_text(denied.reason()));
        if denied.challenge().is_some() {
            self.flags |= OCA_DECISION_CHALLENGE;
        }
        put_text(&mut self.header, denied.header().unwrap_or_default());
    }

    fn refuse(&mut self, code: Code, http_status: u16) {
        self.allowed = 0;
        self.http_status = http_status.into();
        self.ws_close_code = if http_status == 500 { 1011 } else { 1008 };
        self.code = fixed(code.as_c_str());
        self.reason = fixed(c"");
    }
}

fn put_text(place: &mut [c_char], text: &str) {
    // The sizes fit every text that the access rules let through; the last byte stays NUL.
    let room = place.len().saturating_sub(1);
    for (place, byte) in place.iter_mut().take(room).zip(text.bytes()) {
        *place = byte as c_char;
    }
}

fn put_address(place: &mut [c_char; OCA_IP_SIZE], address: Option<IpAddr>) {
    let mut text = [0; OCA_IP_SIZE];
    write_address(&mut text, address);
    *place = text.map(|byte| byte as c_char);
}

/// Writes an address as text and returns its length. Without the machinery of formatting for the
/// common case: this happens twice for each request.
pub(crate) fn write_address(place: &mut [u8; OCA_IP_SIZE], address: Option<IpAddr>) -> usize {
    let mut rest = place.as_mut_slice();
    match address {
        None => {}
        Some(IpAddr::V4(address)) => {
            let mut digits = [0; 16];
            let mut used = 0;
            let mut push = |byte: u8| {
                if let Some(place) = digits.get_mut(used) {
                    *place = byte;
                    used += 1;
                }
            };
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    push(b'.');
                }
                if octet >= 100 {
                    push(b'0' + octet / 100);
                }
                if octet >= 10 {
                    push(b'0' + octet / 10 % 10);
                }
                push(b'0' + octet % 10);
            }
            for (place, digit) in place.iter_mut().zip(digits) {
                *place = digit;
            }
            return used;
        }
        Some(IpAddr::V6(address)) => {
            // Every address fits.
            let _ = write!(rest, "{address}");
        }
    }
    OCA_IP_SIZE - rest.len()
}

/// The static C text of a reason.
fn reason_text(reason: Option<&str>) -> &'static CStr {
    let Some(reason) = reason else { return c"" };
    let known = REASONS
        .iter()
        .find(|known| known.to_bytes() == reason.as_bytes());
    known.copied().unwrap_or(c"other")
}

/// Every word that a denial can carry.
pub(crate) const REASONS: &[&CStr] = &[
    c"absent",
    c"alias",
    c"blank",
    c"control",
    c"disabled",
    c"hop_by_hop",
    c"invalid",
    c"invisible",
    c"list",
    c"no_remote_address",
    c"noncharacter",
    c"not_listed",
    c"not_named",
    c"not_utf8",
    c"null",
    c"placeholder",
    c"repeated",
    c"too_long",
    c"unparseable_remote",
    c"whitespace",
];

pub(crate) fn kind_of(kind: u32) -> Result<ConnectionKind> {
    match kind {
        OCA_CONNECTION_HTTP => Ok(ConnectionKind::Http),
        OCA_CONNECTION_WEBSOCKET => Ok(ConnectionKind::WebSocket),
        _ => Err(unknown("kind")),
    }
}

pub(crate) fn tls_of(flags: u32) -> Result<bool> {
    match flags & !(OCA_REQUEST_TLS | OCA_REQUEST_FOLDED) {
        0 => Ok(flags & OCA_REQUEST_TLS != 0),
        _ => Err(unknown("flags")),
    }
}

pub(crate) fn credentials<'c>(
    token: Option<&'c [u8]>,
    password: Option<&'c [u8]>,
) -> Option<Credentials<'c>> {
    (token.is_some() || password.is_some()).then_some(Credentials { token, password })
}

fn check_name(bytes: &[u8]) -> Result<()> {
    // One bit tells both NUL and whatever is not ASCII, without a branch for each byte.
    let bits = bytes
        .iter()
        .fold(0, |bits, byte| bits | byte | byte.wrapping_sub(1));
    if bits & 0x80 == 0 {
        return Ok(());
    }
    if str::from_utf8(bytes).is_err() {
        return Err(invalid("header name", Reason::NotUtf8));
    }
    match bytes.contains(&0) {
        true => Err(invalid("header name", Reason::EmbeddedNul)),
        false => Ok(()),
    }
}

/// The header lines of an `oca_request`, all of them checked.
pub(crate) struct Lines<'c> {
    call: Call<'c>,
    lines: &'c [oca_header],
}

impl<'c> Lines<'c> {
    pub(crate) fn new(call: Call<'c>, request: &oca_request) -> Result<Self> {
        let lines = call.array(request.headers, request.headers_len, "request.headers")?;
        for line in lines {
            let name = call.bytes(line.name, "header name")?;
            check_name(name.ok_or_else(|| invalid("header name", Reason::Absent))?)?;
            call.bytes(line.value, "header value")?;
        }
        Ok(Self { call, lines })
    }
}

impl Headers for Lines<'_> {
    fn each<'h>(&'h self, visit: &mut dyn FnMut(&'h str, &'h [u8])) {
        for line in self.lines {
            let name = self.call.checked(line.name);
            // SAFETY: `new` has read every name as UTF-8, and nobody may change it meanwhile.
            let name = unsafe { str::from_utf8_unchecked(name) };
            visit(name, self.call.checked(line.value));
        }
    }
}

/// What a packed buffer holds.
pub(crate) struct Facts<'c> {
    pub(crate) remote: Option<&'c str>,
    pub(crate) local: Option<&'c str>,
    pub(crate) token: Option<&'c [u8]>,
    pub(crate) password: Option<&'c [u8]>,
    pub(crate) lines: PackedLines<'c>,
}

/// Header lines that lie end to end, all of them checked.
pub(crate) struct PackedLines<'c> {
    bytes: &'c [u8],
    lens: &'c [[u32; 2]],
}

/// Takes a packed buffer apart.
pub(crate) fn unpack<'c>(bytes: &'c [u8], lens: &'c [u32]) -> Result<Facts<'c>> {
    let Some(([remote, local, token, password], lens)) = lens.split_first_chunk() else {
        return Err(invalid("lens", Reason::Absent));
    };
    let (lens, []) = lens.as_chunks() else {
        return Err(invalid("lens", Reason::UnknownValue));
    };
    let mut rest = bytes;
    let text = |bytes: Option<&'c [u8]>, name| {
        let text = bytes.map(str::from_utf8).transpose();
        text.map_err(|_| invalid(name, Reason::NotUtf8))
    };
    let remote = text(next(&mut rest, *remote)?, "remote")?;
    let local = text(next(&mut rest, *local)?, "local")?;
    let token = next(&mut rest, *token)?;
    let password = next(&mut rest, *password)?;
    let lines = PackedLines { bytes: rest, lens };
    for [name, value] in lens {
        let name = next(&mut rest, *name)?.ok_or_else(|| invalid("header name", Reason::Absent))?;
        check_name(name)?;
        next(&mut rest, *value)?;
    }
    match rest.is_empty() {
        true => Ok(Facts {
            remote,
            local,
            token,
            password,
            lines,
        }),
        false => Err(invalid("bytes", Reason::TooLong)),
    }
}

/// Cuts the next text off; `None` when it is absent.
#[inline]
fn next<'c>(rest: &mut &'c [u8], len: u32) -> Result<Option<&'c [u8]>> {
    if len == ABSENT {
        return Ok(None);
    }
    let text = cut(rest, len).ok_or_else(|| invalid("lens", Reason::TooLong))?;
    Ok(Some(text))
}

/// The next `len` bytes, if there are so many.
#[inline]
fn cut<'c>(rest: &mut &'c [u8], len: u32) -> Option<&'c [u8]> {
    let (text, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = after;
    Some(text)
}

impl Headers for PackedLines<'_> {
    fn each<'h>(&'h self, visit: &mut dyn FnMut(&'h str, &'h [u8])) {
        let mut rest = self.bytes;
        for [name, value] in self.lens {
            let Some(name) = cut(&mut rest, *name) else {
                return;
            };
            let value = match *value {
                ABSENT => &[],
                value => cut(&mut rest, value).unwrap_or_default(),
            };
            // SAFETY: `unpack` has read every name as UTF-8, and nobody may change it meanwhile.
            let name = unsafe { str::from_utf8_unchecked(name) };
            visit(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_rust_writes_them() {
        for text in [
            "0.0.0.0",
            "1.2.3.4",
            "10.0.0.1",
            "100.101.102.103",
            "255.255.255.255",
            "9.10.99.200",
            "::",
            "::1",
            "2001:db8::1",
            "fe80::1:2:3:4",
            "1111:2222:3333:4444:5555:6666:7777:8888",
        ] {
            let address: IpAddr = text.parse().unwrap();
            let mut place = [0; OCA_IP_SIZE];
            let len = write_address(&mut place, Some(address));
            assert_eq!(place.get(..len), Some(text.as_bytes()));
            assert_eq!(place.get(len), Some(&0));
        }
        assert_eq!(write_address(&mut [0; OCA_IP_SIZE], None), 0);
    }
}
