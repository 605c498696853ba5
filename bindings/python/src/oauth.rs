//! Signing in, and tokens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth::{LoginFlow, LoginOptions, OauthToken, SecretText};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::boundary::{Era, SLICE, closed, detached, quick, waiting};
use crate::convert::{milliseconds, object};
use crate::engine::Engine;

/// A sign-in under way. The public class wraps it.
#[pyclass(frozen, module = "openclaw_auth._native")]
pub(crate) struct OAuthFlow {
    engine: Arc<auth::Engine>,
    flow: Arc<Mutex<Option<LoginFlow>>>,
    era: Era,
}

#[pymethods]
impl Engine {
    fn oauth(
        &self,
        py: Python<'_>,
        provider: String,
        agent: Option<String>,
        profile_id: Option<String>,
        replace: bool,
        timeout: Option<f64>,
    ) -> PyResult<OAuthFlow> {
        let timeout = timeout.map(|timeout| milliseconds(py, "timeout", timeout));
        let mut options = LoginOptions::default();
        options.agent = agent;
        options.profile_id = profile_id;
        options.replace = replace;
        options.timeout_ms = timeout.transpose()?;
        let engine = quick(py, || self.core())?;
        let flow = self.waiting(py, move |core| core.oauth_begin(&provider, options))?;
        Ok(OAuthFlow {
            engine,
            flow: Arc::new(Mutex::new(Some(flow))),
            era: self.era(),
        })
    }

    fn oauth_token<'py>(
        &self,
        py: Python<'py>,
        profile_id: String,
        min_valid: f64,
        force: bool,
        agent: Option<String>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let min_valid = milliseconds(py, "min_valid", min_valid)?;
        let token = self.waiting(py, move |core| {
            core.oauth_token(agent.as_deref(), &profile_id, min_valid, force)
        })?;
        token_dict(py, &token)
    }

    fn oauth_unauthorized<'py>(
        &self,
        py: Python<'py>,
        profile_id: String,
        refused: String,
        agent: Option<String>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let refused = SecretText::new(refused);
        let token = self.waiting(py, move |core| {
            core.oauth_unauthorized(agent.as_deref(), &profile_id, &refused)
        })?;
        token_dict(py, &token)
    }

    fn oauth_link<'py>(
        &self,
        py: Python<'py>,
        program: String,
        agent: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let done = self.waiting(py, move |core| core.oauth_link(agent.as_deref(), &program))?;
        object(py, &done.to_json())
    }

    fn oauth_providers(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.quick(py, |core| Ok(core.oauth_providers()))
    }

    fn oauth_profiles(
        &self,
        py: Python<'_>,
        agent: Option<&str>,
    ) -> PyResult<Vec<(String, String)>> {
        self.detached(py, |core| core.oauth_profiles(agent))
    }
}

fn token_dict<'py>(py: Python<'py>, token: &OauthToken) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("access", token.access.expose())?;
    dict.set_item("expiresAt", token.expires)?;
    dict.set_item("accountId", token.account_id.as_deref())?;
    dict.set_item("source", &token.source)?;
    let warning = token.warning.as_ref().map(auth::Error::to_json);
    dict.set_item("warning", object(py, &warning.unwrap_or_default())?)?;
    Ok(dict)
}

type Held = Option<LoginFlow>;

impl OAuthFlow {
    fn lock(flow: &Mutex<Held>) -> MutexGuard<'_, Held> {
        flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        body: impl FnOnce(&mut LoginFlow) -> auth::Result<T> + Send,
    ) -> PyResult<T> {
        detached(py, || {
            self.era.check()?;
            let mut held = Self::lock(&self.flow);
            body(held.as_mut().ok_or_else(|| closed("sign-in"))?)
        })
    }

    /// Runs a call that talks to the provider.
    fn asking<T: Send + 'static>(
        &self,
        py: Python<'_>,
        body: impl FnOnce(&auth::Engine, &mut LoginFlow) -> auth::Result<T> + Send + 'static,
    ) -> PyResult<T> {
        quick(py, || self.era.check())?;
        let (engine, flow) = (Arc::clone(&self.engine), Arc::clone(&self.flow));
        waiting(py, move || {
            let mut held = Self::lock(&flow);
            body(&engine, held.as_mut().ok_or_else(|| closed("sign-in"))?)
        })
    }
}

#[pymethods]
impl OAuthFlow {
    #[getter]
    fn url(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |flow| Ok(flow.url().to_owned()))
    }

    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |flow| Ok(flow.state().to_owned()))
    }

    #[getter]
    fn redirect_uri(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |flow| Ok(flow.redirect_uri().to_owned()))
    }

    #[getter]
    fn addresses(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |flow| {
            Ok(flow.addresses().iter().map(ToString::to_string).collect())
        })
    }

    #[getter]
    fn remote(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |flow| Ok(flow.is_remote()))
    }

    #[getter]
    fn remaining(&self, py: Python<'_>) -> PyResult<f64> {
        self.with(py, |flow| Ok(crate::convert::seconds(flow.remaining_ms())))
    }

    #[getter]
    fn provider(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |flow| Ok(flow.provider().to_owned()))
    }

    #[getter]
    fn label(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |flow| Ok(flow.label().to_owned()))
    }

    #[getter]
    fn ended(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |flow| Ok(flow.has_ended()))
    }

    fn warnings(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |flow| Ok(flow.take_warnings()))
    }

    /// Waits for the browser, in slices between which signals and other callers get their turn.
    fn listen(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<String>> {
        let mut left = Duration::from_millis(milliseconds(py, "timeout", timeout)?);
        loop {
            let step = left.min(SLICE);
            let heard = self.with(py, |flow| flow.listen(step))?;
            if let Some(address) = heard {
                return Ok(Some(address.expose().to_owned()));
            }
            left = left.saturating_sub(step);
            if left.is_zero() {
                return Ok(None);
            }
            py.check_signals()?;
        }
    }

    fn complete<'py>(&self, py: Python<'py>, text: String) -> PyResult<Bound<'py, PyAny>> {
        let text = SecretText::new(text);
        let done = self.asking(py, move |engine, flow| {
            engine.oauth_complete(flow, text.expose())
        })?;
        object(py, &done.to_json())
    }

    fn request<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
        let request = self.with(py, |flow| flow.request_json(text))?;
        object(py, &request)
    }

    fn accept<'py>(
        &self,
        py: Python<'py>,
        http_status: u16,
        body: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let body = SecretText::new(body);
        let done = self.asking(py, move |engine, flow| {
            engine.oauth_accept_response(flow, http_status, body.expose())
        })?;
        object(py, &done.to_json())
    }

    /// Ends the sign-in and lets go of the listener.
    fn close(&self, py: Python<'_>) {
        if self.era.is_over() {
            return;
        }
        py.detach(|| {
            if let Some(mut flow) = Self::lock(&self.flow).take()
                && !flow.has_ended()
            {
                let _cancelled = flow.cancel();
            }
        });
    }
}

impl Drop for OAuthFlow {
    fn drop(&mut self) {
        // Locks that a thread of the parent held are held for ever in a forked child.
        if self.era.is_over() {
            std::mem::forget(Arc::clone(&self.engine));
            std::mem::forget(Arc::clone(&self.flow));
        }
    }
}
