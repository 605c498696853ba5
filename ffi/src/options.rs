//! Settings of an engine.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auth::access::{AuthMethod, Overrides};
use auth::host::{Clock, Host, Interfaces, Processes, RunError, RunOutput, RunRequest};
use auth::{Code, Error, Options, SecretText};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::boundary::{Reason, Result, free, into_handle, invalid, run};
use crate::error::{oca_error, oca_status};
use crate::text::oca_str;

/// For oca_options_set_flag(): the engine sees the environment of the process, read once in
/// oca_engine_open(), and the file .env in the state directory. Off by default.
pub const OCA_FLAG_INHERIT_ENV: u32 = 1;
/// For oca_options_set_flag(): providers of the kind "exec" may run programs. On by default.
pub const OCA_FLAG_ALLOW_EXEC: u32 = 2;

/// Settings for oca_engine_open(). One thread at a time.
pub struct oca_options {
    config: Config,
    state_dir: Option<PathBuf>,
    env: BTreeMap<String, Option<Zeroizing<String>>>,
    inherit_env: bool,
    allow_exec: bool,
    manual_clock: Option<u64>,
    further: Further,
    pub(crate) own_addresses: Option<OwnAddresses>,
}

enum Config {
    /// Where OpenClaw looks.
    Default,
    Path(PathBuf),
    Text(Zeroizing<String>),
}

/// Settings of oca_options_set_json().
#[derive(Default)]
struct Further {
    strict_env: Option<bool>,
    require_access: Option<bool>,
    run_exec_always: Option<bool>,
    deadline_ms: Option<u64>,
    overrides: Overrides,
}

impl oca_options {
    fn new() -> Self {
        Self {
            config: Config::Text(Zeroizing::new("{}".to_owned())),
            state_dir: None,
            env: BTreeMap::new(),
            inherit_env: false,
            allow_exec: true,
            manual_clock: None,
            further: Further::default(),
            own_addresses: None,
        }
    }

    /// The settings as the core takes them, and the clock that the engine can move.
    pub(crate) fn to_core(&self) -> (Options, Option<Arc<ManualClock>>) {
        let mut vars = match self.inherit_env {
            true => Host::real().env.vars().clone(),
            false => BTreeMap::new(),
        };
        for (name, value) in &self.env {
            match value {
                Some(value) => vars.insert(name.clone(), value.clone()),
                None => vars.remove(name),
            };
        }
        let mut options = Options::new();
        if !self.inherit_env {
            let given = vars
                .iter()
                .map(|(name, value)| (name.clone(), value.to_string()));
            options = options.env(given);
        }
        let mut host = Host::with_vars(vars);
        if !self.allow_exec {
            host.processes = Arc::new(NoPrograms);
        }
        if let Some(own) = &self.own_addresses {
            host.interfaces = Arc::new(own.clone());
        }
        let clock = self.manual_clock.map(|ms| Arc::new(ManualClock::new(ms)));
        if let Some(clock) = &clock {
            host.clock = Arc::clone(clock) as Arc<dyn Clock>;
        }
        options = match &self.config {
            Config::Default => options,
            Config::Path(path) => options.config_path(path),
            Config::Text(text) => options.config_text(text.as_str()),
        };
        if let Some(folder) = &self.state_dir {
            options = options.state_dir(folder);
        }
        (self.further.apply(options).with_host(host), clock)
    }
}

impl Further {
    fn apply(&self, mut options: Options) -> Options {
        if let Some(strict) = self.strict_env {
            options = options.strict_env(strict);
        }
        if let Some(required) = self.require_access {
            options = options.require_access(required);
        }
        if let Some(always) = self.run_exec_always {
            options = options.run_exec_always(always);
        }
        if let Some(ms) = self.deadline_ms {
            options = options.deadline(ms);
        }
        options.access_overrides(self.overrides.clone())
    }

    /// Takes the settings of a JSON object over, all or none.
    fn read(&mut self, json: &str) -> Result<()> {
        let mut next = Self {
            overrides: self.overrides.clone(),
            ..*self
        };
        for (key, value) in object(json_value(json)?, "")? {
            let flag = || value.as_bool().ok_or_else(|| wrong(&key, "true or false"));
            match key.as_str() {
                "strictEnv" => next.strict_env = Some(flag()?),
                "requireAccess" => next.require_access = Some(flag()?),
                "runExecAlways" => next.run_exec_always = Some(flag()?),
                "deadlineMs" => {
                    let ms = value.as_u64().ok_or_else(|| wrong(&key, "milliseconds"))?;
                    next.deadline_ms = Some(ms);
                }
                "access" => read_access(&mut next.overrides, value)?,
                _ => return Err(unknown(&key)),
            }
        }
        *self = next;
        Ok(())
    }
}

fn read_access(overrides: &mut Overrides, value: Value) -> Result<()> {
    for (key, value) in object(value, "access")? {
        let path = format!("access.{key}");
        let text = || value.as_str().ok_or_else(|| wrong(&path, "a text"));
        match key.as_str() {
            "mode" => {
                let mode = AuthMethod::from_word(text()?);
                let mode = mode.ok_or_else(|| wrong(&path, "a mode of gateway.auth.mode"))?;
                overrides.mode = Some(mode);
            }
            "token" => overrides.token = Some(SecretText::new(text()?.to_owned())),
            "password" => overrides.password = Some(SecretText::new(text()?.to_owned())),
            "port" => {
                let port = value.as_u64().and_then(|port| u16::try_from(port).ok());
                overrides.port = Some(port.ok_or_else(|| wrong(&path, "a port number"))?);
            }
            _ => return Err(unknown(&path)),
        }
    }
    Ok(())
}

/// Most bytes of a JSON argument.
const MAX_JSON: usize = 1 << 20;

fn json_value(json: &str) -> Result<Value> {
    if json.len() > MAX_JSON {
        return Err(invalid("json", Reason::TooLong));
    }
    // Depth is bounded before parsing: the parser itself has no limit here.
    let depth = json
        .bytes()
        .filter(|byte| matches!(byte, b'{' | b'['))
        .count();
    if depth > 128 {
        return Err(invalid("json", Reason::TooLong));
    }
    // The parser's own message could quote a secret.
    serde_json::from_str(json).map_err(|_| wrong("json", "a JSON object"))
}

fn object(value: Value, path: &str) -> Result<serde_json::Map<String, Value>> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(wrong(
            if path.is_empty() { "json" } else { path },
            "an object",
        )),
    }
}

fn wrong(path: &str, expected: &str) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!("settings: `{path}` must be {expected}"),
    )
    .with("argument", "json")
    .with("reason", "unknown_value")
    .with("path", path)
}

/// The name of an unknown key is not repeated in the message when it could be anything.
fn unknown(path: &str) -> Error {
    invalid("json", Reason::UnknownField).with("path", path.chars().take(64).collect::<String>())
}

/// A clock that stands still until it is moved.
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
    fn run(&self, _: &RunRequest) -> std::result::Result<RunOutput, RunError> {
        Err(RunError::Spawn("EPERM".to_owned()))
    }
}

/// Addresses of this host as a test gives them; `None` when they cannot be found out.
#[derive(Clone)]
pub(crate) struct OwnAddresses(pub(crate) Option<Vec<IpAddr>>);

impl Interfaces for OwnAddresses {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        self.0
            .clone()
            .ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }
}

/// New settings: an empty configuration, no inherited environment, exec providers allowed. Free
/// them with oca_options_free().
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn oca_options_new() -> *mut oca_options {
    into_handle(oca_options::new())
}

/// Frees settings; any time after oca_engine_open() will do. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_options_free(options: *mut oca_options) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { free(options) }
}

/// Reads the configuration (JSON5) from this file, now and at every reload. An absent path means
/// the file that OpenClaw reads: $OPENCLAW_CONFIG_PATH, else openclaw.json in the state directory,
/// which need not exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_options_set_config_path(
    options: *mut oca_options,
    path: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let options = call.borrow_mut(options, "options")?;
            options.config = match call.text(path, "path")? {
                None => Config::Default,
                Some(_) => Config::Path(call.plain(path, "path")?.into()),
            };
            Ok(())
        })
    }
}

/// Takes the configuration (JSON5) from this text instead of a file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_options_set_config_text(
    options: *mut oca_options,
    text: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let options = call.borrow_mut(options, "options")?;
            let text = call.need(text, "text")?.to_owned();
            options.config = Config::Text(Zeroizing::new(text));
            Ok(())
        })
    }
}

/// The state directory, where openclaw-auth.json5 and .env are; the default is
/// $OPENCLAW_STATE_DIR, else ~/.openclaw.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_options_set_state_dir(
    options: *mut oca_options,
    dir: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let options = call.borrow_mut(options, "options")?;
            options.state_dir = Some(call.plain(dir, "dir")?.into());
            Ok(())
        })
    }
}

/// Sets one environment variable, for this engine only; an absent value removes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_options_set_env(
    options: *mut oca_options,
    name: oca_str,
    value: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let options = call.borrow_mut(options, "options")?;
            let name = call.plain(name, "name")?;
            if name.is_empty() || name.contains('=') {
                return Err(invalid("name", Reason::UnknownValue));
            }
            let value = call.text(value, "value")?;
            if value.is_some_and(|value| value.contains('\0')) {
                return Err(invalid("value", Reason::EmbeddedNul));
            }
            let value = value.map(|value| Zeroizing::new(value.to_owned()));
            options.env.insert(name.to_owned(), value);
            Ok(())
        })
    }
}

/// Switches one OCA_FLAG_* on or off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_options_set_flag(
    options: *mut oca_options,
    flag: u32,
    on: bool,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let options = call.borrow_mut(options, "options")?;
            match flag {
                OCA_FLAG_INHERIT_ENV => options.inherit_env = on,
                OCA_FLAG_ALLOW_EXEC => options.allow_exec = on,
                _ => return Err(invalid("flag", Reason::UnknownValue)),
            }
            Ok(())
        })
    }
}

/// Replaces the system clock by one that only oca_engine_clock_advance() moves. For tests.
/// now_ms is in milliseconds since 1970.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_options_set_manual_clock(
    options: *mut oca_options,
    now_ms: u64,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            call.borrow_mut(options, "options")?.manual_clock = Some(now_ms);
            Ok(())
        })
    }
}

/// Sets further settings from a JSON object, all or none; an unknown key is an error. Keys:
/// strictEnv (a missing ${VAR} is an error), requireAccess (missing access settings are an error),
/// runExecAlways (run programs although the activation is bound to fail), deadlineMs (longest time
/// of one activation), access {mode, token, password, port} (win over the configuration).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_options_set_json(
    options: *mut oca_options,
    json: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let options = call.borrow_mut(options, "options")?;
            options.further.read(call.need(json, "json")?)
        })
    }
}
