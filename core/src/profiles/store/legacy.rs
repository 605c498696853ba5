//! Credentials of releases before the profile store: `auth.json` of the agent and
//! `credentials/oauth.json` of the state directory.

use std::time::Duration;

use serde_json::{Map, Value};

use super::file::FileStore;
use super::{Durability, ProfileStore as _};
use crate::error::Result;
use crate::profiles::credential::{Kind, inferred_kind};

const AUTH: &str = "auth.json";
const OAUTH: &str = "oauth.json";
const MAX_BYTES: u64 = 4 << 20;
const BUDGET: Duration = Duration::from_secs(10);

/// Writes a store from what older releases left, when there is no store yet. `auth.json` is set
/// aside only after the store has been read back with everything in it. Whether anything was
/// found.
pub(super) fn import(store: &FileStore) -> Result<bool> {
    if store.version().exists() {
        return Ok(false);
    }
    let auth = read(store, &store.folder.join(AUTH)).filter(|map| !map.contains_key("profiles"));
    let oauth = read(store, &store.options.legacy_oauth.join(OAUTH));
    let mut found: Vec<(String, Value)> = Vec::new();
    for (provider, entry) in auth.iter().flatten() {
        if let Some(credential) = credential(provider, entry, None) {
            found.push((format!("{provider}:default"), credential));
        }
    }
    for (provider, entry) in oauth.iter().flatten() {
        let id = format!("{provider}:default");
        if let Some(credential) = credential(provider, entry, Some(Kind::OAuth))
            && !found.iter().any(|(known, _)| *known == id)
        {
            found.push((id, credential));
        }
    }
    if found.is_empty() {
        return Ok(false);
    }
    store.update(BUDGET, Durability::Verified, &mut |document| {
        document.edit("profiles", |profiles| {
            for (id, credential) in &found {
                profiles.entry(id).or_insert_with(|| credential.clone());
            }
        });
        Ok(())
    })?;
    let written = store.load()?.document;
    let complete =
        written.is_some_and(|document| found.iter().all(|(id, _)| document.profile(id).is_some()));
    if complete && auth.is_some() {
        let from = store.folder.join(AUTH);
        let to = store
            .folder
            .join(format!("{AUTH}.imported-{}", store.host.clock.now_ms()));
        if let Err(error) = store.host.locks.rename(&from, &to) {
            // Harmless: with a store in place the old file is not read again.
            log::debug!(target: "openclaw_auth::profiles", "cannot rename auth.json: {}", error.kind());
        }
    }
    Ok(true)
}

/// An entry with the fields that it lacks, everything else as it was. `None`: it holds no secret.
pub(super) fn credential(provider: &str, entry: &Value, kind: Option<Kind>) -> Option<Value> {
    let entry = entry.as_object()?;
    let kind = kind.or_else(|| inferred_kind(entry))?;
    let mut credential = Map::new();
    credential.insert("type".to_owned(), kind.as_str().into());
    credential.insert("provider".to_owned(), provider.into());
    for (key, value) in entry {
        if key != "type" && (key != "provider" || value.is_string()) {
            credential.insert(key.clone(), value.clone());
        }
    }
    Some(Value::Object(credential))
}

fn read(store: &FileStore, path: &std::path::Path) -> Option<Map<String, Value>> {
    let mut file = store.host.files.open(path).ok()?;
    let bytes = file.read_to_limit(MAX_BYTES).ok()??;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(map) => Some(map),
        _ => None,
    }
}
