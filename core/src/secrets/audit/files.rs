//! The files beside the configuration: stores, `.env`, generated catalogues, old stores.

use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};

use serde_json::{Map, Value};

use super::super::Loaded;
use super::super::collect::Content;
use super::super::known::KnownNames;
use super::super::reference::{Classified, Defaults, SecretSource, classify_object, classify_text};
use super::super::sensitive::is_sensitive_header;
use super::super::stores::{KINDS, STORE_NAME, Store, field_path, profiles, read_json};
use super::super::wipe;
use super::report::{AuditReport, Finding};
use crate::config::{EnvView, Locations, Severity, agent_dirs, parse_dotenv};
use crate::error::Code;
use crate::host::{FileKind, Host};
use crate::json::{Path, Place};

/// Generated catalogues are larger than anything else, but not larger than this.
const MAX_CATALOGUE: u64 = 5 << 20;
const MAX_DOTENV: u64 = 1 << 20;

/// One round over the files.
pub(super) struct Scan<'a> {
    pub(super) host: &'a Host,
    pub(super) places: &'a Locations,
    pub(super) names: KnownNames<'a>,
    pub(super) loaded: Option<&'a Loaded>,
}

impl Scan<'_> {
    /// Plain text in stores of auth profiles; OAuth logins are listed as a reminder.
    pub(super) fn stores(&self, stores: &[Store], report: &mut AuditReport) {
        let known: BTreeSet<&FilePath> = stores.iter().map(|store| store.file.as_path()).collect();
        for store in stores {
            self.store(store, report);
        }
        // Stores of agents that are no longer listed.
        for (agent, folder) in self.agent_folders() {
            let file = folder.join(STORE_NAME);
            if known.contains(file.as_path()) {
                continue;
            }
            let (meta, document) = read_json(self.host, &file, MAX_CATALOGUE);
            let store = Store {
                agent,
                file,
                meta,
                document,
            };
            self.store(&store, report);
        }
    }

    fn store(&self, store: &Store, report: &mut AuditReport) {
        let Some(document) = self.document(&store.file, &store.document, report) else {
            return;
        };
        let defaults = Defaults::read(&Value::Null);
        for (id, profile) in profiles(document) {
            let text = |key: &str| profile.get(key).and_then(Value::as_str).unwrap_or_default();
            let mut add = |code, severity, key: &str, message: String| {
                let mut finding = Finding::new(code, severity, &store.file);
                finding.path = field_path(&store.agent, id, key).to_string();
                finding.message = message;
                finding.provider = Some(text("provider").to_owned());
                finding.profile_id = Some(id.clone());
                report.findings.push(finding);
            };
            if text("type") == "oauth" {
                let message =
                    format!("profile {id} is an OAuth login; its tokens change by themselves");
                add(Code::LegacyResidue, Severity::Info, "access", message);
                continue;
            }
            let kind = KINDS.iter().find(|(kind, ..)| *kind == text("type"));
            let Some((_, key, _)) = kind else { continue };
            let value = text(key);
            let literal = matches!(classify_text(value, &defaults), Classified::Literal(_));
            if !value.trim().is_empty() && literal {
                let message = format!("profile {id} holds its credential as plain text");
                add(Code::PlaintextFound, Severity::Warning, key, message);
            }
        }
    }

    /// The document of a file that was read; problems become findings.
    fn document<'d>(
        &self,
        file: &FilePath,
        document: &'d Result<Option<Value>, String>,
        report: &mut AuditReport,
    ) -> Option<&'d Value> {
        match document {
            Ok(None) => None,
            Ok(Some(document)) => {
                report.scanned.insert(file.to_owned());
                Some(document)
            }
            Err(problem) => {
                report.scanned.insert(file.to_owned());
                let mut finding = Finding::new(Code::RefUnresolved, Severity::Error, file);
                finding.path = "<root>".to_owned();
                finding.message = format!("{} {problem}", file.display());
                report.findings.push(finding);
                None
            }
        }
    }

    /// Names and folders of all agents that have one.
    fn agent_folders(&self) -> Vec<(String, PathBuf)> {
        let agents = self.places.state.join("agents");
        let names = self.host.files.names(&agents).unwrap_or_default();
        let mut folders: Vec<(String, PathBuf)> = names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .map(|name| (name.clone(), agents.join(name).join("agent")))
            .collect();
        folders.sort();
        folders
    }

    /// Generated catalogues and the stores of older releases.
    pub(super) fn agent_files(&self, env: &EnvView, tree: &Value, report: &mut AuditReport) {
        let mut folders: BTreeSet<PathBuf> = self
            .agent_folders()
            .into_iter()
            .map(|(_, folder)| folder)
            .collect();
        folders.extend(
            agent_dirs(self.places, env, tree)
                .into_iter()
                .map(|(_, folder)| folder),
        );
        for folder in folders {
            self.json_file(
                &folder.join("models.json"),
                report,
                |scan, file, document, report| {
                    scan.catalogue(file, document, report);
                },
            );
            self.json_file(
                &folder.join("auth.json"),
                report,
                |_, file, document, report| {
                    old_store(file, document, report);
                },
            );
        }
    }

    fn json_file(
        &self,
        file: &FilePath,
        report: &mut AuditReport,
        look: impl Fn(&Self, &FilePath, &Value, &mut AuditReport),
    ) {
        let regular = self
            .host
            .files
            .stat(file)
            .is_ok_and(|meta| meta.kind == FileKind::Regular);
        if !regular {
            return;
        }
        let (_, document) = read_json(self.host, file, MAX_CATALOGUE);
        if let Some(document) = self.document(file, &document, report) {
            look(self, file, document, report);
        }
        if let Ok(Some(document)) = document {
            wipe(document);
        }
    }

    fn catalogue(&self, file: &FilePath, document: &Value, report: &mut AuditReport) {
        let providers = document.get("providers").and_then(Value::as_object);
        for (provider, entry) in providers.into_iter().flatten() {
            let headers = entry.get("headers").and_then(Value::as_object);
            let sensitive = headers
                .into_iter()
                .flatten()
                .filter(|(name, _)| is_sensitive_header(name))
                .map(|(name, value)| (vec!["headers", name.as_str()], value));
            let key = entry.get("apiKey").map(|value| (vec!["apiKey"], value));
            for (below, value) in key.into_iter().chain(sensitive) {
                let code = match value {
                    Value::String(text) if self.is_secret(provider, text) => Code::PlaintextFound,
                    Value::Object(map) if is_reference(map) => Code::RefUnresolved,
                    _ => continue,
                };
                let path = Path::new(["providers", provider.as_str()].into_iter().chain(below));
                let (severity, what) = match code {
                    Code::PlaintextFound => (Severity::Warning, "holds a secret as plain text"),
                    _ => (
                        Severity::Error,
                        "holds a reference, which nothing resolves there",
                    ),
                };
                let mut finding = Finding::new(code, severity, file);
                finding.message = format!("{path} of a generated file {what}");
                finding.path = path.to_string();
                finding.provider = Some(provider.clone());
                report.findings.push(finding);
            }
        }
    }

    /// Whether a text of a catalogue is a secret: no marker, and not the name of the variable
    /// that the provider's own reference names.
    fn is_secret(&self, provider: &str, text: &str) -> bool {
        let text = text.trim();
        if text.is_empty() || self.names.is_marker(text) {
            return false;
        }
        let own = Path::new(["models", "providers", provider]);
        let surfaces = self.loaded.into_iter().flat_map(|loaded| {
            let own = own.clone();
            loaded
                .surfaces
                .iter()
                .filter(move |surface| surface.path.segments().starts_with(own.segments()))
                .flat_map(|surface| match &surface.content {
                    content @ (Content::Reference(_) | Content::Template(_)) => {
                        loaded.refs_of(content)
                    }
                    _ => Vec::new(),
                })
        });
        let mut refs = surfaces;
        !refs.any(|reference| reference.source() == SecretSource::Env && reference.id() == text)
    }

    /// `.env` of the state folder, and the one beside the configuration.
    pub(super) fn dotenvs(&self, report: &mut AuditReport) {
        let mut files = vec![self.places.state.join(".env")];
        let beside = self
            .places
            .config
            .parent()
            .map(|folder| folder.join(".env"));
        files.extend(beside.filter(|file| !files.contains(file)));
        for file in files {
            let Some(text) = super::super::apply::read_text(self.host, &file, MAX_DOTENV) else {
                continue;
            };
            report.scanned.insert(file.clone());
            for entry in parse_dotenv(&text) {
                if !self.names.is_secret(&entry.name) || entry.value.trim().is_empty() {
                    continue;
                }
                let mut finding = Finding::new(Code::PlaintextFound, Severity::Warning, &file);
                finding.place = Some(Place {
                    line: entry.line,
                    column: 1,
                });
                finding.path = format!("$env.{}", entry.name);
                finding.message = format!("{} holds a secret as plain text", entry.name);
                report.findings.push(finding);
            }
        }
    }
}

/// Static keys in the store of an older release.
fn old_store(file: &FilePath, document: &Value, report: &mut AuditReport) {
    for (id, entry) in document.as_object().into_iter().flatten() {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("type") == "api_key" && !text("key").trim().is_empty() {
            let mut finding = Finding::new(Code::LegacyResidue, Severity::Warning, file);
            finding.path = Path::new([id.as_str(), "key"]).to_string();
            finding.message = format!("{id}: a key is left in the store of an older release");
            finding.provider = Some(id.clone());
            report.findings.push(finding);
        }
    }
}

fn is_reference(map: &Map<String, Value>) -> bool {
    let defaults = Defaults::read(&Value::Null);
    matches!(
        classify_object(map, &defaults),
        Some(Classified::Reference(..))
    )
}

/// Provider and id of profiles that could serve a request.
pub(super) fn usable_profiles(store: &Store) -> Vec<(String, String)> {
    let Ok(Some(document)) = &store.document else {
        return Vec::new();
    };
    let usable = |profile: &Map<String, Value>| {
        let set = |key: &str| match profile.get(key) {
            Some(Value::String(text)) => !text.trim().is_empty(),
            Some(Value::Object(_)) => true,
            _ => false,
        };
        match profile.get("type").and_then(Value::as_str) {
            Some("oauth") => set("access") || set("refresh"),
            Some(kind) => KINDS
                .iter()
                .any(|(name, key, reference)| *name == kind && (set(key) || set(reference))),
            None => false,
        }
    };
    profiles(document)
        .filter(|(_, profile)| usable(profile))
        .filter_map(|(id, profile)| {
            let provider = profile.get("provider")?.as_str()?;
            Some((provider.to_owned(), id.clone()))
        })
        .collect()
}
