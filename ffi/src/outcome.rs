//! What came of an upstream call, and what that means.

use std::borrow::Cow;
use std::mem::offset_of;

use auth::host::Host;
use auth::{Classification, Reason as Cause, Signal, Transport};

use crate::access::{oca_header, unknown};
use crate::boundary::{Call, Grows, Reason, Result, document, invalid, run};
use crate::engine::oca_engine;
use crate::error::{oca_error, oca_status};
use crate::text::{oca_str, oca_text};

/// oca_outcome.kind: the call went well.
pub const OCA_OUTCOME_OK: u32 = 0;
/// oca_outcome.kind: it failed, and the library finds out what that means.
pub const OCA_OUTCOME_CLASSIFY: u32 = 1;
/// It failed: throttling, or a quota that resets by itself.
pub const OCA_OUTCOME_RATE_LIMIT: u32 = 2;
/// It failed: the provider or the model is out of capacity.
pub const OCA_OUTCOME_OVERLOADED: u32 = 3;
/// It failed: out of credit, unpaid, a hard limit.
pub const OCA_OUTCOME_BILLING: u32 = 4;
/// It failed: the credential was rejected, which may be repaired.
pub const OCA_OUTCOME_AUTH: u32 = 5;
/// It failed: the credential or the account is revoked.
pub const OCA_OUTCOME_AUTH_PERMANENT: u32 = 6;
/// It failed: no answer in time.
pub const OCA_OUTCOME_TIMEOUT: u32 = 7;
/// It failed: a failure inside the provider.
pub const OCA_OUTCOME_SERVER_ERROR: u32 = 8;
/// It failed: no connection.
pub const OCA_OUTCOME_NETWORK: u32 = 9;
/// It failed: the request itself was refused.
pub const OCA_OUTCOME_FORMAT: u32 = 10;
/// It failed: the model does not exist for this credential.
pub const OCA_OUTCOME_MODEL_NOT_FOUND: u32 = 11;
/// It failed: the conversation that the provider kept is gone.
pub const OCA_OUTCOME_SESSION_EXPIRED: u32 = 12;
/// It failed: the prompt is too large.
pub const OCA_OUTCOME_CONTEXT_OVERFLOW: u32 = 13;
/// It failed: the caller gave up.
pub const OCA_OUTCOME_CANCELLED: u32 = 14;
/// It failed for a reason that nobody knows.
pub const OCA_OUTCOME_UNKNOWN: u32 = 15;

/// oca_outcome.transport: an answer of the provider arrived.
pub const OCA_TRANSPORT_NONE: u32 = 0;
/// oca_outcome.transport: no answer in time.
pub const OCA_TRANSPORT_TIMEOUT: u32 = 1;
/// oca_outcome.transport: no connection.
pub const OCA_TRANSPORT_CONNECT: u32 = 2;
/// oca_outcome.transport: the name could not be resolved.
pub const OCA_TRANSPORT_DNS: u32 = 3;
/// oca_outcome.transport: no secure connection.
pub const OCA_TRANSPORT_TLS: u32 = 4;
/// oca_outcome.transport: the connection broke.
pub const OCA_TRANSPORT_RESET: u32 = 5;
/// oca_outcome.transport: the caller gave up.
pub const OCA_TRANSPORT_CANCELLED: u32 = 6;

/// What came of an upstream call. For a failure more is better; what is not known stays zero.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct oca_outcome {
    /// sizeof(oca_outcome).
    pub struct_size: usize,
    /// OCA_OUTCOME_*; usually OK or CLASSIFY.
    pub kind: u32,
    /// HTTP status of the answer; 0 if there was none.
    pub http_status: u32,
    /// OCA_TRANSPORT_*: a failure below HTTP.
    pub transport: u32,
    /// 0.
    pub reserved: u32,
    /// Error text; may be absent.
    pub message: oca_str,
    /// Body of the answer, as received, at best its first 64 KiB; may be absent.
    pub body: oca_str,
    /// Error code of the provider, if the caller has parsed it; may be absent.
    pub code: oca_str,
    /// Header lines of the answer. NULL for none.
    pub headers: *const oca_header,
    /// Number of header lines.
    pub headers_len: usize,
    /// Error type of the provider, if the caller has parsed it; may be absent.
    pub error_type: oca_str,
}

// SAFETY: numbers and raw pointers in C layout, the size first.
unsafe impl Grows for oca_outcome {
    const FIRST_SIZE: usize = 104;
}

// The layout is part of the promise to programs that are already compiled.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<oca_outcome>() == 104 && offset_of!(oca_outcome, message) == 24);
    assert!(offset_of!(oca_outcome, headers) == 72 && offset_of!(oca_outcome, error_type) == 88);
};

const REASONS: &[(u32, Cause)] = &[
    (OCA_OUTCOME_RATE_LIMIT, Cause::RateLimit),
    (OCA_OUTCOME_OVERLOADED, Cause::Overloaded),
    (OCA_OUTCOME_BILLING, Cause::Billing),
    (OCA_OUTCOME_AUTH, Cause::Auth),
    (OCA_OUTCOME_AUTH_PERMANENT, Cause::AuthPermanent),
    (OCA_OUTCOME_TIMEOUT, Cause::Timeout),
    (OCA_OUTCOME_SERVER_ERROR, Cause::ServerError),
    (OCA_OUTCOME_NETWORK, Cause::Network),
    (OCA_OUTCOME_FORMAT, Cause::Format),
    (OCA_OUTCOME_MODEL_NOT_FOUND, Cause::ModelNotFound),
    (OCA_OUTCOME_SESSION_EXPIRED, Cause::SessionExpired),
    (OCA_OUTCOME_CONTEXT_OVERFLOW, Cause::ContextOverflow),
    (OCA_OUTCOME_CANCELLED, Cause::Cancelled),
    (OCA_OUTCOME_UNKNOWN, Cause::Unknown),
];

const TRANSPORTS: &[(u32, Option<Transport>)] = &[
    (OCA_TRANSPORT_NONE, None),
    (OCA_TRANSPORT_TIMEOUT, Some(Transport::Timeout)),
    (OCA_TRANSPORT_CONNECT, Some(Transport::Connect)),
    (OCA_TRANSPORT_DNS, Some(Transport::Dns)),
    (OCA_TRANSPORT_TLS, Some(Transport::Tls)),
    (OCA_TRANSPORT_RESET, Some(Transport::Reset)),
    (OCA_TRANSPORT_CANCELLED, Some(Transport::Cancelled)),
];

/// A reason as `OCA_OUTCOME_*`.
pub(crate) fn reported(cause: Cause) -> u32 {
    let row = REASONS.iter().find(|(_, known)| *known == cause);
    row.map_or(OCA_OUTCOME_UNKNOWN, |(number, _)| *number)
}

/// What an outcome says: a success with the headers of the answer, or a failure.
pub(crate) enum Said<'s> {
    Success(&'s [(&'s str, &'s str)]),
    Failure(&'s Signal<'s>),
}

/// Reads an outcome and hands it on.
pub(crate) fn with_outcome<T>(
    call: Call<'_>,
    outcome: &oca_outcome,
    then: impl FnOnce(Said<'_>) -> Result<T>,
) -> Result<T> {
    let (reason, transport) = (reason_of(outcome)?, transport_of(outcome)?);
    let status = match outcome.http_status {
        0 => None,
        status => {
            let status = u16::try_from(status);
            Some(status.map_err(|_| unknown("outcome.http_status"))?)
        }
    };
    if outcome.reserved != 0 {
        return Err(unknown("outcome.reserved"));
    }
    let lines = call.array(outcome.headers, outcome.headers_len, "outcome.headers")?;
    let mut headers = Vec::with_capacity(lines.len());
    for line in lines {
        let name = call.bytes(line.name, "header name")?;
        let name = name.ok_or_else(|| invalid("header name", Reason::Absent))?;
        let value = call.bytes(line.value, "header value")?.unwrap_or_default();
        // No header that says anything about limits holds other bytes.
        if let (Ok(name), Ok(value)) = (str::from_utf8(name), str::from_utf8(value)) {
            headers.push((name, value));
        }
    }
    let body = call.bytes(outcome.body, "outcome.body")?;
    let body: Option<Cow<'_, str>> = body.map(String::from_utf8_lossy);
    let signal = Signal {
        status,
        code: call.text(outcome.code, "outcome.code")?,
        kind: call.text(outcome.error_type, "outcome.error_type")?,
        message: call.text(outcome.message, "outcome.message")?,
        body: body.as_deref(),
        headers: &headers,
        transport,
        reason,
        ..Signal::default()
    };
    match outcome.kind {
        OCA_OUTCOME_OK => then(Said::Success(&headers)),
        _ => then(Said::Failure(&signal)),
    }
}

fn reason_of(outcome: &oca_outcome) -> Result<Option<Cause>> {
    if matches!(outcome.kind, OCA_OUTCOME_OK | OCA_OUTCOME_CLASSIFY) {
        return Ok(None);
    }
    let row = REASONS.iter().find(|(known, _)| *known == outcome.kind);
    let (_, cause) = row.ok_or_else(|| unknown("outcome.kind"))?;
    Ok(Some(*cause))
}

fn transport_of(outcome: &oca_outcome) -> Result<Option<Transport>> {
    let row = TRANSPORTS
        .iter()
        .find(|(known, _)| *known == outcome.transport);
    let (_, transport) = row.ok_or_else(|| unknown("outcome.transport"))?;
    Ok(*transport)
}

/// What a failure means and by which rule, as a JSON object {reason, scope, quota, rotatesKeys,
/// rotatesProfiles, penalizes, retryAfterMs, retrySource, status, code, message, rule}. Changes
/// nothing. By the settings of the engine; a NULL engine means by default settings. provider and
/// model may be absent; the kind OCA_OUTCOME_OK counts as CLASSIFY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_classify_json(
    engine: *const oca_engine,
    provider: oca_str,
    model: oca_str,
    outcome: *const oca_outcome,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let mut outcome = call.grown(outcome, "outcome")?;
            outcome.kind = outcome.kind.max(OCA_OUTCOME_CLASSIFY);
            let (provider, model) = (call.text(provider, "provider")?, call.text(model, "model")?);
            let engine = call.peek(engine);
            with_outcome(call, &outcome, |said| {
                let Said::Failure(signal) = said else {
                    return Ok(());
                };
                let signal = Signal {
                    provider,
                    model,
                    ..*signal
                };
                let found = match engine {
                    Some(engine) => engine.core.classify(&signal),
                    None => {
                        let now = Host::with_vars(Default::default()).clock.now_ms();
                        Classification::of(&signal, now)
                    }
                };
                *out = document(found.to_json());
                Ok(())
            })
        })
    }
}
