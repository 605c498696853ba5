//! How an engine is opened.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auth::SecretText;
use auth::access::{AuthMethod, Overrides};
use auth::host::{Clock, Host, Interfaces, Processes, RunError, RunOutput, RunRequest};
use pyo3::prelude::*;
use pyo3::types::PyString;
use zeroize::Zeroizing;

use crate::convert::{json, milliseconds, word};

/// Settings of an engine, checked; never shows what it holds.
#[pyclass(frozen, module = "openclaw_auth._native")]
pub(crate) struct Options {
    pub(crate) core: auth::Options,
    pub(crate) clock: Option<Arc<ManualClock>>,
}

#[pymethods]
impl Options {
    #[new]
    #[pyo3(signature = (*, config_path=None, config=None, state_dir=None, env=None,
        inherit_env=true, allow_exec=true, strict_env=false, require_access=false,
        run_exec_always=false, tolerate_unresolved=false, deadline=None, auth_mode=None, token=None, password=None,
        manual_clock=None, own_addresses=None, own_addresses_fail=false))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are keywords, seen from Python"
    )]
    fn new(
        py: Python<'_>,
        config_path: Option<PathBuf>,
        config: Option<Bound<'_, PyAny>>,
        state_dir: Option<PathBuf>,
        env: Option<HashMap<String, Option<String>>>,
        inherit_env: bool,
        allow_exec: bool,
        strict_env: bool,
        require_access: bool,
        run_exec_always: bool,
        tolerate_unresolved: bool,
        deadline: Option<f64>,
        auth_mode: Option<&str>,
        token: Option<String>,
        password: Option<String>,
        manual_clock: Option<u64>,
        own_addresses: Option<Vec<String>>,
        own_addresses_fail: bool,
    ) -> PyResult<Self> {
        let mut core = auth::Options::new()
            .strict_env(strict_env)
            .require_access(require_access)
            .run_exec_always(run_exec_always)
            .tolerate_unresolved(tolerate_unresolved);
        if config.is_some() && config_path.is_some() {
            return Err(crate::boundary::invalid(
                py,
                "config",
                "left out when `config_path` is given",
            ));
        }
        if let Some(path) = config_path {
            core = core.config_path(path);
        }
        core = match config {
            None => core,
            Some(config) => match config.cast::<PyString>() {
                Ok(text) => core.config_text(text.to_str()?),
                Err(_) => core.config_value(json("config", &config)?),
            },
        };
        if let Some(folder) = state_dir {
            core = core.state_dir(folder);
        }
        if let Some(seconds) = deadline {
            core = core.deadline(milliseconds(py, "deadline", seconds)?);
        }
        let mut overrides = Overrides::default();
        let modes = "`none`, `token`, `password` or `trusted-proxy`";
        overrides.mode = word(py, "auth_mode", auth_mode, AuthMethod::from_word, modes)?;
        overrides.token = token.map(SecretText::new);
        overrides.password = password.map(SecretText::new);
        core = core.access_overrides(overrides);

        let mut vars = match inherit_env {
            true => Host::real().env.vars().clone(),
            false => BTreeMap::new(),
        };
        for (name, value) in env.unwrap_or_default() {
            match value {
                Some(value) => vars.insert(name, Zeroizing::new(value)),
                None => vars.remove(&name),
            };
        }
        if !inherit_env {
            let given = vars.iter();
            core = core.env(given.map(|(name, value)| (name.clone(), value.to_string())));
        }
        let mut host = Host::with_vars(vars);
        if !allow_exec {
            host.processes = Arc::new(NoPrograms);
        }
        if own_addresses.is_some() || own_addresses_fail {
            let addresses = own_addresses.unwrap_or_default();
            let addresses = addresses.iter().filter_map(|text| text.parse().ok());
            host.interfaces = Arc::new(OwnAddresses(
                (!own_addresses_fail).then(|| addresses.collect()),
            ));
        }
        let clock = manual_clock.map(|ms| Arc::new(ManualClock::new(ms)));
        if let Some(clock) = &clock {
            host.clock = Arc::clone(clock) as Arc<dyn Clock>;
        }
        Ok(Self {
            core: core.with_host(host),
            clock,
        })
    }

    fn __repr__(&self) -> &'static str {
        "<Options>"
    }
}

/// A clock that stands still until it is moved, for tests.
pub(crate) struct ManualClock {
    start_ms: u64,
    passed_ms: AtomicU64,
}

impl ManualClock {
    fn new(start_ms: u64) -> Self {
        Self {
            start_ms,
            passed_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.passed_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.start_ms
            .saturating_add(self.passed_ms.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) {
        self.advance(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }
}

/// Runs nothing.
struct NoPrograms;

impl Processes for NoPrograms {
    fn run(&self, _: &RunRequest) -> Result<RunOutput, RunError> {
        Err(RunError::Spawn("EPERM".to_owned()))
    }
}

/// Addresses of this host as a test gives them; `None` when they cannot be found out.
struct OwnAddresses(Option<Vec<std::net::IpAddr>>);

impl Interfaces for OwnAddresses {
    fn addresses(&self) -> io::Result<Vec<std::net::IpAddr>> {
        self.0
            .clone()
            .ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }
}
