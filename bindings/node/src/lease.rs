//! Leases: one attempt after the other with the credentials of one request.

use std::sync::Arc;

use napi::bindgen_prelude::{AsyncTask, Buffer, External};
use napi_derive::napi;
use openclaw_auth::{
    Classification, Code, Error, Lease, LeaseRequest, Pin, Reason, Result, SessionEntry, Signal,
    Transport, Verdict,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::boundary::{Handle, Job, closed, elsewhere, guard, invalid};
use crate::engine::{Shared, engine, with};
use crate::fields::Fields;

/// The lease of a `Lease` of JavaScript.
pub(crate) type Held = Arc<Mutex<State>>;

/// What has become of it.
pub(crate) enum State {
    /// It is out: another one after each retry.
    Out(Lease),
    /// Its outcome is being reported.
    Reporting,
    Closed,
}

const REQUEST: &[&str] = &[
    "agent",
    "compactionCount",
    "env",
    "exclude",
    "maxAttempts",
    "minValidMs",
    "model",
    "models",
    "newSession",
    "pin",
    "prefer",
    "probe",
    "profile",
    "provider",
    "refresh",
    "session",
];

const OUTCOME: &[&str] = &[
    "body",
    "code",
    "headers",
    "message",
    "model",
    "provider",
    "reason",
    "status",
    "transport",
    "type",
];

fn acquire(shared: &Shared, request: &str, wait: bool) -> Result<Held> {
    let fields = Fields::read(request, REQUEST)?;
    let models = fields.texts("models")?.unwrap_or_default();
    let exclude = fields.texts("exclude")?.unwrap_or_default();
    let pin = pin(&fields)?;
    let lease = shared.core.lease(&LeaseRequest {
        provider: fields.text("provider")?,
        model: fields.text("model")?,
        models: &models,
        agent: fields.text("agent")?,
        session: fields.text("session")?,
        pin: pin.as_ref(),
        new_session: fields.flag("newSession")?.unwrap_or_default(),
        compaction_count: fields.count("compactionCount")?.unwrap_or_default(),
        profile: fields.text("profile")?,
        prefer: fields.text("prefer")?,
        exclude: &exclude,
        env: fields.flag("env")?.unwrap_or(true),
        probe: fields.word("probe", openclaw_auth::Probe::parse)?,
        min_valid_ms: fields.count("minValidMs")?,
        refresh: fields.flag("refresh")?.unwrap_or(true),
        max_attempts: fields.count("maxAttempts")?,
        wait,
    })?;
    Ok(Arc::new(Mutex::new(State::Out(lease))))
}

/// The pin has the keys of a session entry.
fn pin(fields: &Fields) -> Result<Option<Pin>> {
    match fields.value("pin") {
        None => Ok(None),
        Some(value) => SessionEntry::from_json(value)
            .pin
            .map(Some)
            .ok_or_else(|| invalid("pin", "a session entry that names a profile")),
    }
}

/// Lends a credential on another thread.
#[napi(catch_unwind)]
pub(crate) fn lease_async(
    slot: u32,
    request: String,
) -> napi::Result<AsyncTask<Job<Handle<Held>>>> {
    let shared = guard(|| engine(slot))?;
    Ok(elsewhere(move || {
        acquire(&shared, &request, true).map(Handle)
    }))
}

/// Lends a credential; with `wait` false only if that takes no waiting, else nothing.
#[napi(catch_unwind)]
pub(crate) fn lease_sync(
    slot: u32,
    request: String,
    wait: bool,
) -> napi::Result<Option<External<Held>>> {
    guard(|| {
        let shared = match wait {
            // The table of engines must not be locked meanwhile.
            true => {
                return acquire(&*engine(slot)?, &request, true)
                    .map(|held| Some(External::new(held)));
            }
            false => |shared: &Arc<Shared>| acquire(shared, &request, false),
        };
        match with(slot, shared) {
            Ok(held) => Ok(Some(External::new(held))),
            Err(error) if error.code() == Code::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    })
}

/// The secret of a lease.
#[napi(catch_unwind)]
pub(crate) fn lease_secret(held: &External<Held>) -> napi::Result<String> {
    guard(|| look(held, |lease| lease.credential().expose().to_owned()))
}

/// A copy of the secret that can be overwritten.
#[napi(catch_unwind)]
pub(crate) fn lease_secret_bytes(held: &External<Held>) -> napi::Result<Buffer> {
    guard(|| {
        look(held, |lease| {
            lease.credential().expose().as_bytes().to_vec().into()
        })
    })
}

/// Everything but the secret, as JSON.
#[napi(catch_unwind)]
pub(crate) fn lease_info(held: &External<Held>) -> napi::Result<String> {
    guard(|| look(held, |lease| lease.to_json().to_string()))
}

/// Reports an outcome and gives the verdict as JSON. After a retry the handle holds the next
/// lease. May block unless the outcome is a success.
#[napi(catch_unwind)]
pub(crate) fn report_sync(held: &External<Held>, outcome: String) -> napi::Result<String> {
    guard(|| report(held, &outcome))
}

/// The same on another thread.
#[napi(catch_unwind)]
pub(crate) fn report_async(held: &External<Held>, outcome: String) -> AsyncTask<Job<String>> {
    let held = Arc::clone(held);
    elsewhere(move || report(&held, &outcome))
}

/// Gives a credential back.
#[napi(catch_unwind)]
pub(crate) fn lease_close(held: &External<Held>) {
    let state = std::mem::replace(&mut *held.lock(), State::Closed);
    drop(state);
}

fn look<T>(held: &Held, read: impl FnOnce(&Lease) -> T) -> Result<T> {
    match &*held.lock() {
        State::Out(lease) => Ok(read(lease)),
        State::Reporting => Err(finished()),
        State::Closed => Err(closed("lease")),
    }
}

/// What a failure means, without a lease.
#[napi(catch_unwind)]
pub(crate) fn classify(outcome: String, now_ms: f64) -> napi::Result<String> {
    guard(|| {
        let fields = Fields::read(&outcome, OUTCOME)?;
        let headers = fields.pairs("headers")?;
        Ok(
            Classification::of(&signal(&fields, &headers)?, now_ms as u64)
                .to_json()
                .to_string(),
        )
    })
}

fn signal<'f>(fields: &'f Fields, headers: &'f [(&'f str, &'f str)]) -> Result<Signal<'f>> {
    let status = fields.count("status")?;
    Ok(Signal {
        status: status.and_then(|status| u16::try_from(status).ok()),
        code: fields.text("code")?,
        kind: fields.text("type")?,
        message: fields.text("message")?,
        body: fields.text("body")?,
        headers,
        transport: fields.word("transport", Transport::parse)?,
        provider: fields.text("provider")?,
        model: fields.text("model")?,
        reason: fields.word("reason", Reason::parse)?,
    })
}

fn report(held: &Held, outcome: &str) -> Result<String> {
    let fields = Fields::read(outcome, OUTCOME)?;
    let headers = fields.pairs("headers")?;
    let signal = signal(&fields, &headers)?;
    let says_nothing = signal.code.is_none()
        && signal.kind.is_none()
        && signal.message.is_none()
        && signal.body.is_none()
        && signal.transport.is_none()
        && signal.reason.is_none();
    if says_nothing && signal.status.is_none() {
        return Err(invalid("outcome", "an object that says what happened"));
    }
    let lease = take(held)?;
    let ended = |lease: Lease, verdict: Result<Value>| {
        put_back(held, lease);
        verdict.map(|verdict| verdict.to_string())
    };
    if says_nothing
        && signal
            .status
            .is_some_and(|status| (200..400).contains(&status))
    {
        let done = lease.succeed(&headers).map(|()| json!({"kind": "done"}));
        return ended(lease, done);
    }
    match lease.fail(&signal) {
        Ok(Verdict::Retry {
            lease: next,
            delay_ms,
            cause,
        }) => {
            let verdict = json!({
                "kind": "retry",
                "delayMs": delay_ms,
                "cause": cause.to_json(),
                "candidateId": next.candidate_id(),
            });
            ended(*next, Ok(verdict))
        }
        Ok(Verdict::Exhausted(end)) => {
            let mut verdict = end.to_json();
            if let Value::Object(verdict) = &mut verdict {
                verdict.insert("kind".to_owned(), "exhausted".into());
            }
            ended(lease, Ok(verdict))
        }
        Ok(_) => ended(lease, Ok(json!({"kind": "done"}))),
        Err(error) => ended(lease, Err(error)),
    }
}

/// Takes a lease out while it is worked on, so that `close` and the getters never wait.
fn take(held: &Held) -> Result<Lease> {
    let mut state = held.lock();
    match std::mem::replace(&mut *state, State::Reporting) {
        State::Out(lease) => Ok(lease),
        State::Reporting => Err(finished()),
        State::Closed => {
            *state = State::Closed;
            Err(closed("lease"))
        }
    }
}

/// Puts a lease back, unless the handle has been closed meanwhile.
fn put_back(held: &Held, lease: Lease) {
    let mut state = held.lock();
    if matches!(*state, State::Reporting) {
        *state = State::Out(lease);
    }
}

fn finished() -> Error {
    Error::new(
        Code::LeaseFinished,
        "the outcome of this lease is being reported",
    )
}
