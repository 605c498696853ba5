//! `secrets.providers`, `secrets.defaults` and `secrets.resolution`: reading and looking up.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use serde_json::{Map, Value};

use super::failure::Fault;
use super::reference::{Defaults, SecretSource, is_alias, is_env_id};
use super::sensitive::is_sensitive_env;
use crate::config::{Part, expand_home, split_references};
use crate::error::Code;
use crate::json::{Fields, Mismatch, Path, lookup};
use crate::text::closest;

/// A declared provider. `problems` makes it unusable, but only if something uses it.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) source: Option<SecretSource>,
    pub(crate) settings: Settings,
    pub(crate) problems: Vec<Mismatch>,
}

#[derive(Debug)]
pub(crate) enum Settings {
    Env(EnvSettings),
    File(FileSettings),
    Exec(Box<ExecSettings>),
    /// The declaration could not be read; see the problems.
    Unusable,
}

#[derive(Debug, Default)]
pub(crate) struct EnvSettings {
    /// `None`: every name is allowed.
    pub(crate) allowlist: Option<Vec<String>>,
}

/// What the path policy needs to know.
#[derive(Debug, Default)]
pub(crate) struct PathSettings {
    pub(crate) path: String,
    pub(crate) trusted_dirs: Vec<String>,
    pub(crate) allow_symlink: bool,
    pub(crate) allow_insecure: bool,
}

#[derive(Debug)]
pub(crate) struct FileSettings {
    pub(crate) path: PathSettings,
    pub(crate) single_value: bool,
    pub(crate) timeout_ms: u64,
    pub(crate) max_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct ExecSettings {
    pub(crate) path: PathSettings,
    pub(crate) args: Vec<String>,
    pub(crate) timeout_ms: u64,
    pub(crate) silence_ms: u64,
    pub(crate) max_output: u64,
    /// `None`: automatic.
    pub(crate) json_only: Option<bool>,
    pub(crate) env: BTreeMap<String, String>,
    /// `None`: the baseline set.
    pub(crate) pass_env: Option<Vec<String>>,
    pub(crate) attempts: u64,
    pub(crate) backoff_ms: u64,
}

/// `secrets.resolution`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) concurrency: usize,
    pub(crate) refs_per_provider: usize,
    pub(crate) batch_bytes: usize,
}

/// Everything under `secrets`, typed.
#[derive(Debug)]
pub(crate) struct Providers {
    pub(crate) declared: BTreeMap<String, Provider>,
    pub(crate) defaults: Defaults,
    pub(crate) limits: Limits,
    /// Problems outside of single providers.
    pub(crate) problems: Vec<Mismatch>,
    /// Keys under `secrets` that are not known; newer releases add some.
    pub(crate) unknown: Vec<Mismatch>,
}

const MAX_BYTES: u64 = 20_971_520;
const MAX_TIMEOUT: u64 = 120_000;
/// Never in a command: it is run without a shell, so these can only be mistakes.
const FORBIDDEN_IN_COMMAND: &[char] = &[
    '\0', '\r', '\n', ';', '&', '|', '`', '$', '<', '>', '\'', '"',
];

impl Providers {
    /// Reads the section of the effective configuration.
    pub(crate) fn read(tree: &Value) -> Self {
        let root = Path::new(["secrets"]);
        let empty = Map::new();
        let mut problems = Vec::new();
        let section = match tree.get("secrets") {
            Some(Value::Object(map)) => map,
            _ => &empty,
        };
        let mut fields = Fields::new(section, &root);
        let declared = fields.object("providers");
        let defaults = fields.object("defaults");
        let resolution = fields.object("resolution");
        let retry = fields.object("retry");
        let (unknown, wrong): (Vec<_>, Vec<_>) =
            fields.finish().into_iter().partition(|m| m.unknown_key);
        problems.extend(wrong);

        if let Some(map) = defaults {
            let path = root.child("defaults");
            let mut fields = Fields::new(map, &path);
            for key in ["env", "file", "exec"] {
                if fields.string(key).is_some_and(|alias| !is_alias(alias)) {
                    fields.wrong::<()>(key, "is not a valid alias");
                }
            }
            problems.extend(fields.finish());
        }
        let limits = limits(
            resolution.unwrap_or(&empty),
            &root.child("resolution"),
            &mut problems,
        );
        let retry = retry_settings(retry, &root.child("retry"), (1, 500), &mut problems);

        let path = root.child("providers");
        let mut providers = BTreeMap::new();
        for (alias, value) in declared.into_iter().flatten() {
            let path = path.child(alias.as_str());
            if !is_alias(alias) {
                let rule = "aliases use a-z, 0-9, _ and - (at most 64) and start with a letter";
                problems.push(mismatch(&path, rule));
                continue;
            }
            providers.insert(alias.clone(), read_provider(value, &path, retry));
        }
        Self {
            declared: providers,
            defaults: Defaults::read(tree),
            limits,
            problems,
            unknown,
        }
    }

    /// The paths of all declared secrets files.
    pub(super) fn files<'a>(&'a self, home: &'a FilePath) -> impl Iterator<Item = PathBuf> + 'a {
        self.declared.values().filter_map(|provider| {
            let Settings::File(settings) = &provider.settings else {
                return None;
            };
            let path = expand_home(&settings.path.path, home);
            path.is_absolute().then_some(path)
        })
    }

    /// The provider of an alias, as references of a source need it.
    pub(crate) fn find(&self, source: SecretSource, alias: &str) -> Result<Found<'_>, Fault> {
        let declared = self.declared.get(alias);
        if let Some(provider) = declared.filter(|provider| provider.source == Some(source)) {
            return match provider.problems.first() {
                None => Ok(Found::Declared(&provider.settings)),
                Some(problem) => Err(Fault::new(
                    Code::SecretProviderInvalid,
                    format!("{}: {}", problem.path, problem.message),
                )
                .reason(if problem.path.to_string().ends_with("pluginIntegration") {
                    "plugin_integration"
                } else {
                    "settings"
                })
                .detail("field", problem.path.to_string())),
            };
        }
        // The built-in provider stays reachable even if its alias is declared for another source.
        if source == SecretSource::Env && alias == self.defaults.alias(SecretSource::Env) {
            return Ok(Found::BuiltInEnv);
        }
        let wanted = source;
        let source = wanted.as_str();
        if let Some(other) = declared.and_then(|provider| provider.source) {
            return Err(Fault::new(
                Code::SecretProviderSourceMismatch,
                format!(
                    "secret provider \"{alias}\" is declared as {}, the reference asks for {source}",
                    other.as_str()
                ),
            ));
        }
        let same: Vec<&str> = self
            .declared
            .iter()
            .filter(|(_, provider)| provider.source == Some(wanted))
            .map(|(alias, _)| alias.as_str())
            .collect();
        let mut hint = match same.as_slice() {
            [] => format!("declare it in secrets.providers with source \"{source}\""),
            some => {
                let shown: Vec<&str> = some.iter().take(5).copied().collect();
                format!("declared {source} providers: {}", shown.join(", "))
            }
        };
        if let Some(near) = closest(alias, same.iter().copied()) {
            hint.push_str(&format!("; did you mean \"{near}\"?"));
        }
        Err(Fault::new(
            Code::SecretProviderNotConfigured,
            format!("secret provider \"{alias}\" ({source}) is not declared in secrets.providers"),
        )
        .hint(hint))
    }
}

/// A provider that can be used.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'a> {
    /// Environment variables without an allowlist.
    BuiltInEnv,
    Declared(&'a Settings),
}

fn limits(map: &Map<String, Value>, path: &Path, problems: &mut Vec<Mismatch>) -> Limits {
    let mut fields = Fields::new(map, path);
    let mut read = |key, max, default: u64| {
        usize::try_from(fields.integer(key, 1..=max).unwrap_or(default)).unwrap_or(usize::MAX)
    };
    let limits = Limits {
        concurrency: read("maxProviderConcurrency", 16, 4),
        refs_per_provider: read("maxRefsPerProvider", 4096, 512),
        batch_bytes: read("maxBatchBytes", 5_242_880, 262_144),
    };
    problems.extend(fields.finish());
    limits
}

fn retry_settings(
    map: Option<&Map<String, Value>>,
    path: &Path,
    defaults: (u64, u64),
    problems: &mut Vec<Mismatch>,
) -> (u64, u64) {
    let Some(map) = map else { return defaults };
    let mut fields = Fields::new(map, path);
    let attempts = fields.integer("attempts", 1..=5).unwrap_or(defaults.0);
    let backoff = fields
        .integer("backoffMs", 0..=60_000)
        .unwrap_or(defaults.1);
    problems.extend(fields.finish());
    (attempts, backoff)
}

fn read_provider(value: &Value, path: &Path, retry: (u64, u64)) -> Provider {
    let unusable = |problems| Provider {
        source: None,
        settings: Settings::Unusable,
        problems,
    };
    let Value::Object(map) = value else {
        return unusable(vec![mismatch(path, "must be an object")]);
    };
    let mut fields = Fields::new(map, path);
    let Some(source) = fields.string("source").and_then(SecretSource::parse) else {
        // The other keys cannot be judged without the source.
        let path = path.child("source");
        return unusable(vec![mismatch(
            &path,
            "must be \"env\", \"file\" or \"exec\"",
        )]);
    };
    let mut extra = Vec::new();
    let settings = match source {
        SecretSource::Env => Settings::Env(read_env(&mut fields)),
        SecretSource::File => Settings::File(read_file(&mut fields)),
        SecretSource::Exec => {
            Settings::Exec(Box::new(read_exec(&mut fields, path, retry, &mut extra)))
        }
    };
    let mut problems = fields.finish();
    problems.extend(extra);
    Provider {
        source: Some(source),
        settings,
        problems,
    }
}

fn read_env(fields: &mut Fields<'_>) -> EnvSettings {
    let names = fields.strings("allowlist", 256);
    if names.iter().flatten().any(|name| !is_env_id(name)) {
        fields.wrong::<()>(
            "allowlist",
            "entries look like OPENAI_API_KEY (A-Z, 0-9, _; at most 128)",
        );
    }
    EnvSettings {
        allowlist: names.map(owned),
    }
}

fn read_path(
    fields: &mut Fields<'_>,
    path: &'static str,
    allow_symlink: &'static str,
) -> PathSettings {
    let text = fields.string(path).unwrap_or_default();
    let trusted = fields.strings("trustedDirs", 64).unwrap_or_default();
    if trusted
        .iter()
        .any(|dir| !(dir.starts_with('/') || dir.starts_with('~') || is_drive(dir)))
    {
        fields.wrong::<()>("trustedDirs", "entries must be absolute paths");
    }
    PathSettings {
        path: text.to_owned(),
        trusted_dirs: owned(trusted),
        allow_symlink: fields.boolean(allow_symlink).unwrap_or(false),
        allow_insecure: fields.boolean("allowInsecurePath").unwrap_or(false),
    }
}

fn read_file(fields: &mut Fields<'_>) -> FileSettings {
    let path = read_path(fields, "path", "allowSymlinkPath");
    if path.path.trim().is_empty() {
        fields.wrong::<()>("path", "must be the path of the secrets file");
    }
    let mode = fields.string("mode").unwrap_or("json");
    if mode != "json" && mode != "singleValue" {
        fields.wrong::<()>("mode", "must be \"json\" or \"singleValue\"");
    }
    FileSettings {
        path,
        single_value: mode == "singleValue",
        timeout_ms: fields.integer("timeoutMs", 1..=MAX_TIMEOUT).unwrap_or(5000),
        max_bytes: fields.integer("maxBytes", 1..=MAX_BYTES).unwrap_or(1 << 20),
    }
}

fn read_exec(
    fields: &mut Fields<'_>,
    path: &Path,
    retry: (u64, u64),
    extra: &mut Vec<Mismatch>,
) -> ExecSettings {
    if fields.value("pluginIntegration").is_some() {
        fields.wrong::<()>(
            "pluginIntegration",
            "plugin integrations are not supported; give a command",
        );
    }
    let command = read_path(fields, "command", "allowSymlinkCommand");
    let text = command.path.trim();
    if text.contains(FORBIDDEN_IN_COMMAND) {
        fields.wrong::<()>(
            "command",
            "must be a path without shell characters; arguments go to args",
        );
    } else if !(text.starts_with('/') || text.starts_with("~/") || is_drive(text)) {
        fields.wrong::<()>("command", "must be an absolute path");
    }
    let args = fields.strings("args", 128).unwrap_or_default();
    if args
        .iter()
        .any(|arg| arg.chars().count() > 1024 || arg.contains('\0'))
    {
        fields.wrong::<()>(
            "args",
            "entries may have at most 1024 characters and no NUL",
        );
    }
    let timeout_ms = fields.integer("timeoutMs", 1..=MAX_TIMEOUT).unwrap_or(5000);
    let silence_ms = fields
        .integer("noOutputTimeoutMs", 1..=MAX_TIMEOUT)
        .unwrap_or(timeout_ms);
    let mut env = BTreeMap::new();
    for (name, value) in fields.object("env").into_iter().flatten() {
        match value.as_str() {
            Some(text)
                if !name.is_empty() && !name.contains(['=', '\0']) && !text.contains('\0') =>
            {
                env.insert(name.clone(), text.to_owned());
            }
            _ => extra.push(mismatch(
                &path.child("env").child(name.as_str()),
                "must be a string",
            )),
        }
    }
    let pass_env = fields.strings("passEnv", 128);
    if pass_env.iter().flatten().any(|name| !is_env_id(name)) {
        fields.wrong::<()>(
            "passEnv",
            "entries look like OPENAI_API_KEY (A-Z, 0-9, _; at most 128)",
        );
    }
    let own_retry = fields.object("retry");
    let (attempts, backoff_ms) = retry_settings(own_retry, &path.child("retry"), retry, extra);
    ExecSettings {
        path: command,
        args: owned(args),
        timeout_ms,
        silence_ms: silence_ms.min(timeout_ms),
        max_output: fields
            .integer("maxOutputBytes", 1..=MAX_BYTES)
            .unwrap_or(1 << 20),
        json_only: fields.boolean("jsonOnly"),
        env,
        pass_env: pass_env.map(owned),
        attempts,
        backoff_ms,
    }
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

/// `X:\…` or `\\server\share…`
fn is_drive(text: &str) -> bool {
    let mut chars = text.chars();
    let drive = chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':');
    drive || text.starts_with("\\\\")
}

fn mismatch(path: &Path, message: &str) -> Mismatch {
    Mismatch {
        path: path.clone(),
        unknown_key: false,
        message: message.to_owned(),
        hint: None,
    }
}

/// Arguments that put a sensitive variable on a command line, found before substitution:
/// path of the argument and name of the variable.
pub(crate) fn secrets_in_args(tree: &Value) -> Vec<(Path, String)> {
    let mut found = Vec::new();
    let providers = lookup(tree, &["secrets", "providers"]).and_then(Value::as_object);
    for (alias, provider) in providers.into_iter().flatten() {
        let args = provider.get("args").and_then(Value::as_array);
        for (index, arg) in args.into_iter().flatten().enumerate() {
            let (parts, _) = split_references(arg.as_str().unwrap_or_default());
            for part in parts {
                if let Part::Reference(name) = part
                    && is_sensitive_env(&name)
                {
                    let path =
                        Path::new(["secrets", "providers", alias, "args", &index.to_string()]);
                    found.push((path, name));
                }
            }
        }
    }
    found
}
