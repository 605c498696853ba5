//! Repairs: each one small, safe, and shown before it is done.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::DoctorFinding;
use super::place::Place;
use crate::error::{Code, Error, Result};
use crate::profiles::{Document, LockFile};

/// What a repair does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Repair {
    /// Takes a lock by the rule for stale ones and lets it go.
    BreakLock(PathBuf),
    CreateFolder(PathBuf),
    /// Removes a member of the configuration file.
    DropSetting(Vec<String>),
    /// Imports what an older release left.
    Import(String),
    /// Permission bits.
    Mode(PathBuf, u32),
    /// Refreshes the login of an agent.
    Refresh(String, String),
    /// Removes a file of ours.
    RemoveFile(PathBuf),
    /// Changes a member of the configuration file.
    Setting(Vec<String>, Value),
    /// Changes the store of an agent.
    Store(String, StoreChange),
}

/// A change of a store.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StoreChange {
    ClearWindows(String),
    DropMember(String, &'static str),
    DropProfile(String),
    DropUsage(String),
    ExpiresInMs(String),
    /// Provider and id.
    PruneOrder(String, String),
    SetMember(String, &'static str, Value),
    /// `mode` and `apiKey` become `type` and `key`.
    Spelling(String),
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BreakLock(path) => write!(f, "remove the stale lock {}", path.display()),
            Self::CreateFolder(path) => write!(f, "create {} with mode 700", path.display()),
            Self::DropSetting(path) => write!(f, "remove {} from openclaw.json", path.join(".")),
            Self::Import(agent) => write!(f, "import the old credentials of agent {agent}"),
            Self::Mode(path, mode) => write!(f, "set mode {mode:o} on {}", path.display()),
            Self::Refresh(_, id) => write!(f, "refresh {id}"),
            Self::RemoveFile(path) => write!(f, "remove {}", path.display()),
            Self::Setting(path, value) => {
                write!(f, "set {} to {value} in openclaw.json", path.join("."))
            }
            Self::Store(agent, change) => write!(f, "{change} in the store of agent {agent}"),
        }
    }
}

impl fmt::Display for StoreChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClearWindows(id) => write!(f, "clear the windows of {id}"),
            Self::DropMember(id, member) => write!(f, "remove {member} of {id}"),
            Self::DropProfile(id) => write!(f, "remove the profile {id}"),
            Self::DropUsage(id) => write!(f, "remove the usage record of {id}"),
            Self::ExpiresInMs(id) => write!(f, "turn the expiry of {id} into milliseconds"),
            Self::PruneOrder(provider, id) => write!(f, "take {id} out of the order of {provider}"),
            Self::SetMember(id, member, _) => write!(f, "set {member} of {id}"),
            Self::Spelling(id) => write!(f, "write {id} in the current spelling"),
        }
    }
}

/// What became of one repair.
#[derive(Debug, Clone)]
pub struct RepairDone {
    check: &'static str,
    status: &'static str,
    detail: String,
}

impl RepairDone {
    pub(super) fn skipped(finding: &DoctorFinding) -> Self {
        Self::of(finding, "skipped", None)
    }

    fn of(finding: &DoctorFinding, status: &'static str, why: Option<&Error>) -> Self {
        let what = finding.repair().unwrap_or_default();
        Self {
            check: finding.check_id(),
            status,
            detail: match why {
                Some(error) => format!("{what}: {}", error.message()),
                None => what,
            },
        }
    }

    pub(super) fn still_there(&mut self) {
        if self.status == "repaired" {
            self.status = "failed";
            self.detail.push_str(": the finding is still there");
        }
    }

    /// The id of the check.
    pub fn check_id(&self) -> &'static str {
        self.check
    }

    /// `repaired`, `skipped` or `failed`.
    pub fn status(&self) -> &'static str {
        self.status
    }

    /// What was done, or why not.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        json!({"checkId": self.check, "status": self.status, "detail": self.detail})
    }
}

/// Does the repairs of these findings, in their order; everything that concerns one store is one
/// write. One answer for each finding, in the same order.
pub(super) fn apply(place: &Place, findings: &[&DoctorFinding]) -> Vec<RepairDone> {
    let mut stores: Vec<(&str, Result<()>)> = Vec::new();
    let mut config: Option<Result<()>> = None;
    let mut done = Vec::new();
    for finding in findings {
        let Some(repair) = &finding.repair else {
            continue;
        };
        let outcome = match repair {
            Repair::Store(agent, _) => {
                let known = stores.iter().find(|(known, _)| known == agent);
                match known {
                    Some((_, outcome)) => outcome.clone(),
                    None => {
                        let outcome = edit_store(place, agent, findings);
                        stores.push((agent, outcome.clone()));
                        outcome
                    }
                }
            }
            Repair::Setting(..) | Repair::DropSetting(_) => config
                .get_or_insert_with(|| edit_config(place, findings))
                .clone(),
            other => alone(place, other),
        };
        done.push(match &outcome {
            Ok(()) => RepairDone::of(finding, "repaired", None),
            Err(error) => RepairDone::of(finding, "failed", Some(error)),
        });
    }
    done
}

fn alone(place: &Place, repair: &Repair) -> Result<()> {
    let files = &place.host.files;
    let failed = |path: &PathBuf, error: &std::io::Error| {
        let message = format!("{}: {}", path.display(), error.kind());
        Error::new(Code::RepairFailed, message)
    };
    let no_engine = || Error::new(Code::RepairFailed, "the installation cannot be opened");
    match repair {
        Repair::BreakLock(path) => LockFile::acquire(&place.host, path, Duration::ZERO)
            .map(drop)
            .map_err(|_| Error::new(Code::RepairFailed, "the lock is held again")),
        Repair::CreateFolder(path) => files
            .create_dir_all(path, 0o700)
            .map_err(|error| failed(path, &error)),
        Repair::Mode(path, mode) => files
            .set_mode(path, *mode)
            .map_err(|error| failed(path, &error)),
        Repair::RemoveFile(path) => files
            .remove_file(path)
            .map_err(|error| failed(path, &error)),
        Repair::Import(agent) => {
            let engine = place.engine().ok_or_else(no_engine)?;
            engine.scene(Some(agent))?.agent.store().import_legacy()?;
            Ok(())
        }
        Repair::Refresh(agent, id) => {
            let engine = place.engine().ok_or_else(no_engine)?;
            let token = engine.oauth_token(Some(agent), id, 0, false)?;
            token.warning.map_or(Ok(()), Err)
        }
        Repair::DropSetting(_) | Repair::Setting(..) | Repair::Store(..) => Ok(()),
    }
}

/// Every change of one store, in one write.
fn edit_store(place: &Place, agent: &str, findings: &[&DoctorFinding]) -> Result<()> {
    let changes: Vec<&StoreChange> = findings
        .iter()
        .filter_map(|finding| match &finding.repair {
            Some(Repair::Store(of, change)) if of == agent => Some(change),
            _ => None,
        })
        .collect();
    let engine = place.engine();
    let engine = engine
        .ok_or_else(|| Error::new(Code::RepairFailed, "the installation cannot be opened"))?;
    engine.scene(Some(agent))?.edit(&mut |document| {
        changes.iter().for_each(|change| change.apply(document));
        Ok(())
    })
}

/// Every change of the configuration file, in one write.
fn edit_config(place: &Place, findings: &[&DoctorFinding]) -> Result<()> {
    let engine = place.engine();
    let engine = engine
        .ok_or_else(|| Error::new(Code::RepairFailed, "the installation cannot be opened"))?;
    let mut change = |tree: &mut Value| {
        for finding in findings {
            match &finding.repair {
                Some(Repair::Setting(path, value)) => set(tree, path, Some(value)),
                Some(Repair::DropSetting(path)) => set(tree, path, None),
                _ => {}
            }
        }
    };
    engine.edit_config(&mut change)
}

/// Puts a value at a path that exists, or takes it away. An object that becomes empty goes too.
fn set(tree: &mut Value, path: &[String], value: Option<&Value>) {
    let Some((last, before)) = path.split_last() else {
        return;
    };
    let mut at = tree;
    for key in before {
        match at.get_mut(key) {
            Some(next) => at = next,
            None => return,
        }
    }
    if let Value::Object(map) = at {
        match value {
            Some(value) => {
                map.insert(last.clone(), value.clone());
            }
            None => {
                map.shift_remove(last);
            }
        }
    }
}

impl StoreChange {
    /// Makes the change. Applied to a store where it has been made already it changes nothing.
    fn apply(&self, document: &mut Document) {
        let member = |document: &mut Document, id: &str, change: &dyn Fn(&mut Value)| {
            document.edit("profiles", |profiles| {
                if let Some(profile) = profiles.get_mut(id) {
                    change(profile);
                }
            });
        };
        match self {
            Self::ClearWindows(id) | Self::DropUsage(id) => {
                document.edit("usageStats", |usage| usage.shift_remove(id));
            }
            Self::DropMember(id, key) => member(document, id, &|profile| {
                if let Value::Object(map) = profile {
                    map.shift_remove(*key);
                }
            }),
            Self::DropProfile(id) => crate::profiles::remove_profile(document, id),
            Self::ExpiresInMs(id) => member(document, id, &|profile| {
                let seconds = profile.get("expires").and_then(Value::as_u64);
                let seconds = seconds.filter(|seconds| *seconds < super::store::SECONDS_BELOW);
                if let (Value::Object(map), Some(seconds)) = (profile, seconds) {
                    map.insert("expires".to_owned(), (seconds * 1_000).into());
                }
            }),
            Self::PruneOrder(provider, id) => document.edit("order", |order| {
                if let Some(list) = order.get_mut(provider).and_then(Value::as_array_mut) {
                    list.retain(|known| known.as_str().map(str::trim) != Some(id));
                }
                order.retain(|_, list| list.as_array().is_none_or(|list| !list.is_empty()));
            }),
            Self::SetMember(id, key, value) => member(document, id, &|profile| {
                if let Value::Object(map) = profile {
                    map.insert((*key).to_owned(), value.clone());
                }
            }),
            Self::Spelling(id) => member(document, id, &|profile| {
                let Value::Object(map) = profile else { return };
                for (old, new) in super::store::SPELLINGS {
                    // Both spellings at once: nothing is thrown away.
                    if !map.contains_key(*new)
                        && let Some(value) = map.shift_remove(*old)
                    {
                        map.insert((*new).to_owned(), value);
                    }
                }
                let kind = map.get("type").and_then(Value::as_str);
                let kind = kind.map(|kind| super::store::usual_type(kind).to_owned());
                if let Some(kind) = kind {
                    map.insert("type".to_owned(), kind.into());
                }
            }),
        }
    }
}
