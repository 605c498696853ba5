//! Engines: opening, reading, judging, reloading, reports.

use std::sync::{Arc, PoisonError, RwLock};

use auth::{AuditOptions, Proposal};
use pyo3::prelude::*;
use pyo3::types::PyString;
use serde_json::Value;

use crate::access::{Decision, Facts, Lines, Pairs};
use crate::boundary::{Era, closed, detached, quick, waiting};
use crate::convert::{json, object};
use crate::options::{ManualClock, Options};
use crate::snapshot::Snapshot;

/// Everything that belongs to one configuration. The public class wraps it.
#[pyclass(frozen, module = "openclaw_auth._native")]
pub(crate) struct Engine {
    /// `None` once it is closed.
    open: RwLock<Option<Arc<auth::Engine>>>,
    options: auth::Options,
    clock: Option<Arc<ManualClock>>,
    era: Era,
}

impl Engine {
    /// The engine, unless it was closed or comes from before a fork.
    pub(crate) fn core(&self) -> auth::Result<Arc<auth::Engine>> {
        self.era.check()?;
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| closed("engine"))
    }

    /// Runs a call that takes microseconds.
    pub(crate) fn quick<T>(
        &self,
        py: Python<'_>,
        body: impl FnOnce(&Arc<auth::Engine>) -> auth::Result<T>,
    ) -> PyResult<T> {
        quick(py, || body(&self.core()?))
    }

    /// Runs a call that may wait for a lock or a file.
    pub(crate) fn detached<T: Send>(
        &self,
        py: Python<'_>,
        body: impl FnOnce(&Arc<auth::Engine>) -> auth::Result<T> + Send,
    ) -> PyResult<T> {
        detached(py, || body(&self.core()?))
    }

    /// Runs a call that may wait for long.
    pub(crate) fn waiting<T: Send + 'static>(
        &self,
        py: Python<'_>,
        body: impl FnOnce(&Arc<auth::Engine>) -> auth::Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let core = quick(py, || self.core())?;
        waiting(py, move || body(&core))
    }

    pub(crate) fn era(&self) -> Era {
        self.era
    }
}

#[pymethods]
impl Engine {
    #[staticmethod]
    fn open(py: Python<'_>, options: &Options) -> PyResult<Self> {
        let core = options.core.clone();
        let open = waiting(py, move || auth::Engine::open(core))?;
        Ok(Self {
            open: RwLock::new(Some(Arc::new(open))),
            options: options.core.clone(),
            clock: options.clock.clone(),
            era: Era::now(),
        })
    }

    /// Writes what waits for the stores, and lets go.
    fn close(&self, py: Python<'_>) {
        if self.era.is_over() {
            return;
        }
        let open = &self.open;
        py.detach(|| {
            let core = open.write().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(core) = core {
                core.flush();
            }
        });
    }

    #[getter]
    fn closed(&self) -> bool {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.is_none()
    }

    #[getter]
    fn generation(&self, py: Python<'_>) -> PyResult<u64> {
        self.quick(py, |core| Ok(core.snapshot().generation()))
    }

    #[getter]
    fn degraded(&self, py: Python<'_>) -> PyResult<bool> {
        self.quick(py, |core| Ok(core.is_degraded()))
    }

    #[getter]
    fn leases_out(&self, py: Python<'_>) -> PyResult<usize> {
        self.quick(py, |core| Ok(core.leases_out()))
    }

    fn secret<'py>(&self, py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyString>> {
        let secret = self.quick(py, |core| core.snapshot().secret(path).cloned())?;
        Ok(PyString::new(py, secret.expose()))
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        self.quick(py, |core| Ok(Snapshot::new(core.snapshot())))
    }

    #[pyo3(signature = (peer, headers=None, local=None, websocket=false, tls=false, token=None,
        password=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are keywords, seen from Python"
    )]
    fn authorize(
        &self,
        py: Python<'_>,
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
        let request = facts.request(&lines);
        self.quick(py, |core| {
            Ok(Decision::judge(&core.snapshot(), Some(&request)))
        })
    }

    /// Judges a request of which nothing is known.
    fn authorize_nothing(&self, py: Python<'_>) -> PyResult<Decision> {
        self.quick(py, |core| Ok(Decision::judge(&core.snapshot(), None)))
    }

    #[pyo3(signature = (config=None))]
    fn reload<'py>(&self, py: Python<'py>, config: Option<String>) -> PyResult<Bound<'py, PyAny>> {
        let report = self.waiting(py, |core| match config {
            Some(text) => core.reload_text(text),
            None => core.reload(),
        })?;
        object(py, &report.to_json())
    }

    #[pyo3(signature = (config=None, allow_exec=false, paths=None))]
    fn preflight<'py>(
        &self,
        py: Python<'py>,
        config: Option<String>,
        allow_exec: bool,
        paths: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let report = self.waiting(py, move |core| {
            let mut proposal = config
                .map_or_else(Proposal::current, Proposal::text)
                .allow_exec(allow_exec);
            if let Some(paths) = &paths {
                proposal = proposal.paths(paths.iter().map(String::as_str));
            }
            Ok(core.preflight(&proposal))
        })?;
        object(py, &report.to_json())
    }

    fn audit<'py>(&self, py: Python<'py>, allow_exec: bool) -> PyResult<Bound<'py, PyAny>> {
        let options = self.options.clone();
        let report = self.waiting(py, move |_| {
            let mut audit = AuditOptions::default();
            audit.allow_exec = allow_exec;
            Ok(options.audit(audit))
        })?;
        object(py, &report.to_json())
    }

    fn restore_redacted<'py>(
        &self,
        py: Python<'py>,
        proposed: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let proposed = json("proposed", proposed)?;
        let restored = self.waiting(py, move |core| core.restore_redacted(&proposed))?;
        object(py, &restored)
    }

    fn files_changed(&self, py: Python<'_>) -> PyResult<bool> {
        self.detached(py, |core| Ok(core.watched_changed()))
    }

    /// The events that nobody has taken yet, oldest first.
    fn events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let events = self.quick(py, |core| Ok(core.events()))?;
        let events: Vec<Value> = events.iter().map(auth::Event::to_json).collect();
        object(py, &events.into())
    }

    /// The oldest event that nobody has taken yet. In a forked child there is none, so that what
    /// the parent has left can be closed there.
    fn next_event<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.era.is_over() {
            return Ok(None);
        }
        let event = self.quick(py, |core| Ok(core.next_event()))?;
        event.map(|event| object(py, &event.to_json())).transpose()
    }

    fn add_rules(&self, py: Python<'_>, rules: &Bound<'_, PyAny>) -> PyResult<()> {
        let rules = json("rules", rules)?;
        self.quick(py, |core| {
            let mut registry = core.registry();
            registry.add_rules(&rules)?;
            core.set_registry(registry);
            Ok(())
        })
    }

    fn flush(&self, py: Python<'_>) -> PyResult<bool> {
        self.detached(py, |core| Ok(core.flush()))
    }

    /// Moves a manual clock, for tests.
    fn advance(&self, py: Python<'_>, ms: u64) -> PyResult<()> {
        let clock = self.clock.as_ref();
        quick(py, || {
            let clock = clock.ok_or_else(|| {
                let message = "the engine runs on the clock of the machine";
                auth::Error::new(auth::Code::ClockNotManual, message)
            })?;
            clock.advance(ms);
            Ok(())
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Locks that a thread of the parent held are held for ever in a forked child.
        if self.era.is_over() {
            let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(open.take());
        }
    }
}
