//! Who may come in: requests, decisions and addresses.

use std::ffi::c_char;
use std::mem::offset_of;

use auth::access::{AccessRequest, Headers, decision_to_json, parse_peer};

use crate::boundary::{Call, Grows, Reason, Result, document, invalid, read, run};
use crate::engine::oca_engine;
use crate::error::{oca_error, oca_status};
use crate::judge::{Facts, Lines, credentials, kind_of, tls_of, unpack, write_address, written};
use crate::text::{oca_str, oca_text};

/// Size of oca_decision.user, with its NUL.
pub const OCA_USER_SIZE: usize = 520;
/// Size of an address as text, with its NUL.
pub const OCA_IP_SIZE: usize = 48;
/// Size of oca_decision.header, with its NUL.
pub const OCA_HEADER_NAME_SIZE: usize = 136;

/// oca_request.kind: an ordinary HTTP request.
pub const OCA_CONNECTION_HTTP: u32 = 0;
/// oca_request.kind: a request to upgrade to a WebSocket.
pub const OCA_CONNECTION_WEBSOCKET: u32 = 1;

/// oca_request.flags: the program itself terminated TLS on this connection.
pub const OCA_REQUEST_TLS: u32 = 1;
/// oca_request.flags: the server has merged repeated lines and look-alike names before (WSGI, CGI).
/// The decision is the same: a user with a comma in it is refused anyway, unless it is listed.
pub const OCA_REQUEST_FOLDED: u32 = 2;

/// oca_decision.flags: the peer is on this host and nobody seems to be behind it.
pub const OCA_DECISION_LOCAL_DIRECT: u32 = 1;
/// oca_decision.flags: send WWW-Authenticate: Bearer with the refusal.
pub const OCA_DECISION_CHALLENGE: u32 = 2;

/// oca_decision.flags: the configuration wants callers not to learn why they are refused
/// (gateway.http.hideAuthReasons): send the status only.
pub const OCA_DECISION_HIDE_REASON: u32 = 4;

/// oca_decision.method: not authenticated.
pub const OCA_METHOD_NONE: u32 = 0;
/// oca_decision.method: by the shared token.
pub const OCA_METHOD_TOKEN: u32 = 1;
/// oca_decision.method: by the shared password.
pub const OCA_METHOD_PASSWORD: u32 = 2;
/// oca_decision.method: by a trusted proxy that names the user.
pub const OCA_METHOD_TRUSTED_PROXY: u32 = 3;

/// One header line.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct oca_header {
    /// Name as received; UTF-8 without NUL.
    pub name: oca_str,
    /// Raw bytes of the value as received, without the line ending.
    pub value: oca_str,
}

/// What is known of a request.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct oca_request {
    /// sizeof(oca_request).
    pub struct_size: usize,
    /// Address of the transport peer, with or without port: "10.0.0.1:51234", "[::1]:80".
    pub remote: oca_str,
    /// Own address of the same connection; may be absent.
    pub local: oca_str,
    /// The header lines in the order of arrival, repeated ones too. NULL for none.
    pub headers: *const oca_header,
    /// Number of header lines.
    pub headers_len: usize,
    /// Token given by other means than a header. When token and password are both absent, the
    /// headers are looked at.
    pub token: oca_str,
    /// Password given by other means than a header.
    pub password: oca_str,
    /// OCA_CONNECTION_*.
    pub kind: u32,
    /// OCA_REQUEST_* bits.
    pub flags: u32,
}

// SAFETY: numbers and raw pointers in C layout, the size first.
unsafe impl Grows for oca_request {
    const FIRST_SIZE: usize = 96;
}

/// What was decided. Texts are inside and end with NUL; code and reason are static.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct oca_decision {
    /// sizeof(oca_decision); then the number of bytes that were written.
    pub struct_size: usize,
    /// 1 if the request may come in, else 0.
    pub allowed: u32,
    /// OCA_METHOD_* when allowed.
    pub method: u32,
    /// HTTP status for the refusal; 200 when allowed.
    pub http_status: u32,
    /// Code to close an open WebSocket with; 0 when allowed.
    pub ws_close_code: u32,
    /// OCA_DECISION_* bits.
    pub flags: u32,
    /// Milliseconds to wait before the refusal is sent.
    pub penalty_ms: u32,
    /// Milliseconds until another attempt makes sense; 0 for none.
    pub retry_after_ms: u64,
    /// Generation of the rules that decided.
    pub generation: u64,
    /// Stable code of the refusal, for example "token_missing"; empty when allowed. Static.
    pub code: oca_str,
    /// A stable word that tells more than the code; often empty. Static.
    pub reason: oca_str,
    /// The configured header that the refusal is about, or empty.
    pub header: [c_char; OCA_HEADER_NAME_SIZE],
    /// Address of the client behind the proxies; empty when unknown, never a guess.
    pub client_ip: [c_char; OCA_IP_SIZE],
    /// Address of the transport peer; empty when unknown.
    pub peer_ip: [c_char; OCA_IP_SIZE],
    /// The user whom a trusted proxy named, or empty.
    pub user: [c_char; OCA_USER_SIZE],
}

// SAFETY: numbers and raw pointers in C layout, the size first.
unsafe impl Grows for oca_decision {
    const FIRST_SIZE: usize = 832;
}

// The layout is part of the promise to programs that are already compiled.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<oca_str>() == 16 && size_of::<oca_header>() == 32);
    assert!(size_of::<oca_request>() == 96 && offset_of!(oca_request, flags) == 92);
    assert!(size_of::<oca_decision>() == 832 && offset_of!(oca_decision, code) == 48);
    assert!(offset_of!(oca_decision, header) == 80 && offset_of!(oca_decision, user) == 312);
};

/// Judges a request; a NULL request means that nothing is known of it. OCA_OK means that a
/// decision was made, also when it is "no". The decision is written, with allowed 0, on every
/// other status too, as long as it can be. Does not allocate or wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_authorize(
    engine: *const oca_engine,
    request: *const oca_request,
    decision: *mut oca_decision,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        written(decision, |call, decision| {
            let engine = call.borrow(engine, "engine")?;
            if request.is_null() {
                decision.judge(&engine.core, None);
                return Ok(());
            }
            let request = call.grown(request, "request")?;
            let lines = Lines::new(call, &request)?;
            decision.judge(&engine.core, Some(&facts(call, &request, &lines)?));
            Ok(())
        })
    }
}

/// The same from one buffer: remote, local, token, password, then name and value of each header
/// line, laid end to end. lens holds 4 + 2 * lines lengths, UINT32_MAX for an absent text. No
/// pointers inside: made for callers with a garbage collector.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_authorize_packed(
    engine: *const oca_engine,
    kind: u32,
    flags: u32,
    bytes: oca_str,
    lens: *const u32,
    lens_len: usize,
    decision: *mut oca_decision,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        written(decision, |call, decision| {
            let engine = call.borrow(engine, "engine")?;
            let bytes = call.bytes(bytes, "bytes")?.unwrap_or_default();
            let Facts {
                remote,
                local,
                token,
                password,
                lines,
            } = unpack(bytes, call.array(lens, lens_len, "lens")?)?;
            let request = AccessRequest {
                remote,
                local,
                headers: &lines,
                kind: kind_of(kind)?,
                tls: tls_of(flags)?,
                credentials: credentials(token, password),
            };
            decision.judge(&engine.core, Some(&request));
            Ok(())
        })
    }
}

/// Judges a request and gives the decision as JSON: {ok, method, user, clientIp, peerIp,
/// localDirect} or {ok, code, header, reason, httpStatus, message, ...}.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_authorize_json(
    engine: *const oca_engine,
    request: *const oca_request,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let core = &call.borrow(engine, "engine")?.core;
            let decision = if request.is_null() {
                core.authorize(None)
            } else {
                let request = call.grown(request, "request")?;
                let lines = Lines::new(call, &request)?;
                core.authorize(Some(&facts(call, &request, &lines)?))
            };
            *out = document(decision_to_json(&decision));
            Ok(())
        })
    }
}

/// Writes the address of the client behind the trusted proxies into buf, with a NUL, and its
/// length into out_len; length 0 means unknown. OCA_IP_SIZE bytes are always enough; with fewer
/// than needed the status is OCA_ERR_BUFFER_TOO_SMALL and only out_len is written. Does not
/// allocate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_client_ip(
    engine: *const oca_engine,
    request: *const oca_request,
    buf: *mut c_char,
    cap: usize,
    out_len: *mut usize,
) -> oca_status {
    let mut too_small = false;
    // SAFETY: the caller keeps the contract of the header.
    let status = unsafe {
        run(std::ptr::null_mut(), |call| {
            let core = &call.borrow(engine, "engine")?.core;
            let out_len = call.borrow_mut(out_len, "out_len")?;
            let buf = call.buffer(buf, cap, "buf")?;
            let request = call.grown(request, "request")?;
            let lines = Lines::new(call, &request)?;
            let snapshot = core.snapshot();
            let client = snapshot
                .access()
                .client_address(&facts(call, &request, &lines)?);
            let mut text = [0_u8; OCA_IP_SIZE];
            let len = write_address(&mut text, client);
            *out_len = len;
            match buf.get_mut(..=len).zip(text.get(..=len)) {
                Some((buf, text)) => buf.copy_from_slice(text),
                None => too_small = true,
            }
            Ok(())
        })
    };
    match too_small {
        true => oca_status::OCA_ERR_BUFFER_TOO_SMALL,
        false => status,
    }
}

/// Whether an address, with or without port, is one of gateway.trustedProxies. Does not allocate.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_is_trusted_proxy(engine: *const oca_engine, addr: oca_str) -> bool {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(false, |call| {
            let peer = call.text(addr, "addr").ok().flatten().and_then(parse_peer);
            call.peek(engine).zip(peer).is_some_and(|(engine, peer)| {
                engine.core.snapshot().access().is_trusted_proxy(peer)
            })
        })
    }
}

fn facts<'c>(
    call: Call<'c>,
    request: &oca_request,
    lines: &'c dyn Headers,
) -> Result<AccessRequest<'c>> {
    Ok(AccessRequest {
        remote: call.text(request.remote, "request.remote")?,
        local: call.text(request.local, "request.local")?,
        headers: lines,
        kind: kind_of(request.kind)?,
        tls: tls_of(request.flags)?,
        credentials: credentials(
            call.bytes(request.token, "request.token")?,
            call.bytes(request.password, "request.password")?,
        ),
    })
}

/// The error for a value that a newer header may have.
pub(crate) fn unknown(argument: &str) -> auth::Error {
    invalid(argument, Reason::UnknownValue)
}
