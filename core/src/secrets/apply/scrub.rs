//! One way only: plain text that has moved is taken out of the places where copies lie.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use zeroize::Zeroizing;

use super::super::Loaded;
use super::super::known::{KnownNames, provider_id};
use super::super::plan::TargetPlace;
use super::super::provider::Settings;
use super::super::reference::{Defaults, SecretSource};
use super::super::stores::{KINDS, STORE_NAME};
use super::super::wipe;
use super::project::{Projection, plain_secret};
use super::read_text;
use crate::config::{self, Part, ReadOptions, parse_dotenv, split_references};
use crate::error::Result;
use crate::json::Path;
use crate::text::SecretText;

const MAX_DOTENV: u64 = 1 << 20;

impl Projection<'_> {
    /// Model providers whose key the plan moves, in the form in which ids are compared.
    fn migrated_providers(&self) -> BTreeSet<String> {
        let targets = self.apply.plan.targets.iter();
        targets
            .filter_map(|target| match &target.place {
                TargetPlace::Config { provider, .. } | TargetPlace::Profile { provider, .. } => {
                    provider.as_deref().map(provider_id)
                }
            })
            .collect()
    }

    /// Static credentials of migrated providers in all stores, and in stores of older releases.
    pub(super) fn scrub_stores(&mut self) -> Result<()> {
        let plan = self.apply.plan;
        let providers: BTreeSet<String> = plan
            .targets
            .iter()
            .filter_map(|target| match &target.place {
                TargetPlace::Config { provider, .. } => provider.as_deref().map(provider_id),
                TargetPlace::Profile { .. } => None,
            })
            .collect();
        // A profile that gets a reference by this plan keeps it.
        let targets: BTreeSet<(String, String)> = plan
            .targets
            .iter()
            .filter_map(|target| match &target.place {
                TargetPlace::Profile { agent, id, .. } => Some((agent.clone(), id.clone())),
                TargetPlace::Config { .. } => None,
            })
            .collect();
        for (agent, folder) in self.agents.clone() {
            if plan.scrub.profiles && !providers.is_empty() {
                let file = folder.join(STORE_NAME);
                let mut secrets = Vec::new();
                let mut logins = Vec::new();
                let keep = |id: &str| targets.contains(&(agent.clone(), id.to_owned()));
                self.rewrite(&file, "remove-value", |document| {
                    scrub_profiles(document, &providers, &keep, &mut secrets, &mut logins)
                })?;
                self.migrated.append(&mut secrets);
                for id in logins {
                    self.warnings.push(format!(
                        "OAuth profile {id} of agent {agent} still takes precedence over the reference"
                    ));
                }
            }
            if plan.scrub.auth_json {
                let file = folder.join("auth.json");
                self.rewrite(&file, "remove-entry", scrub_old_store)?;
            }
        }
        Ok(())
    }

    /// What an earlier run of the plan moved, if it was cut short: the values of the references
    /// that it wrote. Those that do not resolve stop the plan later.
    pub(super) fn migrated_before(&mut self, projected: &Loaded) {
        let labels: Vec<String> = self
            .in_place
            .iter()
            .filter(|reference| self.apply.allow_exec || reference.source() != SecretSource::Exec)
            .map(ToString::to_string)
            .collect();
        if labels.is_empty() || !self.apply.plan.scrub.env {
            return;
        }
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let values = projected.resolve_labels(self.apply.host, &labels, &self.apply.stop);
        let values = values.into_iter().flatten().map(|value| value.text);
        self.migrated.extend(values);
    }

    /// Lines of `.env` files whose value has moved, if nothing reads their name any more.
    pub(super) fn scrub_env(&mut self, projected: &Loaded) -> Result<()> {
        if !self.apply.plan.scrub.env || self.migrated.is_empty() {
            return Ok(());
        }
        let names = KnownNames {
            more: &self.apply.rules.env_names,
        };
        let providers = self.migrated_providers();
        let own: BTreeSet<&str> = providers.iter().flat_map(|id| names.of(id)).collect();
        let read = self.names_read(projected);
        let mut files: Vec<PathBuf> = vec![self.places.state.join(".env")];
        let beside = self
            .places
            .config
            .parent()
            .map(|folder| folder.join(".env"));
        files.extend(beside.filter(|file| !files.contains(file)));
        for file in files {
            let Some(text) = read_text(self.apply.host, &file, MAX_DOTENV) else {
                continue;
            };
            let goes = |name: &str, value: &str| {
                own.contains(name)
                    && !read.contains(name)
                    && self.migrated.iter().any(|secret| secret.expose() == value)
            };
            let (kept, removed) = without_lines(&text, &goes);
            if removed.is_empty() {
                continue;
            }
            for name in &removed {
                self.note(&file, &Path::new([name.as_str()]), "remove-line");
            }
            self.env_files.push((file, text, kept));
        }
        Ok(())
    }

    /// Every variable that anything in the projected configuration reads.
    fn names_read(&self, projected: &Loaded) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for surface in &projected.surfaces {
            let refs = projected.refs_of(&surface.content).into_iter();
            let env = refs.filter(|reference| reference.source() == SecretSource::Env);
            names.extend(env.map(|reference| reference.id().to_owned()));
        }
        for provider in projected.providers.declared.values() {
            match &provider.settings {
                Settings::Env(settings) => {
                    names.extend(settings.allowlist.iter().flatten().cloned())
                }
                Settings::Exec(settings) => {
                    names.extend(settings.pass_env.iter().flatten().cloned())
                }
                Settings::File(_) | Settings::Unusable => {}
            }
        }
        let world = self.apply.host.with_overlay(self.overlay());
        let read = ReadOptions {
            as_written: true,
            ..self.apply.read.clone()
        };
        let mut source = config::read(&world, &read);
        texts(&source.tree, &mut |text| {
            for part in split_references(text).0 {
                if let Part::Reference(name) = part {
                    names.insert(name);
                }
            }
        });
        wipe(std::mem::take(&mut source.tree));
        names
    }
}

/// Takes static credentials of providers out of a store; the paths that went.
fn scrub_profiles(
    document: &mut Value,
    providers: &BTreeSet<String>,
    keep: &dyn Fn(&str) -> bool,
    secrets: &mut Vec<SecretText>,
    logins: &mut Vec<String>,
) -> Vec<Path> {
    let mut removed = Vec::new();
    let profiles = document.get_mut("profiles").and_then(Value::as_object_mut);
    for (id, profile) in profiles.into_iter().flatten() {
        let Some(profile) = profile.as_object_mut() else {
            continue;
        };
        let text = |key: &str| profile.get(key).and_then(Value::as_str).unwrap_or_default();
        if keep(id) || !providers.contains(&provider_id(text("provider"))) {
            continue;
        }
        if text("type") == "oauth" {
            logins.push(id.clone());
            continue;
        }
        if !KINDS.iter().any(|(kind, ..)| *kind == text("type")) {
            continue;
        }
        for key in KINDS
            .iter()
            .flat_map(|(_, key, reference)| [key, reference])
        {
            let Some(value) = profile.remove(*key) else {
                continue;
            };
            secrets.extend(plain_secret(&value, &Defaults::read(&Value::Null)));
            wipe(value);
            removed.push(Path::new(["profiles", id.as_str(), *key]));
        }
    }
    removed
}

/// Takes static keys out of the store of an older release.
fn scrub_old_store(document: &mut Value) -> Vec<Path> {
    let Some(map) = document.as_object_mut() else {
        return Vec::new();
    };
    let is_static = |entry: &Value| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        text("type") == "api_key" && !text("key").trim().is_empty()
    };
    let ids: Vec<String> = map
        .iter()
        .filter(|(_, entry)| is_static(entry))
        .map(|(id, _)| id.clone())
        .collect();
    for id in &ids {
        if let Some(entry) = map.shift_remove(id) {
            wipe(entry);
        }
    }
    ids.iter().map(|id| Path::new([id.as_str()])).collect()
}

/// The text of a `.env` file without some assignments, and their names.
fn without_lines(
    text: &str,
    goes: &dyn Fn(&str, &str) -> bool,
) -> (Zeroizing<String>, Vec<String>) {
    let mut removed = Vec::new();
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    // Line numbers only mean the same here when every line ends in a line feed.
    let odd = text.replace("\r\n", "").contains('\r');
    for entry in parse_dotenv(text).into_iter().filter(|_| !odd) {
        if goes(&entry.name, &entry.value) {
            gone.extend(entry.line..entry.line + entry.lines);
            removed.push(entry.name);
        }
    }
    let mut kept = Zeroizing::new(String::with_capacity(text.len()));
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if !gone.contains(&(index + 1)) {
            kept.push_str(line);
        }
    }
    (kept, removed)
}

fn texts(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, visit)),
        Value::Object(map) => map.values().for_each(|item| texts(item, visit)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_assignments_go() {
        let text = "# c\r\nA=x # note\r\nB='m\nn'\nexport A=x\nC=x";
        let (kept, removed) = without_lines(text, &|name, value| name == "A" && value == "x");
        assert_eq!((kept.as_str(), removed.len()), ("# c\r\nB='m\nn'\nC=x", 2));
        let (kept, _) = without_lines(text, &|name, _| name == "B");
        assert_eq!(kept.as_str(), "# c\r\nA=x # note\r\nexport A=x\nC=x");
        let (kept, removed) = without_lines("A=x\rB=y", &|_, _| true);
        assert_eq!((kept.as_str(), removed.len()), ("A=x\rB=y", 0));
    }
}
