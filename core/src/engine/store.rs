//! Looking at and mending the file that holds the credentials of an agent.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Engine;
use super::routes::Routes;
use crate::config::Severity;
use crate::error::{Code, Result};
use crate::profiles::{AgentProfiles, Repaired, View};

/// Values of `expires` below this are seconds, not milliseconds.
const SECONDS: u64 = 100_000_000_000;

/// What a check of a store found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoreCheck {
    /// The agent.
    pub agent: String,
    /// The store file.
    pub path: PathBuf,
    /// Whether the file exists.
    pub exists: bool,
    /// Number of profiles that can be read.
    pub profiles: usize,
    /// Everything that is wrong, errors first.
    pub findings: Vec<StoreFinding>,
}

/// Something that is wrong with a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoreFinding {
    /// What it is.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What mending a store would leave, or has left.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoreRepair {
    /// The agent.
    pub agent: String,
    /// The store file.
    pub path: PathBuf,
    /// Whether there was anything to mend.
    pub needed: bool,
    /// The profiles of the new store.
    pub profiles: Vec<String>,
    /// Where the old file has been copied to; `None` while nothing is written.
    pub copy: Option<PathBuf>,
}

impl Engine {
    /// Checks the store of an agent without changing anything.
    ///
    /// # Errors
    ///
    /// `unknown_agent`. A store that cannot be read is a finding.
    pub fn store_check(&self, agent: Option<&str>) -> Result<StoreCheck> {
        let (routes, profiles) = self.agent_of(agent)?;
        let path = profiles.path().to_path_buf();
        let mut check = StoreCheck {
            agent: profiles.agent.clone(),
            exists: self.host.files.stat(&path).is_ok(),
            path,
            profiles: 0,
            findings: Vec::new(),
        };
        match profiles.store().load() {
            Err(error) => check.findings.push(StoreFinding {
                code: error.code(),
                severity: Severity::Error,
                message: error.message().to_owned(),
                hint: error.hint().map(str::to_owned),
            }),
            Ok(stored) => {
                let view = View::read(
                    stored.document.as_ref(),
                    stored.version,
                    &routes.routing,
                    &routes.defaults,
                    |_| std::sync::Arc::default(),
                );
                check.profiles = view.profiles.len();
                if let Some(mode) = stored.open_to_others {
                    let path = check.path.display();
                    let hint = format!("chmod 600 {path}");
                    let message = format!("the file can be read by other users (mode {mode:04o})");
                    check.warn(Code::StoreOpenToOthers, message, Some(hint));
                }
                let version = stored.document.as_ref().and_then(|d| d.version()?.as_f64());
                if let Some(version) = version.filter(|version| *version > 1.0) {
                    let message =
                        format!("the store was written by a newer release (version {version})");
                    check.warn(Code::StoreVersionNewer, message, None);
                }
                check.look_at(&view, &routes, self.host.clock.now_ms());
            }
        }
        Ok(check)
    }

    /// Saves what can be read of a store that is damaged. Without `write` it only tells what that
    /// would leave; with it the old file is kept beside the new one.
    ///
    /// # Errors
    ///
    /// `store_corrupt` when nothing can be saved, `store_read_only`, `store_locked`,
    /// `store_conflict`, `store_write_failed`, `unknown_agent`.
    pub fn store_repair(&self, agent: Option<&str>, write: bool) -> Result<StoreRepair> {
        let (_, profiles) = self.agent_of(agent)?;
        let repaired = profiles.store().repair(write)?;
        Ok(repair_of(&profiles, repaired))
    }

    /// Brings credentials of older releases into the store: a store of an older shape, or the
    /// files `auth.json` and `credentials/oauth.json` when there is no store yet. Nothing is
    /// deleted.
    ///
    /// # Errors
    ///
    /// As [`Engine::store_repair`].
    pub fn store_migrate(&self, agent: Option<&str>) -> Result<StoreRepair> {
        let (_, profiles) = self.agent_of(agent)?;
        let path = profiles.path();
        if self.host.files.stat(path).is_err() {
            let found = profiles.store().import_legacy()?;
            let stored = profiles.store().load()?.document;
            let ids = stored.iter().flat_map(|document| document.profiles());
            let ids = ids.map(|(id, _)| id.clone()).collect();
            return Ok(StoreRepair {
                needed: found,
                profiles: ids,
                ..repair_of(&profiles, None)
            });
        }
        match profiles.store().load() {
            Err(error) if error.code() == Code::StoreLegacyShape => {
                let repaired = profiles.store().repair(true)?;
                Ok(repair_of(&profiles, repaired))
            }
            Err(error) => Err(error),
            Ok(_) => Ok(repair_of(&profiles, None)),
        }
    }
}

fn repair_of(profiles: &AgentProfiles, repaired: Option<Repaired>) -> StoreRepair {
    let needed = repaired.is_some();
    let repaired = repaired.unwrap_or_default();
    StoreRepair {
        agent: profiles.agent.clone(),
        path: profiles.path().to_path_buf(),
        needed,
        profiles: repaired.profiles,
        copy: repaired.copy,
    }
}

impl StoreCheck {
    fn warn(&mut self, code: Code, message: String, hint: Option<String>) {
        self.findings.push(StoreFinding {
            code,
            severity: Severity::Warning,
            message,
            hint,
        });
    }

    fn look_at(&mut self, view: &View, routes: &Routes, now: u64) {
        for (id, reason) in view.rejected() {
            let message = format!("profile \"{id}\" cannot be used: {reason}");
            self.warn(Code::ProfilesRejected, message, None);
        }
        for (provider, ids) in view.stored_order() {
            let missing: Vec<&str> = ids
                .iter()
                .filter(|id| view.profile(id).is_none())
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                let message = format!(
                    "the order of {provider} names profiles that do not exist: {}",
                    missing.join(", ")
                );
                let hint = format!("openclaw-auth models auth order set --provider {provider} …");
                self.warn(Code::OrderAllFiltered, message, Some(hint));
            }
        }
        for profile in &view.profiles {
            if profile
                .subject(&routes.routing)
                .has_implausible_window(&profile.record, now)
            {
                let message = format!(
                    "profile \"{}\" is marked unavailable for longer than any rule allows",
                    profile.id
                );
                let hint = format!("openclaw-auth models auth cooldown clear {}", profile.id);
                self.warn(Code::ImplausibleWindow, message, Some(hint));
            }
            if let crate::profiles::Expiry::At(at) = profile.credential.expiry
                && at < SECONDS
            {
                let message = format!(
                    "profile \"{}\": expires looks like seconds; it must be milliseconds",
                    profile.id
                );
                self.warn(Code::ProfilesRejected, message, None);
            }
        }
    }

    /// 0: nothing is wrong; 1: there are errors; 3: there are warnings only.
    pub fn exit_code(&self) -> u8 {
        let worst = |severity| self.findings.iter().any(|f| f.severity == severity);
        match (worst(Severity::Error), worst(Severity::Warning)) {
            (true, _) => 1,
            (false, true) => 3,
            _ => 0,
        }
    }

    /// The JSON form of every language.
    pub fn to_json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "code": finding.code.as_str(),
                "severity": finding.severity.as_str(),
                "message": finding.message,
                "hint": finding.hint,
            })
        });
        json!({
            "agentId": self.agent,
            "authStorePath": self.path.to_string_lossy(),
            "exists": self.exists,
            "profiles": self.profiles,
            "ok": self.findings.is_empty(),
            "findings": findings.collect::<Vec<_>>(),
        })
    }
}

impl StoreRepair {
    /// The JSON form of every language.
    pub fn to_json(&self) -> Value {
        json!({
            "agentId": self.agent,
            "authStorePath": self.path.to_string_lossy(),
            "needed": self.needed,
            "profiles": self.profiles,
            "copy": self.copy.as_ref().map(|copy| copy.to_string_lossy()),
        })
    }
}
