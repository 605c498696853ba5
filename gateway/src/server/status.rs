//! `GET /_auth/status`: which credentials there are, without showing any of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::core_api::{Core, CredentialInfo, Snapshot};
use super::settings::{Current, value};
use super::state::State;

/// The document.
pub(crate) async fn document(state: &Arc<State>, current: &Current) -> Value {
    let (state, snapshot) = (Arc::clone(state), Arc::clone(&current.snapshot));
    // The profiles are in a file.
    let document = tokio::task::spawn_blocking(move || read(&state, &*snapshot)).await;
    document.unwrap_or_default()
}

fn read(state: &State, snapshot: &dyn Snapshot) -> Value {
    let mut providers: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for credential in snapshot.credentials() {
        let shown = shown(&credential);
        providers
            .entry(credential.provider)
            .or_default()
            .push(shown);
    }
    let mut profiles: BTreeMap<String, Value> = profiles(&*state.core, snapshot).collect();
    for provider in profiles.keys() {
        providers.entry(provider.clone()).or_default();
    }
    let providers: Vec<Value> = providers
        .into_iter()
        .map(|(provider, credentials)| {
            let profiles = profiles.remove(&provider).unwrap_or_default();
            json!({
                "provider": provider,
                "credentials": credentials,
                "profiles": profiles.get("profiles"),
                "keys": profiles.get("env"),
            })
        })
        .collect();
    json!({
        "snapshot": snapshot.generation(),
        "mode": snapshot.auth_mode(),
        "degraded": state.reloader.is_degraded(),
        "providers": providers,
    })
}

/// The profiles and keys of every configured provider. Blocks.
pub(crate) fn profiles<'a>(
    core: &'a dyn Core,
    snapshot: &'a dyn Snapshot,
) -> impl Iterator<Item = (String, Value)> + 'a {
    let providers = value(snapshot, "/models/providers").and_then(Value::as_object);
    let providers = providers.into_iter().flatten();
    providers.filter_map(|(provider, _)| match core.profiles(provider) {
        Ok(document) => Some((provider.clone(), document)),
        Err(error) => {
            log::warn!("{provider}: {}", error.message());
            None
        }
    })
}

/// How many credentials of such a document cannot be used now.
pub(crate) fn cooling(document: &Value) -> u64 {
    let lists = ["profiles", "env"].into_iter();
    let rows = lists
        .filter_map(|key| document.get(key)?.as_array())
        .flatten();
    rows.filter(|row| row.get("unavailableUntil").is_some_and(Value::is_u64))
        .count() as u64
}

fn shown(credential: &CredentialInfo) -> Value {
    let mut shown = json!({
        "path": credential.path,
        "type": credential.kind,
        "state": if credential.inactive.is_none() { "ready" } else { "inactive" },
        "origin": credential.origin,
    });
    let optional = [
        ("source", &credential.source),
        ("masked", &credential.masked),
        ("reason", &credential.inactive),
    ];
    if let Value::Object(members) = &mut shown {
        for (name, text) in optional {
            if let Some(text) = text {
                members.insert(name.to_owned(), text.as_str().into());
            }
        }
    }
    shown
}
