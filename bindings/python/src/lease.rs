//! Leases and what follows a failure.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use auth::host::Host;
use auth::{
    Attempt, Classification, CredentialKind, LeaseRequest, Probe, Reason, Signal, Transport,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use serde_json::Value;

use crate::access::{Lines, Pairs};
use crate::boundary::{Era, closed, detached, invalid, quick, waiting};
use crate::convert::{milliseconds, object, seconds, word};
use crate::engine::Engine;

/// A credential, lent. A retry puts the next one in its place.
#[pyclass(frozen, module = "openclaw_auth._native")]
pub(crate) struct Lease {
    current: Mutex<Option<Arc<auth::Lease>>>,
    era: Era,
}

/// What a caller wants, owned, so that it can go to another thread.
struct Wish {
    provider: Option<String>,
    model: Option<String>,
    models: Vec<String>,
    agent: Option<String>,
    session: Option<String>,
    new_session: bool,
    compaction_count: u64,
    profile: Option<String>,
    prefer: Option<String>,
    exclude: Vec<String>,
    env: bool,
    probe: Option<Probe>,
    min_valid_ms: Option<u64>,
    refresh: bool,
    max_attempts: Option<u64>,
}

impl Wish {
    fn lend(&self, core: &auth::Engine) -> auth::Result<auth::Lease> {
        let models: Vec<&str> = self.models.iter().map(String::as_str).collect();
        let exclude: Vec<&str> = self.exclude.iter().map(String::as_str).collect();
        core.lease(&LeaseRequest {
            provider: self.provider.as_deref(),
            model: self.model.as_deref(),
            models: &models,
            agent: self.agent.as_deref(),
            session: self.session.as_deref(),
            pin: None,
            new_session: self.new_session,
            compaction_count: self.compaction_count,
            profile: self.profile.as_deref(),
            prefer: self.prefer.as_deref(),
            exclude: &exclude,
            env: self.env,
            probe: self.probe,
            min_valid_ms: self.min_valid_ms,
            refresh: self.refresh,
            wait: true,
            max_attempts: self.max_attempts,
        })
    }

    /// Whether lending may have to wait for a token to be refreshed.
    fn may_wait(&self, core: &auth::Engine) -> bool {
        self.refresh
            && core
                .oauth_profiles(self.agent.as_deref())
                .is_ok_and(|profiles| !profiles.is_empty())
    }
}

#[pymethods]
impl Engine {
    /// Lends a credential. With `wait=False` it gives `None` where it would have to wait.
    #[pyo3(signature = (provider=None, model=None, models=None, agent=None, session=None,
        new_session=false, compaction_count=0, profile=None, prefer=None, exclude=None, env=true,
        probe=None, min_valid=None, refresh=true, max_attempts=None, wait=true))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are keywords, seen from Python"
    )]
    fn lease(
        &self,
        py: Python<'_>,
        provider: Option<String>,
        model: Option<String>,
        models: Option<Vec<String>>,
        agent: Option<String>,
        session: Option<String>,
        new_session: bool,
        compaction_count: u64,
        profile: Option<String>,
        prefer: Option<String>,
        exclude: Option<Vec<String>>,
        env: bool,
        probe: Option<&str>,
        min_valid: Option<f64>,
        refresh: bool,
        max_attempts: Option<u64>,
        wait: bool,
    ) -> PyResult<Option<Lease>> {
        let probes = "`auto`, `force` or `never`";
        let min_valid = min_valid.map(|value| milliseconds(py, "min_valid", value));
        let wish = Wish {
            provider,
            model,
            models: models.unwrap_or_default(),
            agent,
            session,
            new_session,
            compaction_count,
            profile,
            prefer,
            exclude: exclude.unwrap_or_default(),
            env,
            probe: word(py, "probe", probe, Probe::parse, probes)?,
            min_valid_ms: min_valid.transpose()?,
            refresh,
            max_attempts,
        };
        let lent = self.detached(py, |core| match wish.may_wait(core) {
            true => Ok(None),
            false => wish.lend(core).map(Some),
        })?;
        let lent = match lent {
            Some(lease) => lease,
            None if wait => self.waiting(py, move |core| wish.lend(core))?,
            None => return Ok(None),
        };
        Ok(Some(Lease {
            current: Mutex::new(Some(Arc::new(lent))),
            era: self.era(),
        }))
    }
}

impl Lease {
    fn core(&self) -> auth::Result<Arc<auth::Lease>> {
        self.era.check()?;
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or_else(|| closed("lease"))
    }

    fn read<T>(&self, py: Python<'_>, body: impl FnOnce(&auth::Lease) -> T) -> PyResult<T> {
        quick(py, || Ok(body(&*self.core()?)))
    }

    /// Turns to the next lease, unless the caller has closed this one meanwhile. Whether it is
    /// with the same credential.
    fn turn_to(&self, next: auth::Lease) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = current.as_mut() else {
            return false;
        };
        let same = last.candidate_id() == next.candidate_id();
        *last = Arc::new(next);
        same
    }
}

#[pymethods]
impl Lease {
    #[getter]
    fn secret<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        self.read(py, |lease| PyString::new(py, lease.credential().expose()))
    }

    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<String> {
        self.read(py, auth::Lease::id)
    }

    #[getter]
    fn chain_id(&self, py: Python<'_>) -> PyResult<String> {
        self.read(py, auth::Lease::chain_id)
    }

    #[getter]
    fn attempt(&self, py: Python<'_>) -> PyResult<u64> {
        self.read(py, auth::Lease::attempt)
    }

    #[getter]
    fn candidate_id(&self, py: Python<'_>) -> PyResult<String> {
        self.read(py, |lease| lease.candidate_id().to_owned())
    }

    #[getter]
    fn profile_id(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.read(py, |lease| lease.profile_id().map(str::to_owned))
    }

    #[getter]
    fn provider(&self, py: Python<'_>) -> PyResult<String> {
        self.read(py, |lease| lease.provider().to_owned())
    }

    #[getter]
    fn model(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.read(py, |lease| lease.model().map(str::to_owned))
    }

    #[getter]
    fn kind(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.read(py, |lease| lease.kind().as_str())
    }

    #[getter]
    fn source(&self, py: Python<'_>) -> PyResult<String> {
        self.read(py, auth::Lease::source)
    }

    #[getter]
    fn expires_at(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.read(py, auth::Lease::expires)
    }

    #[getter]
    fn account_id(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.read(py, |lease| lease.account_id().map(str::to_owned))
    }

    #[getter]
    fn probe(&self, py: Python<'_>) -> PyResult<bool> {
        self.read(py, auth::Lease::is_probe)
    }

    #[getter]
    fn warning(&self, py: Python<'_>) -> PyResult<Option<&'static str>> {
        self.read(py, auth::Lease::warning)
    }

    #[getter]
    fn switched_model(&self, py: Python<'_>) -> PyResult<bool> {
        self.read(py, auth::Lease::switched_model)
    }

    #[getter]
    fn closed(&self) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.is_none()
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let document = self.read(py, auth::Lease::to_json)?;
        object(py, &document)
    }

    /// Reports an outcome. With `wait=False` it gives `None` where it would have to wait.
    #[pyo3(signature = (status=None, headers=None, body=None, message=None, code=None, kind=None,
        transport=None, reason=None, wait=true))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are keywords, seen from Python"
    )]
    fn report(
        &self,
        py: Python<'_>,
        status: Option<u16>,
        headers: Option<&Bound<'_, PyAny>>,
        body: Option<&Bound<'_, PyAny>>,
        message: Option<&str>,
        code: Option<&str>,
        kind: Option<&str>,
        transport: Option<&str>,
        reason: Option<&str>,
        wait: bool,
    ) -> PyResult<Option<Verdict>> {
        let lease = quick(py, || self.core())?;
        let pairs = Pairs::new(headers)?;
        let lines = Lines::new(&pairs)?;
        let lines = lines.texts();
        let texts: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (*n, &**v)).collect();
        let body = body.map(|body| body_text(py, body)).transpose()?;
        let signal = Signal {
            status,
            code,
            kind,
            message,
            body: body.as_deref().filter(|body| !body.is_empty()),
            headers: &texts,
            ..words(py, transport, reason)?
        };
        if is_success(&signal) {
            detached(py, || lease.succeed(signal.headers))?;
            return Ok(Some(Verdict::done()));
        }
        // Only a refused OAuth token is refreshed.
        let refused = !matches!(status, Some(status) if !matches!(status, 401 | 403));
        let verdict = if lease.kind() == CredentialKind::OAuth && refused {
            if !wait {
                return Ok(None);
            }
            let told = Told::of(&signal);
            waiting(py, move || told.to(&lease))?
        } else {
            detached(py, || lease.fail(&signal))?
        };
        Ok(Some(self.follow(verdict)))
    }

    /// Gives the credential back.
    fn close(&self) {
        if !self.era.is_over() {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            *current = None;
        }
    }

    fn __repr__(&self) -> String {
        match self.core() {
            Ok(lease) => format!("<Lease {} {}>", lease.provider(), lease.candidate_id()),
            Err(_) => "<Lease closed>".to_owned(),
        }
    }
}

impl Lease {
    fn follow(&self, verdict: auth::Verdict) -> Verdict {
        match verdict {
            auth::Verdict::Retry {
                lease,
                delay_ms,
                cause,
            } => {
                let same = self.turn_to(*lease);
                Verdict {
                    kind: "retry",
                    delay: seconds(delay_ms),
                    reason: Some(cause.reason.as_str()),
                    retry_after: cause.retry_after_ms.map(seconds),
                    http_status: cause.reason.http_status(),
                    message: cause.message.clone(),
                    renewed: same,
                    retryable: true,
                    document: cause.to_json(),
                    attempts: Vec::new(),
                }
            }
            auth::Verdict::Exhausted(end) => Verdict {
                kind: "exhausted",
                delay: 0.0,
                reason: Some(end.reason.as_str()),
                retry_after: end.retry_after_ms.map(seconds),
                http_status: end.http_status(),
                message: end.message.clone(),
                renewed: false,
                retryable: end.retryable,
                document: end.to_json(),
                attempts: end.attempts,
            },
            // The core has no third answer.
            _ => Verdict::done(),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Locks that a thread of the parent held are held for ever in a forked child.
        if self.era.is_over() {
            let current = self.current.get_mut();
            std::mem::forget(current.unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// What a provider's refusal means, without an engine. `now` is in milliseconds since 1970.
#[pyfunction]
#[pyo3(signature = (status=None, *, headers=None, body=None, message=None, code=None, kind=None,
    transport=None, reason=None, provider=None, model=None, now=None))]
#[expect(
    clippy::too_many_arguments,
    reason = "they are keywords, seen from Python"
)]
pub(crate) fn classify<'py>(
    py: Python<'py>,
    status: Option<u16>,
    headers: Option<&Bound<'_, PyAny>>,
    body: Option<&Bound<'_, PyAny>>,
    message: Option<&str>,
    code: Option<&str>,
    kind: Option<&str>,
    transport: Option<&str>,
    reason: Option<&str>,
    provider: Option<&str>,
    model: Option<&str>,
    now: Option<u64>,
) -> PyResult<Bound<'py, PyAny>> {
    let pairs = Pairs::new(headers)?;
    let lines = Lines::new(&pairs)?;
    let lines = lines.texts();
    let texts: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (*n, &**v)).collect();
    let body = body.map(|body| body_text(py, body)).transpose()?;
    let signal = Signal {
        status,
        code,
        kind,
        message,
        body: body.as_deref().filter(|body| !body.is_empty()),
        headers: &texts,
        provider,
        model,
        ..words(py, transport, reason)?
    };
    let now = now.unwrap_or_else(|| Host::real().clock.now_ms());
    let found = quick(py, || Ok(Classification::of(&signal, now)))?;
    object(py, &found.to_json())
}

/// The parts of a signal that are one of a few words.
fn words<'a>(
    py: Python<'_>,
    transport: Option<&str>,
    reason: Option<&str>,
) -> PyResult<Signal<'a>> {
    let ways = "`cancelled`, `connect`, `dns`, `reset`, `timeout` or `tls`";
    Ok(Signal {
        transport: word(py, "transport", transport, Transport::parse, ways)?,
        reason: word(py, "reason", reason, Reason::parse, "a reason of a failure")?,
        ..Signal::default()
    })
}

fn is_success(signal: &Signal<'_>) -> bool {
    signal.status.is_none_or(|status| status < 400)
        && signal.transport.is_none()
        && signal.reason.is_none()
        && [signal.code, signal.kind, signal.message, signal.body]
            .iter()
            .all(Option::is_none)
}

/// A body as text: a text, or bytes in which what is no UTF-8 is replaced.
fn body_text<'a>(py: Python<'_>, body: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, str>> {
    if let Ok(bytes) = body.cast::<PyBytes>() {
        return Ok(String::from_utf8_lossy(bytes.as_bytes()));
    }
    match body.cast::<PyString>() {
        Ok(text) => Ok(text.to_str()?.into()),
        Err(_) => Err(invalid(py, "body", "bytes or a text")),
    }
}

/// A signal that owns its texts, so that it can go to another thread.
struct Told {
    status: Option<u16>,
    texts: [Option<String>; 4],
    headers: Vec<(String, String)>,
    transport: Option<Transport>,
    reason: Option<Reason>,
}

impl Told {
    fn of(signal: &Signal<'_>) -> Self {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let headers = signal.headers.iter();
        Self {
            status: signal.status,
            texts: [signal.code, signal.kind, signal.message, signal.body].map(own),
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            transport: signal.transport,
            reason: signal.reason,
        }
    }

    fn to(&self, lease: &auth::Lease) -> auth::Result<auth::Verdict> {
        let [code, kind, message, body] = self.texts.each_ref().map(Option::as_deref);
        let headers = self.headers.iter();
        let headers: Vec<(&str, &str)> = headers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        lease.fail(&Signal {
            status: self.status,
            code,
            kind,
            message,
            body,
            headers: &headers,
            transport: self.transport,
            provider: None,
            model: None,
            reason: self.reason,
        })
    }
}

/// What follows a report.
#[pyclass(frozen, module = "openclaw_auth")]
pub(crate) struct Verdict {
    #[pyo3(get)]
    kind: &'static str,
    #[pyo3(get)]
    delay: f64,
    #[pyo3(get)]
    reason: Option<&'static str>,
    #[pyo3(get)]
    retry_after: Option<f64>,
    #[pyo3(get)]
    http_status: u16,
    #[pyo3(get)]
    message: String,
    #[pyo3(get)]
    renewed: bool,
    #[pyo3(get)]
    retryable: bool,
    document: Value,
    attempts: Vec<Attempt>,
}

impl Verdict {
    fn done() -> Self {
        Self {
            kind: "done",
            delay: 0.0,
            reason: None,
            retry_after: None,
            http_status: 200,
            message: String::new(),
            renewed: false,
            retryable: false,
            document: Value::Null,
            attempts: Vec::new(),
        }
    }
}

#[pymethods]
impl Verdict {
    #[getter]
    fn attempts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, &self.attempts.iter().map(Attempt::to_json).collect())
    }

    #[getter]
    fn details<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, &self.document)
    }

    fn __repr__(&self) -> String {
        match self.reason {
            None => format!("<Verdict {}>", self.kind),
            Some(reason) => format!("<Verdict {} reason={reason}>", self.kind),
        }
    }
}
