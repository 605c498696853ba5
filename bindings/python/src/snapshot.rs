//! Snapshots and the secrets in them.

use std::sync::Arc;

use auth::{Diagnostic, Issue, SurfaceInfo};
use pyo3::prelude::*;
use pyo3::types::PyString;
use serde_json::{Value, json};

use crate::access::{Decision, Facts, Lines, Pairs};
use crate::boundary::quick;
use crate::convert::object;

/// The secrets and access rules of one generation.
#[pyclass(frozen, module = "openclaw_auth")]
pub(crate) struct Snapshot {
    core: Arc<auth::Snapshot>,
}

impl Snapshot {
    pub(crate) fn new(core: Arc<auth::Snapshot>) -> Self {
        Self { core }
    }
}

#[pymethods]
impl Snapshot {
    #[getter]
    fn generation(&self) -> u64 {
        self.core.generation()
    }

    #[getter]
    fn activated_at(&self) -> u64 {
        self.core.activated_at_ms()
    }

    #[getter]
    fn hsts(&self) -> Option<&str> {
        self.core.access().hsts().map(auth::CText::as_str)
    }

    fn secret<'py>(&self, py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyString>> {
        let secret = quick(py, || self.core.secret(path))?;
        Ok(PyString::new(py, secret.expose()))
    }

    fn secret_ref<'py>(&self, py: Python<'py>, reference: &str) -> PyResult<Bound<'py, PyString>> {
        let secret = quick(py, || self.core.secret_ref(reference))?;
        Ok(PyString::new(py, secret.expose()))
    }

    fn value<'py>(&self, py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyAny>> {
        let value = quick(py, || self.core.value(path))?;
        object(py, value.unwrap_or(&Value::Null))
    }

    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, &self.core.config_json())
    }

    fn surfaces<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let surfaces = self.core.surfaces();
        object(py, &surfaces.iter().map(SurfaceInfo::to_json).collect())
    }

    fn diagnostics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let issues = self.core.issues().iter().map(Issue::to_json);
        let notes = self.core.diagnostics().iter().map(Diagnostic::to_json);
        let access = self.core.access_problems().iter().map(|problem| {
            json!({
                "code": problem.code.as_str(),
                "path": problem.path,
                "message": problem.message,
            })
        });
        object(py, &issues.chain(notes).chain(access).collect())
    }

    #[pyo3(signature = (peer, headers=None, *, local=None, websocket=false, tls=false, token=None,
        password=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are keywords, seen from Python"
    )]
    fn authorize(
        &self,
        peer: Option<&str>,
        headers: Option<&Bound<'_, PyAny>>,
        local: Option<&str>,
        websocket: bool,
        tls: bool,
        token: Option<&str>,
        password: Option<&str>,
    ) -> PyResult<Decision> {
        let pairs = Pairs::new(headers)?;
        let lines = Lines::new(&pairs)?;
        let facts = Facts {
            remote: peer,
            local,
            token,
            password,
            websocket,
            tls,
        };
        Ok(Decision::judge(&self.core, Some(&facts.request(&lines))))
    }

    fn __repr__(&self) -> String {
        format!("<Snapshot generation={}>", self.core.generation())
    }
}
