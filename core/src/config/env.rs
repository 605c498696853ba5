//! The effective environment: one map for every lookup of one activation.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::Value;
use zeroize::Zeroizing;

use super::issue::{Issue, Issues};
use super::substitute::{has_reference, substitute_text};
use super::{blocklist, dotenv};
use crate::error::Code;
use crate::host::{FileMeta, Host};
use crate::json::{Path, Place, lookup, type_name};
use crate::text::{REDACTED, SecretText};

/// Where a variable came from. Earlier sources win over later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EnvOrigin {
    /// The environment of the process, or the map that the host passed.
    Process,
    /// The `.env` file of the state directory.
    StateDotenv,
    /// The `env` block of the configuration.
    ConfigEnv,
}

impl EnvOrigin {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::StateDotenv => "state-dotenv",
            Self::ConfigEnv => "config-env",
        }
    }
}

/// The effective environment. Never printed with values; values are wiped on drop.
///
/// The process environment itself is never changed, so an edited `.env` counts at the next
/// activation.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvView {
    process: Arc<HashMap<String, SecretText, RandomState>>,
    added: HashMap<String, (SecretText, EnvOrigin), RandomState>,
}

/// Most bytes in a `.env` file.
const MAX_DOTENV: u64 = 1 << 20;

impl EnvView {
    /// The process environment alone.
    pub(crate) fn new(process: BTreeMap<String, Zeroizing<String>>) -> Self {
        let process = process
            .into_iter()
            .map(|(name, value)| (name, SecretText::from_zeroizing(value)));
        Self {
            process: Arc::new(process.collect()),
            added: HashMap::default(),
        }
    }

    /// The value of a variable, from whichever source defines it. May be empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.text(name).map(SecretText::expose)
    }

    /// The value when it has more than white space.
    pub fn non_blank(&self, name: &str) -> Option<&str> {
        self.secret(name).map(SecretText::expose)
    }

    /// The value as a secret, when it has more than white space.
    pub(crate) fn secret(&self, name: &str) -> Option<&SecretText> {
        self.text(name)
            .filter(|value| !value.expose().trim().is_empty())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&SecretText> {
        match self.added.get(name) {
            Some((value, _)) => Some(value),
            None => self.process.get(name),
        }
    }

    /// The value in the process environment only.
    pub fn process(&self, name: &str) -> Option<&str> {
        self.process.get(name).map(SecretText::expose)
    }

    /// Where a variable came from.
    pub fn origin(&self, name: &str) -> Option<EnvOrigin> {
        match self.added.get(name) {
            Some((_, origin)) => Some(*origin),
            None => self.process.get(name).map(|_| EnvOrigin::Process),
        }
    }

    /// The names that are not from the process environment, with their origin, in order.
    pub fn overlay(&self) -> impl Iterator<Item = (&str, EnvOrigin)> {
        let added = self.added.iter();
        let mut names: Vec<(&str, EnvOrigin)> = added
            .map(|(name, (_, origin))| (name.as_str(), *origin))
            .collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        names.into_iter()
    }

    /// All names and values of the effective environment, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let process = self
            .process
            .iter()
            .filter(|(name, _)| !self.added.contains_key(*name));
        let mut all: Vec<(&str, &str)> = process
            .map(|(name, value)| (name.as_str(), value.expose()))
            .chain(
                self.added
                    .iter()
                    .map(|(name, (value, _))| (name.as_str(), value.expose())),
            )
            .collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all.into_iter()
    }

    /// Variables whose names start with a prefix, in no particular order, each with its effective
    /// value.
    pub(crate) fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a SecretText)> {
        let process = self.process.iter();
        let process = process
            .map(|(name, value)| (name.as_str(), value))
            .filter(move |(name, _)| name.starts_with(prefix))
            .filter(|(name, _)| self.added.is_empty() || !self.added.contains_key(*name));
        let added = self.added.iter();
        let added = added
            .map(|(name, (value, _))| (name.as_str(), value))
            .filter(move |(name, _)| name.starts_with(prefix));
        process.chain(added)
    }

    /// Adds a variable unless an earlier source has it. A `.env` never replaces a name, even an
    /// empty one; the `env` block replaces blank values.
    fn add(&mut self, name: &str, value: Zeroizing<String>, origin: EnvOrigin) {
        let taken = match (self.get(name), origin) {
            (None, _) => false,
            (Some(_), EnvOrigin::StateDotenv) => self.origin(name) != Some(EnvOrigin::StateDotenv),
            (Some(existing), _) => !existing.trim().is_empty(),
        };
        if !taken {
            let value = SecretText::from_zeroizing(value);
            self.added.insert(name.to_owned(), (value, origin));
        }
    }

    /// Reads the `.env` file of the state directory, if there is one. Returns its facts for the
    /// file watcher.
    pub(super) fn read_dotenv(
        &mut self,
        host: &Host,
        file: &FilePath,
        issues: &mut Issues,
    ) -> Option<FileMeta> {
        let root = Path::root();
        // Links are followed: dotfile managers link this file.
        let path = host.files.canonical(file).ok()?;
        let read = host.files.open(&path).and_then(|mut open| {
            let meta = open.meta()?;
            Ok((meta, open.read_to_limit(MAX_DOTENV)?))
        });
        let (meta, bytes) = match read {
            Ok((meta, Some(bytes))) => (meta, bytes),
            Ok((meta, None)) => {
                let message = format!("{} is larger than 1 MiB", file.display());
                issues.push(Issue::error(Code::ConfigTooLarge, &root, message).in_file(file, None));
                return Some(meta);
            }
            Err(error) => {
                let message = format!("cannot read {}: {}", file.display(), error.kind());
                issues.push(
                    Issue::warning(Code::DotenvReadFailed, &root, message).in_file(file, None),
                );
                return None;
            }
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            let message = format!("{} is not UTF-8", file.display());
            issues.push(Issue::warning(Code::DotenvReadFailed, &root, message).in_file(file, None));
            return Some(meta);
        };
        if meta.mode & 0o077 != 0 {
            let message = format!(
                "{} can be read by other users (mode {:04o})",
                file.display(),
                meta.mode
            );
            issues.push(
                Issue::warning(Code::ConfigFilePermissions, &root, message)
                    .in_file(file, None)
                    .hint(format!("chmod 600 {}", file.display())),
            );
        }
        self.add_dotenv(text, file, issues);
        Some(meta)
    }

    /// Adds the assignments of a `.env` text.
    pub(crate) fn add_dotenv(&mut self, text: &str, file: &FilePath, issues: &mut Issues) {
        for entry in dotenv::parse(text) {
            let place = Some(Place {
                line: entry.line,
                column: 1,
            });
            if !is_name(&entry.name) {
                let message = format!("line {} has an unusable name", entry.line);
                issues.push(
                    Issue::warning(Code::DotenvKeySkipped, &Path::root(), message)
                        .in_file(file, place),
                );
                continue;
            }
            if entry.cut_at_hash {
                let message = format!("the value of {} was cut at a #", entry.name);
                issues.push(
                    Issue::warning(Code::DotenvValueTruncatedAtHash, &Path::root(), message)
                        .in_file(file, place)
                        .hint("put the value in quotes if the # belongs to it"),
                );
            }
            self.add(&entry.name, entry.value, EnvOrigin::StateDotenv);
        }
    }

    /// Checks the `env` block and adds its entries that need no substitution; entries with
    /// `${VAR}` are returned for [`EnvView::add_substituted`]. The values are taken out of the
    /// tree: they may be secrets.
    pub(super) fn add_config_block(
        &mut self,
        tree: &mut Value,
        issues: &mut Issues,
    ) -> Vec<PendingEnv> {
        let mut pending: Vec<PendingEnv> = Vec::new();
        let root = Path::new(["env"]);
        let block = match tree.get_mut("env") {
            None => return pending,
            Some(Value::Object(block)) => block,
            Some(other) => {
                let message = format!("must be an object, not {}", type_name(other));
                issues.push(Issue::error(Code::ConfigInvalidValue, &root, message));
                return pending;
            }
        };
        // A direct entry wins over the same name in `vars`, so it comes first.
        let mut entries: Vec<(Path, String, &mut Value)> = Vec::new();
        let mut vars = None;
        for (name, value) in block.iter_mut() {
            match name.as_str() {
                "shellEnv" => {}
                "vars" => vars = Some(value),
                _ => entries.push((root.child(name.as_str()), name.clone(), value)),
            }
        }
        match vars {
            Some(Value::Object(vars)) => {
                let path = root.child("vars");
                for (name, value) in vars.iter_mut() {
                    entries.push((path.child(name.as_str()), name.clone(), value));
                }
            }
            Some(other) => {
                let message = format!("must be an object, not {}", type_name(other));
                let path = root.child("vars");
                issues.push(Issue::error(Code::ConfigInvalidValue, &path, message));
            }
            None => {}
        }
        let mut seen: Vec<String> = Vec::new();
        for (path, name, value) in entries {
            if !value.is_string() {
                let message = format!("must be a string, not {}", type_name(value));
                let mut issue = Issue::error(Code::ConfigInvalidValue, &path, message);
                if value.get("source").is_some() {
                    issue = issue.hint(
                        "put the reference on the setting that uses it; the env block takes literal strings",
                    );
                }
                issues.push(issue);
                continue;
            }
            let Value::String(text) = std::mem::replace(value, Value::String(REDACTED.to_owned()))
            else {
                continue;
            };
            let text = Zeroizing::new(text);
            if !is_name(&name) {
                issues.push(Issue::warning(
                    Code::DotenvKeySkipped,
                    &path,
                    "unusable variable name",
                ));
            } else if blocklist::is_blocked(&name) {
                let message = format!("{name} cannot be set from a configuration file");
                issues.push(Issue::warning(Code::EnvKeyBlocked, &path, message));
            } else if !text.trim().is_empty() && !seen.contains(&name) {
                seen.push(name.clone());
                if has_reference(&text) {
                    pending.push(PendingEnv { path, name, text });
                } else {
                    self.add(&name, text, EnvOrigin::ConfigEnv);
                }
            }
        }
        pending
    }

    /// Adds the entries of the `env` block that contain `${VAR}`, substituted.
    pub(super) fn add_substituted(
        &mut self,
        pending: &[PendingEnv],
        strict: bool,
        issues: &mut Issues,
    ) {
        for entry in pending {
            let value = substitute_text(&entry.text, self, &entry.path, strict, issues);
            let value = value.map_or_else(|| entry.text.clone(), Zeroizing::new);
            if !value.trim().is_empty() {
                self.add(&entry.name, value, EnvOrigin::ConfigEnv);
            }
        }
    }
}

/// An entry of the `env` block that waits for substitution.
pub(crate) struct PendingEnv {
    path: Path,
    name: String,
    text: Zeroizing<String>,
}

impl fmt::Debug for EnvView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "EnvView({} names)",
            self.process.len() + self.added.len()
        )
    }
}

/// `^[A-Za-z_][A-Za-z0-9_]*$`
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether the tree asks for the login shell's environment, which this library does not import.
pub(super) fn wants_shell_env(tree: &Value) -> bool {
    lookup(tree, &["env", "shellEnv", "enabled"]) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_shared_examples_of_the_dotenv_syntax() {
        let mut ran = 0;
        for line in include_str!("../../../tests/vectors/secrets.jsonl").lines() {
            let example: Value = serde_json::from_str(line).unwrap();
            if example["op"] != "dotenv" {
                continue;
            }
            ran += 1;
            let mut env = EnvView::new(BTreeMap::new());
            let mut issues = Issues::new();
            env.add_dotenv(
                example["text"].as_str().unwrap(),
                FilePath::new(".env"),
                &mut issues,
            );
            let actual: serde_json::Map<String, Value> = env
                .iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
            assert_eq!(
                Value::Object(actual),
                example["then"]["env"],
                "{}",
                example["id"]
            );
            for code in example["then"]["diagnostics"]
                .as_array()
                .into_iter()
                .flatten()
            {
                assert!(
                    issues.iter().any(|issue| issue.code.as_str() == code),
                    "{}",
                    example["id"]
                );
            }
        }
        assert_eq!(ran, 18);
    }
}
