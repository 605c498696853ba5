//! Leases: one upstream call, its credentials one after the other, and what came of it.

use std::mem::offset_of;
use std::ptr;

use auth::{
    CText, Classification, Code, CredentialKind, Error, Exhausted, Lease, LeaseRequest, Pin,
    PinSource, Probe, Verdict,
};
use serde_json::Value;

use crate::boundary::{
    Call, Grows, Reason, Result, document, free, into_handle, invalid, read, run,
};
use crate::engine::oca_engine;
use crate::error::{oca_error, oca_status};
use crate::json::Fields;
use crate::outcome::{OCA_OUTCOME_OK, Said, oca_outcome, reported, with_outcome};
use crate::text::{oca_str, oca_text};

/// oca_lease_request.flags: a token that has run out is not refreshed.
pub const OCA_LEASE_NO_REFRESH: u32 = 4;
/// oca_lease_request.flags: stored profiles only, no keys of the environment or configuration.
pub const OCA_LEASE_NO_ENV: u32 = 8;
/// oca_lease_request.flags: the session has just been started anew.
pub const OCA_LEASE_NEW_SESSION: u32 = 16;

/// oca_lease_state(): there is a credential to send.
pub const OCA_LEASE_STATE_ISSUED: u32 = 1;
/// oca_lease_state(): the outcome was reported, or the credential given back.
pub const OCA_LEASE_STATE_SETTLED: u32 = 3;

/// oca_lease_kind(): an API key.
pub const OCA_CREDENTIAL_API_KEY: u32 = 1;
/// oca_lease_kind(): a bearer token that is not refreshed.
pub const OCA_CREDENTIAL_TOKEN: u32 = 2;
/// oca_lease_kind(): an OAuth access token.
pub const OCA_CREDENTIAL_OAUTH: u32 = 3;
/// oca_lease_kind(): whatever the AWS libraries find by themselves; the secret is empty.
pub const OCA_CREDENTIAL_AWS_SDK: u32 = 4;
/// oca_lease_kind(): the provider needs no credential; the secret is empty.
pub const OCA_CREDENTIAL_NONE: u32 = 5;

/// oca_verdict.kind: the call went well, the lease is settled.
pub const OCA_VERDICT_DONE: u32 = 0;
/// oca_verdict.kind: wait delay_ms and send again with the credential that the lease holds now.
pub const OCA_VERDICT_RETRY: u32 = 1;
/// oca_verdict.kind: nothing is left to try; see oca_lease_exhausted_json().
pub const OCA_VERDICT_EXHAUSTED: u32 = 3;

/// What a credential is wanted for. provider is required, unless extra_json names models.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct oca_lease_request {
    /// sizeof(oca_lease_request).
    pub struct_size: usize,
    /// Provider, for example "openai".
    pub provider: oca_str,
    /// Model; may be absent. Cooldowns can concern one model.
    pub model: oca_str,
    /// Agent whose profiles are used; absent for the default agent.
    pub agent: oca_str,
    /// Session, which keeps to one profile; may be absent.
    pub session: oca_str,
    /// Only this profile; may be absent.
    pub profile: oca_str,
    /// Rare wishes as a JSON object: models (a list of "provider/model" that are tried in turn,
    /// instead of provider and model), pin {profile, source ("user" or "auto"), compactionCount},
    /// compactionCount, prefer (a profile), exclude (a list of candidates), probe ("auto", "force"
    /// or "never"), minValidMs, maxAttempts. May be absent.
    pub extra_json: oca_str,
    /// OCA_LEASE_* bits.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: numbers and raw pointers in C layout, the size first.
unsafe impl Grows for oca_lease_request {
    const FIRST_SIZE: usize = 112;
}

/// What follows a report.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct oca_verdict {
    /// sizeof(oca_verdict); then the number of bytes that were written.
    pub struct_size: usize,
    /// OCA_VERDICT_*.
    pub kind: u32,
    /// What the failure meant, as OCA_OUTCOME_*; OCA_OUTCOME_OK when done.
    pub reason: u32,
    /// HTTP status for the own caller when exhausted, else 0.
    pub http_status: u32,
    /// 1 if the same request may succeed later.
    pub retryable: u32,
    /// Milliseconds to wait before the retry.
    pub delay_ms: u64,
    /// When exhausted: milliseconds until another try makes sense; 0 if that is not known.
    pub retry_after_ms: u64,
}

// SAFETY: numbers in C layout, the size first.
unsafe impl Grows for oca_verdict {
    const FIRST_SIZE: usize = 40;
}

// The layout is part of the promise to programs that are already compiled.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<oca_lease_request>() == 112 && offset_of!(oca_lease_request, flags) == 104);
    assert!(size_of::<oca_verdict>() == 40 && offset_of!(oca_verdict, delay_ms) == 24);
};

/// One upstream call and the credential that it uses now. One thread at a time; any number may be
/// out. It keeps what it needs of its engine alive.
pub struct oca_lease {
    /// `None` when it is settled.
    issued: Option<Issued>,
    attempt: u32,
    end: Option<Box<Exhausted>>,
}

/// A lease of the core, and its texts as C wants them.
struct Issued {
    core: Lease,
    provider: CText,
    model: Option<CText>,
    profile: Option<CText>,
    source: CText,
}

impl Issued {
    fn new(core: Lease) -> Self {
        Self {
            provider: CText::new(core.provider()),
            model: core.model().map(CText::new),
            profile: core.profile_id().map(CText::new),
            source: CText::new(&core.source()),
            core,
        }
    }
}

impl oca_lease {
    fn new(core: Lease) -> Self {
        Self {
            attempt: attempt_of(&core),
            issued: Some(Issued::new(core)),
            end: None,
        }
    }

    fn issued(&self) -> Result<&Issued> {
        self.issued.as_ref().ok_or_else(|| {
            Error::new(
                Code::LeaseFinished,
                "the outcome of this lease has been reported already",
            )
        })
    }

    /// Reports, and goes on to what follows.
    fn report(&mut self, call: Call<'_>, outcome: &oca_outcome) -> Result<oca_verdict> {
        let lease = &self.issued()?.core;
        let verdict = with_outcome(call, outcome, |said| match said {
            Said::Success(headers) => lease.succeed(headers).map(|()| None),
            Said::Failure(signal) => lease.fail(signal).map(Some),
        })?;
        Ok(self.follow(verdict))
    }

    fn follow(&mut self, verdict: Option<Verdict>) -> oca_verdict {
        let mut shown = oca_verdict {
            struct_size: size_of::<oca_verdict>(),
            kind: OCA_VERDICT_DONE,
            reason: OCA_OUTCOME_OK,
            http_status: 0,
            retryable: 0,
            delay_ms: 0,
            retry_after_ms: 0,
        };
        self.issued = None;
        match verdict {
            Some(Verdict::Retry {
                lease,
                delay_ms,
                cause,
            }) => {
                shown.kind = OCA_VERDICT_RETRY;
                shown.delay_ms = delay_ms;
                shown.explain(&cause);
                self.attempt = attempt_of(&lease);
                self.issued = Some(Issued::new(*lease));
            }
            Some(Verdict::Exhausted(end)) => {
                shown.kind = OCA_VERDICT_EXHAUSTED;
                shown.explain(&end.last);
                shown.http_status = end.http_status().into();
                shown.retry_after_ms = end.retry_after_ms.unwrap_or(0);
                self.end = Some(end);
            }
            Some(_) | None => {}
        }
        shown
    }
}

impl oca_verdict {
    fn explain(&mut self, cause: &Classification) {
        self.reason = reported(cause.reason);
        self.retryable = cause.reason.is_retryable().into();
    }
}

fn attempt_of(lease: &Lease) -> u32 {
    u32::try_from(lease.attempt()).unwrap_or(u32::MAX)
}

/// The rare wishes of a request.
#[derive(Default)]
struct Extra {
    models: Vec<String>,
    pin: Option<Pin>,
    compaction_count: u64,
    prefer: Option<String>,
    exclude: Vec<String>,
    probe: Option<Probe>,
    min_valid_ms: Option<u64>,
    max_attempts: Option<u64>,
}

impl Extra {
    fn read(json: &str) -> Result<Self> {
        let mut fields = Fields::of(Some(json), "request.extra_json")?;
        let mut pin = fields.object("pin")?;
        let sources = "\"user\" or \"auto\"";
        let source = pin.word("source", sources, |word| {
            [PinSource::User, PinSource::Auto]
                .into_iter()
                .find(|source| source.as_str() == word)
        })?;
        let compaction_count = pin.number("compactionCount")?;
        let chosen = pin.text("profile")?.map(|profile| Pin {
            profile,
            source: source.unwrap_or(PinSource::User),
            compaction_count,
        });
        pin.end()?;
        let extra = Self {
            models: fields.texts("models")?,
            pin: chosen,
            compaction_count: fields.number("compactionCount")?.unwrap_or(0),
            prefer: fields.text("prefer")?,
            exclude: fields.texts("exclude")?,
            probe: fields.word("probe", "\"auto\", \"force\" or \"never\"", Probe::parse)?,
            min_valid_ms: fields.number("minValidMs")?,
            max_attempts: fields.number("maxAttempts")?,
        };
        fields.end()?;
        Ok(extra)
    }
}

fn acquire(call: Call<'_>, engine: &oca_engine, request: &oca_lease_request) -> Result<Lease> {
    const KNOWN: u32 = OCA_LEASE_NO_REFRESH | OCA_LEASE_NO_ENV | OCA_LEASE_NEW_SESSION;
    if request.flags & !KNOWN != 0 {
        return Err(invalid("request.flags", Reason::UnknownValue));
    }
    if request.reserved != 0 {
        return Err(invalid("request.reserved", Reason::UnknownValue));
    }
    let extra = match call.text(request.extra_json, "request.extra_json")? {
        Some(json) => Extra::read(json)?,
        None => Extra::default(),
    };
    let (models, exclude): (Vec<&str>, Vec<&str>) = (
        extra.models.iter().map(String::as_str).collect(),
        extra.exclude.iter().map(String::as_str).collect(),
    );
    let provider = call.text(request.provider, "request.provider")?;
    if provider.is_none() && models.is_empty() {
        return Err(invalid("request.provider", Reason::Absent));
    }
    engine.core.lease(&LeaseRequest {
        provider,
        model: call.text(request.model, "request.model")?,
        models: &models,
        agent: call.text(request.agent, "request.agent")?,
        session: call.text(request.session, "request.session")?,
        pin: extra.pin.as_ref(),
        new_session: request.flags & OCA_LEASE_NEW_SESSION != 0,
        compaction_count: extra.compaction_count,
        profile: call.text(request.profile, "request.profile")?,
        prefer: extra.prefer.as_deref(),
        exclude: &exclude,
        env: request.flags & OCA_LEASE_NO_ENV == 0,
        probe: extra.probe,
        min_valid_ms: extra.min_valid_ms,
        refresh: request.flags & OCA_LEASE_NO_REFRESH == 0,
        wait: true,
        max_attempts: extra.max_attempts,
    })
}

/// Lends the credential for an upstream call. OCA_ERR_NO_CREDENTIAL when there is none at all,
/// OCA_ERR_UNAVAILABLE when all of them have to rest (oca_error_retry_after_ms() says how long).
/// Blocks while an OAuth token is refreshed, unless OCA_LEASE_NO_REFRESH is set. Free the lease
/// with oca_lease_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_lease_acquire(
    engine: *const oca_engine,
    request: *const oca_lease_request,
    out: *mut *mut oca_lease,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let engine = call.borrow(engine, "engine")?;
            let lease = acquire(call, engine, &call.grown(request, "request")?)?;
            *out = into_handle(oca_lease::new(lease));
            Ok(())
        })
    }
}

/// OCA_LEASE_STATE_*; 0 for NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_lease_state(lease: *const oca_lease) -> u32 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(0, |call| match call.peek(lease) {
            None => 0,
            Some(lease) if lease.issued.is_some() => OCA_LEASE_STATE_ISSUED,
            Some(_) => OCA_LEASE_STATE_SETTLED,
        })
    }
}

/// Reads one text of a lease.
///
/// # Safety
///
/// `lease` keeps the contract of the header.
unsafe fn text_of(
    lease: *const oca_lease,
    text: impl for<'l> FnOnce(&'l Issued) -> Option<&'l CText>,
) -> oca_str {
    // SAFETY: as above.
    unsafe {
        read(oca_str::ABSENT, |call| {
            let issued = call.peek(lease).and_then(|lease| lease.issued.as_ref());
            issued.and_then(text).map_or(oca_str::ABSENT, oca_str::of)
        })
    }
}

/// The credential to send. It lives until the lease is reported, released or freed; then it is
/// absent. Do not log it.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_lease_secret(lease: *const oca_lease) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(oca_str::ABSENT, |call| {
            let issued = call.peek(lease).and_then(|lease| lease.issued.as_ref());
            issued.map_or(oca_str::ABSENT, |issued| {
                oca_str::of_secret(issued.core.credential())
            })
        })
    }
}

/// OCA_CREDENTIAL_*; 0 for NULL and for a settled lease.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_lease_kind(lease: *const oca_lease) -> u32 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(0, |call| {
            let issued = call.peek(lease).and_then(|lease| lease.issued.as_ref());
            issued.map_or(0, |issued| match issued.core.kind() {
                CredentialKind::ApiKey => OCA_CREDENTIAL_API_KEY,
                CredentialKind::Token => OCA_CREDENTIAL_TOKEN,
                CredentialKind::OAuth => OCA_CREDENTIAL_OAUTH,
                CredentialKind::AwsSdk => OCA_CREDENTIAL_AWS_SDK,
                _ => OCA_CREDENTIAL_NONE,
            })
        })
    }
}

/// The provider, in normal form. Lives like the secret.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_lease_provider(lease: *const oca_lease) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { text_of(lease, |issued| Some(&issued.provider)) }
}

/// The model to ask; absent when none was named. It changes when a chain of models goes on. Lives
/// like the secret.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_lease_model(lease: *const oca_lease) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { text_of(lease, |issued| issued.model.as_ref()) }
}

/// Id of the profile; absent for a key of the environment or the configuration. Lives like the
/// secret.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_lease_profile_id(lease: *const oca_lease) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { text_of(lease, |issued| issued.profile.as_ref()) }
}

/// Where the credential comes from, fit for logs: "profile:anthropic:work", "env:OPENAI_API_KEY".
/// Lives like the secret.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_lease_source(lease: *const oca_lease) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { text_of(lease, |issued| Some(&issued.source)) }
}

/// End of the token in milliseconds since 1970; 0 if it has none.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_lease_expires_at_ms(lease: *const oca_lease) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(0, |call| {
            let issued = call.peek(lease).and_then(|lease| lease.issued.as_ref());
            issued.and_then(|issued| issued.core.expires()).unwrap_or(0)
        })
    }
}

/// 1 for the first credential, then one more for each OCA_VERDICT_RETRY; 0 for NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_lease_attempt(lease: *const oca_lease) -> u32 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { read(0, |call| call.peek(lease).map_or(0, |lease| lease.attempt)) }
}

/// Everything about the credential but itself, as a JSON object {leaseId, chainId, attempt,
/// candidateId, profileId, provider, model, kind, source, expiresAt, meta {accountId, email,
/// projectId, enterpriseUrl}, probe, warning, skipped, switchedModel, acquiredAt}. OCA_ERR_STATE
/// when the lease is settled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_lease_metadata_json(
    lease: *const oca_lease,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            *out = document(call.borrow(lease, "lease")?.issued()?.core.to_json());
            Ok(())
        })
    }
}

/// Tells what came of the call, and says in *verdict what to do next. On OCA_VERDICT_RETRY the
/// lease holds the next credential and texts taken from it before are dead; otherwise it is
/// settled. A second report of a settled lease is OCA_ERR_STATE with code "lease_finished".
/// Blocks after a failure: windows are written, and an OAuth token may be refreshed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_lease_report(
    lease: *mut oca_lease,
    outcome: *const oca_outcome,
    verdict: *mut oca_verdict,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let lease = call.borrow_mut(lease, "lease")?;
            let place = call.place(verdict, "verdict")?;
            let outcome = call.grown(outcome, "outcome")?;
            place.put(lease.report(call, &outcome)?);
            Ok(())
        })
    }
}

/// Gives the credential back without a report; it counts as not used. NULL and a settled lease are
/// fine. oca_lease_free() does it too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_lease_release(lease: *mut oca_lease) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read((), |call| {
            if let Ok(lease) = call.borrow_mut(lease, "lease") {
                lease.issued = None;
            }
        });
    }
}

/// After OCA_VERDICT_EXHAUSTED: what was tried and what to do about it, as a JSON object {reason,
/// retryable, soonestAvailableAt, retryAfterMs, advice, httpStatus, attempts, lastError, message}.
/// *out is NULL when it has not come to that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_lease_exhausted_json(
    lease: *const oca_lease,
    out: *mut *mut oca_text,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let out = call.out(out, "out")?;
            let end = &call.borrow(lease, "lease")?.end;
            let shown: Option<Value> = end.as_ref().map(|end| end.to_json());
            *out = shown.map_or(ptr::null_mut(), document);
            Ok(())
        })
    }
}

/// Wipes and frees a lease; without a report it counts as not used. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_lease_free(lease: *mut oca_lease) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { free(lease) }
}
