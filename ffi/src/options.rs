//! Settings of an engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use auth::access::{AuthMethod, Overrides};
use auth::host::{Clock, Host};
use auth::{Options, Registry, SecretText};
use zeroize::Zeroizing;

use crate::boundary::{Reason, Result, free, into_handle, invalid, run};
use crate::error::{oca_error, oca_status};
use crate::host::{ManualClock, NoNetwork, NoPrograms, OwnAddresses, ReadOnly};
use crate::json::{Fields, parse};
use crate::text::oca_str;

/// For oca_options_set_flag(): the engine sees the environment of the process, read once in
/// oca_engine_open(), and the file .env in the state directory. Off by default.
pub const OCA_FLAG_INHERIT_ENV: u32 = 1;
/// For oca_options_set_flag(): providers of the kind "exec" may run programs. On by default.
pub const OCA_FLAG_ALLOW_EXEC: u32 = 2;
/// For oca_options_set_flag(): logins and refreshes may talk to providers. On by default.
pub const OCA_FLAG_ALLOW_NETWORK: u32 = 4;
/// For oca_options_set_flag(): no file is created or changed. Credentials are lent and their use is
/// kept in memory; whatever has to be stored fails with "store_read_only". Off by default.
pub const OCA_FLAG_READ_ONLY: u32 = 8;

/// Settings for oca_engine_open(). One thread at a time.
pub struct oca_options {
    config: Config,
    state_dir: Option<PathBuf>,
    env: BTreeMap<String, Option<Zeroizing<String>>>,
    inherit_env: bool,
    allow_exec: bool,
    allow_network: bool,
    read_only: bool,
    registry: Registry,
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
            allow_network: true,
            read_only: false,
            registry: Registry::new(),
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
        if !self.allow_network {
            host.http = Arc::new(NoNetwork);
        }
        if self.read_only {
            host.files = Arc::new(ReadOnly(host.files));
            host.locks = Arc::new(ReadOnly(host.locks));
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
        options = options.registry(self.registry.clone());
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
        let mut fields = Fields::of(Some(json), "json")?;
        let mut access = fields.object("access")?;
        let mut overrides = self.overrides.clone();
        let mode = access.word("mode", "a mode of gateway.auth.mode", AuthMethod::from_word)?;
        overrides.mode = mode.or(overrides.mode);
        let secret = |text: Option<String>| text.map(SecretText::new);
        overrides.token = secret(access.text("token")?).or(overrides.token);
        overrides.password = secret(access.text("password")?).or(overrides.password);
        if let Some(port) = access.number("port")? {
            let port = u16::try_from(port).map_err(|_| access.wrong("port", "a port number"))?;
            overrides.port = Some(port);
        }
        access.end()?;
        let next = Self {
            strict_env: fields.flag("strictEnv")?.or(self.strict_env),
            require_access: fields.flag("requireAccess")?.or(self.require_access),
            run_exec_always: fields.flag("runExecAlways")?.or(self.run_exec_always),
            deadline_ms: fields.number("deadlineMs")?.or(self.deadline_ms),
            overrides,
        };
        fields.end()?;
        *self = next;
        Ok(())
    }
}

/// New settings: an empty configuration, no inherited environment, exec providers and network
/// allowed, writable. Free them with oca_options_free().
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
                OCA_FLAG_ALLOW_NETWORK => options.allow_network = on,
                OCA_FLAG_READ_ONLY => options.read_only = on,
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

/// Tells which settings of the host's own hold secrets, from a JSON object: rules (a list of
/// {id, pattern, owner, when, inactiveReason, ancestorRule, expected, shape, refPattern, flags}),
/// activate and deactivate (lists of {pattern, reason, when}), plugins (an object of true, false
/// and null) and envNames (lists of names by provider). docs/secrets.md describes rules and
/// conditions. oca_engine_set_registry() changes it later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_options_set_registry(
    options: *mut oca_options,
    json: oca_str,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let options = call.borrow_mut(options, "options")?;
            options.registry = Registry::from_json(&parse(call.need(json, "json")?, "json")?)?;
            Ok(())
        })
    }
}
