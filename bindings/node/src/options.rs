//! How to open an engine, from the options object of JavaScript.

use std::collections::BTreeMap;
use std::sync::Arc;

use openclaw_auth::access::{AuthMethod, Overrides};
use openclaw_auth::host::{Clock, Host};
use openclaw_auth::{Options, Registry, Result, SecretText};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::boundary::invalid;
use crate::clock::{ManualClock, NoPrograms, OwnAddresses};
use crate::fields::Fields;

const KEYS: &[&str] = &[
    "access",
    "allowExec",
    "config",
    "configPath",
    "configText",
    "deadlineMs",
    "env",
    "inheritEnv",
    "manualClock",
    "ownAddresses",
    "requireAccess",
    "rules",
    "runExecAlways",
    "stateDir",
    "strictEnv",
];

/// The options as the core takes them, and the clock that the engine can move.
pub(crate) fn read(json: &str) -> Result<(Options, Option<Arc<ManualClock>>)> {
    let mut fields = Fields::read(json, KEYS)?;
    let inherits = fields.flag("inheritEnv")?.unwrap_or(true);
    let mut vars = match inherits {
        true => Host::real().env.vars().clone(),
        false => BTreeMap::new(),
    };
    if let Some(env) = fields.take("env") {
        overlay(&mut vars, env)?;
    }
    let mut options = Options::new();
    if !inherits {
        let given = vars
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string()));
        options = options.env(given);
    }
    let mut host = Host::with_vars(vars);
    if fields.flag("allowExec")? == Some(false) {
        host.processes = Arc::new(NoPrograms);
    }
    if let Some(own) = fields.take("ownAddresses") {
        host.interfaces = Arc::new(own_addresses(&own)?);
    }
    let clock = fields.count("manualClock")?;
    let clock = clock.map(|ms| Arc::new(ManualClock::new(ms)));
    if let Some(clock) = &clock {
        host.clock = Arc::clone(clock) as Arc<dyn Clock>;
    }
    options = configuration(options, &mut fields)?;
    if let Some(folder) = fields.text("stateDir")? {
        options = options.state_dir(folder);
    }
    options = options
        .strict_env(fields.flag("strictEnv")?.unwrap_or_default())
        .require_access(fields.flag("requireAccess")?.unwrap_or_default())
        .run_exec_always(fields.flag("runExecAlways")?.unwrap_or_default());
    if let Some(ms) = fields.count("deadlineMs")? {
        options = options.deadline(ms);
    }
    if let Some(access) = fields.take("access") {
        options = options.access_overrides(overrides(access)?);
    }
    if let Some(rules) = fields.value("rules") {
        let mut registry = Registry::new();
        registry.add_rules(rules)?;
        options = options.registry(registry);
    }
    Ok((options.with_host(host), clock))
}

/// Variables that win over those that are there; null takes one away.
fn overlay(vars: &mut BTreeMap<String, Zeroizing<String>>, env: Value) -> Result<()> {
    let wrong = || invalid("env", "an object of strings");
    let Value::Object(env) = env else {
        return Err(wrong());
    };
    for (name, value) in env {
        match value {
            Value::String(value) => vars.insert(name, Zeroizing::new(value)),
            Value::Null => vars.remove(&name),
            _ => return Err(wrong()),
        };
    }
    Ok(())
}

fn configuration(options: Options, fields: &mut Fields) -> Result<Options> {
    let given = (
        fields.text("configPath")?.map(str::to_owned),
        fields.text("configText")?.map(str::to_owned),
        fields.take("config"),
    );
    match given {
        (None, None, None) => Ok(options),
        (Some(path), None, None) => Ok(options.config_path(path)),
        (None, Some(text), None) => Ok(options.config_text(text)),
        (None, None, Some(value)) => Ok(options.config_value(value)),
        _ => Err(invalid(
            "config",
            "the only one of config, configPath and configText",
        )),
    }
}

fn own_addresses(value: &Value) -> Result<OwnAddresses> {
    if value == &Value::Bool(false) {
        return Ok(OwnAddresses(None));
    }
    let list = value.as_array().and_then(|list| {
        list.iter()
            .map(|text| text.as_str()?.parse().ok())
            .collect()
    });
    list.map(|list| OwnAddresses(Some(list)))
        .ok_or_else(|| invalid("ownAddresses", "a list of addresses, or false"))
}

fn overrides(value: Value) -> Result<Overrides> {
    let fields = Fields::of(value, "access", &["mode", "token", "password", "port"])?;
    let secret = |text: &str| SecretText::new(text.to_owned());
    let port = fields.count("port")?;
    let port = port.map(|port| u16::try_from(port).map_err(|_| invalid("port", "a port number")));
    Ok(Overrides {
        mode: fields.word("mode", AuthMethod::from_word)?,
        token: fields.text("token")?.map(secret),
        password: fields.text("password")?.map(secret),
        port: port.transpose()?,
    })
}
