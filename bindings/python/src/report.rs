//! Documents about models, credentials and the installation.

use auth::report::{DoctorOptions, StatusOptions};
use pyo3::prelude::*;

use crate::boundary::waiting;
use crate::convert::{milliseconds, object};
use crate::engine::Engine;
use crate::options::Options;

#[pymethods]
impl Engine {
    fn status<'py>(
        &self,
        py: Python<'py>,
        agent: Option<String>,
        providers: Option<Vec<String>>,
        warn_within: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut options = StatusOptions::default();
        options.agent = agent;
        options.providers = providers.unwrap_or_default();
        if let Some(seconds) = warn_within {
            options.warn_within_ms = milliseconds(py, "warn_within", seconds)?;
        }
        let report = self.detached(py, |core| core.status(&options))?;
        object(py, &report.to_json())
    }

    fn doctor<'py>(
        &self,
        py: Python<'py>,
        agent: Option<String>,
        only: Option<Vec<String>>,
        skip: Option<Vec<String>>,
        deep: bool,
        allow_exec: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = examination(agent, only, skip, deep, allow_exec);
        let report = self.waiting(py, move |core| core.doctor(&options))?;
        object(py, &report.to_json())
    }
}

#[pymethods]
impl Options {
    /// Examines an installation, which need not be able to open.
    fn doctor<'py>(
        &self,
        py: Python<'py>,
        agent: Option<String>,
        only: Option<Vec<String>>,
        skip: Option<Vec<String>>,
        deep: bool,
        allow_exec: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = examination(agent, only, skip, deep, allow_exec);
        let core = self.core.clone();
        let report = waiting(py, move || core.doctor(&options))?;
        object(py, &report.to_json())
    }
}

fn examination(
    agent: Option<String>,
    only: Option<Vec<String>>,
    skip: Option<Vec<String>>,
    deep: bool,
    allow_exec: bool,
) -> DoctorOptions {
    let mut options = DoctorOptions::default();
    options.agent = agent;
    options.only = only.unwrap_or_default();
    options.skip = skip.unwrap_or_default();
    options.deep = deep;
    options.allow_exec = allow_exec;
    options
}
